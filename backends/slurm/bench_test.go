package slurm_test

import (
	"testing"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/backends/testbed/queuetest"
)

// BenchmarkSubmit compares a submission with the bare sbatch.
func BenchmarkSubmit(b *testing.B) {
	c := testbed.SharedCluster(b, testbed.Spec{Name: "tulip", System: testbed.Slurm, Nodes: 4, Shared: "/shared"})
	queuetest.Submit(b, c, batch.New(slurm.Dialect(), ssh.Backend{Agent: "none"}), "slurm+ssh", "--hold")
}
