package worker

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	tellAfter   = 3 * time.Millisecond // a worker that ends sooner is told of once only
	lastThreads = 100                  // ms to wait for the last threads of what was killed
	busyText    = 20                   // tries of a program that is being written (ETXTBSY), 5 ms apart
)

// launch forks a worker. The pilot hears of it a little later, perhaps together
// with the worker's end: that is one thread less to be woken.
func (g *guardian) launch(l launch) error {
	want := 2
	if l.stdin {
		want = 3
	}
	if g.pid != 0 || len(g.fds) < want {
		return fmt.Errorf("%w: launch %d", errFrame, l.seq)
	}
	out, serr, in := g.fds[0], g.fds[1], g.null
	if l.stdin {
		in = g.fds[2]
	}
	fd := -1
	attr := &syscall.ProcAttr{
		Dir:   l.dir,
		Env:   l.env,
		Files: []uintptr{uintptr(in), uintptr(out), uintptr(serr)},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	if g.pidfd {
		attr.Sys.PidFD = &fd
	}
	var pid int
	var err error
	for range busyText {
		// Another process of ours may have been forked while the program was
		// being written and hold it open until its own exec.
		if pid, err = syscall.ForkExec(l.program, l.argv, attr); !errors.Is(err, syscall.ETXTBSY) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	for _, fd := range g.fds[:want] {
		unix.Close(fd)
	}
	g.fds = append(g.fds[:0], g.fds[want:]...)
	if err != nil {
		errno := syscall.EIO
		errors.As(err, &errno)
		return g.send(numbers(g.out, frameRefused, l.seq, uint64(errno)))
	}
	g.pid, g.seq, g.ended = pid, l.seq, fd
	g.killed, g.killAt, g.over = false, time.Time{}, false
	g.exit = exited{seq: l.seq}
	if fd < 0 {
		g.watch()
	}
	g.out = numbers(g.out, frameStarted, l.seq, uint64(pid))
	g.tellAt = time.Now().Add(tellAfter)
	return nil
}

// watch makes g.ended where the kernel has no descriptors of processes
// (before Linux 5.3): a thread waits, without reaping, and closes a pipe.
func (g *guardian) watch() {
	g.ended = -1
	var p [2]int
	if unix.Pipe2(p[:], unix.O_CLOEXEC) != nil {
		return // the tick will see it
	}
	g.ended = p[0]
	pid := g.pid
	go func() {
		for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
		unix.Close(p[1])
	}()
}

// kill begins the end of the worker.
func (g *guardian) kill(seq uint64, grace time.Duration) {
	if g.pid == 0 || seq != g.seq {
		return
	}
	first := !g.killed
	g.killed = true
	at := time.Now().Add(max(0, grace))
	if g.killAt.IsZero() || at.Before(g.killAt) {
		g.killAt = at
	}
	if first && grace > 0 {
		unix.Kill(-g.pid, unix.SIGTERM) //nolint:errcheck // dead is as good
		unix.Kill(-g.pid, unix.SIGCONT) //nolint:errcheck // a stopped one must see it
	}
}

// reap collects everything that has died, without waiting. It returns whether
// children remain.
func (g *guardian) reap() bool {
	for {
		var ws unix.WaitStatus
		var ru unix.Rusage
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, &ru)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return false
		case pid == 0:
			return true
		}
		g.exit.user += uint64(ru.Utime.Nano())
		g.exit.system += uint64(ru.Stime.Nano())
		g.exit.maxRSS = max(g.exit.maxRSS, uint64(ru.Maxrss)<<10)
		if pid == g.pid {
			g.exit.status = uint64(ws)
			g.over = true
		}
	}
}

// report kills what the worker has left, if there is more, and tells the pilot
// how it ended.
func (g *guardian) report(more bool) error {
	if more {
		g.exit.swept, g.exit.left = g.killAll()
	}
	if g.ended >= 0 {
		unix.Close(g.ended)
	}
	g.exit.killed = g.killed
	g.pid, g.ended, g.over = 0, -1, false
	if g.tellAt.IsZero() {
		g.out = g.out[:0]
	}
	g.tellAt = time.Time{}
	return g.send(append(g.out, g.exit.append(nil)...))
}

// killAll ends everything below us.
func (g *guardian) killAll() (killed, left uint64) {
	k := killer{list: g.descendants}
	a, b := k.sweep(sweepLimit, func() { g.reap() })
	// A process shows as dead while its last threads still close their files.
	for n := 0; b == 0 && n < lastThreads && g.reap(); n++ {
		time.Sleep(time.Millisecond)
	}
	return uint64(a), uint64(b)
}

func (g *guardian) descendants() ([]proc, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	self := os.Getpid()
	return below(all, func(p proc) bool { return p.pid == self }, false), nil
}
