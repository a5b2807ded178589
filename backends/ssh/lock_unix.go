//go:build unix

package ssh

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// lockFile keeps other sessions from writing to a file until unlock is called. Where it
// cannot be locked within a second, as on some network file systems, it is not: a
// line is appended in one go anyhow, which is all that ssh itself relies on.
func lockFile(f *os.File) (unlock func()) {
	for range 20 {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) } // closing does it too
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			break
		}
		<-time.After(50 * time.Millisecond)
	}
	return func() {}
}
