package launcher_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/launcher"
)

func openState(t *testing.T) *launcher.State {
	t.Helper()
	s, err := launcher.OpenState(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func createRun(t *testing.T, s *launcher.State, b launcher.Begun) *launcher.RunDir {
	t.Helper()
	r, err := s.Create(b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func write(t *testing.T, r *launcher.RunDir, data ...launcher.EventData) {
	t.Helper()
	for _, d := range data {
		if err := r.Journal.Write(launcher.Event{Time: time.Now(), Run: r.Name, Data: d}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStateOfARun(t *testing.T) {
	s := openState(t)
	r := createRun(t, s, launcher.Begun{Run: "abcdefgh", Command: []string{"zorilla", "run", "x"}, Out: "/out"})
	if _, err := s.Create(launcher.Begun{Run: "abcdefgh"}); err == nil {
		t.Error("a second run of the same name was made")
	}
	if _, err := s.Create(launcher.Begun{Run: "../../etc"}); err == nil {
		t.Error("a run got a name that leads elsewhere")
	}
	seq, err := r.Ledger.Make(launcher.Made{Site: "a", Kind: launcher.KindDir, What: launcher.What{Path: "/x"}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, r, launcher.RunStarted{App: "x", Workers: 2, Sites: []string{"a"}})

	info, err := s.Run("abcdefgh")
	if err != nil || !info.Running || info.Ended || len(info.Leftovers) != 1 || info.Status.Workers != 2 || info.Begun.Out != "/out" || info.Err != nil {
		t.Errorf("while it runs: %+v, %v", info, err)
	}
	if _, err := s.Adopt("abcdefgh"); !errors.Is(err, launcher.ErrRunning) {
		t.Errorf("Adopt of a running run: %v, want ErrRunning", err)
	}

	// Its launcher dies: the lock goes, the rest stays.
	r.Close()
	info, err = s.Run("abcdefgh")
	if err != nil || info.Running || info.Ended || len(info.Leftovers) != 1 {
		t.Errorf("after its launcher's death: %+v, %v", info, err)
	}
	a, err := s.Adopt("abcdefgh")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Ledger.Remove(seq, "gc"); err != nil {
		t.Fatal(err)
	}
	write(t, a, launcher.RunEnded{Outcome: launcher.OutcomeSites, Exit: 3})
	a.Close()
	info, err = s.Run("abcdefgh")
	if err != nil || !info.Ended || info.Status.Exit != 3 || len(info.Leftovers) != 0 {
		t.Errorf("after clean-up: %+v, %v", info, err)
	}

	for _, name := range []string{"bbbbbbbb", "..", "", "abcdefgh/../abcdefgh"} {
		if _, err := s.Run(name); !errors.Is(err, launcher.ErrNoRun) {
			t.Errorf("Run(%q) = %v, want ErrNoRun", name, err)
		}
		if err := s.Forget(name); !errors.Is(err, launcher.ErrNoRun) {
			t.Errorf("Forget(%q) = %v, want ErrNoRun", name, err)
		}
	}
}

func touch(t *testing.T, path string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestRunsAndPrune(t *testing.T) {
	s := openState(t)
	now := time.Now()
	const month = 31 * 24 * time.Hour
	running := createRun(t, s, launcher.Begun{Run: "running2", Time: now.Add(-2 * month)})
	ages := map[string]time.Duration{running.Path: 2 * month}
	for name, age := range map[string]time.Duration{"oldclean": 2 * month, "olddirty": 3 * month, "newclean": time.Hour} {
		r := createRun(t, s, launcher.Begun{Run: name, Time: now.Add(-age)})
		if name == "olddirty" {
			if _, err := r.Ledger.Make(launcher.Made{Kind: launcher.KindDir}); err != nil {
				t.Fatal(err)
			}
		}
		r.Close()
		ages[r.Path] = age
	}
	for path, age := range ages { // now that none is made any more
		touch(t, path, now.Add(-age))
	}
	names := func() (names []string) {
		runs, err := s.Runs()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range runs {
			names = append(names, r.Begun.Run)
		}
		return names
	}
	if d := cmp.Diff([]string{"olddirty", "oldclean", "running2", "newclean"}, names()); d != "" {
		t.Errorf("runs (-want +got):\n%s", d)
	}
	if n, err := s.Prune(launcher.KeepRuns); n != 1 || err != nil {
		t.Errorf("Prune = %d, %v; want 1", n, err)
	}
	if d := cmp.Diff([]string{"olddirty", "running2", "newclean"}, names()); d != "" {
		t.Errorf("runs after pruning (-want +got):\n%s", d)
	}

	// A new run prunes by itself.
	runs, err := s.Runs()
	if err != nil {
		t.Fatal(err)
	}
	touch(t, runs[2].Path, now.Add(-2*month))
	createRun(t, s, launcher.Begun{Run: "evennewe"})
	if d := cmp.Diff([]string{"olddirty", "running2", "evennewe"}, names()); d != "" {
		t.Errorf("runs after a new one (-want +got):\n%s", d)
	}
}

func TestOpenStateRefuses(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("directories have no modes on Windows")
	}
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.MkdirAll(filepath.Join(open, "runs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	private := filepath.Join(dir, "private")
	if err := errors.Join(os.Mkdir(private, 0o700), os.Symlink(private, link)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		open: "open to others (mode 0755); chmod 700 it",
		link: "not a directory",
		file: "not a directory",
	} {
		if _, err := launcher.OpenState(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("OpenState(%s) = %v, want %q", path, err, want)
		}
	}
	if os.Getuid() == 0 {
		other := filepath.Join(dir, "other")
		if err := errors.Join(os.Mkdir(other, 0o700), os.Chown(other, 12345, 12345)); err != nil {
			t.Fatal(err)
		}
		if _, err := launcher.OpenState(other); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
			t.Errorf("somebody else's directory: %v", err)
		}
	}
}

func TestStateDir(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/x/state")
	if got, err := launcher.StateDir(); err != nil || got != "/x/state/zorilla" {
		t.Errorf("StateDir = %q, %v", got, err)
	}
	t.Setenv("XDG_STATE_HOME", "relative")
	t.Setenv("HOME", "/home/me")
	if got, err := launcher.StateDir(); err != nil || runtime.GOOS == "linux" && got != "/home/me/.local/state/zorilla" {
		t.Errorf("StateDir = %q, %v; a relative XDG_STATE_HOME does not count", got, err)
	}
}
