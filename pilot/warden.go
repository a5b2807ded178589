package pilot

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/pilot/worker"
)

// How long a warden works for an agent that was killed.
const (
	wardenTime  = 30 * time.Second      // for its guards to end, and for the session's directory to be free
	wardenPause = 20 * time.Millisecond // between looks
)

// wardenDone is what an agent that goes in good order says to its warden.
const wardenDone = 'd'

// wardenMain is the life of a warden: it waits at the end of a pipe for the agent
// that has the other one. Of an agent that was killed it removes what the
// agent, and its guards, could not: on a host that nobody can log in to there
// may be no next agent to sweep. Dir is the session's directory, me the agent's
// mark on what is its own there.
func wardenMain(pipe io.Reader, dir, me string) error {
	var said [1]byte
	if n, _ := io.ReadFull(pipe, said[:]); n == 1 && said[0] == wardenDone {
		return nil
	}
	if me == "" || !filepath.IsAbs(dir) || !strings.HasPrefix(filepath.Base(dir), sessionPrefix) || checkDir(dir) != nil {
		return errors.New("this command is run by agents, not by hand")
	}
	var err error
	for deadline := time.Now().Add(wardenTime); time.Now().Before(deadline); time.Sleep(wardenPause) {
		if _, err = os.Lstat(filepath.Join(dir, "workers-"+me)); err == nil {
			worker.Sweep(filepath.Join(dir, lockName)) //nolint:errcheck // it is looked at again
			err = errors.New("what it ran is still there")
			continue
		}
		if err = removeDead(dir, me); err == nil || !isLocked(err) {
			return err
		}
	}
	return err
}

// removeDead removes what a dead agent left in a session's directory: all of it,
// when nobody else is there. An error that isLocked means that somebody is, be
// it the agent whose last moment this is.
func removeDead(dir, me string) error {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|openNoFollow, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it is gone
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := lockFile(f, true); err != nil {
		own, _ := filepath.Glob(filepath.Join(dir, "*-"+me))
		for _, path := range own {
			os.RemoveAll(path)
		}
		return err
	}
	err = removeHeld(dir)
	os.Remove(filepath.Dir(dir)) // only when it is empty
	return err
}
