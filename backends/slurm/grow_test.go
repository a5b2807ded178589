package slurm_test

import (
	"testing"

	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/backends/testbed/queuetest"
)

func TestGrowStatus(t *testing.T) {
	t.Parallel()
	batchtest.GrowStatus(t, slurm.Dialect(), "squeue", recorded(t, "squeue"))
}

func TestRealGrow(t *testing.T) { queuetest.Grow(t, real(t)) }
