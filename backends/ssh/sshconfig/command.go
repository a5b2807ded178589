package sshconfig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// errTooOld says that ssh does not know -G: it is older than OpenSSH 6.8, or another's.
var errTooOld = errors.New("this ssh does not tell its configuration")

// ignorant reports whether ssh complains of an option it does not know.
func ignorant(complaint string) bool {
	complaint = strings.ToLower(complaint)
	for _, s := range []string{"option -- g", "option -- 'g'", "unknown argument", "unknown option", "usage:"} {
		if strings.Contains(complaint, s) {
			return true
		}
	}
	return false
}

// ask has ssh resolve the query.
func (q query) ask(ctx context.Context, program string, limit time.Duration) (Host, error) {
	args := []string{"-G", "-T"}
	if !q.own {
		name := q.config()
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			name = "none"
		}
		args = append(args, "-F", name)
	}
	if q.user != "" {
		args = append(args, "-l", q.user)
	}
	if q.port != "" {
		args = append(args, "-p", q.port)
	}
	args = append(args, "--", q.host)

	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(limited, program, args...)
	alone(cmd)
	cmd.WaitDelay = time.Second
	out, complaint := capped{limit: maxOutput}, capped{limit: maxComplaint}
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) && limited.Err() == nil {
		err = nil // ssh has ended well; what a Match exec left behind holds its output
	}
	doing := "resolve the ssh configuration of " + q.host
	said := oneLine(string(complaint.text))
	switch {
	case ctx.Err() != nil:
		return Host{}, &Error{Err: fmt.Errorf("%s: %w", doing, context.Cause(ctx))}
	case limited.Err() != nil:
		if said != "" {
			said = ": " + said
		}
		return Host{}, &Error{Hint: "a Match exec command or a name lookup hangs: see `ssh -v -G " + q.host + "`",
			Err: fmt.Errorf("%s: ssh -G did not end within %v%s", doing, limit, said)}
	case err != nil && ignorant(said):
		return Host{}, errTooOld
	case err != nil && said != "":
		return Host{}, &Error{Hint: "mend the file; `ssh -G " + q.host + "` must work", Err: fmt.Errorf("%s: %s", doing, said)}
	case err != nil:
		return Host{}, &Error{Hint: "`ssh -G " + q.host + "` must work", Err: fmt.Errorf("%s: ssh -G: %w", doing, err)}
	case out.more:
		return Host{}, &Error{Err: fmt.Errorf("%s: ssh -G prints more than %d bytes", doing, maxOutput)}
	}
	v := parse(out.text)
	if v.one("hostname") == "" {
		return Host{}, errTooOld
	}
	if !q.own {
		v.rehome(accountHome(), q.home)
	}
	h, err := v.host(q)
	if err != nil {
		return Host{}, &Error{Hint: "mend ~/.ssh/config", Err: fmt.Errorf("%s: %w", doing, err)}
	}
	h.Source = "ssh -G " + q.host
	return h, nil
}

// parse reads lines of a keyword and a value.
func parse(text []byte) values {
	v := values{}
	for line := range strings.Lines(string(text)) {
		keyword, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		keyword = strings.ToLower(keyword)
		v[keyword] = append(v[keyword], strings.TrimSpace(value))
	}
	return v
}

// rehome moves files to another home: ssh has expanded ~ in some of them already,
// by the user's account.
func (v values) rehome(from, to string) {
	below := func(p, dir string) (string, bool) {
		return strings.CutPrefix(p, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
	}
	for _, keyword := range []string{"userknownhostsfile", "identityagent"} {
		for i, line := range v[keyword] {
			paths := splitPaths([]string{line})
			for i, p := range paths {
				if _, there := below(p, to); there {
					continue
				}
				if rest, ok := below(p, from); ok {
					paths[i] = filepath.Join(to, rest)
				}
			}
			v[keyword][i] = strings.Join(paths, " ")
		}
	}
}

// oneLine makes what ssh complains of one line that is fit to print.
func oneLine(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		line = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
				return -1
			}
			return r
		}, strings.ToValidUTF8(line, "?"))
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// capped keeps the first bytes written to it and drops the rest.
type capped struct {
	text  []byte
	limit int
	more  bool // something was dropped
}

func (c *capped) Write(p []byte) (int, error) {
	keep := min(len(p), c.limit-len(c.text))
	c.text = append(c.text, p[:keep]...)
	c.more = c.more || keep < len(p)
	return len(p), nil
}
