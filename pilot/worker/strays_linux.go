package worker

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// scratchVar is the variable by which a worker knows its sandbox. Beside the
// inherited lock it tells the processes of a dead pilot.
const scratchVar = "ZORILLA_SCRATCH="

// endStrays kills the processes that a dead pilot and its dead guards have left
// in the root, and takes the use lock. The caller holds the pilot lock, so
// nobody living owns them.
func endStrays(root *os.Root) (*os.File, error) {
	mark, err := root.Stat(useLock)
	if err != nil {
		return nil, err
	}
	list := func() ([]proc, error) {
		all, err := processes()
		if err != nil {
			return nil, err
		}
		self := os.Getpid()
		return below(all, func(p proc) bool {
			return p.pid != self && !p.zombie && marked(p.pid, mark, root.Name())
		}, true), nil
	}
	(&killer{list: list}).sweep(sweepLimit, func() {})
	// The kernel closes the files of the dead a moment later.
	pause := time.Millisecond
	for end := time.Now().Add(time.Second); ; {
		f, err := lockFile(root, useLock, true)
		if !errors.Is(err, ErrInUse) || time.Now().After(end) {
			return f, err
		}
		time.Sleep(pause)
		pause *= 2
	}
}

// marked reports whether a process of ours belongs to the root: it has the use
// lock open, or was born with a sandbox of the root as its scratch.
func marked(pid int, mark fs.FileInfo, root string) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil || int(st.Uid) != os.Geteuid() {
		return false
	}
	if env, err := os.ReadFile(dir + "/environ"); err == nil &&
		bytes.Contains(append([]byte{0}, env...), []byte("\x00"+scratchVar+root+"/"+slotPrefix)) {
		return true
	}
	fds, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return false
	}
	for _, fd := range fds {
		path := dir + "/fd/" + fd.Name()
		if target, err := os.Readlink(path); err != nil || filepath.Base(target) != useLock {
			continue
		}
		if fi, err := os.Stat(path); err == nil && os.SameFile(fi, mark) {
			return true
		}
	}
	return false
}
