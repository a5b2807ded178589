package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const hasGuards = true

// keeper starts the guards of a yard, talks to them and buries them.
type keeper struct {
	y        *Yard
	slots    []guardSlot
	pipeSize int
	wg       sync.WaitGroup // the readers of all guards

	// mu is held while a guard is being forked and while strays are looked
	// for: a guard that is not in the map yet would count as one.
	mu     sync.Mutex
	guards map[int]*guard // by pid
	closed bool
}

type guardSlot struct {
	mu sync.Mutex // held while the slot's guard is started
	g  *guard
}

// guard is the pilot's end of a guard.
type guard struct {
	cmd     *exec.Cmd
	replies *os.File
	gone    chan struct{} // closed when the guard and all below it are gone

	mu     sync.Mutex
	orders int // socket; -1 when it is closed
	buf    []byte
	seq    uint64
	cur    *Process // that was sent and has not ended
}

// link is what the keeper knows of a process.
type link struct {
	mu      sync.Mutex
	g       *guard
	seq     uint64
	started chan error // capacity 1
	grow    *time.Timer
}

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

func newKeeper(y *Yard) (*keeper, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become a child subreaper: %w", err)
	}
	k := &keeper{y: y, slots: make([]guardSlot, y.cfg.Slots), guards: make(map[int]*guard), pipeSize: pipeSize}
	for k.pipeSize > pipeMin && 2*k.pipeSize*y.cfg.Slots > pipeBudget {
		k.pipeSize /= 2
	}
	return k, nil
}

// ready starts the guard of the slot unless it lives.
func (k *keeper) ready(slot int) error {
	_, err := k.guard(slot)
	return err
}

func (k *keeper) guard(slot int) (*guard, error) {
	s := &k.slots[slot]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.g != nil {
		select {
		case <-s.g.gone:
		default:
			return s.g, nil
		}
	}
	g, err := k.fork(slot)
	if err != nil {
		return nil, fmt.Errorf("start guard of slot %d: %w", slot, err)
	}
	s.g = g
	return g, nil
}

func (k *keeper) fork(slot int) (*guard, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	theirs := os.NewFile(uintptr(fds[1]), "orders")
	defer theirs.Close()
	limit := unix.NsecToTimeval(int64(k.y.cfg.StartTimeout))
	unix.SetsockoptTimeval(fds[0], unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit) //nolint:errcheck // cannot fail on a socket of ours
	replies, w, err := k.pipe("replies")
	if err != nil {
		unix.Close(fds[0])
		return nil, err
	}
	answer := os.NewFile(uintptr(w), "replies")
	defer answer.Close()
	g := &guard{orders: fds[0], replies: replies, gone: make(chan struct{})}
	argv := append(append([]string(nil), k.y.cfg.Guard...), guardArgs(k.y.path, slot)...)
	cmd := &exec.Cmd{
		Path:        argv[0],
		Args:        argv,
		Dir:         "/",
		Env:         []string{"GOMAXPROCS=2"}, // nobody's secrets, and few threads
		Stderr:      os.Stderr,
		ExtraFiles:  []*os.File{theirs, answer, k.y.pilot, k.y.use},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		g.hangUp()
		return nil, ErrClosed
	}
	if err := cmd.Start(); err != nil {
		g.hangUp()
		return nil, err
	}
	g.cmd = cmd
	k.guards[cmd.Process.Pid] = g
	k.wg.Go(func() { k.serve(slot, g) }) // under mu, so that close waits for it
	return g, nil
}

// launch starts the process and returns once it runs or cannot.
func (k *keeper) launch(ctx context.Context, p *Process, program, dir string) error {
	outR, outW, err := k.pipe("stdout")
	if err != nil {
		return err
	}
	defer unix.Close(outW)
	p.Stdout = outR
	errR, errW, err := k.pipe("stderr")
	if err != nil {
		return err
	}
	defer unix.Close(errW)
	p.Stderr = errR

	fds := []int{outW, errW}
	if p.spec.Stdin != nil {
		rc, err := p.spec.Stdin.SyscallConn()
		if err != nil {
			return fmt.Errorf("stdin: %w", err)
		}
		var in int
		var dupErr error
		if err := rc.Control(func(fd uintptr) {
			if in, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); dupErr == nil {
				dupErr = unix.SetNonblock(in, false)
			}
		}); err != nil {
			return fmt.Errorf("stdin: %w", err)
		}
		if dupErr != nil {
			return fmt.Errorf("stdin: %w", dupErr)
		}
		defer unix.Close(in)
		fds = append(fds, in)
	}

	p.link.started = make(chan error, 1)
	l := launch{
		stdin:   p.spec.Stdin != nil,
		program: program,
		dir:     dir,
		argv:    p.spec.Argv,
		env:     p.spec.Env,
	}
	g, err := k.send(ctx, p, l, unix.UnixRights(fds...))
	if err != nil {
		return err
	}

	timer := time.NewTimer(k.y.cfg.StartTimeout)
	defer timer.Stop()
	select {
	case err := <-p.link.started:
		if err == nil {
			p.link.mu.Lock()
			p.link.grow = time.AfterFunc(pipeAge, func() { k.grow(p) })
			p.link.mu.Unlock()
		}
		return err
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = fmt.Errorf("guard did not answer within %v", k.y.cfg.StartTimeout)
	}
	// Whatever it is doing, this ends it; a new guard will be started.
	g.cmd.Process.Kill() //nolint:errcheck // gone is as good
	<-g.gone
	return err
}

// pipe makes a pipe for output: a pollable read end for us and a blocking
// write end for the worker.
func (k *keeper) pipe(name string) (*os.File, int, error) {
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, -1, fmt.Errorf("make %s pipe: %w", name, err)
	}
	unix.FcntlInt(uintptr(fd[1]), unix.F_SETFL, 0) //nolint:errcheck // cannot fail on a descriptor of ours
	return os.NewFile(uintptr(fd[0]), name), fd[1], nil
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

// send gives the launch to the slot's guard, or to its successor when the guard
// turns out to have died since the last worker.
func (k *keeper) send(ctx context.Context, p *Process, l launch, rights []byte) (*guard, error) {
	for try := 0; ; try++ {
		g, err := k.guard(p.spec.Slot)
		if err != nil {
			return nil, err
		}
		if err = g.send(p, l, rights); err == nil {
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

func (g *guard) send(p *Process, l launch, rights []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.gone:
		return ErrLost
	default:
	}
	g.seq++
	l.seq = g.seq
	g.buf = l.append(g.buf)
	p.link.mu.Lock()
	p.link.g, p.link.seq = g, l.seq
	p.link.mu.Unlock()
	g.cur = p
	err := g.order(g.buf, rights)
	if err != nil {
		g.cur = nil
	}
	return err
}

// order writes a frame. The caller holds mu. A guard that does not read for as
// long as a start may take is ended, so that its frames stay whole.
func (g *guard) order(b, rights []byte) error {
	for len(b) > 0 {
		n, err := unix.SendmsgN(g.orders, b, rights, nil, unix.MSG_NOSIGNAL)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			g.cmd.Process.Kill() //nolint:errcheck // gone is as good
			return os.NewSyscallError("sendmsg", err)
		}
		b, rights = b[n:], nil
	}
	return nil
}

// hangUp closes our ends.
func (g *guard) hangUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	unix.Close(g.orders)
	g.orders = -1
	g.replies.Close()
}

// kill asks the guard to end the process. A process that has not been sent
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

// serve reads what the guard says until it is gone, and clears up after it.
func (k *keeper) serve(slot int, g *guard) {
	err := g.read()
	g.hangUp()

	k.mu.Lock()
	closing := k.closed
	k.mu.Unlock()
	if closing {
		timer := time.AfterFunc(closeLimit, func() { g.cmd.Process.Kill() }) //nolint:errcheck // gone is as good
		g.cmd.Wait()                                                         //nolint:errcheck // it is gone: that was the aim
		timer.Stop()
	} else {
		g.cmd.Process.Kill() //nolint:errcheck // gone is as good
		g.cmd.Wait()         //nolint:errcheck // as above
	}
	// Only now, after the wait, is everything that it kept our child.
	k.mu.Lock()
	delete(k.guards, g.cmd.Process.Pid)
	k.mu.Unlock()
	killed, left := k.sweepStrays()

	g.mu.Lock()
	p := g.cur
	g.cur = nil
	close(g.gone)
	g.mu.Unlock()
	if !closing || left > 0 {
		k.y.cfg.Logger.Warn("guard died", "slot", slot, "err", err, "killed", killed, "left", left)
	}
	if p != nil {
		lost := fmt.Errorf("%w: its guard died", ErrLost)
		if closing {
			lost = fmt.Errorf("%w: the yard was closed", ErrLost)
		}
		select {
		case p.link.started <- lost:
		default:
		}
		p.finish(Exit{Code: -1, Err: lost, Killed: closing, Swept: killed, Left: left})
	}
}

// read handles the guard's frames until the connection ends.
func (g *guard) read() error {
	buf := make([]byte, 0, 4096)
	for {
		n, err := g.replies.Read(buf[len(buf):cap(buf)])
		if n == 0 || err != nil {
			if err == nil {
				err = io.EOF
			}
			return err
		}
		buf = buf[:len(buf)+n]
		rest := buf
		for {
			size, err := frameLen(rest)
			if err != nil || size > cap(buf) {
				return errFrame // none that a guard sends is that long
			}
			if size == 0 || size > len(rest) {
				break
			}
			if err := g.handle(frameKind(rest[4]), &fields{b: rest[frameHeader:size]}); err != nil {
				return err
			}
			rest = rest[size:]
		}
		buf = buf[:copy(buf[:cap(buf)], rest)]
	}
}

func (g *guard) handle(kind frameKind, f *fields) error {
	g.mu.Lock()
	p := g.cur
	g.mu.Unlock()
	if p == nil {
		return fmt.Errorf("%w: no worker was started", errFrame)
	}
	switch kind {
	case frameStarted:
		f.number()
		p.pid = int(f.number())
		p.link.started <- f.err
		return f.err
	case frameRefused:
		f.number()
		errno := syscall.Errno(f.number())
		if f.err != nil {
			return f.err
		}
		g.ended()
		p.link.started <- &os.PathError{Op: "exec", Path: p.spec.Argv[0], Err: errno}
		return nil
	case frameExited:
		e := f.exited()
		if f.err != nil {
			return f.err
		}
		g.ended()
		p.link.mu.Lock()
		if p.link.grow != nil {
			p.link.grow.Stop()
		}
		p.link.mu.Unlock()
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

func (e exited) exit() Exit {
	x := Exit{
		Killed: e.killed,
		Swept:  int(e.swept),
		Left:   int(e.left),
		User:   time.Duration(e.user),
		System: time.Duration(e.system),
		MaxRSS: int64(e.maxRSS),
	}
	switch ws := syscall.WaitStatus(e.status); {
	case ws.Signaled():
		x.Code, x.Signal = -1, ws.Signal()
		if x.SignalName = unix.SignalName(x.Signal); x.SignalName == "" {
			x.SignalName = "signal " + strconv.Itoa(int(x.Signal)) // a real-time one
		}
	default:
		x.Code = ws.ExitStatus()
	}
	return x
}

// sweepStrays kills what dead guards have left to us: our children in a foreign
// session that are no guards, and all below them.
func (k *keeper) sweepStrays() (killed, left int) {
	self, err := unix.Getsid(0)
	if err != nil {
		return 0, 0
	}
	pid := os.Getpid()
	var dead []int // zombies among them, for us to reap
	kl := killer{list: func() ([]proc, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		all, err := processes()
		if err != nil {
			return nil, err
		}
		dead = dead[:0]
		return below(all, func(p proc) bool {
			if p.ppid != pid || p.session == self || k.guards[p.pid] != nil {
				return false
			}
			dead = append(dead, p.pid)
			return true
		}, true), nil
	}}
	return kl.sweep(sweepLimit, func() {
		for _, d := range dead {
			unix.Wait4(d, nil, unix.WNOHANG, nil) //nolint:errcheck // alive yet, or gone
		}
	})
}

// close ends all guards and what they keep.
func (k *keeper) close() error {
	k.mu.Lock()
	k.closed = true
	guards := make([]*guard, 0, len(k.guards))
	for _, g := range k.guards {
		guards = append(guards, g)
	}
	k.mu.Unlock()
	for _, g := range guards {
		g.mu.Lock()
		g.order(numbers(nil, frameLeave), nil) //nolint:errcheck // gone is as good
		g.mu.Unlock()
	}
	k.wg.Wait()
	if _, left := k.sweepStrays(); left > 0 {
		return errors.New("some processes of workers would not die: " + strconv.Itoa(left))
	}
	return nil
}
