package pbs_test

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
	"github.com/zorilla-grid/zorilla/backends/pbs"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

func fake(t *testing.T) *batchtest.Fake {
	if runtime.GOOS != "linux" {
		t.Skip("the small queue needs setsid and /proc")
	}
	return batchtest.PBS(t, pbs.Dialect(), local.Backend{})
}

func TestConformance(t *testing.T) {
	f := fake(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	gattest.Test(t, gattest.Harness{Open: f.Open, Dir: dir, Find: gattest.Processes, NoSweep: true})
}

// A job of several nodes runs its command once on each: by pbsdsh, which has no input,
// where the script fits into an argument, else by ssh.
func TestMulti(t *testing.T) {
	t.Parallel()
	large := make([]byte, 1<<20)
	rand.Read(large)
	for name, files := range map[string][]gat.JobFile{"small": nil, "with a file": {{Name: "file", Mode: 0o600}}, "large": {{Name: "large", Mode: 0o600, Data: large}}} {
		f := fake(t)
		l := f.Open(t)
		defer l.Close()
		out := filepath.Join(f.Dir, "out")
		ids, err := l.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/sh", "-c", `echo "$GAT_JOB $GAT_NODE $GAT_CORES ${GAT_MEMORY-none}"; ! [ -e large ] || exit 4`}, Stderr: out, Files: files,
			Resources: gat.Resources{Shape: gat.Multi, Nodes: 2, Walltime: time.Minute}})
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
			if all[0].State.Final() {
				if want := map[string]int{"large": 4}[name]; all[0].Exit != want {
					t.Errorf("%s: the job is %v, want exit status %d", name, all[0], want)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: the job is %v", name, all)
			}
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Split(strings.TrimSpace(string(text)), "\n")
		slices.Sort(got)
		if want := []string{"1.pbs0 0 2 none", "1.pbs0 1 2 none"}; !slices.Equal(got, want) {
			t.Errorf("%s: the nodes say %q, want %q", name, got, want)
		}
	}
}
