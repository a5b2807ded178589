package transport

import (
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// How a flow decides on stripes.
const (
	lookEvery  = 500 * time.Millisecond // and at least so many round trips:
	lookTrips  = 4
	judgeAfter = time.Second // new stripes get going, and then are judged for as long; and at least so many:
	judgeTrips = 10
	farAway    = 5 * time.Millisecond // on shorter paths one connection is enough
	fullEnough = 1 << 20              // bytes under way on each: losses do not hold it back
	lossMemory = 10 * time.Second
	busyEnough = 0.7                  // of the time the sender waits for the path
	gainEnough = 1.15                 // a rate that more stripes have to make of the old one
	queueTime  = 3 * time.Millisecond // and a quarter of the path's own: more, and something queues
	askTime    = 5 * time.Second      // for stripes to be made
	tryAgain   = 30 * time.Second     // after more were of no use, or not to be had
)

// course is how the sending of a flow went until now.
type course struct {
	at      time.Time
	sent    uint64        // bytes
	waited  time.Duration // for the path to take them
	stripes int
	rtt     time.Duration // of the whole path
	near    time.Duration // of its first hop, as the kernel knows it; zero if it does not
	queued  bool          // the first hop takes longer than it could: something queues
	lost    uint64        // segments that the kernel sent again, on the first hop
}

// widener decides how many stripes a flow should have. One connection that
// loses a segment now and then stays far below the path's rate (Mathis et al.,
// "The macroscopic behavior of the TCP congestion avoidance algorithm", 1997:
// 1.2 segments per round trip over the root of the loss rate), several share
// the loss. So where the sender waits for a long path that loses, and little is
// under way, it takes more: all at once where nothing queues, so that others are
// not what it loses to; else, and where the losses happen where this end cannot
// see them, twice as many as long as that raises the rate.
type widener struct {
	last   course // when the period began
	settle time.Time
	lost   uint64
	lossAt time.Time
	rate   float64 // bytes per second before there were more
	asked  int     // stripes asked for
	askAt  time.Time
	resume time.Time
}

// look takes in how it goes, and returns how many stripes to ask for; zero
// means that all is well.
func (w *widener) look(c course) int {
	if c.lost > w.lost {
		w.lost, w.lossAt = c.lost, c.at
	}
	if c.stripes != w.last.stripes {
		w.settle = c.at.Add(max(judgeAfter, judgeTrips*c.rtt))
	}
	if w.last.at.IsZero() || c.at.Before(w.settle) {
		w.last = c
		return 0
	}
	passed, period := c.at.Sub(w.last.at), max(lookEvery, lookTrips*c.rtt)
	if w.rate > 0 {
		period = max(judgeAfter, judgeTrips*c.rtt)
	}
	if passed < period {
		return 0
	}
	rate := float64(c.sent-w.last.sent) / passed.Seconds()
	busy := float64(c.waited-w.last.waited) / float64(passed)
	w.last = c
	loses := !w.lossAt.IsZero() && c.at.Sub(w.lossAt) < lossMemory
	blind := c.near < c.rtt/2
	full := rate*c.rtt.Seconds() > fullEnough*float64(c.stripes)
	switch {
	case c.rtt < farAway || busy < busyEnough || c.stripes >= wire.MaxStripes || c.at.Before(w.resume):
		return 0
	case w.asked > c.stripes:
		if c.at.Sub(w.askAt) >= askTime { // not to be had, it seems
			w.asked, w.rate, w.resume = 0, 0, c.at.Add(tryAgain)
		}
		return 0
	case w.rate > 0 && rate < gainEnough*w.rate: // the last ones were of no use
		w.rate, w.resume = 0, c.at.Add(tryAgain)
		return 0
	case !loses && !blind || full:
		return 0
	}
	w.rate, w.askAt = rate, c.at
	w.asked = min(2*c.stripes, wire.MaxStripes)
	if loses && !blind && !c.queued {
		w.asked = wire.MaxStripes
	}
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
		path := pathOf(s.pipe)
		c.stripes++
		c.near = max(c.near, path.rtt)
		c.queued = c.queued || path.rtt > path.least+path.least/4+queueTime
		c.lost += path.lost
	}
	if f.out.peer.Direct {
		c.rtt = c.near // and the kernel has seen more of it than one handshake
	}
	return f.wider.look(c)
}
