package launcher_test

import (
	"slices"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/launcher"
)

// TestGPUsOfAQueue asks Slurm for a pilot with two GPUs: each of two workers has
// one of its own.
func TestGPUsOfAQueue(t *testing.T) {
	c, b := cluster(t, tulip())
	x := b.start(launcher.Job{
		App:     b.script("echo \"$CUDA_VISIBLE_DEVICES $ROCR_VISIBLE_DEVICES\"\n"),
		Workers: 2,
		GPUs:    1,
	}, "[site.tulip]\nurl = \""+queueURL(c)+"\"\ngpus = 2\ncores = 2\n", nil)
	r := x.end(2 * time.Minute)
	wantOK(t, r)
	got := []string{b.stdout(r, 0), b.stdout(r, 1)}
	slices.Sort(got)
	if got[0] != "0 0\n" || got[1] != "1 1\n" {
		t.Errorf("the workers have the GPUs %q", got)
	}
	c.NoLeftovers(t)
	nothingHere(t, r.Run)
}
