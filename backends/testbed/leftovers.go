package testbed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// leftoverTime is how long NoLeftovers waits for a host to become clean.
	leftoverTime = 10 * time.Second
	// leftoverLines bounds what NoLeftovers reports.
	leftoverLines = 50
)

// writable are the places where users of the host can write.
func (h *Host) writable() []string {
	places := []string{"/tmp", "/var/tmp", "/dev/shm", "/run", "/home"}
	for _, d := range h.disks {
		if d.shared && !slices.Contains(places, d.at) {
			places = append(places, d.at)
		}
	}
	return places
}

// fileState is what changes when a file does.
type fileState struct {
	mode fs.FileMode
	uid  uint32
	size int64
	mod  time.Time
}

func stateOf(info fs.FileInfo) fileState {
	s := fileState{mode: info.Mode(), uid: ownerOf(info)}
	if !info.IsDir() { // what is in a directory is looked at by itself
		s.size, s.mod = info.Size(), info.ModTime()
	}
	return s
}

// snapshot lists the files in places. It runs inside the host. Files that
// vanish meanwhile are left out.
func snapshot(places []string) (map[string]fileState, error) {
	files := make(map[string]fileState)
	for _, top := range places {
		err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
			if err == nil && name != sshdPid {
				var info fs.FileInfo
				if info, err = d.Info(); err == nil {
					files[name] = stateOf(info)
				}
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (h *Host) takeBaseline() error {
	return h.inside(func() error {
		files, err := snapshot(h.writable())
		h.mu.Lock()
		defer h.mu.Unlock()
		h.baseline = files
		return err
	})
}

// renewBaseline is takeBaseline for a host that has come back: what is on its
// disks is what it was before.
func (h *Host) renewBaseline() error {
	return h.inside(func() error {
		files, err := snapshot(h.writable())
		h.mu.Lock()
		defer h.mu.Unlock()
		onDisk := func(name string) bool {
			return slices.ContainsFunc(h.disks, func(d disk) bool { return strings.HasPrefix(name, d.at+"/") })
		}
		maps.DeleteFunc(h.baseline, func(name string, _ fileState) bool { return !onDisk(name) })
		for name, state := range files {
			if !onDisk(name) {
				h.baseline[name] = state
			}
		}
		return err
	})
}

// expectAll makes dir and what is in it, as it is now, no leftover, and returns
// the baseline before that.
func (h *Host) expectAll(dir string) (before map[string]fileState, err error) {
	err = h.inside(func() error {
		files, err := snapshot(h.writable())
		h.mu.Lock()
		defer h.mu.Unlock()
		before = maps.Clone(h.baseline)
		maps.DeleteFunc(files, func(name string, _ fileState) bool {
			return name != dir && !strings.HasPrefix(name, dir+"/")
		})
		maps.Copy(h.baseline, files)
		return err
	})
	return before, err
}

// expect makes name, as it is now, no leftover.
func (h *Host) expect(name string) error {
	return h.inside(func() error {
		info, err := os.Lstat(name)
		if err != nil {
			return err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.baseline[name] = stateOf(info)
		return nil
	})
}

// Leftovers says what there is on the host that was not there when it started,
// one line each:
//
//   - processes of alice and bob, except sshd's own;
//   - files of any kind that were made or changed in /tmp, /var/tmp, /dev/shm,
//     /run and /home;
//   - listening TCP and Unix sockets and bound UDP sockets, except sshd's.
//
// A session that is open runs processes, which count. On a host of a cluster,
// only what belongs to alice or bob counts: all else is the daemons'.
func (h *Host) Leftovers(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var left []string
	err := h.inside(func() error {
		procs, err := processes()
		if err != nil {
			return err
		}
		for _, p := range procs {
			if a, ok := accountOf(p.User); ok && a.login && !p.sshd {
				left = append(left, "process "+p.String())
			}
		}
		files, err := h.newFiles()
		if err != nil {
			return err
		}
		left = append(left, files...)
		sockets, err := listening(procs, h.mayOwn)
		left = append(left, sockets...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for leftovers on %s: %w", h.Name, err)
	}
	return left, nil
}

// newFiles compares the writable places with the baseline, inside the host.
func (h *Host) newFiles() ([]string, error) {
	files, err := snapshot(h.writable())
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var left []string
	for name, now := range files {
		then, known := h.baseline[name]
		switch {
		case !h.mayOwn(userName(now.uid)):
		case !known:
			left = append(left, fmt.Sprintf("%s %s of %s, %d bytes", kind(now.mode), name, userName(now.uid), now.size))
		case then != now:
			left = append(left, fmt.Sprintf("%s %s of %s, changed", kind(now.mode), name, userName(now.uid)))
		}
	}
	slices.Sort(left)
	return left, nil
}

// mayOwn tells whether what belongs to a user may be a leftover.
func (h *Host) mayOwn(user string) bool {
	a, ok := accountOf(user)
	return h.daemons == nil || ok && a.login
}

func kind(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "file"
	case fs.ModeDir:
		return "directory"
	case fs.ModeSymlink:
		return "link"
	case fs.ModeSocket:
		return "socket"
	case fs.ModeNamedPipe:
		return "pipe"
	default:
		return "device"
	}
}

func userName(uid uint32) string {
	for _, a := range accounts() {
		if a.uid == uid {
			return a.name
		}
	}
	return fmt.Sprintf("uid %d", uid)
}

// NoLeftovers fails the test if [Host.Leftovers] is not empty within 10 s:
// processes may take a moment to end.
func (h *Host) NoLeftovers(t testing.TB) {
	t.Helper()
	h.noLeftoversWithin(t, leftoverTime)
}

func (h *Host) noLeftoversWithin(t testing.TB, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var left []string
	err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
		now, err := h.Leftovers(ctx)
		if err != nil {
			return false, err
		}
		left = now
		return len(left) == 0, nil
	})
	switch {
	case len(left) > 0:
		more := ""
		if len(left) > leftoverLines {
			more = fmt.Sprintf("\n\tand %d more", len(left)-leftoverLines)
			left = left[:leftoverLines]
		}
		t.Errorf("left behind on %s after %v:\n\t%s%s", h.Name, limit, strings.Join(left, "\n\t"), more)
	case err != nil:
		t.Errorf("left behind on %s: %v", h.Name, err)
	}
}
