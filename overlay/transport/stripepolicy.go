package transport

import (
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// How a flow decides on stripes.
const (
	lookEvery  = 500 * time.Millisecond // and at least so many round trips:
	lookTrips  = 4
	farAway    = 5 * time.Millisecond // on shorter paths one connection is enough
	fullEnough = 1 << 20              // bytes under way on each: losses do not hold it back
	busyEnough = 0.7                  // of the time the sender waits for the path
	gainEnough = 1.15                 // a rate that more stripes have to make of the old one
	tryAgain   = 30 * time.Second     // after more were of no use
)

// course is how the sending of a flow went until now.
type course struct {
	at      time.Time
	sent    uint64        // bytes
	waited  time.Duration // for the path to take them
	stripes int
	rtt     time.Duration // of the whole path
	near    time.Duration // of its first hop, as the kernel knows it; zero if it does not
	lost    uint64        // segments that the kernel sent again, on the first hop
}

// widener decides how many stripes a flow should have. One connection that
// loses a segment now and then stays far below the path's rate (Mathis et al.,
// "The macroscopic behavior of the TCP congestion avoidance algorithm", 1997:
// 1.2 segments per round trip over the root of the loss rate), several share
// the loss. So where the sender waits for a long path that loses, or whose
// losses happen where this end cannot see them, and little is under way, the
// stripes are doubled as long as that raises the rate.
type widener struct {
	last   course
	rate   float64 // bytes per second before the stripes were doubled
	asked  int     // stripes asked for, 0 none
	resume time.Time
}

// look takes in how it goes, and returns how many stripes to ask for; zero
// means that all is well.
func (w *widener) look(c course) int {
	if w.last.at.IsZero() {
		w.last = c
		return 0
	}
	passed := c.at.Sub(w.last.at)
	if passed < max(lookEvery, lookTrips*c.rtt) {
		return 0
	}
	rate := float64(c.sent-w.last.sent) / passed.Seconds()
	busy := float64(c.waited-w.last.waited) / float64(passed)
	lossy := c.lost > w.last.lost || c.near < c.rtt/2
	full := rate*c.rtt.Seconds() > fullEnough*float64(c.stripes)
	grew := c.stripes > w.last.stripes
	w.last = c
	switch {
	case grew: // a period that began with fewer says nothing
		return 0
	case c.rtt < farAway || busy < busyEnough || c.stripes >= wire.MaxStripes || c.at.Before(w.resume):
		return 0
	case w.asked > c.stripes: // not to be had, it seems
		w.asked, w.rate = 0, 0
		w.resume = c.at.Add(tryAgain)
		return 0
	case w.rate > 0 && rate < gainEnough*w.rate: // the last ones were of no use
		w.rate = 0
		w.resume = c.at.Add(tryAgain)
		return 0
	case !lossy || full:
		return 0
	}
	w.rate = rate
	w.asked = min(2*c.stripes, wire.MaxStripes)
	return w.asked
}

// look tells the widener of a frame whose sending began at a time.
func (f *flow) look(begin time.Time) int {
	now := time.Now()
	f.waited += now.Sub(begin)
	if now.Sub(f.wider.last.at) < lookEvery || f.out.local() {
		return 0
	}
	c := course{at: now, sent: f.sent, waited: f.waited, stripes: 0, rtt: f.out.rtt}
	for _, s := range f.lanes() {
		near, lost := pathOf(s.pipe)
		c.stripes++
		c.near = max(c.near, near)
		c.lost += lost
	}
	if f.out.peer.Direct {
		c.rtt = c.near // and the kernel has seen more of it than one handshake
	}
	return f.wider.look(c)
}
