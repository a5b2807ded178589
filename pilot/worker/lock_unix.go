//go:build linux || darwin

package worker

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const hasModeBits = true

// flock takes an exclusive lock without waiting.
func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrInUse
		case err != nil:
			return os.NewSyscallError("flock", err)
		default:
			return nil
		}
	}
}

func ownedByUs(fi fs.FileInfo) (owner string, ours bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return "an unknown user", false
	}
	return "user id " + strconv.Itoa(int(st.Uid)), int(st.Uid) == os.Geteuid()
}
