package policy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// Path is where an administrator puts the policy of a host.
const Path = "/etc/zorilla/policy.toml"

// Limits of a policy.
const (
	MaxSize    = 16 << 10 // bytes of the file
	MaxMessage = 400      // bytes of the message that are kept
	mostPilots = 1 << 16
)

// Policy is what is allowed on a host. The zero value allows everything.
type Policy struct {
	Deny    bool   // nothing runs
	Message string // for those who are denied something, one line; may be empty

	CPU       int           // thousandths of a core, of a hub, and of all pilots of one user together; 0: no bound
	Bandwidth int64         // bytes per second, of each hub and pilot; 0: no bound
	Pilots    int           // of one user at a time; 0: no bound
	NoPilots  bool          // hubs only
	Lifetime  time.Duration // of each hub and pilot; 0: no bound
}

// Read reads the policy in a file. A file that does not exist allows everything.
// The error says in one line what is wrong with one that does, its name and the
// number of the line first; the policy is then not to be relied on, and nothing
// may run.
func Read(path string) (Policy, error) {
	// A pipe in its place must not hold us up.
	f, err := os.OpenFile(path, os.O_RDONLY|openNoWait, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		return Policy{}, nil
	}
	if err != nil {
		return Policy{}, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return Policy{}, fmt.Errorf("%s: not a file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return Policy{}, err
	}
	p, err := Parse(data)
	if err != nil {
		return Policy{}, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Bounds says in words what a policy allows of a host, such as "at most 10% of
// a core, 10 MB/s"; empty when it bounds nothing.
func (p Policy) Bounds() string {
	if p.Deny {
		return "nothing"
	}
	var parts []string
	add := func(text string) { parts = append(parts, text) }
	if p.CPU > 0 {
		add(FormatCPU(p.CPU) + " of a core")
	}
	if p.Bandwidth > 0 {
		add(FormatRate(p.Bandwidth))
	}
	switch {
	case p.NoPilots:
		add("no pilot")
	case p.Pilots == 1:
		add("1 pilot of a user")
	case p.Pilots > 1:
		add(fmt.Sprintf("%d pilots of a user", p.Pilots))
	}
	if p.Lifetime > 0 {
		add("each for " + FormatTime(p.Lifetime))
	}
	if len(parts) == 0 {
		return ""
	}
	return "at most " + strings.Join(parts, ", ")
}
