package openssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/zorilla-grid/zorilla/backends/shell"
	"github.com/zorilla-grid/zorilla/gat"
)

// failStatus is ssh's own exit status; a command's may be the same.
const failStatus = 255

// singleLine makes a connection for each session. It breaks with none of them.
type singleLine struct {
	p       program
	to      address
	dir     string
	options []string
	env     []string

	logs atomic.Int64
	once sync.Once
	cut  chan struct{}
}

// openSingle tries whether ssh logs in.
func (b Backend) openSingle(ctx context.Context, p program, t gat.Target, to address) (gat.Login, error) {
	dir, err := newDir()
	if err != nil {
		return nil, err
	}
	n := &singleLine{p: p, to: to, dir: dir, env: p.environment("", ""), cut: make(chan struct{})}
	l, err := n.login(ctx, b, t)
	if err != nil {
		os.RemoveAll(dir)
	}
	return l, err
}

func (n *singleLine) login(ctx context.Context, b Backend, t gat.Target) (gat.Login, error) {
	c := &connector{b: b, p: n.p, t: t, to: n.to}
	if err := c.findConfig(n.dir); err != nil {
		return nil, err
	}
	s, err := n.p.resolve(ctx, n.env, c.options, n.to)
	if err != nil {
		return nil, err
	}
	n.options = slices.Concat(c.options, b.options(s, false, "INFO"), []string{"-S", "none"})
	if !n.p.version.before(version{7, 6}) {
		n.options = append(n.options, "-o", "RemoteCommand=none")
	}
	first := n.session()
	defer first.Close()
	ctx, cancel := context.WithTimeout(ctx, loginSteps*b.Timeout)
	defer cancel()
	unwatch := context.AfterFunc(ctx, func() { first.Close() })
	err = first.Exec("exit", false)
	if err == nil {
		first.CloseWrite()
		first.Wait()
		err = first.Why()
	}
	if !unwatch() {
		err = fmt.Errorf("ssh has not logged in: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, err
	}
	return shell.New(n, shell.Config{URL: t.URL.Redacted(), Host: n.to.String(), Sessions: b.Sessions}), nil
}

// Wait implements [shell.Line].
func (n *singleLine) Wait() error {
	<-n.cut
	os.RemoveAll(n.dir)
	return io.EOF
}

// Cut implements [shell.Line].
func (n *singleLine) Cut() { n.once.Do(func() { close(n.cut) }) }

// Open implements [shell.Line].
func (n *singleLine) Open(context.Context) (shell.Session, error) {
	select {
	case <-n.cut:
		return nil, shell.ErrBroken
	default:
		return n.session(), nil
	}
}

func (n *singleLine) session() *singleSession {
	return &singleSession{line: n, over: make(chan struct{}), log: filepath.Join(n.dir, "log"+strconv.FormatInt(n.logs.Add(1), 10))}
}

// A singleSession is an ssh process.
type singleSession struct {
	line *singleLine
	log  string // where ssh writes its own words
	over chan struct{}

	in, out, errs *os.File // nil until begun

	mu     sync.Mutex
	cmd    *exec.Cmd
	closed bool
	said   string // ssh's own words, when it is over
}

// Exec implements [shell.Session].
func (s *singleSession) Exec(command string, _ bool) error { return s.begin(command) }

// Subsystem implements [shell.Session].
func (s *singleSession) Subsystem(name string) error { return s.begin(name, "-s") }

func (s *singleSession) begin(command string, flags ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.closed = true // unless it begins
	args := slices.Concat(s.line.options, flags, []string{"-E", s.log}, s.line.to.args(), []string{command})
	cmd := exec.Command(s.line.p.path, args...)
	cmd.Env = s.line.env
	apart(cmd)
	var ends []*os.File
	var err error
	for range 3 {
		var r, w *os.File
		if r, w, err = os.Pipe(); err != nil {
			break
		}
		ends = append(ends, r, w)
	}
	if err == nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = ends[0], ends[3], ends[5]
		err = cmd.Start()
	}
	if err != nil {
		for _, f := range ends {
			f.Close()
		}
		close(s.over)
		return fmt.Errorf("start %s: %w", s.line.p.path, err)
	}
	ends[0].Close()
	ends[3].Close()
	ends[5].Close()
	s.in, s.out, s.errs, s.cmd, s.closed = ends[1], ends[2], ends[4], cmd, false
	go func() { // ends with ssh
		cmd.Wait()
		said, _ := os.ReadFile(s.log)
		os.Remove(s.log)
		s.mu.Lock()
		s.said = string(said[max(0, len(said)-keptText):])
		s.mu.Unlock()
		close(s.over)
	}()
	return nil
}

// Wait implements [shell.Session].
func (s *singleSession) Wait() { <-s.over }

// Status implements [shell.Session].
func (s *singleSession) Status() (int, bool) {
	select {
	case <-s.over:
	default:
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return 0, false
	}
	status := s.cmd.ProcessState.ExitCode()
	return status, status >= 0 && (status != failStatus || s.said == "")
}

// Why implements [shell.Session].
func (s *singleSession) Why() error {
	<-s.over
	if _, ok := s.Status(); ok || s.cmd == nil || s.said == "" {
		return nil
	}
	return explain(s.said, s.line.to, false)
}

// Kill implements [shell.Session]: ssh passes no signals on.
func (s *singleSession) Kill() bool { return false }

// Close implements [shell.Session].
func (s *singleSession) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.cmd == nil {
		close(s.over)
		return nil
	}
	s.in.Close()
	s.out.Close()
	s.errs.Close()
	s.cmd.Process.Kill()
	return nil
}

func (s *singleSession) Read(p []byte) (int, error) { return end(s.out.Read(p)) }

func (s *singleSession) Stderr() io.Reader { return singleStderr{s} }

type singleStderr struct{ s *singleSession }

func (r singleStderr) Read(p []byte) (int, error) { return end(r.s.errs.Read(p)) }

func (s *singleSession) Write(p []byte) (int, error) {
	n, err := s.in.Write(p)
	if err != nil {
		err = io.EOF // as of a channel that is closed
	}
	return n, err
}

func (s *singleSession) CloseWrite() error {
	if err := s.in.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
