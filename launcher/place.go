package launcher

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot"
	"github.com/zorilla-grid/zorilla/pilot/policy"
)

// The scripts run at a host by /bin/sh; their arguments are data.
var (
	//go:embed probe.sh
	probeScript string
	//go:embed upload.sh
	uploadScript string
	//go:embed find.sh
	findScript string
	//go:embed clean.sh
	cleanScript string
)

// Bounds on conversations with a host.
const (
	probeTimeout  = 30 * time.Second
	uploadTimeout = 10 * time.Minute
	maxAnswer     = 64 << 10 // bytes of output read from one of our scripts
)

// A host is one machine of a site that can be logged in to. A site has one, or
// one and those behind it.
type host struct {
	name    string    // of the site, or SITE/HOST for a host behind it
	behind  string    // its name in the sites file, for a host behind the site's own
	gat     *gat.Site // how to reach it
	scratch string    // where the sites file wants things put; may be empty

	facts
	binary  string   // path of the pilot binary there
	publish []string // files in which a hub there is to say where it listens
	store   *host    // for a head node, where else something is for the compute nodes; may be nil

	hubs  []string    // addresses that pilots here join at; none means that they are called
	token *wire.Token // what they join by
	hub   wire.NodeID // the hub here, once it is part of the session

	// Counted under the lock of the site's run.
	agents      int // started here, ever
	pilots      int // pilots among them
	restarts    int // pilots started in the place of dead ones
	hubRestarts int

	restoring sync.Mutex // held while it is prepared again
	restored  bool       // it has been

	direct  map[string]bool // sockets of pilots that this node is connected to past the hub
	bridges atomic.Int32    // for single bulk streams
}

// facts are what a look at a host told.
type facts struct {
	Platform string   // such as "linux/amd64"
	Host     string   // the name it gives itself
	From     string   // the address our login came from, as the host sees it
	Base     string   // the user's own directory in its scratch
	Kept     string   // path of a pilot binary with the right digest, or empty
	Cores    int      // cores of the machine; 0 when it did not say
	Free     int64    // bytes of scratch
	Gzip     bool     // gzip is there
	FS       string   // type of its file system, such as "ext4" or "nfs4"; empty when it did not say
	AtHome   bool     // scratch is in the home directory
	Refused  []string // scratch directories that were not usable, with reasons

	Policy    policy.Policy // what the host's administrator allows
	PolicyErr error         // what is wrong with that
}

// look probes the host. Digests are the SHA-256 of the pilot binaries at hand,
// by platform.
func (h *host) look(ctx context.Context, session wire.SessionID, digests map[string]string) error {
	args := []string{string(session), h.scratch}
	for platform, digest := range digests {
		args = append(args, platform+"="+digest)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out, err := h.script(ctx, probeScript, nil, args...)
	if err != nil {
		return fmt.Errorf("site %s: look at the host: %w", h.name, err)
	}
	f, err := parseFacts(out)
	if err != nil {
		return fmt.Errorf("site %s: look at the host: %w", h.name, err)
	}
	if err := f.scratchError(h.name); err != nil {
		return err
	}
	h.facts = f
	return nil
}

// scratchError says that there is no usable scratch on a host of a site.
func (f *facts) scratchError(name string) error {
	if f.Base != "" {
		return nil
	}
	return &gat.Error{Class: gat.Permanent, Op: "find scratch", Site: name,
		Err:  errors.New("no usable directory: " + strings.Join(f.Refused, "; ")),
		Hint: scratchHint}
}

func parseFacts(out []byte) (facts, error) {
	var f facts
	var allowed strings.Builder
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		switch key {
		case "platform":
			f.Platform = value
		case "host":
			f.Host = value
		case "from":
			f.From = value
		case "base":
			f.Base = value
		case "pilot":
			f.Kept = value
		case "cores":
			f.Cores, _ = strconv.Atoi(value)
		case "free":
			kib, _ := strconv.ParseInt(value, 10, 64)
			f.Free = kib << 10
		case "fs":
			f.FS = value
		case "home":
			f.AtHome = true
		case "tool":
			f.Gzip = f.Gzip || value == "gzip"
		case "policy":
			allowed.WriteString(value + "\n")
		case "nopolicy":
			f.PolicyErr = errors.New(policy.Path + ": cannot be read")
		case "refused":
			f.Refused = append(f.Refused, value)
		}
	}
	if f.PolicyErr == nil {
		if f.Policy, f.PolicyErr = policy.Parse([]byte(allowed.String())); f.PolicyErr != nil {
			f.PolicyErr = fmt.Errorf("%s: %w", policy.Path, f.PolicyErr)
		}
	}
	if f.Platform == "" {
		return f, fmt.Errorf("unexpected answer %q", firstLine(out))
	}
	if f.Base != "" && !path.IsAbs(f.Base) {
		return f, fmt.Errorf("scratch directory %q is not an absolute path", f.Base)
	}
	return f, nil
}

// sessionDir is the session's directory at the host.
func (h *host) sessionDir(session wire.SessionID) string {
	return path.Join(h.Base, pilot.SessionDirName(session))
}

// put brings the pilot binary to the host: into the session's directory, or
// beside it when the site keeps it. It counts the bytes sent.
func (h *host) put(ctx context.Context, session wire.SessionID, b pilotBinary, keep bool, sent func(int)) error {
	dir, name := h.sessionDir(session), "zorilla-pilot"
	if keep {
		dir, name = h.Base, "pilot-"+b.digest
	}
	data, mode, err := b.raw, "raw", error(nil)
	if h.Gzip {
		mode = "gzip"
		if data, err = b.gzip(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	out, err := h.script(ctx, uploadScript, &countingReader{bytes.NewReader(data), sent},
		dir, name, mode, strconv.Itoa(len(b.raw)), h.sessionDir(session))
	if err != nil {
		return uploadError(h.name, err)
	}
	if strings.TrimSpace(string(out)) != "ok" {
		return fmt.Errorf("site %s: upload the pilot: unexpected answer %q", h.name, firstLine(out))
	}
	h.binary = path.Join(dir, name)
	return nil
}

// uploadError says why the binary did not arrive. The host's own words end in
// what the system said.
func uploadError(site string, err error) error {
	text := err.Error()
	for _, full := range []string{"No space left", "quota exceeded", "bytes arrived"} {
		if strings.Contains(text, full) {
			return &gat.Error{Class: gat.Permanent, Op: "upload the pilot", Site: site, Err: err, Hint: scratchHint}
		}
	}
	return fmt.Errorf("site %s: upload the pilot: %w", site, err)
}

// scratchHint is what to do about scratch that does not do.
const scratchHint = `name a directory of your own where programs may run and that has room: scratch = "/path" in the sites file`

// pilotBinary is a pilot for one platform.
type pilotBinary struct {
	raw    []byte
	digest string // SHA-256, hexadecimal
	gzip   func() ([]byte, error)
}

// clean makes sure that nothing of the session is left at the host, and
// returns what is, one line each. With patience it first gives the agents
// there time to leave by themselves.
func (h *host) clean(ctx context.Context, session wire.SessionID, binary string, patience time.Duration) (left []string, err error) {
	bases := []string{h.Base}
	if h.Base == "" { // nobody lived or waited to hear where it is
		if bases, err = h.find(ctx, session); err != nil {
			return nil, err
		}
	}
	var errs []error
	for _, base := range bases {
		l, err := h.cleanBase(ctx, base, session, binary, patience)
		left, errs = append(left, l...), append(errs, err)
	}
	return left, errors.Join(errs...)
}

func (h *host) cleanBase(ctx context.Context, base string, session wire.SessionID, binary string, patience time.Duration) ([]string, error) {
	out, err := h.script(ctx, cleanScript, nil, base, pilot.SessionDirName(session), binary,
		strconv.Itoa(int(patience/(100*time.Millisecond))))
	if err != nil {
		return nil, fmt.Errorf("site %s: clean up: %w", h.name, err)
	}
	var left []string
	for line := range strings.Lines(string(out)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "left "); ok {
			left = append(left, h.name+": "+text)
		}
	}
	if !strings.Contains(string(out), "end\n") {
		return left, fmt.Errorf("site %s: clean up: unexpected answer %q", h.name, firstLine(out))
	}
	return left, nil
}

// minFree is the free scratch, in bytes, below which a full disk is to blame for
// what fails.
const minFree = 1 << 20

// free returns how many bytes of scratch are free at the host now.
func (h *host) free(ctx context.Context) (int64, error) {
	out, err := h.script(ctx, `df -Pk "$1" | { read -r _; read -r _ _ _ free _; echo "$free"; }`, nil, h.Base)
	if err != nil {
		return 0, err
	}
	kib, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return kib << 10, err
}

// find returns the bases that hold the session's directory, for one that did not
// live to write down where it is.
func (h *host) find(ctx context.Context, session wire.SessionID) ([]string, error) {
	out, err := h.script(ctx, findScript, nil, pilot.SessionDirName(session), h.scratch)
	if err != nil {
		return nil, fmt.Errorf("site %s: look for what was made: %w", h.name, err)
	}
	if !strings.HasSuffix(string(out), "end\n") {
		return nil, fmt.Errorf("site %s: look for what was made: unexpected answer %q", h.name, firstLine(out))
	}
	var bases []string
	for line := range strings.Lines(string(out)) {
		if base, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "base "); ok && path.IsAbs(base) {
			bases = append(bases, base)
		}
	}
	return bases, nil
}

// script runs one of our scripts at the host. Its error holds what the script
// wrote to standard error.
func (h *host) script(ctx context.Context, text string, stdin io.Reader, args ...string) ([]byte, error) {
	p, err := h.gat.Run(ctx, gat.Command{Argv: append([]string{"/bin/sh", "-c", text, "zorilla"}, args...)})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	go func() {
		if stdin != nil {
			io.Copy(p.Stdin(), stdin) // a broken pipe shows in the exit status
		}
		p.Stdin().Close()
	}()
	said := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(p.Stderr(), maxAnswer))
		io.Copy(io.Discard, p.Stderr())
		said <- b
	}()
	out, err := io.ReadAll(io.LimitReader(p.Stdout(), maxAnswer))
	if err == nil {
		_, err = io.Copy(io.Discard, p.Stdout())
	}
	complaint := <-said
	status, werr := p.Wait()
	switch {
	case werr != nil:
		return out, werr
	case err != nil:
		return out, err
	case status != 0:
		if text := strings.TrimSpace(string(complaint)); text != "" {
			return out, errors.New(text)
		}
		return out, fmt.Errorf("exit status %d", status)
	}
	return out, nil
}

// countingReader tells how much was read.
type countingReader struct {
	r    io.Reader
	read func(int)
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read(n)
	return n, err
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line[:min(len(line), 200)]
}
