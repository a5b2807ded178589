package worker

import (
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// spareName is where an emptied sandbox waits for the slot's next worker.
// On ext4, making and removing directories in turn was measured at 135 µs a
// pair against 5 µs for a rename; on tmpfs there is no difference.
const spareName = ".spare"

// A spare is the emptied sandbox of a slot. It works on descriptors that stay
// open from one worker to the next: opening a directory costs as much as all
// else that is done with it. It is guarded by Yard.mu.
type spare struct {
	slot *os.File // the slot's directory; nil before the first worker has ended
	dir  *os.File // the spare; nil if there is none
}

// take makes the spare the sandbox id. It returns its descriptor, nil if there
// is no spare that could be used.
func (s *spare) take(id string) *os.File {
	d := s.dir
	if d == nil {
		return nil
	}
	s.dir = nil
	if s.rename(spareName, id) != nil {
		d.Close()
		return nil
	}
	return d
}

// keep makes the sandbox id, which has been emptied, the spare.
func (s *spare) keep(parent *os.Root, id string, d *os.File) bool {
	if s.dir != nil {
		return false
	}
	if s.slot == nil {
		slot, err := parent.Open(".")
		if err != nil {
			return false
		}
		s.slot = slot
	}
	if s.rename(id, spareName) != nil {
		return false
	}
	s.dir = d
	return true
}

func (s *spare) rename(from, to string) error {
	fd := int(s.slot.Fd())
	return unix.Renameat(fd, from, fd, to)
}

func (s *spare) close() {
	for _, f := range []*os.File{s.slot, s.dir} {
		if f != nil {
			f.Close()
		}
	}
	*s = spare{}
}

// empty removes all that is in the sandbox and reports whether it is as good as
// a new one: as mkdir made it, ours, and without an access list or other
// attributes.
func empty(root *os.Root, d *os.File) bool {
	fd := int(d.Fd())
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode != unix.S_IFDIR|0o700 || int(st.Uid) != os.Geteuid() {
		return false
	}
	if n, err := unix.Flistxattr(fd, nil); n != 0 || err != nil && !errors.Is(err, unix.ENOTSUP) {
		return false
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return false
	}
	var names []string
	for buf := make([]byte, 4096); ; {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil {
			return false
		}
		if n == 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	return !slices.ContainsFunc(names, func(n string) bool { return removeTree(root, n) != nil })
}
