package staging

import (
	"io/fs"
	"syscall"
)

// changeStamp returns a file's identity and the time of its last change, which
// a program cannot set as it likes; zeros where the system does not tell.
func changeStamp(fi fs.FileInfo) (inode uint64, ctime int64) {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ino, st.Ctim.Nano()
	}
	return 0, 0
}
