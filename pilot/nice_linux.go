package pilot

import (
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// eachThread does something to all threads of this process, and so to those that
// they will start: what the system knows of a process in this respect is its
// threads. It looks again until it has seen no new one.
func eachThread(do func(tid int) error) error {
	done := make(map[int]bool)
	for {
		names, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return do(0) // this one at least
		}
		more := false
		for _, name := range names {
			tid, err := strconv.Atoi(name.Name())
			if err != nil || done[tid] {
				continue
			}
			done[tid], more = true, true
			if err := do(tid); err != nil && err != unix.ESRCH {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

// sessionNice is the lowest priority that a session takes. The lowest there is would
// leave a hub on a full host without a moment for minutes, and its session
// takes it for dead.
const sessionNice = 10

// renice lowers the priority of this process and what it starts. With the
// priority for the processor, that for disks follows. Where the system shares
// the processor between sessions first ("autogroup"), a priority counts only among
// the processes of one session: then the session gets a low one, too.
func renice(nice int) error {
	err := eachThread(func(tid int) error { return unix.Setpriority(unix.PRIO_PROCESS, tid, nice) })
	os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(min(nice, sessionNice))), 0) //nolint:errcheck // not there where there are no such groups
	return err
}

// niceAs takes the priority of the process at the other end of a connection, if
// that is a low one.
func niceAs(conn *net.UnixConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) { //nolint:errcheck // being nice is a courtesy
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			return
		}
		// The system call tells 20 less the priority, which is never negative.
		if n, err := unix.Getpriority(unix.PRIO_PROCESS, int(peer.Pid)); err == nil && n < 20 {
			renice(20 - n) //nolint:errcheck // being nice is a courtesy
		}
	})
}

// cpuTime is the processor time that this process has taken.
func cpuTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
