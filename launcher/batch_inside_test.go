package launcher_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// TestThroughTheScheduler runs jobs where no hub may be: the links to all pilots, those
// of one job of many nodes too, go through the scheduler. The start of a pilot is seen
// by the first listing after the submission.
func TestThroughTheScheduler(t *testing.T) {
	t.Parallel()
	iris := testbed.Spec{Name: "iris", System: testbed.Slurm, Nodes: 2, Walled: true}
	for _, test := range []struct {
		spec  testbed.Spec
		shape launcher.Shape
	}{
		{iris, launcher.ShapeArray}, {iris, launcher.ShapeMulti},
		{poppy(), launcher.ShapeArray}, {poppy(), launcher.ShapeMulti},
	} {
		t.Run(fmt.Sprintf("%s %s", test.spec.System, test.shape), func(t *testing.T) {
			c, b := cluster(t, test.spec)
			began := time.Now()
			x := b.start(launcher.Job{App: b.script("hostname\n"), Workers: 2}, siteOf(c, fmt.Sprintf("hub = \"none\"\nshape = %q", test.shape)), nil)
			x.await("both pilots are submitted", time.Minute, func(e launcher.Event) bool {
				s, ok := e.Data.(launcher.SiteChanged)
				return ok && s.Submitted == 2
			})
			submitted := time.Now()
			x.await("both pilots are up", 30*time.Second, func(e launcher.Event) bool {
				s, ok := e.Data.(launcher.SiteChanged)
				return ok && s.Up == 2
			})
			t.Logf("submitted after %v, both pilots are up %v later", submitted.Sub(began), time.Since(submitted))
			r := x.end(time.Minute)
			t.Logf("the run took %v", time.Since(began))
			wantOK(t, r)
			b.onNodes(c, r, 2)
			c.NoLeftovers(t)
		})
	}
}
