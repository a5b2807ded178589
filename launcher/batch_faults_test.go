package launcher_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// tulip and poppy are clusters that most tests can use.
func tulip() testbed.Spec {
	return testbed.Spec{Name: "tulip", System: testbed.Slurm, Nodes: 3, Shared: "/shared"}
}

func poppy() testbed.Spec {
	return testbed.Spec{Name: "poppy", System: testbed.SGE, Nodes: 3, Shared: "/shared"}
}

// cluster is one that a test has to itself, beside tests on others, and a user of it.
func cluster(t *testing.T, spec testbed.Spec) (*testbed.Cluster, *bench) {
	t.Helper()
	t.Parallel()
	c := testbed.SharedCluster(t, spec)
	return c, newBenchIn(t, c.Net)
}

// often asks for the jobs more often than users are allowed to.
func often(o *launcher.Options) { o.Poll = time.Second }

// closeGates undoes openGates, also on hosts that others use.
func (b *bench) closeGates() {
	for _, h := range b.net.Hosts() {
		b.exec(h, "rm", "-f", gate)
	}
}

// siteOf is a sites file with a cluster and two pilots there.
func siteOf(c *testbed.Cluster, more string) string {
	return fmt.Sprintf("[site.%s]\nurl = %q\nslots = 1\npilots = 2\n%s\n", c.Spec.Name, queueURL(c), more)
}

// onNodes checks that all workers ran on nodes of the cluster.
func (b *bench) onNodes(c *testbed.Cluster, r launcher.Result, workers int) {
	b.t.Helper()
	for rank := range workers {
		if host := strings.TrimSpace(b.stdout(r, rank)); !strings.HasPrefix(host, c.Spec.Name) || host == c.Spec.Name {
			b.t.Errorf("rank %d ran on %q, want a node of %s", rank, host, c.Spec.Name)
		}
	}
}

// TestSharedDirectory starts pilots from a directory that nodes and head share.
func TestSharedDirectory(t *testing.T) {
	c, b := cluster(t, tulip())
	r, _ := b.run(launcher.Job{App: b.script("hostname\n"), Workers: 2}, siteOf(c, `shared = "/shared"`), nil)
	wantOK(t, r)
	b.onNodes(c, r, 2)
	c.NoLeftovers(t)
}

// TestWalledCluster runs a job on nodes that cannot reach their head: the links go
// through the scheduler.
func TestWalledCluster(t *testing.T) {
	c, b := cluster(t, testbed.Spec{Name: "iris", System: testbed.Slurm, Nodes: 2, Walled: true})
	r, _ := b.run(launcher.Job{App: b.script("hostname\n"), Workers: 2}, siteOf(c, `hub = "none"`), often)
	wantOK(t, r)
	b.onNodes(c, r, 2)
	c.NoLeftovers(t)
}

// TestNodeOfClusterDies has a node die under a worker. Another pilot takes over;
// what the scheduler would still start of the lost one is taken back.
func TestNodeOfClusterDies(t *testing.T) {
	c, b := cluster(t, tulip())
	x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, siteOf(c, ""), nil)
	x.running(2)
	first, _ := x.worker(0, 1, "running", 10*time.Second)
	victim := b.host(first.Host)
	if err := c.Kill(victim); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	_, lost := x.worker(0, 1, "lost", time.Minute)
	again, at := x.worker(0, 2, "running", time.Minute)
	t.Logf("loss seen after %v, replaced on %s after another %v", lost.Sub(killed), again.Host, at.Sub(lost))
	eventually(t, "the scheduler believes that the node is dead", time.Minute, func() bool {
		jobs, err := c.Jobs(t.Context())
		return err == nil && !slices.ContainsFunc(jobs, func(j string) bool { return strings.HasSuffix(j, " on "+victim.Name) })
	})
	for _, h := range c.Nodes {
		if h != victim {
			b.openGates(h)
		}
	}
	r := x.end(time.Minute)
	if err := c.Start(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	b.closeGates()
	b.wantFinished(r, 2)
	c.NoLeftovers(t)
}

// TestNoControllerAtSubmit has a cluster refuse to take jobs for the time being:
// the job runs elsewhere.
func TestNoControllerAtSubmit(t *testing.T) {
	c, b := cluster(t, tulip())
	if err := c.StopController(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, _ := b.run(launcher.Job{App: b.script("hostname\n"), Workers: 1},
		siteOf(c, "")+fmt.Sprintf("[site.plain]\nurl = %q\n", b.url(c.Grid().Plain)), nil)
	if err := c.StartController(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantOK(t, r)
	if host := strings.TrimSpace(b.stdout(r, 0)); host != "plain" {
		t.Errorf("the worker ran on %q", host)
	}
	c.NoLeftovers(t)
}

// TestControllerGoesMeanwhile has a cluster's controller go while pilots work, and
// come back: they do not notice.
func TestControllerGoesMeanwhile(t *testing.T) {
	c, b := cluster(t, tulip())
	x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, siteOf(c, ""), nil)
	x.running(2)
	if err := c.StopController(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.openGates()
	x.await("a worker is done", 30*time.Second, func(e launcher.Event) bool {
		w, ok := e.Data.(launcher.WorkerChanged)
		return ok && w.State == "done"
	})
	if err := c.StartController(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := x.end(2 * time.Minute)
	b.closeGates()
	b.wantFinished(r, 2)
	c.NoLeftovers(t)
}

// TestHeadOfClusterReboots has the head, and the hub on it, go and come back while
// pilots work. They find the new hub, or give up; either way the job is done.
func TestHeadOfClusterReboots(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]string{"carried": "", "shared": `shared = "/shared"`} {
		t.Run(name, func(t *testing.T) {
			c, b := cluster(t, tulip())
			x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, siteOf(c, more), often)
			x.running(2)
			if err := c.Reboot(t.Context(), c.Head); err != nil {
				t.Fatal(err)
			}
			b.openGates()
			r := x.end(2 * time.Minute)
			b.closeGates()
			b.wantFinished(r, 2)
			c.NoLeftovers(t)
		})
	}
}

// TestFullHomes has users without a byte left at home, on the head and on nodes.
func TestFullHomes(t *testing.T) {
	c, b := cluster(t, tulip())
	for _, h := range c.Hosts() {
		c.QuotaFull(t, h)
	}
	r, _ := b.run(launcher.Job{App: b.script("hostname\n"), Workers: 2}, siteOf(c, ""), nil)
	wantOK(t, r)
	b.onNodes(c, r, 2)
	c.NoLeftovers(t)
}

// TestStatusCommandFails has the scheduler tell nothing while pilots work: that they call
// is enough.
func TestStatusCommandFails(t *testing.T) {
	c, b := cluster(t, tulip())
	undo := c.Wrap(t, c.Head, "squeue", `echo "squeue: error: slurm_load_jobs error: Zero Bytes were transmitted or received" >&2; exit 1`)
	x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, siteOf(c, ""), often)
	x.running(2)
	b.openGates()
	x.await("a worker is done", 30*time.Second, func(e launcher.Event) bool {
		w, ok := e.Data.(launcher.WorkerChanged)
		return ok && w.State == "done"
	})
	undo()
	r := x.end(2 * time.Minute)
	b.closeGates()
	b.wantFinished(r, 2)
	c.NoLeftovers(t)
}
