package pilot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Names below a base directory.
const (
	sessionPrefix = "s-"   // session directories
	lockName      = "lock" // in a session directory: held shared by its agents
)

// staleAfter is how old a session directory must be before an absent or free
// lock counts as proof that nobody is there: bootstrapping takes a while.
const staleAfter = 10 * time.Minute

// BaseName is the name of the directory Zorilla makes in a scratch directory,
// one per user: the user's sessions and kept pilot binaries are below it.
func BaseName(uid int) string { return fmt.Sprintf("zorilla-%d", uid) }

// SessionDirName is the name of a session's directory below a base directory.
func SessionDirName(s wire.SessionID) string { return sessionPrefix + string(s) }

// A sessionDir is a session's directory on one host, shared by its agents there.
type sessionDir struct {
	base string
	path string
	lock *os.File
}

// enterSession makes the session's directory if it is not there, and holds it
// until leave.
func enterSession(base string, session wire.SessionID) (*sessionDir, error) {
	if err := SafeDir(base); err != nil {
		return nil, err
	}
	d := &sessionDir{base: base, path: filepath.Join(base, SessionDirName(session))}
	for range 10 {
		if err := SafeDir(d.path); err != nil {
			return nil, err
		}
		name := filepath.Join(d.path, lockName)
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|openNoFollow, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the last agent removed the directory between our two steps
		}
		if err != nil {
			return nil, fmt.Errorf("session directory: %w", err)
		}
		if err := lockFile(f, false); err != nil {
			f.Close()
			return nil, fmt.Errorf("session directory: lock %s: %w", name, err)
		}
		if sameFile(f, name) {
			d.lock = f
			return d, nil
		}
		f.Close()
	}
	return nil, fmt.Errorf("session directory %s is being removed again and again", d.path)
}

// sign writes down which process is an agent of this session, for clean-up
// scripts: a file named after the process that holds its start time, as the
// system counts it.
func (d *sessionDir) sign() (path string, err error) {
	path = filepath.Join(d.path, fmt.Sprintf("agent-%d", os.Getpid()))
	return path, os.WriteFile(path, []byte(startTime()+"\n"), 0o600)
}

// leave gives the directory up. The last agent to leave removes it with all
// that is in it, the given pilot binary, and the base directory if that is
// then empty.
func (d *sessionDir) leave(binary string) error {
	defer d.lock.Close()
	if err := lockFile(d.lock, true); err != nil {
		return nil // others are still here
	}
	err := os.RemoveAll(d.path)
	if binary != "" {
		if e := os.Remove(binary); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	os.Remove(d.base) // only when it is empty
	return err
}

// SweepBase removes what agents that were killed left below a base directory:
// session directories that nobody holds. Kept pilot binaries stay. It returns
// the directories removed.
func SweepBase(base string) (removed []string, err error) {
	if err := checkDir(base); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	entries, err := os.ReadDir(base)
	if err != nil {
		return nil, fmt.Errorf("sweep %s: %w", base, err)
	}
	for _, e := range entries {
		path := filepath.Join(base, e.Name())
		if !strings.HasPrefix(e.Name(), sessionPrefix) || !e.IsDir() || !abandoned(path) {
			continue
		}
		if e := os.RemoveAll(path); e != nil {
			err = errors.Join(err, e)
			continue
		}
		removed = append(removed, path)
	}
	return removed, err
}

// abandoned reports whether no agent holds the session directory and none is
// about to.
func abandoned(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || time.Since(info.ModTime()) < staleAfter {
		return false
	}
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|openNoFollow, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		return false
	}
	defer f.Close()
	return lockFile(f, true) == nil
}

// SafeDir makes a directory of mode 0700 unless it is there, and refuses one
// that somebody else could have made or can look into: on a shared host a name
// in /tmp may belong to anyone.
func SafeDir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make directory: %w", err)
	}
	return checkDir(path)
}

func checkDir(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", path)
	}
	if uid, ok := ownerOf(info); ok && uid != os.Getuid() {
		return fmt.Errorf("%s belongs to another user (uid %d)", path, uid)
	}
	if canCheckMode && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is open to others (mode %04o)", path, info.Mode().Perm())
	}
	return nil
}

// sameFile reports whether the name still leads to the open file.
func sameFile(f *os.File, name string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(name)
	return err == nil && os.SameFile(a, b)
}
