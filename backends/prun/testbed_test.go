package prun_test

import (
	"os"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/prun"
	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/backends/testbed/queuetest"
)

func TestMain(m *testing.M) { os.Exit(testbed.Main(m)) }

// real is a prun that reserves its nodes from a real Slurm.
func real(t *testing.T) queuetest.Harness {
	t.Helper()
	t.Parallel() // each test has a cluster to itself
	return queuetest.Harness{
		Cluster: testbed.SharedCluster(t, testbed.Spec{Name: "fs", System: testbed.Slurm, Nodes: 4, Shared: "/home", Prun: true}),
		Backend: batch.New(prun.Dialect(), ssh.Backend{Agent: "none"}),
		Scheme:  "prun+ssh",
		Foreign: "abcdefghij",
		Blocks:  true, NoInside: true,
	}
}

func TestRealConformance(t *testing.T) { queuetest.Conformance(t, real(t)) }

func TestRealQueue(t *testing.T) { queuetest.Test(t, real(t)) }
