package openssh

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/zorilla-grid/zorilla/backends/shell"
	"github.com/zorilla-grid/zorilla/gat"
)

const (
	defaultTimeout   = 10 * time.Second
	defaultKeepAlive = 15 * time.Second
	defaultSessions  = 8

	aliveMisses = 3 // signs of life of the server that may be missing
	loginSteps  = 4 // times the timeout for a whole login, which may go through several hosts
)

// Backend logs in with the system's ssh. The zero value is ready to use, asks
// nobody and logs in to no inner hosts; it is safe for concurrent use.
type Backend struct {
	// Program is the ssh to use, by name or path. Empty means ssh.
	Program string

	// Self is the path of a program that calls [Role] first of all: ssh starts
	// it to have its questions asked, and to speak over connections that we make. Empty
	// means that nobody can be asked, and that inner hosts cannot be reached.
	Self string

	// Timeout bounds each step of making a connection, of which there may be four,
	// unless the configuration sets ConnectTimeout. The time a user takes
	// to answer a question is not counted. Zero means 10 s.
	Timeout time.Duration

	// KeepAlive is how often the server is asked for a sign of life, unless
	// the configuration sets ServerAliveInterval; three missing ones end the
	// login. Whole seconds. Zero means 15 s.
	KeepAlive time.Duration

	// Sessions is how many commands and file transfers one login runs at once;
	// more wait. Long-lived commands count. Servers allow 10 by default.
	// Zero means 8.
	Sessions int

	// Single makes each command a connection and an authentication of its own,
	// as it is anyway where the system's ssh cannot share connections
	// (Windows). Nobody is asked anything then, and there are no inner hosts and
	// no forwarding.
	Single bool
}

// Schemes returns "openssh".
func (Backend) Schemes() []string { return []string{"openssh"} }

// Check reports what is wrong with u.
func (Backend) Check(u *url.URL) error {
	if _, err := parseURL(u); err != nil {
		e := &gat.Error{Class: gat.Invalid, Op: "read", Err: err}
		if u != nil {
			e.URL = u.Redacted()
		}
		return e
	}
	return nil
}

// Open logs in as ssh does. If the user has an open ControlMaster for the host, its
// connection is used and left as it is. Else one connection is made, which ends with the
// login, or with this process. The login has the abilities [gat.Runner], [gat.Files],
// [gat.Forwarder] and [gat.Inward], the last two not with Single.
func (b Backend) Open(ctx context.Context, t gat.Target) (gat.Login, error) {
	if err := b.Check(t.URL); err != nil {
		return nil, err
	}
	to, _ := parseURL(t.URL)
	if b.Timeout <= 0 {
		b.Timeout = defaultTimeout
	}
	if b.KeepAlive <= 0 {
		b.KeepAlive = defaultKeepAlive
	}
	if b.Sessions <= 0 {
		b.Sessions = defaultSessions
	}
	l, err := b.open(ctx, t, to)
	if err != nil {
		return nil, shell.Classified("log in", t.URL.Redacted(), err)
	}
	return l, nil
}

func (b Backend) open(ctx context.Context, t gat.Target, to address) (gat.Login, error) {
	p, err := find(ctx, b.Program, b.Timeout)
	if err != nil {
		return nil, err
	}
	if b.Single || !shares {
		return b.openSingle(ctx, p, t, to)
	}
	c := &connector{b: b, p: p, t: t, to: to}
	n, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	return newLogin(c, t.URL.Redacted(), n), nil
}

// A connector makes the connections of one login.
type connector struct {
	b       Backend // with its defaults filled in
	p       program
	t       gat.Target
	to      address
	options []string // where the configuration is

	dial  gat.DialFunc // how an inner host is reached, else nil
	fresh bool         // a connection of the user's is not looked for

	user string // that ssh logs in as
}

// connect finds a connection that is open, or makes one.
func (c *connector) connect(ctx context.Context) (*line, error) {
	dir, err := newDir()
	if err != nil {
		return nil, err
	}
	m := &master{dir: dir, to: c.to, said: &text{}, done: make(chan struct{})}
	n, err := c.connectIn(ctx, m)
	if err != nil || n.own == nil {
		m.end()
	}
	return n, err
}

func (c *connector) connectIn(ctx context.Context, m *master) (*line, error) {
	if err := c.findConfig(m.dir); err != nil {
		return nil, err
	}
	env := c.p.environment("", "")
	s, err := c.p.resolve(ctx, env, c.options, c.to)
	if err != nil {
		return nil, err
	}
	c.user = s["user"]
	if path := s.has("controlpath"); path != "" && !c.fresh {
		if n := c.borrow(ctx, path); n != nil {
			n.port = s["port"]
			return n, nil
		}
	}
	if c.t.Ask != nil && c.b.Self != "" {
		if m.asks, err = newAsks(ctx, m.dir, c.t); err != nil {
			return nil, err
		}
		env = c.p.environment(c.b.Self, m.asks.listener.Addr().String())
	}
	args := append(c.options, "-N", "-S", escaped(m.socket()), "-o", "ControlMaster=yes", "-o", "ControlPersist=no")
	args = append(args, c.b.options(s, m.asks != nil, "VERBOSE")...)
	var r *relayer
	if dial := c.dialer(s); dial != nil {
		if r, err = newRelayer(ctx, m.dir, dial, s["hostname"], s["port"]); err != nil {
			return nil, err
		}
		defer r.close()
		args = append(args, "-o", "ProxyCommand="+r.command(c.b.Self))
	}
	if err := m.start(c.p.path, append(args, c.to.args()...), env); err != nil {
		return nil, err
	}
	w, err := m.await(ctx, loginSteps*c.b.Timeout)
	if err != nil {
		if r != nil && r.failed() != nil && ctx.Err() == nil {
			return nil, r.failed()
		}
		return nil, err
	}
	if m.asks != nil {
		m.asks.close()
	}
	again := c.again
	if m.prompted() {
		again = nil // he would be asked once more
	}
	return newLine(m.socket(), w, m, c.b.Sessions, again), nil
}

// again makes another connection like the first, for which nobody is asked anything.
func (c *connector) again(ctx context.Context) (*line, error) {
	more := *c
	more.t.Ask, more.options, more.fresh = nil, nil, true
	return more.connect(ctx)
}

// findConfig sets the options that name the configuration, when the user's .ssh
// is not where ssh looks for it.
func (c *connector) findConfig(dir string) error {
	if c.t.Home == "" || c.options != nil {
		return nil
	}
	if h, err := os.UserHomeDir(); err == nil && filepath.Clean(h) == filepath.Clean(c.t.Home) {
		return nil
	}
	path, err := configFile(dir, c.t.Home)
	if err == nil {
		c.options = []string{"-F", path}
	}
	return err
}

// borrow returns the connection of a master of the user's, or nil when there is none that
// is of use. One that does not get an answer from its server is none.
func (c *connector) borrow(ctx context.Context, path string) *line {
	w, err := dialMux(ctx, path)
	if err != nil {
		return nil
	}
	if w.alive() == nil {
		n := newLine(path, w, nil, 0, nil)
		if n.answers(ctx, c.b.Timeout) {
			// Whoever opened it may have given a password or a code, which only he
			// can do again.
			if c.t.Prompted != nil {
				c.t.Prompted(ctx)
			}
			return n
		}
	}
	w.conn.Close()
	return nil
}

// answers runs the shortest of commands. That a server has no more room for it is an answer too.
func (n *line) answers(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m, err := dialMux(ctx, n.path)
	if err != nil {
		return false
	}
	s := &session{ctx: ctx, line: n, mux: m, over: make(chan struct{})}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.Exec("exit", false); err != nil {
		return errors.Is(err, shell.ErrRefused)
	}
	s.Wait()
	return ctx.Err() == nil
}

// dialer is how to make the connection when ssh is not to make it itself, or nil.
// What the configuration says of a way to the host comes before a dialer of
// the caller's.
func (c *connector) dialer(s settings) gat.DialFunc {
	if c.dial != nil || c.b.Self == "" || s.has("proxycommand") != "" || s.has("proxyjump") != "" {
		return c.dial
	}
	return c.t.Dial
}

var errNoSelf = fmt.Errorf("%w: nothing here can connect ssh to it", gat.ErrCannot)

var _ gat.Backend = Backend{}
