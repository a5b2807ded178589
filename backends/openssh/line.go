package openssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/zorilla-grid/zorilla/backends/shell"
	"github.com/zorilla-grid/zorilla/gat"
)

// A line is a connection of an ssh process, the master, that lets us use it.
type line struct {
	path  string // the master's socket
	watch *mux   // ends with the master
	own   *master
	once  sync.Once
}

// Wait implements [shell.Line]: the master keeps a conversation open as long as
// it lives, and one with nothing said in it keeps a master of the user's from
// ending for want of use.
func (n *line) Wait() error {
	io.Copy(io.Discard, n.watch.conn)
	if n.own == nil {
		n.Cut()
		return errors.New("the ControlMaster that was open has ended")
	}
	n.own.end()
	return n.own.why()
}

// Cut implements [shell.Line].
func (n *line) Cut() {
	n.once.Do(func() {
		n.watch.conn.Close()
		if n.own != nil {
			n.own.stop()
		}
	})
}

// Open implements [shell.Line].
func (n *line) Open(ctx context.Context) (shell.Session, error) {
	m, err := n.dial(ctx)
	if err != nil {
		return nil, err
	}
	return &session{line: n, mux: m, over: make(chan struct{})}, nil
}

// dial starts another conversation with the master. A master that does not
// want one is of no use any more.
func (n *line) dial(ctx context.Context) (*mux, error) {
	m, err := dialMux(ctx, n.path)
	if err == nil {
		return m, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	n.Cut()
	return nil, fmt.Errorf("%w: %w", shell.ErrBroken, err)
}

// A session is one conversation with the master and the pipes it reads and
// writes for us.
type session struct {
	line *line
	mux  *mux
	over chan struct{} // closed when the master ended the conversation, or never began it

	in, out, errs *os.File // nil until begun

	mu     sync.Mutex
	begun  bool
	closed bool
	status int
	exited bool
}

// Exec implements [shell.Session].
func (s *session) Exec(command string, _ bool) error { return s.begin(command, 0) }

// Subsystem implements [shell.Session].
func (s *session) Subsystem(name string) error { return s.begin(name, 1) }

func (s *session) begin(command string, subsystem uint32) error {
	theirs, err := s.pipes()
	if err != nil {
		return err
	}
	const noEscape = 0xffffffff
	var none uint32 // terminal, X11 and agent
	err = s.mux.send(muxNewSession, uint32(0), "", none, none, none, subsystem, uint32(noEscape), "", command)
	if err == nil {
		err = s.mux.pass(theirs...)
	}
	for _, f := range theirs {
		f.Close()
	}
	if err == nil {
		err = s.mux.opened()
	}
	if err == nil {
		go s.follow() // ends with the conversation
		return nil
	}
	close(s.over)
	s.Close()
	if r, ok := errors.AsType[*refusal](err); ok {
		if r.denied {
			return shell.Problem(gat.Denied, "its owner was asked, by ControlMaster ask in the configuration", fmt.Errorf("the open connection may not be used: %w", r))
		}
		return fmt.Errorf("%w: %w", shell.ErrRefused, r)
	}
	return fmt.Errorf("%w: %w", shell.ErrBroken, s.line.lost(err))
}

// lost ends a line whose master broke off, in case it is still there.
func (n *line) lost(err error) error {
	n.Cut()
	return err
}

// pipes makes the session's pipes and returns the ends that are the master's.
func (s *session) pipes() (theirs []*os.File, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	var ends []*os.File
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			for _, f := range ends {
				f.Close()
			}
			s.closed = true
			s.mux.conn.Close()
			close(s.over)
			return nil, fmt.Errorf("open a session: %w", err)
		}
		ends = append(ends, r, w)
	}
	s.in, s.out, s.errs, s.begun = ends[1], ends[2], ends[4], true
	return []*os.File{ends[0], ends[3], ends[5]}, nil
}

// follow takes the master's word on how the command ended.
func (s *session) follow() {
	defer close(s.over)
	defer s.mux.conn.Close()
	for {
		kind, body, err := s.mux.receive()
		if err != nil {
			return
		}
		if kind == muxExit {
			body.number() // the session's
			s.mu.Lock()
			s.status, s.exited = int(body.number()), true
			s.mu.Unlock()
		}
	}
}

// Wait implements [shell.Session].
func (s *session) Wait() { <-s.over }

// Status implements [shell.Session].
func (s *session) Status() (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, s.exited
}

// Why implements [shell.Session].
func (s *session) Why() error { return nil }

// Kill implements [shell.Session]: masters pass no signals on.
func (s *session) Kill() bool { return false }

// Close implements [shell.Session]: the master closes its side when the
// conversation ends.
func (s *session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.mux.conn.Close()
	if !s.begun {
		close(s.over)
		return nil
	}
	s.in.Close()
	s.out.Close()
	s.errs.Close()
	return nil
}

func (s *session) Read(p []byte) (int, error) { return end(s.out.Read(p)) }

func (s *session) Stderr() io.Reader { return stderr{s} }

type stderr struct{ s *session }

func (r stderr) Read(p []byte) (int, error) { return end(r.s.errs.Read(p)) }

func (s *session) Write(p []byte) (int, error) {
	n, err := s.in.Write(p)
	if err != nil {
		err = io.EOF // as of a channel that is closed
	}
	return n, err
}

func (s *session) CloseWrite() error {
	if err := s.in.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// end makes a pipe that is closed one that has nothing more.
func end(n int, err error) (int, error) {
	if errors.Is(err, os.ErrClosed) {
		err = io.EOF
	}
	return n, err
}
