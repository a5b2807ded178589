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
	port  string // where the server listens
	watch *mux   // ends with the master
	own   *master
	life  context.Context // ends when the line is cut
	cut   context.CancelFunc
	once  sync.Once

	spares *shell.Spares[*line]

	mu   sync.Mutex
	over bool
	wg   sync.WaitGroup // of the spares
}

// newLine makes a line of a master. Further ones are made by again, nil when none may be.
func newLine(path string, watch *mux, own *master, most int, again func(context.Context) (*line, error)) *line {
	n := &line{path: path, watch: watch, own: own}
	n.life, n.cut = context.WithCancel(context.Background())
	var spare func(context.Context) (*line, error)
	if again != nil {
		spare = func(ctx context.Context) (*line, error) { return n.further(ctx, again) }
	}
	n.spares = shell.NewSpares(most, spare, (*line).Cut)
	return n
}

// further makes a line that ends with this one.
func (n *line) further(ctx context.Context, again func(context.Context) (*line, error)) (*line, error) {
	n.mu.Lock()
	if n.over {
		n.mu.Unlock()
		return nil, shell.ErrBroken
	}
	n.wg.Add(1)
	n.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.life, cancel)()
	more, err := again(ctx)
	if err != nil {
		n.wg.Done()
		return nil, err
	}
	go func() { // ends with the connection, which Wait waits for
		defer n.wg.Done()
		more.Wait()
	}()
	return more, nil
}

// Wait implements [shell.Line]: the master keeps a conversation open as long as
// it lives, and one with nothing said in it keeps a master of the user's from
// ending for want of use.
func (n *line) Wait() error {
	io.Copy(io.Discard, n.watch.conn)
	n.Cut()
	n.mu.Lock()
	n.over = true
	n.mu.Unlock()
	n.wg.Wait()
	if n.own == nil {
		return errors.New("the ControlMaster that was open has ended")
	}
	n.own.end()
	return n.own.why()
}

// Cut implements [shell.Line].
func (n *line) Cut() {
	n.once.Do(func() {
		n.cut()
		n.spares.Close()
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
	return &session{ctx: ctx, line: n, mux: m, over: make(chan struct{})}, nil
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
	ctx  context.Context // of the call that opens it, which it outlives
	line *line
	over chan struct{} // closed when the master ended the conversation, or never began it

	finished sync.Once

	in, out, errs *os.File // nil until begun

	mu     sync.Mutex
	mux    *mux
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
	m := s.mux
	err := s.request(m, command, subsystem)
	if err == nil {
		s.line.spares.Served()
	} else if errors.Is(err, shell.ErrRefused) {
		err = s.line.spares.Use(s.ctx, err, func(spare *line) error {
			if m, err = spare.dial(s.ctx); err != nil {
				return err
			}
			return s.request(m, command, subsystem)
		})
	} else if errors.Is(err, shell.ErrBroken) {
		s.line.Cut() // in case the master is still there
	}
	if err != nil {
		s.abandon()
		return err
	}
	go s.follow(m) // ends with the conversation
	return nil
}

// request asks a master for the session.
func (s *session) request(m *mux, command string, subsystem uint32) error {
	theirs, err := s.pipes(m)
	if err != nil {
		return err
	}
	const noEscape = 0xffffffff
	var none uint32 // terminal, X11 and agent
	err = m.send(muxNewSession, uint32(0), "", none, none, none, subsystem, uint32(noEscape), "", command)
	if err == nil {
		err = m.pass(theirs...)
	}
	for _, f := range theirs {
		f.Close()
	}
	if err == nil {
		err = m.opened()
	}
	if err == nil {
		return nil
	}
	m.conn.Close()
	r, ok := errors.AsType[*refusal](err)
	switch {
	case s.isClosed():
		return net.ErrClosed // by us, which is no sign of the master
	case !ok:
		return fmt.Errorf("%w: %w", shell.ErrBroken, err)
	case r.denied:
		return shell.Problem(gat.Denied, "its owner was asked, by ControlMaster ask in the configuration", fmt.Errorf("the open connection may not be used: %w", r))
	}
	return fmt.Errorf("%w: %w", shell.ErrRefused, r)
}

// pipes makes the session's pipes for a conversation, in place of earlier ones,
// and returns the ends that are the master's.
func (s *session) pipes(m *mux) (theirs []*os.File, err error) {
	var ends []*os.File
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ends)
			m.conn.Close()
			return nil, fmt.Errorf("open a session: %w", err)
		}
		ends = append(ends, r, w)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		closeAll(ends)
		m.conn.Close()
		return nil, net.ErrClosed
	}
	if s.begun {
		closeAll([]*os.File{s.in, s.out, s.errs})
	}
	s.in, s.out, s.errs, s.mux, s.begun = ends[1], ends[2], ends[4], m, true
	return []*os.File{ends[0], ends[3], ends[5]}, nil
}

func (s *session) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// abandon ends a session that could not begin.
func (s *session) abandon() {
	s.Close()
	s.finish()
}

// finish notes that the session is over.
func (s *session) finish() { s.finished.Do(func() { close(s.over) }) }

// follow takes the master's word on how the command ended.
func (s *session) follow(m *mux) {
	defer s.finish()
	defer m.conn.Close()
	for {
		kind, body, err := m.receive()
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
	if s.begun {
		closeAll([]*os.File{s.in, s.out, s.errs})
	} else {
		s.finish()
	}
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
