package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A pipe of the default 64 KiB makes a fast writer wait for every reader's
// wake-up. What one user may have in pipes is limited, though: 64 MiB by
// default, after which new ones get a single page. So pipes grow only for a
// worker that lives a little.
const (
	pipeSize   = 1 << 20
	pipeMin    = 64 << 10
	pipeBudget = 32 << 20
	pipeAge    = 20 * time.Millisecond
)

// link is what the keeper knows of a process.
type link struct {
	mu  sync.Mutex
	g   *guard
	seq uint64

	// These belong to whoever reads the guard's replies.
	told    bool // it has started, or was refused
	over    bool // nothing more will be heard of it
	refusal error
	grow    *time.Timer
}

// launch starts the process and returns once it runs or cannot. A process that
// ends at once has ended by then.
func (k *keeper) launch(ctx context.Context, p *Process, program, dir string) error {
	outR, outW, err := pipe("stdout")
	if err != nil {
		return err
	}
	defer unix.Close(outW)
	p.Stdout = outR
	errR, errW, err := pipe("stderr")
	if err != nil {
		return err
	}
	defer unix.Close(errW)
	p.Stderr = errR

	fds := []int{outW, errW}
	if p.spec.Stdin != nil {
		in, err := duplicate(p.spec.Stdin)
		if err != nil {
			return fmt.Errorf("stdin: %w", err)
		}
		defer unix.Close(in)
		fds = append(fds, in)
	}
	g, err := k.order(ctx, p, launch{
		stdin:   p.spec.Stdin != nil,
		program: program,
		dir:     dir,
		argv:    p.spec.Argv,
		env:     p.spec.Env,
	}, unix.UnixRights(fds...))
	if err != nil {
		return err
	}

	// The right to read the replies is ours now. Who waits for them and who
	// reads them is the same goroutine: handing them on would wake a thread.
	stop := context.AfterFunc(ctx, func() { g.end(ctx.Err()) })
	g.replies.SetReadDeadline(time.Now().Add(k.y.cfg.StartTimeout)) //nolint:errcheck // a pipe has deadlines
	for !p.link.told && err == nil {
		err = g.read(p)
	}
	if !stop() && err == nil && !p.link.over {
		err = ctx.Err()
	}
	switch {
	case err != nil:
		return k.lost(ctx, g, err)
	case p.link.over:
		g.reading.Unlock()
		return p.link.refusal
	}
	p.link.grow = time.AfterFunc(pipeAge, func() { k.grow(p) })
	k.wg.Go(func() { k.follow(g, p) })
	return nil
}

// follow reads the replies to the end of the process.
func (k *keeper) follow(g *guard, p *Process) {
	g.replies.SetReadDeadline(time.Time{}) //nolint:errcheck // a pipe has deadlines
	for !p.link.over {
		if err := g.read(p); err != nil {
			g.end(err)
			break
		}
	}
	g.reading.Unlock()
}

// lost ends a guard that has not answered and says why. A new one will be
// started for the next worker.
func (k *keeper) lost(ctx context.Context, g *guard, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("guard did not answer within %v", k.y.cfg.StartTimeout)
	}
	g.end(err)
	g.reading.Unlock()
	<-g.gone
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

// order gives the launch to the slot's guard, or to its successor when the guard
// turns out to have died since the last worker.
func (k *keeper) order(ctx context.Context, p *Process, l launch, rights []byte) (*guard, error) {
	for try := 0; ; try++ {
		g, err := k.guard(p.spec.Slot)
		if err != nil {
			return nil, err
		}
		if err = g.launch(p, l, rights); err == nil {
			return g, nil
		}
		if try > 0 {
			return nil, fmt.Errorf("talk to guard: %w", err)
		}
		select {
		case <-g.gone:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// kill asks the guard to end the process. A process that has not been ordered
// yet is not killed: its launch fails or succeeds first.
func (k *keeper) kill(p *Process, grace time.Duration) {
	p.link.mu.Lock()
	g, seq := p.link.g, p.link.seq
	p.link.mu.Unlock()
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.order(numbers(nil, frameKill, seq, uint64(grace)), nil) //nolint:errcheck // if the guard is gone so is the worker
}

// grow gives a worker that still runs bigger pipes.
func (k *keeper) grow(p *Process) {
	select {
	case <-p.done:
		return
	default:
	}
	for _, f := range []*os.File{p.Stdout, p.Stderr} {
		if rc, err := f.SyscallConn(); err == nil {
			// A small pipe works too, more slowly; and f may be closed by now.
			rc.Control(func(fd uintptr) { unix.FcntlInt(fd, unix.F_SETPIPE_SZ, k.pipeSize) }) //nolint:errcheck // as above
		}
	}
}

// pipe makes a pipe with a pollable read end for us and a blocking write end
// for a child.
func pipe(name string) (*os.File, int, error) {
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, -1, fmt.Errorf("make %s pipe: %w", name, err)
	}
	unix.FcntlInt(uintptr(fd[1]), unix.F_SETFL, 0) //nolint:errcheck // cannot fail on a descriptor of ours
	return os.NewFile(uintptr(fd[0]), name), fd[1], nil
}

// duplicate makes a descriptor for a child, which expects that it blocks.
func duplicate(f *os.File) (int, error) {
	rc, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	err2 := rc.Control(func(old uintptr) {
		if fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = unix.SetNonblock(fd, false)
		}
	})
	return fd, errors.Join(err, err2)
}
