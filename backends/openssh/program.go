package openssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/backends/shell"
	"github.com/zorilla-grid/zorilla/gat"
)

// A version is one of OpenSSH, such as 9.2.
type version struct{ major, minor int }

var (
	oldest   = version{6, 8} // ssh -G
	requires = version{8, 4} // SSH_ASKPASS_REQUIRE
	sockets  = version{9, 4} // forwarding to a unix socket without a listener
)

func (v version) before(w version) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

var versionForm = regexp.MustCompile(`OpenSSH_(?:for_Windows_)?([0-9]{1,4})\.([0-9]{1,4})`)

// A program is the system's ssh.
type program struct {
	path    string
	version version
	limit   time.Duration // for ssh to say what is in its configuration
}

// find looks for ssh and asks it for its version.
func find(ctx context.Context, name string, limit time.Duration) (program, error) {
	if name == "" {
		name = "ssh"
	}
	p := program{limit: limit}
	path, err := exec.LookPath(name)
	if err != nil {
		return p, problem(gat.Permanent, "install OpenSSH's client, or write ssh:// in place of openssh://", fmt.Errorf("find the ssh program: %w", err))
	}
	p.path = path
	out, errs, err := p.run(ctx, nil, "-V")
	if err != nil {
		return p, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	m := versionForm.FindStringSubmatch(out + errs)
	if m == nil {
		return p, problem(gat.Permanent, "write ssh:// in place of openssh://", fmt.Errorf("%s is not OpenSSH's: it says %q", path, lastLine(out+errs)))
	}
	p.version.major, _ = strconv.Atoi(m[1])
	p.version.minor, _ = strconv.Atoi(m[2])
	if p.version.before(oldest) {
		return p, problem(gat.Permanent, "write ssh:// in place of openssh://", fmt.Errorf("%s is OpenSSH %v, older than %v", path, p.version, oldest))
	}
	return p, nil
}

// errHung says that ssh did not end.
var errHung = errors.New("it does not end")

// run runs ssh to its end and returns what it prints.
func (p program) run(ctx context.Context, env []string, args ...string) (out, errs string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.limit, errHung)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.WaitDelay = &stdout, &stderr, env, time.Second
	apart(cmd)
	cmd.Cancel = func() error { killAll(cmd); return nil }
	err = cmd.Run()
	switch cause := context.Cause(ctx); {
	case err != nil && cause == errHung:
		err = problem(gat.Transient, "does a command of its configuration (Match exec) hang?", fmt.Errorf("%w within %v", cause, p.limit))
	case err != nil && cause != nil:
		err = cause
	}
	return stdout.String(), stderr.String(), err
}

// settings are what ssh says of a destination, by key in lower case. Of keys that
// come several times the first counts.
type settings map[string]string

// has returns the value of a key, empty when it is not set.
func (s settings) has(key string) string {
	if v := s[key]; v != "none" && v != "0" {
		return v
	}
	return ""
}

// resolve asks ssh what its configuration says of a destination.
func (p program) resolve(ctx context.Context, env, options []string, to address) (settings, error) {
	args := slices.Concat([]string{"-G"}, options, to.args())
	out, errs, err := p.run(ctx, env, args...)
	if err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); ok {
			return nil, problem(gat.Invalid, "ssh reads ~/.ssh/config and /etc/ssh/ssh_config", fmt.Errorf("ssh does not take its configuration: %s", strings.Join(shell.Lines(errs), "; ")))
		}
		return nil, fmt.Errorf("ask ssh for its configuration: %w", err)
	}
	s := settings{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, ok := s[strings.ToLower(key)]; !ok {
			s[strings.ToLower(key)] = value
		}
	}
	return s, nil
}

// configFile writes the configuration of a user whose .ssh is not where ssh looks,
// and returns its path.
func configFile(dir, home string) (string, error) {
	own := filepath.Join(home, ".ssh")
	var b strings.Builder
	fmt.Fprintf(&b, "Include %s\nHost *\nUserKnownHostsFile %s\n", quoted(filepath.Join(own, "config")), quoted(escaped(filepath.Join(own, "known_hosts"))))
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		if file := filepath.Join(own, name); exists(file) {
			fmt.Fprintf(&b, "IdentityFile %s\n", quoted(escaped(file)))
		}
	}
	if runtime.GOOS != "windows" {
		b.WriteString("Include /etc/ssh/ssh_config\n")
	}
	path := filepath.Join(dir, "config")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return "", fmt.Errorf("write the configuration for ssh: %w", err)
	}
	return path, nil
}

// quoted makes a path one word for ssh, which knows no escapes in it.
func quoted(path string) string { return `"` + filepath.ToSlash(path) + `"` }

// escaped is a path where ssh expands what follows a percent sign.
func escaped(path string) string { return strings.ReplaceAll(path, "%", "%%") }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// options are those that hold for every connection we have ssh make:
//
//	-T -a -x                no terminal, no agent or X11 forwarding
//	BatchMode               yes when nobody can be asked
//	ClearAllForwardings     the user's forwardings are for the user's own sessions
//	PermitLocalCommand      no, for the same reason
//	EscapeChar              none: all bytes pass
//	LogLevel                VERBOSE for a master, so that it can be told how it logged in, else INFO
//	ServerAliveInterval     unless the user has set it
//	ConnectTimeout          unless the user has set it
func (b Backend) options(s settings, asks bool, level string) []string {
	o := []string{"-T", "-a", "-x", "-e", "none",
		"-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no", "-o", "LogLevel=" + level}
	if !asks {
		o = append(o, "-o", "BatchMode=yes")
	}
	if alive := s.has("serveraliveinterval"); alive == "" || alive == "300" && s.has("batchmode") == "yes" { // as Debian's ssh has it by itself
		o = append(o, "-o", fmt.Sprintf("ServerAliveInterval=%d", seconds(b.KeepAlive)), "-o", fmt.Sprintf("ServerAliveCountMax=%d", aliveMisses))
	}
	if s.has("connecttimeout") == "" {
		o = append(o, "-o", fmt.Sprintf("ConnectTimeout=%d", seconds(b.Timeout)))
	}
	return o
}

// seconds rounds up, for ssh knows whole seconds only.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// environment is what ssh finds: with a socket it asks over that, else it asks nobody.
func (p program) environment(self, socket string) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasPrefix(name, "SSH_ASKPASS") || name == askVariable || name == relayVariable
	})
	if socket == "" {
		return append(env, "SSH_ASKPASS_REQUIRE=never")
	}
	env = append(env, "SSH_ASKPASS="+self, "SSH_ASKPASS_REQUIRE=force", askVariable+"="+socket)
	if p.version.before(requires) && os.Getenv("DISPLAY") == "" {
		// It asks that way without a terminal, which it has not, and with a
		// display, which nobody will use.
		env = append(env, "DISPLAY=:")
	}
	return env
}

// A problem is an error with a class and a cure, see [shell.Problem].
func problem(class gat.Class, hint string, err error) error { return shell.Problem(class, hint, err) }

func printable(s string) string { return shell.Printable(s) }
