//go:build unix

package pilot

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func enter(t *testing.T, base string) *sessionDir {
	t.Helper()
	d, err := enterSession(base, session)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func leave(t *testing.T, d *sessionDir) {
	t.Helper()
	if err := d.leave(); err != nil {
		t.Error(err)
	}
}

// names lists what is in a directory; nil when it is not there.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLastOneOutRemovesAll(t *testing.T) {
	t.Parallel()
	base := filepath.Join(t.TempDir(), "base")
	first, second := enter(t, base), enter(t, base)
	if first.path != second.path {
		t.Fatalf("two agents of a session are in %s and %s", first.path, second.path)
	}
	for _, dir := range []string{base, first.path} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v, %v; want 0700", dir, info.Mode(), err)
		}
	}
	mark, err := first.sign()
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(mark); err != nil || startTime() != strings.TrimSpace(string(text)) {
		t.Errorf("the mark says %q, %v; want %q", text, err, startTime())
	}
	if other, err := second.sign(); err != nil || other == mark { // as if on another host with the same process ids
		t.Errorf("two agents sign with %q and %q, %v", mark, other, err)
	} else if err := os.Remove(other); err != nil {
		t.Error(err)
	}
	touch(t, filepath.Join(first.path, "what others left"))
	leave(t, first)
	if len(names(t, second.path)) != 3 {
		t.Errorf("after the first left there are %q", names(t, second.path))
	}
	third := enter(t, base)
	leave(t, second)
	leave(t, third)
	if _, err := os.Stat(base); !os.IsNotExist(err) {
		t.Errorf("the last one left %q, %v", names(t, base), err)
	}
}

func TestLeaveKeepsWhatIsNotTheSessions(t *testing.T) {
	t.Parallel()
	base := filepath.Join(t.TempDir(), "base")
	d := enter(t, base)
	touch(t, filepath.Join(base, "pilot-0123"))
	leave(t, d)
	if d := cmp.Diff([]string{"pilot-0123"}, names(t, base)); d != "" {
		t.Errorf("what stays (-want +got):\n%s", d)
	}
}

// TestComeAndGo has agents enter and leave at the same time: each finds a
// directory that stays until it leaves, and nothing stays in the end.
func TestComeAndGo(t *testing.T) {
	t.Parallel()
	base := filepath.Join(t.TempDir(), "base")
	if err := SafeDir(base); err != nil {
		t.Fatal(err)
	}
	keep := filepath.Join(base, "keep") // the base itself is not at stake here
	touch(t, keep)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				d, err := enterSession(base, session)
				if err != nil {
					t.Error(err)
					return
				}
				if !sameFile(d.lock, filepath.Join(d.path, lockName)) {
					t.Error("the directory went while it was held")
				}
				if err := d.leave(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if d := cmp.Diff([]string{"keep"}, names(t, base)); d != "" {
		t.Errorf("what stays (-want +got):\n%s", d)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	base := filepath.Join(t.TempDir(), "base")
	held := enter(t, base)
	old := time.Now().Add(-2 * staleAfter)
	for _, dir := range []string{"s-deadbeef", "s-nolockxx", "s-freshone", "s-openopen", "other"} {
		path := filepath.Join(base, dir)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if dir != "s-nolockxx" {
			touch(t, filepath.Join(path, lockName))
		}
		touch(t, filepath.Join(path, "file"))
		if dir == "s-openopen" {
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	touch(t, filepath.Join(base, "pilot-kept"))
	touch(t, filepath.Join(base, "s-a-file"))
	elsewhere := t.TempDir()
	touch(t, filepath.Join(elsewhere, "file"))
	if err := os.Symlink(elsewhere, filepath.Join(base, "s-linklink")); err != nil {
		t.Fatal(err)
	}
	for _, name := range names(t, base) {
		if name != "s-freshone" && name != "s-linklink" {
			if err := os.Chtimes(filepath.Join(base, name), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	removed, err := sweepBase(t.Context(), base)
	if err != nil {
		t.Error(err)
	}
	slices.Sort(removed)
	if d := cmp.Diff([]string{filepath.Join(base, "s-deadbeef"), filepath.Join(base, "s-nolockxx")}, removed); d != "" {
		t.Errorf("removed (-want +got):\n%s", d)
	}
	want := []string{"other", "pilot-kept", "s-a-file", "s-abcdefgh", "s-freshone", "s-linklink", "s-openopen"}
	if d := cmp.Diff(want, names(t, base)); d != "" {
		t.Errorf("what stays (-want +got):\n%s", d)
	}
	if len(names(t, elsewhere)) != 1 {
		t.Error("a sweep followed a link out of the base")
	}
	leave(t, held)
	if removed, err := sweepBase(t.Context(), filepath.Join(base, "absent")); err != nil || removed != nil {
		t.Errorf("sweeping nothing: %q, %v", removed, err)
	}
}

// TestSweepHolds has an agent come while its directory, an old one, is swept.
func TestSweepHolds(t *testing.T) {
	t.Parallel()
	base := filepath.Join(t.TempDir(), "base")
	if err := SafeDir(base); err != nil {
		t.Fatal(err)
	}
	touch(t, filepath.Join(base, "keep"))
	old := time.Now().Add(-2 * staleAfter)
	for range 50 {
		path := filepath.Join(base, SessionDirName(session))
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := sweepBase(t.Context(), base); err != nil {
				t.Error(err)
			}
		})
		d, err := enterSession(base, session)
		wg.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if !sameFile(d.lock, filepath.Join(d.path, lockName)) {
			t.Fatal("a sweep took the directory of an agent")
		}
		leave(t, d)
	}
}

func TestHostileBase(t *testing.T) {
	t.Parallel()
	real := t.TempDir()
	if err := os.Chmod(real, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		make func(base string) error
		text string
	}{
		"symlink":      {func(base string) error { return os.Symlink(real, base) }, "not a directory"},
		"file":         {func(base string) error { return os.WriteFile(base, nil, 0o600) }, "not a directory"},
		"group writes": {func(base string) error { os.Mkdir(base, 0o700); return os.Chmod(base, 0o770) }, "open to others"},
		"others look":  {func(base string) error { os.Mkdir(base, 0o700); return os.Chmod(base, 0o701) }, "open to others"},
		"other user": {func(base string) error {
			os.Mkdir(base, 0o700)
			if os.Getuid() != 0 {
				t.Skip("only root can give a directory away")
			}
			return os.Chown(base, 12345, -1)
		}, "another user"},
		"no parent": {func(base string) error { return os.Remove(filepath.Dir(base)) }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			base := filepath.Join(t.TempDir(), "parent", "base")
			if err := os.Mkdir(filepath.Dir(base), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := c.make(base); err != nil {
				t.Fatal(err)
			}
			if _, err := enterSession(base, session); err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got error %v, want one that says %q", err, c.text)
			}
			if name != "no parent" {
				if removed, err := sweepBase(t.Context(), base); err == nil || removed != nil {
					t.Errorf("swept %q, %v", removed, err)
				}
			}
			if len(names(t, real)) != 0 {
				t.Errorf("somebody else's directory has %q", names(t, real))
			}
		})
	}
	t.Run("session directory", func(t *testing.T) {
		base := filepath.Join(t.TempDir(), "base")
		if err := SafeDir(base); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(real, filepath.Join(base, SessionDirName(session))); err != nil {
			t.Fatal(err)
		}
		if _, err := enterSession(base, session); err == nil {
			t.Error("entered a directory behind a link")
		}
	})
	t.Run("lock", func(t *testing.T) {
		base := filepath.Join(t.TempDir(), "base")
		dir := filepath.Join(base, SessionDirName(session))
		if err := SafeDir(base); err != nil {
			t.Fatal(err)
		}
		if err := SafeDir(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(real, "lock"), filepath.Join(dir, lockName)); err != nil {
			t.Fatal(err)
		}
		if _, err := enterSession(base, session); err == nil || len(names(t, real)) != 0 {
			t.Errorf("a lock behind a link was taken: %v", err)
		}
	})
}
