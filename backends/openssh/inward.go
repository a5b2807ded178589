package openssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/backends/shell"
	"github.com/zorilla-grid/zorilla/gat"
)

// A login is one connection that is shared, and everything done over it.
type login struct {
	*shell.Login
	c    *connector
	line *line
}

func newLogin(c *connector, url string, n *line) *login {
	return &login{shell.New(n, shell.Config{URL: url, Host: c.to.String(), Sessions: c.b.Sessions}), c, n}
}

// How implements [gat.Described].
func (l *login) How() string {
	if l.line.own == nil {
		return "the open ControlMaster"
	}
	// The last is that of the host itself.
	all := authenticated.FindAllStringSubmatch(l.line.own.said.String(), -1)
	if len(all) == 0 {
		return "the system's ssh"
	}
	return all[len(all)-1][1] + ", by the system's ssh"
}

// authenticated is how ssh tells by what it has logged in.
var authenticated = regexp.MustCompile(`(?m)^Authenticated to .* using "([a-z0-9-]{1,40})"`)

// Forward implements [gat.Forwarder]. To unix sockets OpenSSH before 9.4 connects only
// by listening here too, which would not tell whether the host does; the error then
// matches [gat.ErrCannot].
func (l *login) Forward(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := l.forward(ctx, network, address)
	if err != nil {
		return nil, l.Fault("forward", l.Lost(err))
	}
	return conn, nil
}

// forward has the master connect through the host, which is also a [gat.DialFunc].
func (l *login) forward(ctx context.Context, network, address string) (net.Conn, error) {
	host, port := address, uint32(muxUnix)
	switch network {
	case "unix":
		if l.c.p.version.before(sockets) {
			return nil, problem(gat.Permanent, "", fmt.Errorf("connect to %s: %w: OpenSSH %v connects to no sockets, %v does", address, gat.ErrCannot, l.c.p.version, sockets))
		}
	case "tcp":
		h, p, err := net.SplitHostPort(address)
		if err == nil {
			var n uint64
			n, err = strconv.ParseUint(p, 10, 16)
			host, port = h, uint32(n)
		}
		if err != nil {
			return nil, problem(gat.Invalid, "", fmt.Errorf("connect to %s: %w", address, err))
		}
	default:
		return nil, problem(gat.Invalid, "", fmt.Errorf("connect to %s: network %q is neither tcp nor unix", address, network))
	}
	conn, err := l.line.forward(ctx, host, port)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	conn.far = address
	return conn, nil
}

// forward asks the master for a connection to a host and port from the far end.
func (n *line) forward(ctx context.Context, host string, port uint32) (*pipes, error) {
	m, err := n.dial(ctx)
	if err != nil {
		return nil, err
	}
	mark := 0
	if n.own != nil {
		mark = n.own.said.mark()
	}
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		m.conn.Close()
		return nil, err
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		m.conn.Close()
		theirIn.Close()
		ourOut.Close()
		return nil, err
	}
	conn := &pipes{mux: m, in: ourIn, out: ourOut}
	unwatch := context.AfterFunc(ctx, func() { m.conn.Close() })
	if err = m.send(muxNewStdio, uint32(0), "", host, port); err == nil {
		err = m.pass(theirIn, theirOut)
	}
	theirIn.Close()
	theirOut.Close()
	if err == nil {
		err = m.opened()
	}
	if !unwatch() {
		err = context.Cause(ctx)
	}
	if err == nil {
		return conn, nil
	}
	conn.Close()
	switch r, ok := errors.AsType[*refusal](err); {
	case ctx.Err() != nil:
		return nil, err
	case !ok:
		n.Cut()
		return nil, fmt.Errorf("%w: %w", shell.ErrBroken, err)
	default:
		return nil, n.refused(ctx, mark, r)
	}
}

// refused says why the far end would not connect. The server gave the reason to the
// master, which writes it down; one of the user's does that elsewhere.
func (n *line) refused(ctx context.Context, mark int, r *refusal) error {
	said := ""
	if n.own != nil {
		const failed = "open failed: "
		tick := time.NewTicker(pollTime)
		defer tick.Stop()
		for end := time.Now().Add(time.Second); said == "" && ctx.Err() == nil && time.Now().Before(end); <-tick.C {
			if _, after, ok := strings.Cut(n.own.said.since(mark), failed); ok {
				said, _, _ = strings.Cut(after, "\n")
			}
		}
	}
	lower := strings.ToLower(said)
	err := fmt.Errorf("%w: %s", r, printable(strings.TrimSpace(said)))
	switch {
	case said == "" && n.forwards(ctx):
		return problem(gat.Transient, "is it the right name and port, and does a server run there?", r)
	case said == "":
		return problem(gat.Denied, "its sshd_config may say AllowTcpForwarding no or PermitOpen", fmt.Errorf("%w: %w", gat.ErrForwarding, r))
	case strings.Contains(lower, "prohibited"), strings.Contains(lower, "unknown channel type"):
		return problem(gat.Denied, "its sshd_config says AllowTcpForwarding no or PermitOpen", fmt.Errorf("%w: %w", gat.ErrForwarding, err))
	case strings.Contains(lower, "not known"), strings.Contains(lower, "no address"):
		return problem(gat.NotFound, "the name must be known on the host in between", err)
	case strings.Contains(lower, "refused"):
		return problem(gat.Transient, "is it the right port, and does a server run there?", err)
	}
	return problem(gat.Transient, "", err)
}

// forwards reports whether a connection to where the server itself listens can be had,
// which tells whether it forwards at all.
func (n *line) forwards(ctx context.Context) bool {
	m, err := n.dial(ctx)
	if err != nil {
		return false
	}
	defer m.conn.Close()
	defer context.AfterFunc(ctx, func() { m.conn.Close() })()
	nothing, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer nothing.Close()
	port, _ := strconv.ParseUint(n.port, 10, 16)
	if err = m.send(muxNewStdio, uint32(0), "", "localhost", uint32(port)); err == nil {
		err = m.pass(nothing, nothing)
	}
	return err == nil && m.opened() == nil
}

// Inner logs in to a host that only this login's host can reach: by the system's
// ssh, as its configuration says for that name, over a connection that dial or this
// login's host makes. The user is the same unless host names another.
func (l *login) Inner(ctx context.Context, host string, dial gat.DialFunc) (gat.Login, error) {
	in, err := l.inner(ctx, host, dial)
	if err != nil {
		select {
		case <-l.Done():
			err = l.Gone()
		default:
		}
		return nil, l.Fault("log in", err)
	}
	return in, nil
}

func (l *login) inner(ctx context.Context, host string, dial gat.DialFunc) (gat.Login, error) {
	if l.c.b.Self == "" {
		return nil, problem(gat.Permanent, "", fmt.Errorf("log in to %s: %w", host, errNoSelf))
	}
	u, err := url.Parse("openssh://" + host)
	var to address
	if err == nil {
		to, err = parseURL(u)
	}
	if err != nil {
		return nil, problem(gat.Invalid, "write name or user@name:port", fmt.Errorf("inner host %q: %w", host, err))
	}
	if to.user == "" {
		to.user = l.c.user
	}
	if dial == nil {
		dial = l.forward
	}
	// The outer login's file of configuration is gone with its directory.
	c := &connector{b: l.c.b, p: l.c.p, t: l.c.t, to: to, dial: dial, fresh: true}
	n, err := c.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s (through %s): %w", to, l.c.to, err)
	}
	return newLogin(c, u.String(), n), nil
}

// A relayer hands the connection that dial makes to the one program that ssh starts
// to have one.
type relayer struct {
	listener net.Listener

	mu  sync.Mutex
	err error
}

func newRelayer(ctx context.Context, dir string, dial gat.DialFunc, host, port string) (*relayer, error) {
	listener, err := net.Listen("unix", filepath.Join(dir, "r"))
	if err != nil {
		return nil, fmt.Errorf("listen for ssh: %w", err)
	}
	r := &relayer{listener: listener}
	go func() { // ends with the listener, or with the connection
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		far, err := dial(ctx, "tcp", net.JoinHostPort(host, port))
		if err != nil {
			r.mu.Lock()
			r.err = err
			r.mu.Unlock()
			return
		}
		defer far.Close()
		back := make(chan struct{})
		go func() {
			defer close(back)
			io.Copy(conn, far)
			conn.Close()
		}()
		io.Copy(far, conn)
		far.Close()
		<-back
	}()
	return r, nil
}

// command is the ProxyCommand that uses the relayer.
func (r *relayer) command(self string) string {
	c := "/usr/bin/env " + relayVariable + "=" + shell.Quote(r.listener.Addr().String()) + " " + shell.Quote(self)
	return escaped(c)
}

// failed is why there is no connection.
func (r *relayer) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *relayer) close() { r.listener.Close() }

// pipes are a connection that a master makes, over two pipes.
type pipes struct {
	mux     *mux
	in, out *os.File
	far     string
}

func (p *pipes) Read(b []byte) (int, error)  { return p.in.Read(b) }
func (p *pipes) Write(b []byte) (int, error) { return p.out.Write(b) }

// CloseWrite ends the outgoing half.
func (p *pipes) CloseWrite() error { return p.out.Close() }

// Close ends both halves.
func (p *pipes) Close() error {
	p.mux.conn.Close()
	p.out.Close()
	return p.in.Close()
}

func (p *pipes) LocalAddr() net.Addr  { return farAddr("ssh") }
func (p *pipes) RemoteAddr() net.Addr { return farAddr(p.far) }

func (p *pipes) SetDeadline(t time.Time) error {
	return errors.Join(p.in.SetReadDeadline(t), p.out.SetWriteDeadline(t))
}
func (p *pipes) SetReadDeadline(t time.Time) error  { return p.in.SetReadDeadline(t) }
func (p *pipes) SetWriteDeadline(t time.Time) error { return p.out.SetWriteDeadline(t) }

// farAddr is an address as the far end knows it.
type farAddr string

func (farAddr) Network() string  { return "ssh" }
func (a farAddr) String() string { return string(a) }

var (
	_ gat.Login     = (*login)(nil)
	_ gat.Runner    = (*login)(nil)
	_ gat.Files     = (*login)(nil)
	_ gat.Forwarder = (*login)(nil)
	_ gat.Inward    = (*login)(nil)
	_ gat.Described = (*login)(nil)
)
