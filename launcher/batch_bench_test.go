package launcher_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// BenchmarkQueueFirstOutput measures the time from when a queue starts a pilot that
// waited to the first output of its worker at the launcher.
func BenchmarkQueueFirstOutput(b *testing.B) {
	for _, spec := range []testbed.Spec{tulip(), poppy()} {
		b.Run(string(spec.System), func(b *testing.B) {
			c := testbed.SharedCluster(b, spec)
			h := newBenchIn(b, c.Net)
			var all []time.Duration
			for b.Loop() {
				all = append(all, firstOutput(h, c))
			}
			b.ReportMetric(median(all).Seconds(), "s-to-output")
		})
	}
}

// firstOutput has a pilot wait in a full queue, and returns how long after its start
// the worker's output came.
func firstOutput(b *bench, c *testbed.Cluster) time.Duration {
	free := c.Fill(b.t, 5*time.Minute)
	x := b.start(launcher.Job{App: b.script("echo here\n"), Workers: 1},
		fmt.Sprintf("[site.%s]\nurl = %q\nslots = 1\n", c.Spec.Name, queueURL(c)), nil)
	x.await("a pilot waits", time.Minute, func(e launcher.Event) bool {
		s, ok := e.Data.(launcher.SiteChanged)
		return ok && s.Submitted == 1
	})
	free()
	var started time.Time
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for started.IsZero() {
		<-tick.C
		for _, h := range c.Nodes {
			// The script of the job, by the names that the two systems give it.
			procs, err := h.Processes(b.t.Context(), "job")
			if err != nil {
				b.t.Fatal(err)
			}
			for _, p := range procs {
				if p.User == h.User && (strings.Contains(p.Command, "slurm_script") || strings.Contains(p.Command, "job_scripts")) {
					started = time.Now()
				}
			}
		}
	}
	e := x.await("output", time.Minute, func(e launcher.Event) bool {
		_, ok := e.Data.(launcher.OutputWritten)
		return ok
	})
	wantOK(b.t, x.end(time.Minute))
	c.NoLeftovers(b.t)
	return e.Time.Sub(started)
}
