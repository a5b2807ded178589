package slurm_test

import (
	"fmt"
	"os"
	"strings"
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
	t.Helper()
	t.Parallel() // each test has a cluster to itself
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

// TestRealPartLimits asks for more than a partition gives, of a Slurm that refuses
// such jobs and of one that lets them wait for ever: both answers are the same. They
// are Slurm's own where its limits are not to be seen before.
func TestRealPartLimits(t *testing.T) {
	h := real(t)
	for _, enforce := range []string{"ALL", "NO"} {
		for _, hidden := range []bool{false, true} {
			name := "EnforcePartLimits=" + enforce
			if hidden {
				name += ", limits not seen"
			}
			t.Run(name, func(t *testing.T) {
				h.Cluster.Configure(t, "EnforcePartLimits="+enforce)
				if hidden {
					h.Cluster.Wrap(t, h.Cluster.Head, "sinfo", "exit 1")
				}
				target := h.Cluster.Target(t, h.Scheme, h.Cluster.Head)
				target.PollEvery = 100 * time.Millisecond
				l, err := h.Backend.Open(t.Context(), target)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				jobs := l.(gat.Jobs)
				for reason, r := range map[string]queuetest.Refusal{
					"PartitionTimeLimit: ": {Ask: gat.Resources{Queue: "short", Walltime: 10 * time.Minute}, Says: "the wall time 10m is over the queue's limit"},
					"PartitionConfig: ":    {Ask: gat.Resources{Shape: gat.Multi, Nodes: 9}, Says: "there are no 9 nodes for one job"},
				} {
					ids, err := jobs.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/sleep", "1000"}, Resources: r.Ask})
					if !hidden || enforce == "ALL" {
						if gat.ClassOf(err) != gat.Invalid || !strings.Contains(fmt.Sprint(err), r.Says) {
							t.Errorf("job %q, error %v; want none, invalid: %q", ids, err, r.Says)
						}
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					var st gat.JobStatus
					held := func() bool { return st.State == gat.Held && strings.HasPrefix(st.Reason, reason) }
					for late := time.Now().Add(time.Minute); !held() && time.Now().Before(late); <-time.After(target.PollEvery) {
						list, err := jobs.Status(t.Context(), ids...)
						if err != nil {
							t.Fatal(err)
						}
						st = list[0]
					}
					if !held() {
						t.Errorf("the job is %v: %q, want it held: %q", st.State, st.Reason, reason)
					}
					if err := jobs.Cancel(t.Context(), ids...); err != nil {
						t.Error(err)
					}
				}
				h.Cluster.NoLeftovers(t)
			})
		}
	}
}
