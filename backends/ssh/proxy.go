package ssh

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

const (
	maxProxySaid = 4 << 10     // bytes kept of what a ProxyCommand prints on standard error, the last ones
	proxyEnd     = time.Second // for a command whose connection broke to end by itself and say why
)

// A proxyConn is a connection over the standard input and output of the user's
// ProxyCommand. The command has no terminal, and it and all that it started end with
// the connection.
type proxyConn struct {
	io.WriteCloser
	io.Reader
	command string
	cmd     *exec.Cmd
	once    sync.Once
	ended   chan struct{} // closed when the command has

	mu   sync.Mutex
	said []byte
	err  error // how the command ended, valid after ended
}

// startProxy starts a ProxyCommand as ssh does: by the user's shell, as `exec COMMAND`.
// It is the one text that a shell here ever sees, the user's own.
func startProxy(command string) (*proxyConn, error) {
	p := &proxyConn{command: command, cmd: shellCommand(command), ended: make(chan struct{})}
	fail := func(err error) (*proxyConn, error) {
		return nil, problem(gat.Permanent, "", fmt.Errorf("start the ProxyCommand `%s`: %w", printable(command), err))
	}
	var err error
	if p.WriteCloser, err = p.cmd.StdinPipe(); err != nil {
		return fail(err)
	}
	// Not StdoutPipe: what was printed can be read after the command has ended.
	r, w, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	p.Reader, p.cmd.Stdout = r, w
	p.cmd.Stderr = (*proxyStderr)(p)
	p.cmd.WaitDelay = proxyEnd
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return fail(err)
	}
	go func() { // ends when the command is killed at the latest
		err := p.cmd.Wait()
		killGroup(p.cmd) // what it left behind
		p.mu.Lock()
		p.err = err
		close(p.ended)
		p.mu.Unlock()
	}()
	return p, nil
}

// Close ends the command with all it started.
func (p *proxyConn) Close() error {
	p.once.Do(func() {
		p.WriteCloser.Close()
		p.mu.Lock()
		select {
		case <-p.ended: // its number may be another's by now
		default:
			killGroup(p.cmd)
		}
		p.mu.Unlock()
		p.Reader.(io.Closer).Close()
	})
	return nil
}

// failure says why no SSH connection came about through the command.
func (p *proxyConn) failure(h *hop, timedOut bool, err error) error {
	at := fmt.Sprintf("greet %s through its ProxyCommand `%s`", h.addr(), printable(p.command))
	said := func() string {
		p.mu.Lock()
		defer p.mu.Unlock()
		if s := strings.Join(lines(string(p.said)), "; "); s != "" {
			return ", and said: " + s
		}
		return ""
	}
	if timedOut {
		return problem(gat.Transient, "does the command end when it is typed in a terminal? It must not ask anything: it has no terminal",
			fmt.Errorf("%s: no SSH greeting and key exchange within %v%s: %w", at, h.timeout, said(), errTimeout))
	}
	select {
	case <-p.ended:
	case <-time.After(proxyEnd):
	}
	p.mu.Lock()
	end := p.err
	p.mu.Unlock()
	exit, ok := errors.AsType[*exec.ExitError](end)
	switch {
	case ok && exit.ExitCode() >= 0:
		class, hint := gat.Transient, "type the command in a terminal to see more"
		if code := exit.ExitCode(); code == 126 || code == 127 {
			class, hint = gat.Permanent, "is the command installed?"
		}
		return problem(class, hint, fmt.Errorf("%s: it ended with status %d%s: %w", at, exit.ExitCode(), said(), err))
	case broken(err) || errors.Is(err, os.ErrClosed):
		return problem(gat.Transient, "type the command in a terminal to see more", fmt.Errorf("%s: it closed the connection%s: %w", at, said(), err))
	}
	return problem(gat.Permanent, "the command must connect to an SSH server and print nothing of its own", fmt.Errorf("%s: what answers is no SSH server%s: %w", at, said(), err))
}

// proxyStderr keeps the end of what a ProxyCommand prints on standard error.
type proxyStderr proxyConn

func (p *proxyStderr) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = append(p.said, b...)
	if over := len(p.said) - maxProxySaid; over > 0 {
		p.said = append(p.said[:0], p.said[over:]...)
	}
	return len(b), nil
}

func (p *proxyConn) LocalAddr() net.Addr  { return proxyAddr{} }
func (p *proxyConn) RemoteAddr() net.Addr { return proxyAddr{} }

var errNoDeadlines = errors.New("a ProxyCommand has no deadlines")

func (p *proxyConn) SetDeadline(time.Time) error      { return errNoDeadlines }
func (p *proxyConn) SetReadDeadline(time.Time) error  { return errNoDeadlines }
func (p *proxyConn) SetWriteDeadline(time.Time) error { return errNoDeadlines }

// proxyAddr is where a ProxyCommand leads.
type proxyAddr struct{}

func (proxyAddr) Network() string { return "proxy" }
func (proxyAddr) String() string  { return "ProxyCommand" }
