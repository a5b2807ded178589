package slurm_test

import (
	"os"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/backends/testbed/queuetest"
	"github.com/zorilla-grid/zorilla/gat"
)

func TestMain(m *testing.M) { os.Exit(testbed.Main(m)) }

func real(t *testing.T) queuetest.Harness {
	return queuetest.Harness{
		Cluster: testbed.SharedCluster(t, testbed.Spec{Name: "tulip", System: testbed.Slurm, Nodes: 4, Shared: "/shared"}),
		Backend: batch.New(slurm.Dialect(), ssh.Backend{Agent: "none"}),
		Scheme:  "slurm+ssh",
		Submit:  "sbatch", Status: "squeue", Cancel: "scancel",
		Foreign: "4000000000",
	}
}

func TestRealConformance(t *testing.T) { queuetest.Conformance(t, real(t)) }

func TestRealQueue(t *testing.T) {
	h := real(t)
	ask := func(r gat.Resources, says string) queuetest.Refusal { return queuetest.Refusal{Ask: r, Says: says} }
	h.Refused = map[string]queuetest.Refusal{
		"queue":      ask(gat.Resources{Queue: "nope"}, `the queue "nope" is not there`),
		"constraint": ask(gat.Resources{Constraint: "nope"}, `no node fulfils the constraint "nope"`),
		"wall time":  ask(gat.Resources{Queue: "short", Walltime: 10 * time.Minute}, "the wall time 10m is over the queue's limit"),
		"nodes":      ask(gat.Resources{Shape: gat.Multi, Nodes: 9}, "there are no 9 nodes"),
		"cores":      ask(gat.Resources{Cores: 64}, "no node gives 64 cores"),
		"memory":     ask(gat.Resources{Memory: 1 << 40}, "no node gives 1048576 MiB of memory"),
		"GPUs":       ask(gat.Resources{GPUs: 3}, "no node gives 3 GPUs"),
		"flag":       ask(gat.Resources{Native: []string{"--no-such-flag"}}, "not known to the scheduler"),
	}
	h.Waiting = map[string]queuetest.Refusal{
		"account": ask(gat.Resources{Queue: "members", Account: "bio"}, "account"),
		"state":   ask(gat.Resources{Queue: "down"}, "PartitionDown"),
		"held":    ask(gat.Resources{Native: []string{"--hold"}}, "JobHeldUser"),
	}
	h.Warned, h.Warn = &gat.Resources{}, "scancel --batch --signal=USR1"
	h.Dead = []gat.State{gat.Queued, gat.Held, gat.Failed}
	queuetest.Test(t, h)
}
