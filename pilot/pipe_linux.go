package pilot

import (
	"os"

	"golang.org/x/sys/unix"
)

// isDrained reports whether a pipe is open and has nothing in it to be read.
func isDrained(pipe *os.File) bool {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return false
	}
	n := -1
	err = raw.Control(func(fd uintptr) { // not Fd, which makes reads uninterruptible
		if unread, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ); err == nil {
			n = unread
		}
	})
	return err == nil && n == 0
}
