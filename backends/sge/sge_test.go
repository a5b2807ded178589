package sge_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/sge"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

func fake(t *testing.T) *batchtest.Fake {
	if runtime.GOOS != "linux" {
		t.Skip("the small queue needs setsid and /proc")
	}
	return batchtest.SGE(t, sge.Dialect(), local.Backend{})
}

func TestConformance(t *testing.T) {
	f := fake(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	gattest.Test(t, gattest.Harness{Open: f.Open, Dir: dir, Find: gattest.Processes, NoSweep: true})
}

// A job of several nodes runs its command, with files, once on each.
func TestMulti(t *testing.T) {
	t.Parallel()
	f := fake(t)
	l := f.Open(t)
	defer l.Close()
	out, large := filepath.Join(f.Dir, "out"), make([]byte, 3<<20)
	rand.Read(large)
	ids, err := l.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/sh", "./f"}, Stderr: out, Files: []gat.JobFile{{Name: "f", Mode: 0o600, Data: []byte("echo $GAT_JOB $GAT_NODE $GAT_CORES $GAT_LEFT; exit 4\n")}, {Name: "large", Mode: 0o700, Data: large}},
		Resources: gat.Resources{Shape: gat.Multi, Nodes: 3}})
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		all, err := l.Status(t.Context(), ids...)
		if err != nil {
			t.Fatal(err)
		}
		if all[0].State == gat.Failed && all[0].Exit == 4 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the job is %v", all)
		}
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(text)), "\n")
	slices.Sort(got)
	if want := []string{"1 0 1 60", "1 1 1 60", "1 2 1 60"}; !slices.Equal(got, want) {
		t.Errorf("the nodes say %q, want %q", got, want)
	}
}
