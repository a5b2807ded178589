package sim

import "time"

// Lane is one direction of a way between two places. The zero Lane is ready
// to use.
type Lane struct {
	last time.Duration // when the latest message arrives that keeps its turn
}

// Arrive returns when a message arrives that leaves now: not before those that
// left before it, unless the path lets it be overtaken.
func (l *Lane) Arrive(k *Kernel, p Path) time.Duration {
	at := k.Now() + p.Delay
	if p.Jitter > 0 {
		at += k.Between(0, p.Jitter)
	}
	if k.Chance(p.Late) {
		return at + k.Between(0, 4*p.Delay+p.Jitter)
	}
	l.last = max(at, l.last)
	return l.last
}

// Queue is what waits at the entrance of a way that carries so many bytes in a
// second. The zero Queue is empty.
type Queue struct {
	bytes int64 // left at that time
	at    time.Duration
}

// Len returns how many bytes wait now, on a way of the given bytes per second.
func (q *Queue) Len(now time.Duration, rate int64) int64 {
	if q.bytes == 0 {
		return 0
	}
	gone := int64(float64(now-q.at) / float64(time.Second) * float64(rate))
	return max(0, q.bytes-gone)
}

// Add puts a message behind those that wait, and returns how long it takes
// until its last byte is on its way.
func (q *Queue) Add(now time.Duration, bytes, rate int64) time.Duration {
	q.bytes, q.at = q.Len(now, rate)+bytes, now
	return time.Duration(float64(q.bytes) / float64(rate) * float64(time.Second))
}
