package sge_test

import (
	"os"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/sge"
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
		Cluster: testbed.SharedCluster(t, testbed.Spec{Name: "poppy", System: testbed.SGE, Nodes: 3, Shared: "/shared"}),
		Backend: batch.New(sge.Dialect(), ssh.Backend{Agent: "none"}),
		Scheme:  "sge+ssh",
		Submit:  "qsub", Status: "qstat", Cancel: "qdel",
		Foreign: "4000000",
	}
}

func TestRealConformance(t *testing.T) { queuetest.Conformance(t, real(t)) }

func TestRealQueue(t *testing.T) {
	h := real(t)
	ask := func(r gat.Resources, says string) queuetest.Refusal { return queuetest.Refusal{Ask: r, Says: says} }
	h.Refused = map[string]queuetest.Refusal{
		"queue":      ask(gat.Resources{Queue: "nope.q"}, `the queue "nope.q" is not there`),
		"account":    ask(gat.Resources{Account: "nope"}, `the account "nope" is not one`),
		"constraint": ask(gat.Resources{Constraint: "nope=1"}, "not known to the scheduler"),
		"wall time":  ask(gat.Resources{Queue: "short.q", Walltime: 10 * time.Minute}, "the wall time 10m is over the queue's limit"),
		"nodes":      ask(gat.Resources{Shape: gat.Multi, Nodes: 9}, "there are no 9 nodes"),
		"cores":      ask(gat.Resources{Cores: 64}, "no node gives 64 cores"),
		"flag":       ask(gat.Resources{Native: []string{"-l", "nope=1"}}, "not known to the scheduler"),
	}
	h.Waiting = map[string]queuetest.Refusal{
		"held": ask(gat.Resources{Native: []string{"-h"}}, "hqw"),
	}
	h.Warned = &gat.Resources{Walltime: 30 * time.Second, Warning: 25 * time.Second}
	h.Dead = nil // it waits for the node to come back
	queuetest.Test(t, h)
}
