package testbed

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// ownSession makes the command start in a session, and so a process group, of
// its own.
func ownSession(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setsid = true
}

// asUser makes the command start as another user, in the group of that number.
func asUser(cmd *exec.Cmd, uid uint32) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
}

// terminateGroup asks the process group of a command with [ownSession] to end.
func terminateGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGTERM) }

// tryLock takes an exclusive lock that other processes respect, if it is free.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

func ownerOf(info fs.FileInfo) uint32 {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return stat.Uid
}
