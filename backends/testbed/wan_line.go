package testbed

import (
	"math/rand/v2"
	"time"
)

// Line is one direction of a link over a distance. The zero value carries
// everything at once. Packets never overtake each other on it.
type Line struct {
	// Delay is how long a packet is under way when nothing else is.
	Delay time.Duration
	// Jitter is by how much that differs at most, either way, evenly spread.
	Jitter time.Duration
	// Rate is in bits per second of IP packets, headers included; 0 is unlimited.
	Rate float64
	// Queue is how many bytes wait for a line with a rate before more are
	// dropped. 0 is what the line carries in 100 ms, and at least 64 KiB.
	Queue int
	// Loss is the part of the packets that get lost, each by itself: 0 to 1.
	Loss float64
}

const (
	// lineBurst is for how long a line with a rate may have saved up what it
	// did not carry: the router, which other programs keep from running, comes
	// late by about as much.
	lineBurst = time.Millisecond
	// leastQueue is the least default of [Line].Queue, in bytes.
	leastQueue = 64 << 10
)

// queue returns the bound of the queue in bytes.
func (l Line) queue() int {
	if l.Queue > 0 {
		return l.Queue
	}
	return max(leastQueue, int(l.Rate/8/10))
}

// lineState is a line and what is on it. Times count from a start that its user
// chooses; the packets come in order of time.
type lineState struct {
	Line
	cut  bool
	free time.Duration // when the line has sent what it was given
	last time.Duration // when the newest packet arrives

	passed, lost, overflowed int64 // packets
	bytes                    int64 // passed
}

// pass puts a packet of n bytes on the line at some time and returns when it
// comes out, if it does.
func (l *lineState) pass(at time.Duration, n int, chance *rand.Rand) (time.Duration, bool) {
	if l.cut {
		l.lost++
		return 0, false
	}
	if l.Rate > 0 {
		start := max(l.free, at-lineBurst)
		if wait := start - at; wait > 0 && wait.Seconds()*l.Rate/8+float64(n) > float64(l.queue()) {
			l.overflowed++
			return 0, false
		}
		l.free = start + time.Duration(float64(n)*8/l.Rate*float64(time.Second))
		at = max(at, l.free)
	}
	if l.Loss > 0 && chance.Float64() < l.Loss {
		l.lost++
		return 0, false
	}
	at += l.Delay
	if l.Jitter > 0 {
		at += time.Duration(chance.Int64N(int64(2*l.Jitter)+1)) - l.Jitter
	}
	l.last = max(at, l.last)
	l.passed++
	l.bytes += int64(n)
	return l.last, true
}
