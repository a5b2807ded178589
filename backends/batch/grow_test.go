package batch_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/pbs"
	"github.com/zorilla-grid/zorilla/backends/prun"
	"github.com/zorilla-grid/zorilla/backends/sge"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/gat"
)

// TestGrow has somebody else submit, follow and cancel jobs by the texts that a
// login leaves.
func TestGrow(t *testing.T) {
	for name, fake := range map[string]func(testing.TB, *batch.Dialect, gat.Backend) *batchtest.Fake{"slurm": batchtest.Slurm, "sge": batchtest.SGE, "pbs": batchtest.PBS} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if runtime.GOOS != "linux" {
				t.Skip("the fake queues need Linux")
			}
			dialect := map[string]func() *batch.Dialect{"slurm": slurm.Dialect, "sge": sge.Dialect, "pbs": pbs.Dialect}[name]()
			f := fake(t, dialect, local.Backend{})
			l := f.Open(t)
			t.Cleanup(func() { l.Close() })
			mark := filepath.Join(t.TempDir(), "mark")
			spec := gat.JobSpec{Name: "zorilla-x", Argv: []string{"/bin/sh", "-c", `echo $GAT_JOB >>"$1"; exec sleep 1000`, "sh", mark}, Count: 7}
			script := filepath.Join(t.TempDir(), "it's a script")
			g, err := l.(gat.Grower).Grow(t.Context(), spec, script)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(script, g.Script, 0o600); err != nil {
				t.Fatal(err)
			}
			// What a hub has in its environment, which is not that of the login.
			env := append(os.Environ(), "GAT_QUEUE="+f.Dir, "PATH="+filepath.Join(filepath.Dir(f.Dir), "bin")+":"+os.Getenv("PATH"))
			run := func(text string, args ...string) (string, error) {
				cmd := exec.Command("/bin/sh", append([]string{"-s", "--"}, args...)...)
				cmd.Dir, cmd.Env, cmd.Stdin = "/", env, strings.NewReader(text)
				out, err := cmd.Output()
				return string(out), err
			}
			must := func(text string, args ...string) string {
				t.Helper()
				out, err := run(text, args...)
				if err != nil {
					t.Fatalf("%q: %v", args, err)
				}
				return out
			}
			f.Write(t, "banner", "Welcome to the cluster, 12 nodes are down.\n")
			ids := strings.Fields(must(g.Submit, "2"))
			if len(ids) != 2 || !dialect.ID(gat.JobID(ids[0])) || ids[0] == ids[1] {
				t.Fatalf("two jobs were submitted as %q", ids)
			}
			until(t, "both run, by their names", func() bool {
				b, _ := os.ReadFile(mark)
				got := strings.Fields(string(b))
				slices.Sort(got)
				return slices.Equal(got, ids)
			})
			f.Write(t, "hold", "")
			waits := strings.TrimSpace(must(g.Submit, "1"))
			array, err := l.Submit(t.Context(), gat.JobSpec{Name: "other", Argv: []string{"/bin/true"}, Count: 3})
			if err != nil {
				t.Fatal(err)
			}
			states := func() map[string]string {
				all := make(map[string]string)
				for line := range strings.Lines(must(g.Status, append(ids, waits)...)) {
					f := strings.Fields(line)
					if len(f) != 2 {
						t.Fatalf("a line of states: %q", line)
					}
					all[f[0]] = f[1]
				}
				return all
			}
			got := states()
			want := map[string]string{ids[0]: "running", ids[1]: "running", waits: "queued"}
			for _, id := range array {
				want[string(id)] = "queued"
			}
			for id, state := range want {
				if got[id] != state {
					t.Errorf("job %s is %q, want %q, of %v", id, got[id], state, got)
				}
			}
			must(g.Cancel, ids[0], waits, string(array[1]))
			until(t, "those cancelled are over, the others not", func() bool {
				got := states()
				over := func(id string) bool { return got[id] == "" || got[id] == "done" }
				return over(ids[0]) && over(waits) && over(string(array[1])) && got[ids[1]] == "running" && got[string(array[0])] == "queued"
			})
			must(g.Cancel, ids[0], ids[1], string(array[0]), string(array[2])) // one is over
			for _, tool := range []string{"squeue", "qstat", "scancel", "qdel", "sbatch", "qsub", "qselect"} {
				f.Write(t, "fault-"+tool, "1\nthe controller does not answer\n")
			}
			for what, text := range map[string]string{"submit": g.Submit, "status": g.Status, "cancel": g.Cancel} {
				if out, err := run(text, "1"); err == nil {
					t.Errorf("%s says %q while nothing answers", what, out)
				}
			}
		})
	}
}

// What others cannot submit is said in words.
func TestNoGrowth(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	_, err := q.Login.(gat.Grower).Grow(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}, Resources: gat.Resources{Shape: gat.Multi, Nodes: 2}}, "/tmp/script")
	if !errors.Is(err, gat.ErrCannot) || !strings.Contains(err.Error(), "several nodes") {
		t.Errorf("a job of several nodes: %v", err)
	}
	l := batchtest.PRun(t, prun.Dialect(), local.Backend{}).Open(t)
	defer l.Close()
	if _, err := l.(gat.Grower).Grow(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}}, "/tmp/script"); !errors.Is(err, gat.ErrCannot) {
		t.Errorf("over prun: %v", err)
	}
}

// until waits for something to be so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}
