package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// A root holds the two lock files and one directory for each slot, in which
// each sandbox is a directory. Whoever cleans a root removes exactly these.
const (
	pilotLock  = ".zorilla-pilot" // held by the pilot and its guards
	useLock    = ".zorilla-use"   // held by them and by every worker and its descendants
	slotPrefix = "slot-"
)

// Sandbox is the directory of one worker. It exists before the worker starts,
// so that its inputs can be put there, and after it has ended, until Remove.
type Sandbox struct {
	path   string
	parent *os.Root // the slot's
	dir    *os.Root
	list   *os.File // the same, to see what is in it; nil until it is needed
	yard   *Yard
	id     string // its name in the parent
	slot   int

	once    sync.Once
	err     error
	tainted bool // something we could not kill may still be in it; under Yard.mu
}

// Root gives access to the files inside, and to nothing outside. It is closed
// by Remove.
func (s *Sandbox) Root() *os.Root { return s.dir }

// Path is the absolute path of the sandbox.
func (s *Sandbox) Path() string { return s.path }

// Remove deletes the sandbox with everything in it, directories that the
// worker has made unreadable included. To be called when no worker runs in it;
// calling it again returns the first result.
func (s *Sandbox) Remove() error {
	s.once.Do(func() {
		if s.recycle() {
			return
		}
		s.dir.Close()
		if s.list != nil {
			s.list.Close()
		}
		if err := removeTree(s.parent, s.id); err != nil {
			s.err = fmt.Errorf("remove sandbox %s: %w", s.path, err)
		}
		s.yard.forget(s)
	})
	return s.err
}

// recycle empties the sandbox and keeps it as the slot's spare, if it is as good
// as a new one and the slot has none yet.
func (s *Sandbox) recycle() bool {
	y := s.yard
	y.mu.Lock()
	no := y.closed || s.tainted
	y.mu.Unlock()
	if no {
		return false
	}
	if s.list == nil {
		var err error
		if s.list, err = s.dir.Open("."); err != nil {
			return false
		}
	}
	if !empty(s.dir, s.list) {
		return false
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.closed || !y.slots[s.slot].spare.keep(s.parent, s.id, s.list) {
		return false
	}
	s.dir.Close()
	delete(y.sandboxes, s.id)
	return true
}

func slotDir(slot int) string { return slotPrefix + strconv.Itoa(slot) }

// removeTree removes name below root. A worker can make a directory that even
// its owner may not change: those are opened up first.
func removeTree(root *os.Root, name string) error {
	err := root.RemoveAll(name)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	fs.WalkDir(root.FS(), name, func(p string, d fs.DirEntry, err error) error { //nolint:errcheck // the second RemoveAll tells
		if err != nil {
			return fs.SkipDir
		}
		if d.IsDir() {
			root.Chmod(p, 0o700) //nolint:errcheck // as above
		}
		return nil
	})
	return root.RemoveAll(name)
}

func validID(id string) error {
	if id == "" || len(id) > MaxID || id[0] == '.' || id[0] == '-' {
		return fmt.Errorf("worker id %q: want 1 to %d bytes, the first not '.' or '-'", id, MaxID)
	}
	if i := strings.IndexFunc(id, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '_' || r == '-')
	}); i >= 0 {
		return fmt.Errorf("worker id %q: want only letters, digits, '.', '_' and '-'", id)
	}
	return nil
}

// openRoot makes or checks the directory of a yard and opens it.
func openRoot(path string) (*os.Root, error) {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("open yard: %w", err)
	}
	before, err := trusted(path)
	if err != nil {
		return nil, fmt.Errorf("open yard: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open yard: %w", err)
	}
	after, err := root.Stat(".")
	if err == nil && !os.SameFile(before, after) {
		err = fmt.Errorf("%s: %w: it was exchanged while being opened", path, ErrHostile)
	}
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("open yard: %w", err)
	}
	return root, nil
}

// trusted returns what lstat says of path if nobody but us can have put
// anything there.
func trusted(path string) (fs.FileInfo, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	switch {
	case fi.Mode()&fs.ModeSymlink != 0:
		return nil, fmt.Errorf("%s: %w: it is a symbolic link", path, ErrHostile)
	case !fi.IsDir():
		return nil, fmt.Errorf("%s: %w: it is not a directory", path, ErrHostile)
	}
	if owner, ours := ownedByUs(fi); !ours {
		return nil, fmt.Errorf("%s: %w: it belongs to %s", path, ErrHostile, owner)
	}
	if hasModeBits && fi.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: %w: its mode is %04o, want 0700", path, ErrHostile, fi.Mode().Perm())
	}
	return fi, nil
}

// cleanRoot removes what a yard makes in its root, the locks last.
func cleanRoot(root *os.Root) error {
	names, err := slotDirs(root)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range names {
		errs = append(errs, removeTree(root, n))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return removeLocks(root)
}

// removeLocks ends the life of a root without sandboxes. The directory itself
// goes too unless somebody else has put something in it.
func removeLocks(root *os.Root) error {
	for _, n := range []string{useLock, pilotLock} {
		if err := root.Remove(n); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	os.Remove(root.Name()) //nolint:errcheck // not empty: not ours to remove
	return nil
}

func slotDirs(root *os.Root) ([]string, error) {
	d, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	all, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range all {
		if strings.HasPrefix(n, slotPrefix) {
			names = append(names, n)
		}
	}
	return names, nil
}

// Sweep removes what dead pilots have left in the directory that root lies in,
// root itself included: for each pilot directory there whose pilot and guards
// are all gone it ends the processes they left running, if any, and removes
// the sandboxes. It returns the directories that it cleaned. Directories that
// no yard has made, that are in use, or that belong to others are left alone.
// It may run beside live pilots and other sweeps.
func Sweep(root string) ([]string, error) {
	parent := filepath.Dir(filepath.Clean(root))
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	var cleaned []string
	var errs []error
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		path := filepath.Join(parent, e.Name())
		if _, err := trusted(path); err != nil {
			continue
		}
		ok, err := sweepOne(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("sweep %s: %w", path, err))
		}
		if ok {
			cleaned = append(cleaned, path)
		}
	}
	return cleaned, errors.Join(errs...)
}

func sweepOne(path string) (bool, error) {
	dir, err := os.OpenRoot(path)
	if err != nil {
		return false, nil // gone meanwhile
	}
	defer dir.Close()
	if fi, err := dir.Lstat(pilotLock); err != nil || !fi.Mode().IsRegular() {
		return false, nil // not made by a yard
	}
	pilot, err := lockFile(dir, pilotLock, false)
	if errors.Is(err, ErrInUse) || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer pilot.Close()
	use, err := lockFile(dir, useLock, false)
	if errors.Is(err, ErrInUse) {
		use, err = endStrays(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if use != nil {
		defer use.Close()
	}
	if err := cleanRoot(dir); err != nil {
		return false, err
	}
	return true, nil
}

// lockFile opens (and with create makes) the lock file and takes the lock
// without waiting. The lock is held until every descriptor that was inherited
// or duplicated from the file is closed.
func lockFile(root *os.Root, name string, create bool) (*os.File, error) {
	flag := os.O_RDWR
	if create {
		flag |= os.O_CREATE
	}
	f, err := root.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		f.Close()
		return nil, err
	}
	// A sweep may have removed the file between the two calls.
	held, err1 := f.Stat()
	named, err2 := root.Lstat(name)
	if err1 != nil || err2 != nil || !os.SameFile(held, named) {
		f.Close()
		return nil, fs.ErrNotExist
	}
	return f, nil
}
