//go:build linux

package slurm_test

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/backends/testbed/queuetest"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

func TestMain(m *testing.M) { os.Exit(testbed.Main(m)) }

func tulip() testbed.Spec {
	return testbed.Spec{Name: "tulip", System: testbed.Slurm, Nodes: 4, Shared: "/shared"}
}

func backend() gat.Backend { return batch.New(slurm.Dialect(), ssh.Backend{Agent: "none"}) }

func TestRealConformance(t *testing.T) {
	c := testbed.SharedCluster(t, tulip())
	dir := "/shared/gattest"
	if _, err := c.Head.ExecAs(t.Context(), c.Head.User, "mkdir", dir); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	conns := map[gat.Login]net.Conn{}
	gattest.Test(t, gattest.Harness{
		Dir:     dir,
		Find:    gattest.Processes,
		Foreign: "4000000000",
		NoSweep: true,
		Open: func(t testing.TB) gat.Login {
			target := c.Target(t, "slurm+ssh", c.Head)
			target.PollEvery = 200 * time.Millisecond
			var conn net.Conn
			target.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				var err error
				conn, err = c.Dial(ctx, network, addr)
				return conn, err
			}
			l, err := backend().Open(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			conns[l] = conn
			return l
		},
		Break: func(_ testing.TB, l gat.Login) {
			mu.Lock()
			defer mu.Unlock()
			conns[l].Close()
		},
		Inner: c.Nodes[0].Addr,
	})
	if _, err := c.Head.ExecAs(t.Context(), c.Head.User, "rm", "-r", dir); err != nil {
		t.Fatal(err)
	}
	c.NoLeftovers(t)
}

func TestQueue(t *testing.T) {
	c := testbed.SharedCluster(t, tulip())
	ask := func(r gat.Resources, says string) queuetest.Refusal { return queuetest.Refusal{Ask: r, Says: says} }
	queuetest.Test(t, queuetest.Harness{
		Cluster: c, Backend: backend(), Scheme: "slurm+ssh",
		Submit: "sbatch", Status: "squeue", Cancel: "scancel",
		Refused: map[string]queuetest.Refusal{
			"queue":      ask(gat.Resources{Queue: "nope"}, `the queue "nope" is not there`),
			"constraint": ask(gat.Resources{Constraint: "nope"}, `no node fulfils the constraint "nope"`),
			"wall time":  ask(gat.Resources{Queue: "short", Walltime: 10 * time.Minute}, "the wall time 10m is over the queue's limit"),
			"nodes":      ask(gat.Resources{Shape: gat.Multi, Nodes: 9}, "there are no 9 nodes"),
			"memory":     ask(gat.Resources{Memory: 1 << 40}, "no node gives 1048576 MiB of memory"),
			"GPUs":       ask(gat.Resources{GPUs: 3}, "no node gives 3 GPUs"),
			"flag":       ask(gat.Resources{Native: []string{"--no-such-flag"}}, "not known to the scheduler"),
		},
		Waiting: map[string]queuetest.Refusal{
			"account": ask(gat.Resources{Queue: "members", Account: "bio"}, "account"),
			"state":   ask(gat.Resources{Queue: "down"}, "PartitionDown"),
			"cores":   ask(gat.Resources{Cores: 64}, "PartitionConfig"),
			"held":    ask(gat.Resources{Native: []string{"--hold"}}, "JobHeldUser"),
		},
		Dead: []gat.State{gat.Queued, gat.Held, gat.Failed},
	})
}
