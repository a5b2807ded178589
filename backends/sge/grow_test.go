package sge_test

import (
	"testing"

	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/sge"
	"github.com/zorilla-grid/zorilla/backends/testbed/queuetest"
)

func TestGrowStatus(t *testing.T) {
	t.Parallel()
	for _, listing := range []string{"qstat", "tasks"} {
		t.Run(listing, func(t *testing.T) { batchtest.GrowStatus(t, sge.Dialect(), "qstat", recorded(t, listing)) })
	}
}

func TestRealGrow(t *testing.T) { queuetest.Grow(t, real(t)) }
