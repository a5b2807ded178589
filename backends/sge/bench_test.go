package sge_test

import (
	"testing"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/sge"
	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/backends/testbed/queuetest"
)

// BenchmarkSubmit compares a submission with the bare qsub.
func BenchmarkSubmit(b *testing.B) {
	c := testbed.SharedCluster(b, testbed.Spec{Name: "poppy", System: testbed.SGE, Nodes: 3, Shared: "/shared"})
	queuetest.Submit(b, c, batch.New(sge.Dialect(), ssh.Backend{Agent: "none"}), "sge+ssh", "-h")
}
