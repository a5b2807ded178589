package prun_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/prun"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

func fake(t *testing.T) *batchtest.Fake {
	if runtime.GOOS != "linux" {
		t.Skip("the small queue needs setsid and /proc")
	}
	return batchtest.PRun(t, prun.Dialect(), local.Backend{})
}

func TestConformance(t *testing.T) {
	f := fake(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	gattest.Test(t, gattest.Harness{Open: f.Open, Dir: dir, Find: gattest.Processes, NoSweep: true})
}

// A job leaves nothing in the home directory, whether it ends or is cancelled, and
// waits until prun has nodes for it.
func TestRecord(t *testing.T) {
	t.Parallel()
	f := fake(t)
	l := f.Open(t)
	defer l.Close()
	home := filepath.Join(filepath.Dir(f.Dir), "home")
	records := func() []string {
		all, err := filepath.Glob(filepath.Join(home, ".gat-prun-*"))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	until := func(what string, holds func() bool) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(30 * time.Second); !holds(); <-tick.C {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not so; records are %q", what, records())
			}
		}
	}
	state := func(id gat.JobID) gat.State {
		all, err := l.Status(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return all[0].State
	}
	f.Write(t, "hold", "")
	out := filepath.Join(f.Dir, "out")
	ids, err := l.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/sh", "-c", `echo "$GAT_JOB $GAT_NODE"; exec sleep 1000`}, Stderr: out, Name: "mine", Resources: gat.Resources{Shape: gat.Multi, Nodes: 2}})
	if err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	until("the job is queued", func() bool { return state(ids[0]) == gat.Queued })
	if found, err := l.(gat.Finder).Find(t.Context(), "mine", time.Time{}); err != nil || len(found) != 1 || found[0].ID != ids[0] {
		t.Errorf("found by name are %v, %v", found, err)
	}
	f.Remove(t, "hold")
	until("the job runs", func() bool { return state(ids[0]) == gat.Running })
	until("both nodes run", func() bool {
		text, _ := os.ReadFile(out)
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		slices.Sort(lines)
		return slices.Equal(lines, []string{string(ids[0]) + " 0", string(ids[0]) + " 1"})
	})
	if err := l.Cancel(t.Context(), ids...); err != nil {
		t.Fatal(err)
	}
	until("the cancelled job is gone", func() bool { return len(records()) == 0 && state(ids[0]) == gat.Cancelled })
	ids, err = l.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}})
	if err != nil {
		t.Fatal(err)
	}
	until("the job is forgotten", func() bool { return len(records()) == 0 && state(ids[0]) == gat.Unknown })

	// A record whose keeper died is nobody's.
	dead := filepath.Join(home, ".gat-prun-aaaaaaaaaa")
	if err := os.Mkdir(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"pid": "999999999", "name": "x", "host": host} {
		if err := os.WriteFile(filepath.Join(dead, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	until("a dead keeper's record is removed", func() bool { return state("aaaaaaaaaa") == gat.Unknown && len(records()) == 0 })
}

func FuzzStates(f *testing.F) {
	f.Add("== jobs\naaaaaaaaaa running x y\nbbbbbbbbbb queued z\n== end\n")
	f.Fuzz(func(t *testing.T, text string) {
		d := prun.Dialect()
		l, err := d.States(text)
		if err != nil {
			return
		}
		for id := range l.Jobs {
			if !d.ID(id) {
				t.Errorf("%q gives the job %q", text, id)
			}
		}
	})
}
