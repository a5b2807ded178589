package launcher_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// queued returns the numbers of the jobs in a cluster's queue, sorted.
func (b *bench) queued(c *testbed.Cluster) (ids []string) {
	b.t.Helper()
	list, err := c.Jobs(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, line := range list {
		ids = append(ids, strings.Fields(line)[0])
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// TestJobCancelledByOthers has an administrator cancel the job of a pilot at work. Slurm
// sends a TERM to each process of it, and the program, which does not expect that, ends
// before its pilot does: it is not its failure, and another worker takes its place.
func TestJobCancelledByOthers(t *testing.T) {
	c, b := cluster(t, tulip())
	x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, siteOf(c, `shape = "single"`), often)
	x.running(2)
	b.exec(c.Head, "scancel", b.queued(c)[0])
	x.await("a worker is lost", time.Minute, func(e launcher.Event) bool {
		w, ok := e.Data.(launcher.WorkerChanged)
		return ok && w.State == "lost" && w.Attempt == 1
	})
	b.openGates()
	r := x.end(2 * time.Minute)
	b.closeGates()
	b.wantFinished(r, 2)
	c.NoLeftovers(t)
}

// TestJobRunAgain has an administrator put the job of a pilot at work back into the
// queue, at a time when the queue takes no other jobs: the pilot that comes with its
// second run takes the place of the one of the first.
func TestJobRunAgain(t *testing.T) {
	t.Parallel()
	for _, s := range []struct {
		spec          testbed.Spec
		submit, again string
		more          string // of the site
	}{
		{tulip(), "sbatch", "scontrol requeue", `shape = "single"`},
		{poppy(), "qsub", "qmod -rj", "shape = \"single\"\nnative = [\"-r\", \"y\"]"},
	} {
		t.Run(string(s.spec.System), func(t *testing.T) {
			c, b := cluster(t, s.spec)
			log, err := os.Create(filepath.Join(b.dir, "log"))
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, siteOf(c, s.more), func(o *launcher.Options) {
				often(o)
				o.Log = slog.New(slog.NewTextHandler(log, nil))
			})
			x.running(2)
			before := b.queued(c)
			undo := c.Wrap(t, c.Head, s.submit, `echo "not now, please" >&2; exit 1`)
			b.exec(c.Head, append(strings.Fields(s.again), before[0])...)
			began := time.Now()
			x.await("another worker in the place of the lost one", 3*time.Minute, func(e launcher.Event) bool {
				w, ok := e.Data.(launcher.WorkerChanged)
				return ok && w.State == "running" && w.Attempt == 2
			})
			t.Logf("replaced after %v", time.Since(began))
			if said, _ := os.ReadFile(log.Name()); !strings.Contains(string(said), `"the scheduler runs a job again" site=`+s.spec.Name+" job="+before[0]) {
				t.Errorf("nothing is said of job %s, which runs again", before[0])
			}
			undo()
			if now := b.queued(c); !slices.Equal(now, before) {
				t.Errorf("jobs %q in the queue, want %q", now, before)
			}
			b.openGates()
			r := x.end(2 * time.Minute)
			b.closeGates()
			b.wantFinished(r, 2)
			c.NoLeftovers(t)
		})
	}
}
