package launcher_test

import (
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/launcher"
)

// TestWalltimeOfAQueue has the wall time of a pilot end while its worker runs: the
// pilot leaves before it is killed and says why, and another one takes its place.
func TestWalltimeOfAQueue(t *testing.T) {
	c, b := cluster(t, tulip())
	x := b.start(launcher.Job{App: b.script("[ $ZORILLA_ATTEMPT -gt 1 ] || exec sleep 1000\necho done\n"), Workers: 1},
		"[site.tulip]\nurl = \""+queueURL(c)+"\"\nslots = 1\npilots = 1\nwalltime = \"1m\"\n", nil)
	x.worker(0, 1, "running", time.Minute)
	x.await("the worker is lost with its pilot's wall time", time.Minute, func(e launcher.Event) bool {
		w, ok := e.Data.(launcher.WorkerChanged)
		return ok && w.State == "lost" && w.Reason == "walltime"
	})
	r := x.end(2 * time.Minute)
	wantOK(t, r)
	if got := b.stdout(r, 0); got != "done\n" {
		t.Errorf("the worker printed %q", got)
	}
	c.NoLeftovers(t)
	nothingHere(t, r.Run)
}
