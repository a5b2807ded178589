package worker

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Descriptors that a guard is born with.
const (
	guardOrders  = 3 + iota // socket
	guardReplies            // pipe
	guardLife               // pipe of which we are the only writer: its end is ours
	guardPilotLock
	guardUseLock
)

const (
	useLockFD  = 100                  // where workers inherit the use lock: out of the way of scripts
	briefWait  = 5 * time.Millisecond // of which the scheduler need not know
	orphanTick = 5 * time.Second      // how often what daemons leave is reaped while a worker runs
)

// guardArgs are the arguments of a guard behind its command.
func guardArgs(root string, slot int) []string {
	return []string{root, strconv.Itoa(slot)}
}

// GuardMain is the main function of a guard; args are the arguments behind the
// command of Config.Guard. It returns the exit status of the process. It must
// run on the main goroutine, of a process that does nothing else.
func GuardMain(args []string) int {
	err := guardMain(args, true)
	if err != nil {
		fmt.Fprintln(os.Stderr, "guard:", err)
		return 1
	}
	return 0
}

func guardMain(args []string, pidfd bool) error {
	if len(args) != 2 {
		return errors.New("want two arguments: this command is run by the pilot, not by hand")
	}
	slot, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("slot: %w", err)
	}
	// The kernel kills a worker when the thread that forked it ends.
	runtime.LockOSThread()
	// A queueing system may signal every process of a job; the pilot decides
	// what that means. Caught, not ignored: workers would inherit the latter.
	signal.Notify(make(chan os.Signal, 1), unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT,
		unix.SIGUSR1, unix.SIGUSR2, unix.SIGXCPU, unix.SIGPIPE)
	if err := inheritOrphans(); err != nil {
		return err
	}
	SetName(filepath.Base(os.Args[0]))
	closeOnExec()
	// The copy stays open, in us and in every worker.
	if _, err = unix.FcntlInt(guardUseLock, unix.F_DUPFD, useLockFD); err != nil {
		_, err = unix.FcntlInt(guardUseLock, unix.F_DUPFD, 10) // few descriptors allowed
	}
	if err != nil {
		return fmt.Errorf("use lock: %w", err)
	}
	unix.Close(guardUseLock)
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	g := &guardian{root: args[0], slot: slotPrefix + strconv.Itoa(slot), null: null, pidfd: pidfd, ended: -1,
		in: make([]byte, 64<<10), oob: make([]byte, unix.CmsgSpace(16*4))}
	err = g.loop()
	g.killAll()
	if !g.leave {
		err = errors.Join(err, g.clean())
	}
	return err
}

// SetName sets the name that this process has in lists of processes: one that
// was started by another path than its program's has that path's.
func SetName(name string) {
	os.WriteFile("/proc/self/comm", []byte(name), 0) //nolint:errcheck // it is for people
}

// closeOnExec keeps from the workers whatever our ancestors forgot to close.
func closeOnExec() {
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		for fd := range 256 {
			if fd > 2 {
				unix.CloseOnExec(fd)
			}
		}
		return
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, n := range names {
		if fd, err := strconv.Atoi(n); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// guardian is the state of a guard. One goroutine on one thread does it all.
type guardian struct {
	root, slot string
	null       int
	pidfd      bool // whether to ask for one

	in   []byte // receive buffer, the first have bytes are not handled yet
	have int
	oob  []byte
	fds  []int // received and not used yet
	out  []byte

	leave bool // the pilot goes in good order

	pid    int // of the worker, 0 if none runs
	seq    uint64
	ended  int // readable when the worker has ended; -1 if none
	killed bool
	killAt time.Time // when SIGKILL follows; zero: never
	exit   exited
	over   bool      // the worker has been reaped
	tellAt time.Time // when the pilot is to hear of the start, from out; zero: it has
}

var errPilotGone = errors.New("pilot gone")

// loop serves the pilot until it goes.
func (g *guardian) loop() error {
	for {
		fds := []unix.PollFd{{Fd: guardOrders, Events: unix.POLLIN}, {Fd: int32(g.ended), Events: unix.POLLIN}}
		var timeout time.Duration = -1
		if g.pid == 0 {
			fds = fds[:1]
		} else {
			timeout = orphanTick
			for _, at := range []time.Time{g.killAt, g.tellAt} {
				if !at.IsZero() {
					timeout = max(0, min(timeout, time.Until(at)))
				}
			}
		}
		n, err := wait(fds, timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll: %w", err)
		}
		if n > 0 && fds[0].Revents != 0 {
			if err := g.receive(); err != nil {
				if errors.Is(err, errPilotGone) {
					return nil
				}
				return err
			}
			if g.leave {
				return nil
			}
		}
		if g.pid == 0 {
			continue
		}
		if !g.killAt.IsZero() && !time.Now().Before(g.killAt) {
			g.killAt = time.Time{}
			(&killer{list: g.descendants}).pass() //nolint:errcheck // the end of the worker sweeps again
			unix.Kill(g.pid, unix.SIGKILL)        //nolint:errcheck // dead is as good
		}
		ready := len(fds) > 1 && fds[1].Revents != 0
		more := false
		if ready || n <= 0 {
			more = g.reap()
		}
		if g.over {
			if err := g.report(more); err != nil {
				return nil // the pilot has gone
			}
		} else if ready && g.pid != 0 {
			// A kernel that makes these descriptors but cannot poll them.
			unix.Close(g.ended)
			g.pidfd = false
			g.watch()
		}
		if !g.tellAt.IsZero() && !time.Now().Before(g.tellAt) {
			g.tellAt = time.Time{}
			if g.send(g.out) != nil {
				return nil // the pilot has gone
			}
		}
	}
}

// wait waits until one of the descriptors is ready, forever with a negative
// timeout. It begins with a brief wait of which the scheduler does not know: in
// an ordinary system call of a goroutine that never yields, the scheduler takes
// the processor away after some 20 µs, and both that and giving it back cost
// more than the guard's own work for a short worker.
func wait(fds []unix.PollFd, timeout time.Duration) (int, error) {
	brief := briefWait
	if timeout >= 0 {
		brief = min(brief, timeout)
	}
	ts := unix.NsecToTimespec(int64(brief))
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)), uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	switch {
	case errno != 0:
		return 0, errno
	case n > 0 || brief == timeout:
		return int(n), nil
	case timeout < 0:
		return unix.Ppoll(fds, nil, nil)
	}
	ts = unix.NsecToTimespec(int64(timeout - brief))
	return unix.Ppoll(fds, &ts, nil)
}

// receive reads what there is and handles the complete frames.
func (g *guardian) receive() error {
	n, oobn, _, _, err := unix.Recvmsg(guardOrders, g.in[g.have:], g.oob, unix.MSG_CMSG_CLOEXEC)
	switch {
	case errors.Is(err, unix.EINTR):
		return nil
	case err != nil || n == 0:
		return errPilotGone
	}
	if oobn > 0 {
		msgs, err := unix.ParseSocketControlMessage(g.oob[:oobn])
		if err != nil {
			return fmt.Errorf("descriptors: %w", err)
		}
		for _, m := range msgs {
			if fds, err := unix.ParseUnixRights(&m); err == nil {
				g.fds = append(g.fds, fds...)
			}
		}
	}
	g.have += n
	rest := g.in[:g.have]
	for {
		size, err := frameLen(rest)
		if err != nil {
			return err
		}
		if size == 0 || size > len(rest) {
			if size > len(g.in) {
				bigger := make([]byte, size)
				g.have = copy(bigger, rest)
				g.in = bigger
				return nil
			}
			break
		}
		f := &fields{b: rest[frameHeader:size]}
		switch frameKind(rest[4]) {
		case frameLaunch:
			l := f.launch()
			if f.err != nil {
				return f.err
			}
			if err := g.launch(l); err != nil {
				return err
			}
		case frameKill:
			seq, grace := f.number(), time.Duration(f.number())
			if f.err != nil {
				return f.err
			}
			g.kill(seq, grace)
		case frameLeave:
			g.leave = true
			return nil
		default:
			return fmt.Errorf("%w: kind %d", errFrame, rest[4])
		}
		rest = rest[size:]
	}
	g.have = copy(g.in, rest)
	return nil
}

// clean does for a dead pilot what it can no longer do: it removes the slot's
// sandboxes and, as the last one, the rest.
func (g *guardian) clean() error {
	root, err := os.OpenRoot(g.root)
	if err != nil {
		return nil // another guard was faster
	}
	defer root.Close()
	if err := removeTree(root, g.slot); err != nil {
		return err
	}
	if names, err := slotDirs(root); err != nil || len(names) > 0 {
		return nil
	}
	return removeLocks(root)
}

func (g *guardian) send(b []byte) error {
	g.out = b
	for len(b) > 0 {
		n, err := unix.Write(guardReplies, b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return errPilotGone
		}
		b = b[n:]
	}
	return nil
}
