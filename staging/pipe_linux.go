package staging

import (
	"os"

	"golang.org/x/sys/unix"
)

// widenPipe gives a pipe 256 KiB, as far as the system's limits allow: fewer
// switches between the worker and its reader.
func widenPipe(f *os.File) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, MaxBlock) // refused beyond the user's share: the default will do
	})
}
