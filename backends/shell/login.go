package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

const (
	slotPatience = 5 * time.Second // how long a refused session is tried again
	killTime     = 2 * time.Second // for the server to say that it passed a signal on
)

var (
	// ErrRefused matches errors of a line that say that the server takes no
	// further session now. It is asked again for a little while.
	ErrRefused = errors.New("the server refuses another session")

	// ErrBroken matches errors of a line whose connection is gone, or about to be.
	ErrBroken = errors.New("the connection is broken")

	// ErrNoExec matches errors of [Session.Exec] at servers that execute nothing.
	ErrNoExec = errors.New("the server refuses to execute commands")

	// ErrClosed is the cause of what ends because our own side closed it.
	ErrClosed = errors.New("the process was closed")
)

// A Line is an authenticated connection to a host. Its methods may be called
// at the same time.
type Line interface {
	// Open asks for a session. Its errors match [ErrRefused], [ErrBroken] or are final.
	Open(ctx context.Context) (Session, error)

	// Wait returns, with the reason, when the connection is no longer usable.
	Wait() error

	// Cut ends the connection without a word, which never blocks.
	Cut()
}

// A Session is one conversation with the host (RFC 4254, section 6): reading
// is the command's standard output, writing its standard input. Reads, writes and the
// other methods may be called at the same time.
type Session interface {
	io.ReadWriteCloser
	CloseWrite() error
	Stderr() io.Reader

	// Exec has the server execute a command. When the caller is sure that the server does
	// so, its answer is not waited for. Errors match [ErrNoExec] or are as those of
	// [Line.Open]; after one that matches [ErrRefused] the session is over.
	Exec(command string, sure bool) error

	// Subsystem starts a subsystem in place of a command.
	Subsystem(name string) error

	// Kill has the server kill the command, and reports whether there is
	// nothing left to do about it. It may be called after Close.
	Kill() bool

	// Wait returns when the session is over.
	Wait()

	// Status is how the command ended: 128+n by signal n. It is false as long as, and
	// for ever if, the server does not tell.
	Status() (status int, ok bool)

	// Why says why the session is over when that is not the command's doing and
	// the line knows; else nil.
	Why() error
}

// Config describes a login. All fields but Signals are required.
type Config struct {
	URL      string // for errors
	Host     string // for errors
	Sessions int    // open at once; more wait

	// Signals says that the line tells which signal ended a command. If not, the
	// host's shell stays and tells, as status 128+n.
	Signals bool
}

// A Login is one connection and everything done over it. It has the abilities
// [gat.Runner] and [gat.Files], and starts jobs as processes of the host.
type Login struct {
	cfg  Config
	line Line

	slots  chan struct{} // one per session that is open
	proven atomic.Bool   // the server executes what it is asked to
	files  transfers

	wg     sync.WaitGroup
	ctx    context.Context // ends with the login
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	err    error
	closed bool
	procs  map[*process]struct{} // those that run
}

// New makes a login of a line, which ends with it.
func New(line Line, cfg Config) *Login {
	l := &Login{
		cfg: cfg, line: line,
		slots: make(chan struct{}, cfg.Sessions),
		done:  make(chan struct{}),
		procs: make(map[*process]struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.wg.Go(func() {
		err := line.Wait()
		l.mu.Lock()
		if l.err == nil && !l.closed {
			l.err = l.Fault("keep the login", Problem(gat.Transient, "", fmt.Errorf("the connection to %s broke: %w", cfg.Host, err)))
		}
		l.mu.Unlock()
		l.cancel()
		line.Cut()
		close(l.done)
	})
	return l
}

// Fault is [Classified] for an operation of this login.
func (l *Login) Fault(op string, err error) error { return Classified(op, l.cfg.URL, err) }

// Done is closed when the login is no longer usable.
func (l *Login) Done() <-chan struct{} { return l.done }

// Err says why the login ended; nil while it lives and after Close.
func (l *Login) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close ends the login and every command that runs over it: servers do not kill
// commands by themselves when a connection ends.
func (l *Login) Close() error {
	l.mu.Lock()
	procs := slices.Collect(maps.Keys(l.procs))
	l.mu.Unlock()
	for _, p := range procs {
		p.end(ErrClosed)
	}
	timer := time.NewTimer(killTime)
	defer timer.Stop()
	for _, p := range procs {
		select {
		case <-p.ended:
			continue
		case <-timer.C:
		case <-l.done:
		}
		break
	}
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.line.Cut()
	l.wg.Wait()
	return nil
}

// Fail ends the login with an error.
func (l *Login) Fail(err error) {
	l.mu.Lock()
	if l.err == nil && !l.closed {
		l.err = l.Fault("keep the login", err)
	}
	l.mu.Unlock()
	l.line.Cut()
}

// Spawn runs f in a goroutine that Close waits for, unless the login is closed.
func (l *Login) Spawn(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.wg.Go(f)
	return true
}

// Gone says why nothing more can be done over the login. It waits until the
// login is done.
func (l *Login) Gone() error {
	<-l.done
	if err := l.Err(); err != nil {
		e, _ := errors.AsType[*gat.Error](err)
		return Problem(gat.Transient, "", e.Err)
	}
	return Problem(gat.Permanent, "", fmt.Errorf("the login is closed: %w", net.ErrClosed))
}

// Lost is err, or why the login ended when that is behind it.
func (l *Login) Lost(err error) error {
	if errors.Is(err, ErrBroken) {
		return l.Gone()
	}
	select {
	case <-l.done:
		return l.Gone()
	default:
		return err
	}
}

// take waits for a free slot, within ctx.
func (l *Login) take(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-l.done:
		return l.Gone()
	case <-ctx.Done():
		return Problem(gat.Transient, "other commands hold them: end one, or allow more",
			fmt.Errorf("all %d sessions of the login are in use: %w", cap(l.slots), context.Cause(ctx)))
	}
}

func (l *Login) release() { <-l.slots }

// open opens a session in a slot. The caller calls release when the session is over.
func (l *Login) open(ctx context.Context) (Session, error) {
	if err := l.take(ctx); err != nil {
		return nil, err
	}
	s, err := l.line.Open(ctx)
	if err != nil {
		l.release()
		return nil, l.Lost(err)
	}
	return s, nil
}

// patiently does what needs a session, again for a little while at a server that
// allows fewer than we do.
func (l *Login) patiently(ctx context.Context, do func() error) error {
	end := time.Now().Add(slotPatience)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := do()
		if !errors.Is(err, ErrRefused) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			end = time.Time{}
		case <-l.done:
			timer.Stop()
			return l.Gone()
		}
		timer.Stop()
		if time.Now().After(end) {
			open := len(l.slots)
			return Problem(gat.Transient, fmt.Sprintf("the server's MaxSessions may be %d: end one of them first", open),
				fmt.Errorf("%w while %d are open", err, open))
		}
	}
}

var (
	_ gat.Login  = (*Login)(nil)
	_ gat.Runner = (*Login)(nil)
	_ gat.Files  = (*Login)(nil)
)
