package testbed_test

import (
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
)

func poppy() testbed.Spec {
	return testbed.Spec{Name: "poppy", System: testbed.SGE, Nodes: 3}
}

func TestSGE(t *testing.T) {
	started := time.Now()
	c := testbed.SharedCluster(t, poppy())
	t.Logf("a cluster is up after %v", time.Since(started))
	c.NoLeftovers(t)
	t.Run("queues", func(t *testing.T) {
		if got := must(t, c.Head, "qconf -sql; qconf -spl; qconf -sel"); got != "all.q\nshort.q\nmpi\nonepernode\nsmp\npoppy1\npoppy2\npoppy3" {
			t.Errorf("queues, environments and hosts are %q", got)
		}
	})
	t.Run("a job on all nodes", func(t *testing.T) {
		// Its output is on the node that the script runs on.
		must(t, c.Head, `cat >script <<'EOF'
#!/bin/sh
for h in $(cut -d" " -f1 $PE_HOSTFILE); do
	qrsh -inherit -nostdin $h hostname
done
EOF
			qsub -sync y -terse -j y -o /tmp/out -pe onepernode 3 script
			rm script`)
		found := ""
		for _, h := range c.Nodes {
			out, _ := as(t, h, "cat /tmp/out; rm -f /tmp/out")
			found += out
		}
		for _, h := range c.Nodes {
			if !strings.Contains(found, h.Name) {
				t.Errorf("no word from %s in %q", h.Name, found)
			}
		}
		c.NoLeftovers(t)
	})
	t.Run("limits", func(t *testing.T) {
		for name, s := range map[string]struct{ args, want string }{
			"queue":       {"-q nope.q", `unknown queue "nope.q"`},
			"environment": {"-pe nope 2", `"nope" does not exist`},
			"resource":    {"-l nope=1", `unknown resource "nope"`},
			"slots":       {"-w e -pe mpi 99", "no suitable queues"},
			"name":        {"-N 1st", "cannot start with a digit"},
		} {
			if out, err := as(t, c.Head, "echo true | qsub "+s.args+" 2>&1"); err == nil || !strings.Contains(out, s.want) {
				t.Errorf("%s: %q (%v), want %q", name, out, err, s.want)
			}
		}
		c.NoLeftovers(t)
	})
}

// What the daemons do when hosts die and come back is tested with the backends.
func TestSGEFull(t *testing.T) {
	c := testbed.SharedCluster(t, poppy())
	state := func(want string) {
		t.Helper()
		eventually(t, "the job's state is "+want, func() bool {
			out, _ := as(t, c.Head, "qstat -u alice | awk 'NR > 2 {print $5}'")
			return out == want
		})
	}
	free := c.Fill(t, time.Minute)
	must(t, c.Head, "echo true | qsub -terse -j y -o /dev/null")
	state("qw")
	free()
	state("")
	c.NoLeftovers(t)
}
