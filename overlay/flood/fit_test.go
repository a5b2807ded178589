package flood_test

import (
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// TestLasts: slots count for those workers only that are done before their
// pilot leaves, and for all when either time is not known.
func TestLasts(t *testing.T) {
	t.Parallel()
	offer := wire.Offer{Slots: 4, Cores: 4}
	table := &wire.Table{Hub: wire.NodeID{1}, Seq: 1, Pilots: 6, Classes: []wire.Class{
		{Offer: offer, Pilots: 1, Slots: 1},
		{Offer: offer, Pilots: 2, Slots: 2, Left: time.Hour},
		{Offer: offer, Pilots: 3, Slots: 4, Left: time.Minute}}}
	for needed, want := range map[time.Duration]int{0: 7, time.Second: 7, time.Minute: 7, 2 * time.Minute: 3, time.Hour: 3, time.Hour + 1: 1} {
		if got := flood.Fit(table, &wire.Requirements{Walltime: needed}); got != want {
			t.Errorf("for workers of %v there are %d slots, want %d", needed, got, want)
		}
	}
}

// TestAbout: what is told of a time is never too much, not much too little, and
// seldom another.
func TestAbout(t *testing.T) {
	t.Parallel()
	if got := flood.About(0); got != 0 {
		t.Errorf("no end is %v", got)
	}
	changes, last := 0, time.Duration(0)
	for left := 24 * time.Hour; left > 0; left -= time.Second {
		got := flood.About(left)
		if got > left || 3*got < 2*left-3*time.Second {
			t.Fatalf("%v is told as %v", left, got)
		}
		if got != last {
			changes, last = changes+1, got
		}
	}
	if changes > 40 {
		t.Errorf("in a day the time left changes %d times", changes)
	}
	if got := flood.About(1); got != time.Second {
		t.Errorf("a moment is told as %v: it must not be taken for no end", got)
	}
}
