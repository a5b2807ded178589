package sshconfig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unicode"
)

const (
	defaultLimit = 10 * time.Second
	maxOutput    = 1 << 20 // bytes of what ssh -G prints, and of a configuration file
	maxComplaint = 4 << 10 // bytes kept of what it complains of
)

// A Resolver resolves configurations. The zero value is what [Resolve] uses; it
// is safe for concurrent use.
type Resolver struct {
	// Program is the path of ssh; "none" means to read the files without it. Empty
	// means the ssh in PATH, if there is one.
	Program string

	// Limit bounds one resolution, Match exec commands and name lookups included.
	// Zero means 10 s.
	Limit time.Duration
}

// Resolve says how ssh would reach host, with home as the directory that holds the
// user's .ssh; an empty one means $HOME. A user or port that is not empty wins
// over the configuration, as on ssh's command line.
//
// When home is not the one the user's account has, only its own .ssh/config is read and
// the machine's configuration is not, as with `ssh -F`. Errors are of type [*Error].
func Resolve(ctx context.Context, home, host, user, port string) (Host, error) {
	return Resolver{}.Resolve(ctx, home, host, user, port)
}

// Resolve is as the function of that name.
func (r Resolver) Resolve(ctx context.Context, home, host, user, port string) (Host, error) {
	if home == "" {
		h, err := os.UserHomeDir()
		if err != nil {
			return Host{}, &Error{Err: fmt.Errorf("find the home directory that holds .ssh: %w", err)}
		}
		home = h
	}
	q := query{home: filepath.Clean(home), host: host, user: user, port: port}
	q.own = q.home == accountHome()
	if err := q.check(); err != nil {
		return Host{}, &Error{Err: err}
	}
	if r.Limit <= 0 {
		r.Limit = defaultLimit
	}
	program := r.Program
	if program == "" {
		program, _ = exec.LookPath("ssh")
	}
	if program != "" && program != "none" {
		h, err := q.ask(ctx, program, r.Limit)
		if !errors.Is(err, errTooOld) {
			return h, err
		}
	}
	return q.read()
}

// A query is what is asked about one host.
type query struct {
	home string
	own  bool // home is that of the user's account
	host string
	user string // empty means as configured
	port string // likewise
}

// config is the path of the user's configuration.
func (q query) config() string { return filepath.Join(q.home, ".ssh", "config") }

// check refuses what could be taken for an option, or mean something to a shell
// that a ProxyCommand or Match exec hands it to. ssh does the same.
func (q query) check() error {
	for what, s := range map[string]string{"host": q.host, "user": q.user} {
		if strings.HasPrefix(s, "-") || len(s) > 1024 || strings.IndexFunc(s, func(r rune) bool {
			return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("'`\"$\\;&<>|(){}*?!~#", r)
		}) >= 0 {
			return fmt.Errorf("the %s %q has characters no %s has", what, s, what)
		}
	}
	if q.host == "" {
		return errors.New("the host is missing")
	}
	return nil
}
