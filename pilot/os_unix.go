//go:build unix

package pilot

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	openNoFollow = syscall.O_NOFOLLOW
	openNoWait   = syscall.O_NONBLOCK // for files that may turn out to be pipes
	canCheckMode = true
)

// isLocked reports whether an error of lockFile means that somebody else has the lock.
func isLocked(err error) bool { return errors.Is(err, unix.EWOULDBLOCK) }

// lockFile takes a lock without waiting, shared or exclusive.
func lockFile(f *os.File, exclusive bool) error {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	return unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
}

func ownerOf(info fs.FileInfo) (uid int, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}

// isRefused reports whether nobody listens on a socket that is there.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// warnings are the signals by which schedulers say that the wall time ends.
func warnings() []os.Signal {
	return []os.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGXCPU}
}

// inGroup gives a command a process group of its own, all of which ends when it is
// told to.
func inGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
