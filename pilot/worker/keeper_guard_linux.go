package worker

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guard is the pilot's end of a guard. Orders and replies have a channel each:
// a socket that is watched for replies would also wake the pilot each time the
// guard has read an order.
type guard struct {
	cmd  *exec.Cmd
	life *os.File      // at its end when the guard is dead; never has data
	gone chan struct{} // closed when the guard and all below it are gone

	reading sync.Mutex // held from the order of a launch to the end of its worker
	replies *os.File   // a pipe
	in      []byte     // what has been read of the next frame

	mu     sync.Mutex
	orders int // a socket; -1 when it is closed
	out    []byte
	seq    uint64
	cur    *Process // that was ordered and has not ended
	fault  error    // why we have ended the guard, if we have
}

// newGuard makes a guard that has no process yet, and the three descriptors
// that it is to be born with.
func newGuard(limit time.Duration) (_ *guard, theirs []*os.File, err error) {
	g := &guard{orders: -1, gone: make(chan struct{}), in: make([]byte, 0, 512)}
	defer func() {
		if err != nil {
			g.hangUp()
			closeAll(theirs)
		}
	}()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	g.orders = fds[0]
	theirs = append(theirs, os.NewFile(uintptr(fds[1]), "orders"))
	tv := unix.NsecToTimeval(int64(limit))
	if err := unix.SetsockoptTimeval(g.orders, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv); err != nil {
		return nil, theirs, os.NewSyscallError("setsockopt", err)
	}
	for _, p := range []struct {
		name string
		f    **os.File
	}{{"replies", &g.replies}, {"life", &g.life}} {
		r, w, err := pipe(p.name)
		if err != nil {
			return nil, theirs, err
		}
		*p.f = r
		theirs = append(theirs, os.NewFile(uintptr(w), p.name))
	}
	return g, theirs, nil
}

// launch orders a launch. On success the caller has the right to read the
// replies, and must see to it that they are read to the end of the worker.
func (g *guard) launch(p *Process, l launch, rights []byte) error {
	g.reading.Lock()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seq++
	l.seq = g.seq
	g.out = l.append(g.out)
	p.link.mu.Lock()
	p.link.g, p.link.seq = g, l.seq
	p.link.mu.Unlock()
	g.cur = p
	err := g.order(g.out, rights)
	if err != nil {
		g.cur = nil
		g.reading.Unlock()
	}
	return err
}

// order writes a frame; the caller holds mu. A guard that does not take it for
// as long as a start may last is ended: the next frame would not be understood.
func (g *guard) order(b, rights []byte) error {
	for len(b) > 0 {
		n, err := unix.SendmsgN(g.orders, b, rights, nil, unix.MSG_NOSIGNAL)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			err = os.NewSyscallError("sendmsg", err)
			g.kill(err)
			return err
		}
		b, rights = b[n:], nil
	}
	return nil
}

// end kills the guard and all below it, because of err.
func (g *guard) end(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kill(err)
}

func (g *guard) kill(err error) {
	if g.fault == nil {
		g.fault = err
	}
	g.cmd.Process.Kill() //nolint:errcheck // gone is as good
}

// hangUp closes our ends.
func (g *guard) hangUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.orders >= 0 {
		unix.Close(g.orders)
		g.orders = -1
	}
	closeAll([]*os.File{g.replies, g.life})
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// read waits for replies and handles them. The caller has the right to.
func (g *guard) read(p *Process) error {
	n, err := g.replies.Read(g.in[len(g.in):cap(g.in)])
	if err != nil {
		return err
	}
	g.in = g.in[:len(g.in)+n]
	rest := g.in
	for {
		size, err := frameLen(rest)
		if err != nil || size > cap(g.in) {
			return errFrame // none that a guard sends is that long
		}
		if size == 0 || size > len(rest) {
			break
		}
		if err := g.handle(p, frameKind(rest[4]), &fields{b: rest[frameHeader:size]}); err != nil {
			return err
		}
		rest = rest[size:]
	}
	g.in = g.in[:copy(g.in[:cap(g.in)], rest)]
	return nil
}

// handle handles one reply.
func (g *guard) handle(p *Process, kind frameKind, f *fields) error {
	l := &p.link
	if f.number() != l.seq || l.over {
		return fmt.Errorf("%w: of a worker that does not run", errFrame)
	}
	switch kind {
	case frameStarted:
		p.pid = int(f.number())
		l.told = true
		return f.err
	case frameRefused:
		errno := syscall.Errno(f.number())
		if f.err != nil {
			return f.err
		}
		g.ended()
		l.told, l.over = true, true
		l.refusal = &os.PathError{Op: "exec", Path: p.spec.Argv[0], Err: errno}
		return nil
	case frameExited:
		e := f.exited(l.seq)
		if f.err != nil {
			return f.err
		}
		g.ended()
		l.told, l.over = true, true
		if l.grow != nil {
			l.grow.Stop()
		}
		p.finish(e.exit())
		return nil
	}
	return fmt.Errorf("%w: kind %d", errFrame, kind)
}

func (g *guard) ended() {
	g.mu.Lock()
	g.cur = nil
	g.mu.Unlock()
}
