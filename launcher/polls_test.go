package launcher

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// Runs of one user share the answers of a scheduler: of many that ask at once, one does.
func TestPollsShared(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	var asked atomic.Int32
	ask := func(context.Context) ([]byte, error) {
		asked.Add(1)
		return []byte("JOBS\n1 R\n"), nil
	}
	poll := func(s *pollStore, key string, every time.Duration) (string, time.Time) {
		got, at, err := s.Poll(t.Context(), key, every, ask)
		if err != nil {
			t.Error(err)
		}
		return string(got), at
	}
	var stores []*pollStore
	for range 4 {
		stores = append(stores, openPolls(t, dir))
	}
	var wg sync.WaitGroup
	for _, s := range stores {
		for range 4 {
			wg.Go(func() {
				if got, _ := poll(s, "me@head", time.Hour); got != "JOBS\n1 R\n" {
					t.Errorf("answer %q", got)
				}
			})
		}
	}
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	poll(stores[0], "other@head", time.Hour)
	_, at := poll(stores[1], "me@head", 0)
	if n := asked.Load(); n != 3 {
		t.Errorf("asked %d times for two keys and an answer that was too old, want 3", n)
	}
	// What a run has changed must show, to it.
	stores[2].refresh()
	if _, again := poll(stores[2], "me@head", time.Hour); !again.After(at) || asked.Load() != 4 {
		t.Error("an answer from before the change was good enough")
	}
	files, err := os.ReadDir(filepath.Join(dir, pollsName))
	if err != nil || len(files) != 2 {
		t.Fatalf("%d files, error %v; want one for each key", len(files), err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, error %v; want mode 0600", f.Name(), info.Mode(), err)
		}
	}
}

func openPolls(t *testing.T, dir string) *pollStore {
	t.Helper()
	state, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := state.polls()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A scheduler that fails is not asked more often for it; what is in a file that is no
// answer is none.
func TestPollsFail(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	s := openPolls(t, dir)
	asked := 0
	fail := func(context.Context) ([]byte, error) {
		asked++
		return nil, &gat.Error{Class: gat.Transient, Err: errors.New("slurmctld is down")}
	}
	for range 3 {
		_, _, err := openPolls(t, dir).Poll(t.Context(), "k", time.Hour, fail)
		if err == nil || gat.ClassOf(err) != gat.Transient || asked != 1 {
			t.Errorf("error %v (%v) after %d questions", err, gat.ClassOf(err), asked)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, pollsName, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files, error %v", len(files), err)
	}
	for _, text := range []string{"", "{", "null\n", `{"v":2}` + "\n", `{"v":1,"asked":"` + time.Now().Format(time.RFC3339) + `","size":9}` + "\nshort"} {
		if err := os.WriteFile(files[0], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, _, err := s.Poll(t.Context(), "k", time.Hour, func(context.Context) ([]byte, error) { return []byte("new"), nil })
		if err != nil || string(got) != "new" {
			t.Errorf("file %q: answer %q, error %v", text, got, err)
		}
	}
	// Who has no time to wait for an answer does not spoil it for others.
	ctx, cancel := context.WithCancel(t.Context())
	if _, _, err := s.Poll(ctx, "later", time.Hour, func(context.Context) ([]byte, error) { cancel(); return nil, ctx.Err() }); err == nil {
		t.Error("no error")
	}
	if got, _, err := s.Poll(t.Context(), "later", time.Hour, func(context.Context) ([]byte, error) { return []byte("x"), nil }); err != nil || string(got) != "x" {
		t.Errorf("answer %q, error %v", got, err)
	}
}
