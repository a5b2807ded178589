package testbed_test

import (
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
)

func tulip() testbed.Spec {
	return testbed.Spec{Name: "tulip", System: testbed.Slurm, Nodes: 4}
}

// as runs a script for sh on a host as alice.
func as(t *testing.T, h *testbed.Host, script string) (string, error) {
	t.Helper()
	out, err := h.ExecAs(within(t, time.Minute), "alice", "sh", "-c", script)
	return strings.TrimSpace(string(out)), err
}

// must is as for a script that succeeds.
func must(t *testing.T, h *testbed.Host, script string) string {
	t.Helper()
	out, err := as(t, h, script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSlurm(t *testing.T) {
	started := time.Now()
	c := testbed.SharedCluster(t, tulip())
	t.Logf("a cluster is up after %v", time.Since(started))

	t.Run("a job on all nodes", func(t *testing.T) {
		out := must(t, c.Head, `srun -N4 -l sh -c 'echo $(hostname) $(id -un)' | sort`)
		for _, h := range c.Nodes {
			if !strings.Contains(out, h.Name+" alice") {
				t.Errorf("no word from %s in %q", h.Name, out)
			}
		}
		c.NoLeftovers(t)
	})
	t.Run("nodes reach their head only", func(t *testing.T) {
		connect := `for a in ` + c.Head.InnerAddr + ` ` + c.Head.Addr + ` ` + c.Grid().Plain.Addr + `; do
			timeout 3 bash -c "exec 3<>/dev/tcp/$a/22" 2>/dev/null && printf yes || printf no; done`
		if got := must(t, c.Nodes[0], connect); got != "yesnono" {
			t.Errorf("head inside, head outside, elsewhere: %s, want yesnono", got)
		}
	})
	t.Run("home is not shared", func(t *testing.T) {
		must(t, c.Head, "touch mark")
		if out := must(t, c.Nodes[0], "ls"); out != "" {
			t.Errorf("a node's home has %q", out)
		}
		must(t, c.Head, "rm mark")
	})
	t.Run("limits", func(t *testing.T) {
		for name, s := range map[string]struct{ args, want string }{
			"partition":  {"-p nope", "invalid partition specified: nope"},
			"constraint": {"-C nope", "Invalid feature specification"},
			"time":       {"-p short -t 10", "PartitionTimeLimit"},
			"nodes":      {"-N 9", "PartitionConfig"},
			"account":    {"-p members -A bio", "account not known"},
			"down":       {"-p down", "PartitionDown"},
		} {
			out, _ := as(t, c.Head, `id=$(sbatch --parsable -o /dev/null `+s.args+` --wrap true 2>&1) || { echo "$id"; exit; }
				for i in $(seq 100); do
					reason=$(squeue -h -j $id -o %R)
					case $reason in *'`+s.want+`'*) break ;; esac
					sleep 0.1
				done
				echo "$reason"`)
			if !strings.Contains(out, s.want) {
				t.Errorf("%s: %q, want %q", name, out, s.want)
			}
		}
		must(t, c.Head, "scancel -u alice")
		c.NoLeftovers(t)
	})
	t.Run("GPUs", func(t *testing.T) {
		out := must(t, c.Head, `srun --gpus=1 sh -c 'echo $(hostname) $CUDA_VISIBLE_DEVICES'`)
		if want := c.Nodes[3].Name + " 0"; out != want {
			t.Errorf("%q, want %q", out, want)
		}
	})
}

// What the daemons do when hosts die and come back is tested with the backends.
func TestSlurmFaults(t *testing.T) {
	c := testbed.SharedCluster(t, tulip())
	t.Run("full", func(t *testing.T) {
		free := c.Fill(t, time.Minute)
		id := must(t, c.Head, "sbatch --parsable -D / -o /dev/null --wrap true")
		state := func(want string) {
			t.Helper()
			eventually(t, "the job is "+want, func() bool {
				out, _ := as(t, c.Head, "squeue -h -t all -o %T -j "+id)
				return out == want
			})
		}
		state("PENDING")
		free()
		state("COMPLETED")
		c.NoLeftovers(t)
	})
	t.Run("wrapper", func(t *testing.T) {
		undo := c.Wrap(t, c.Head, "squeue", `echo "*** maintenance on Monday ***"; exec "$real" "$@"`)
		if out := must(t, c.Head, "squeue -h"); out != "*** maintenance on Monday ***" {
			t.Errorf("the wrapped command says %q", out)
		}
		undo()
		if out := must(t, c.Head, "squeue -h"); out != "" {
			t.Errorf("the command says %q", out)
		}
	})
	t.Run("quota", func(t *testing.T) {
		t.Cleanup(func() { c.NoLeftovers(t) })
		c.QuotaFull(t, c.Head)
		if out, err := as(t, c.Head, "echo x >file"); err == nil {
			t.Errorf("a file in a full home: %s", out)
		}
	})
}

func TestWalledAndShared(t *testing.T) {
	c := testbed.SharedCluster(t, testbed.Spec{Name: "iris", System: testbed.Slurm, Nodes: 2, Walled: true, Shared: "/shared"})
	if out, err := as(t, c.Nodes[0], "timeout 1 bash -c 'exec 3<>/dev/tcp/"+c.Head.InnerAddr+"/22'"); err == nil {
		t.Errorf("a node reaches its head: %s", out)
	}
	must(t, c.Head, `cat >/shared/job <<'EOF'
#!/bin/sh
echo "from $(hostname)" >/shared/out
read line </shared/fifo
#!/bin/sh
echo "from $(hostname)" >/shared/out
until [ -e /shared/go ]; do sleep 0.1; done
EOF
	sbatch -N2 -o /dev/null /shared/job`)
	eventually(t, "the job writes a file", func() bool {
		out, _ := as(t, c.Head, "cat /shared/out")
		return out == "from "+c.Nodes[0].Name
	})
	// The scheduler's own channel is a way through the wall.
	id := must(t, c.Head, "squeue -h -o %i")
	if out := must(t, c.Head, "echo hello | srun --overlap --jobid "+id+" -N1 -n1 sh -c 'cat; hostname'"); out != "hello\n"+c.Nodes[0].Name {
		t.Errorf("inside the job: %q", out)
	}
	must(t, c.Nodes[0], `touch /shared/go
		while [ "$(squeue -h)" ]; do sleep 0.1; done
		rm /shared/*`)
	c.NoLeftovers(t)
}
