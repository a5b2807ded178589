package pilot

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/worker"
)

// Names below a base directory.
const (
	sessionPrefix = "s-"   // session directories
	lockName      = "lock" // in a session directory: held shared by its agents
)

// staleAfter is how old a session directory must be before an absent or free
// lock counts as proof that nobody is there: bootstrapping takes a while.
const staleAfter = 10 * time.Minute

// An agent that comes while the directory is being removed tries again.
const (
	enterPatience = 10 * time.Second
	enterPause    = 5 * time.Millisecond
)

// BaseName is the name of the directory Zorilla makes in a scratch directory,
// one per user: the user's sessions and kept pilot binaries are below it.
func BaseName(uid int) string { return fmt.Sprintf("zorilla-%d", uid) }

// SessionDirName is the name of a session's directory below a base directory.
func SessionDirName(s wire.SessionID) string { return sessionPrefix + string(s) }

// A sessionDir is a session's directory, shared by its agents on one host, or on
// several when the scratch directory is.
type sessionDir struct {
	base string
	path string
	me   string // tells what is this process's from what is others', on whatever host
	lock *os.File
}

// enterSession makes the session's directory if it is not there, and holds it
// until leave.
func enterSession(base string, session wire.SessionID) (*sessionDir, error) {
	d := &sessionDir{
		base: base,
		path: filepath.Join(base, SessionDirName(session)),
		me:   fmt.Sprintf("%s-%d", strings.ToLower(rand.Text()[:8]), os.Getpid()),
	}
	if _, err := os.Stat(filepath.Dir(base)); err != nil {
		return nil, fmt.Errorf("session directory: %w", err)
	}
	for deadline := time.Now().Add(enterPatience); ; {
		lock, err := d.tryLock()
		switch {
		case err == nil:
			d.lock = lock
			return d, nil
		case !isLocked(err) && !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("session directory: %w", err)
		case time.Now().After(deadline):
			return nil, fmt.Errorf("session directory is being removed again and again: %w", err)
		}
		time.Sleep(enterPause)
	}
}

// tryLock makes the directory and takes its lock. While the last agent, or a
// sweep, removes the directory the error says that something is locked or not
// there.
func (d *sessionDir) tryLock() (*os.File, error) {
	if err := SafeDir(d.base); err != nil {
		return nil, err
	}
	if err := SafeDir(d.path); err != nil {
		return nil, err
	}
	name := filepath.Join(d.path, lockName)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|openNoFollow, 0o600)
	if err != nil {
		return nil, err
	}
	err = lockFile(f, false)
	if err == nil && !sameFile(f, name) {
		err = fs.ErrNotExist // removed since it was opened
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}

// own is the path of something in the directory that is this process's alone.
func (d *sessionDir) own(what string) string { return filepath.Join(d.path, what+"-"+d.me) }

// sign writes down which process is an agent of this session, for clean-up
// scripts: a file whose name ends with the process id holds its start time, as
// the system counts it, which also tells it from a process of another host.
func (d *sessionDir) sign() (path string, err error) {
	path = d.own("agent")
	return path, os.WriteFile(path, []byte(startTime()+"\n"), 0o600)
}

// leave gives the directory up. The last agent to leave removes it with all
// that is in it, and the base directory if that is then empty.
func (d *sessionDir) leave() error {
	defer d.lock.Close()
	if err := lockFile(d.lock, true); err != nil {
		return nil // others are still here
	}
	err := removeHeld(d.path)
	os.Remove(d.base) // only when it is empty
	return err
}

// removeHeld removes a session directory whose lock is held. Whoever comes
// meanwhile finds it locked, or a new one: the lock is never there without
// its holder being safe.
func removeHeld(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != lockName {
			os.RemoveAll(filepath.Join(path, e.Name())) // what resists is tried again below
		}
	}
	gone := path + "." + rand.Text()[:8] // swept like any other, should we die here
	if err := os.Rename(path, gone); err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

// sweepBase removes what agents that were killed left below a base directory:
// the session directories that nobody holds, with the processes that were left
// running in them. Kept pilot binaries stay. It returns the directories
// removed. It goes on after errors, until ctx ends.
func sweepBase(ctx context.Context, base string) (removed []string, err error) {
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
		if ctx.Err() != nil {
			break
		}
		if !strings.HasPrefix(e.Name(), sessionPrefix) || !e.IsDir() {
			continue
		}
		path := filepath.Join(base, e.Name())
		ok, e := removeAbandoned(path)
		if ok {
			removed = append(removed, path)
		}
		err = errors.Join(err, e)
	}
	return removed, err
}

// removeAbandoned removes a session directory that no agent holds and that none
// is about to enter. It reports whether it did.
func removeAbandoned(path string) (bool, error) {
	info, err := os.Lstat(path)
	if err != nil || time.Since(info.ModTime()) < staleAfter || checkDir(path) != nil {
		return false, nil
	}
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_CREATE|os.O_RDWR|openNoFollow, 0o600)
	if err != nil {
		return false, nil
	}
	defer f.Close() // after the removal: whoever comes meanwhile waits
	if lockFile(f, true) != nil {
		return false, nil
	}
	_, err = worker.Sweep(filepath.Join(path, lockName))
	if err := errors.Join(err, removeHeld(path)); err != nil {
		return false, fmt.Errorf("sweep: %w", err)
	}
	return true, nil
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
