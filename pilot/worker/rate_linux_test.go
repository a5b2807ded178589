package worker_test

import (
	"path/filepath"
	"testing"

	"github.com/zorilla-grid/zorilla/pilot/worker"
)

// BenchmarkLaunch reports launches per second of a yard with two slots and of
// a bare loop in turn, and the ratio, which must reach 0.8.
func BenchmarkLaunch(b *testing.B) {
	r, err := worker.LaunchRate(b.Context(), worker.Config{Root: filepath.Join(b.TempDir(), "pilot"), Guard: guardCommand(), Slots: 2}, max(b.N, 1000))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(r.Yard, "yard/s")
	b.ReportMetric(r.Bare, "bare/s")
	b.ReportMetric(r.Ratio(), "ratio")
}
