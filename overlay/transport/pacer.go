package transport

import (
	"errors"
	"sync"
	"time"
)

// Constants of the bulk credit.
const (
	startCredit = 128 << 10
	minCredit   = 16 << 10
	maxCredit   = 32 << 20
	fastCredit  = 1 << 20 // with more than this a path is fast: longer frames

	lowDelay   = 40 * time.Millisecond  // less queueing than this: more credit
	highDelay  = 120 * time.Millisecond // more: less credit
	baseAge    = 30 * time.Second       // the base is the least delay of the last one to two of these
	ratePeriod = 10 * time.Second       // the best rate of the last one to two of these floors the credit
	rateFloor  = 20 * time.Millisecond  // that many milliseconds of it
	floorMost  = 8 << 20                // at most this much
	rateSample = 20 * time.Millisecond  // rates are taken over at least this

	maxPings = 8         // under way at once: acknowledgements spread over a round trip
	pingStep = 512 << 10 // bytes from one ping to the next, less while there is less credit
)

// pacer keeps bulk data from filling the queues of a slow path, so that
// control on the same carrier is not late. Bulk bytes need credit. Pings between
// them tell when they have arrived and how long that took; more than about a
// tenth of a second over the path's own delay shrinks the credit, less lets it
// grow. It is safe for concurrent use.
type pacer struct {
	ping func() (time.Duration, error)
	done <-chan struct{}
	kick chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	room    *sync.Cond
	closed  bool
	credit  int64 // bytes that may be under way
	sent    int64
	arrived int64
	marked  int64 // what was sent when the last ping started
	waited  bool  // somebody wanted more credit than there was
	shrunk  time.Time
	base    least
	rate    best
	sampled struct {
		at      time.Time
		arrived int64
	}
}

// least is a minimum over the last one to two periods.
type least struct {
	now, old time.Duration
	since    time.Time
}

func (l *least) add(at time.Time, d time.Duration) time.Duration {
	if l.since.IsZero() || at.Sub(l.since) > baseAge {
		l.old, l.now, l.since = l.now, d, at
		if l.old == 0 {
			l.old = d
		}
	}
	l.now = min(l.now, d)
	return min(l.now, l.old)
}

// best is a maximum over the last one to two periods.
type best struct {
	now, old float64
	since    time.Time
}

func (b *best) add(at time.Time, v float64) float64 {
	if b.since.IsZero() || at.Sub(b.since) > ratePeriod {
		b.old, b.now, b.since = b.now, 0, at
	}
	b.now = max(b.now, v)
	return max(b.now, b.old)
}

func newPacer(ping func() (time.Duration, error), done <-chan struct{}) *pacer {
	p := &pacer{ping: ping, done: done, kick: make(chan struct{}, 1), credit: startCredit}
	p.room = sync.NewCond(&p.mu)
	p.wg.Go(p.run)
	return p
}

var errCarrierClosed = errors.New("carrier closed")

// take waits until n bytes may be sent. The pings answer or the carrier ends,
// so it does not wait for ever.
func (p *pacer) take(n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed && p.sent > p.arrived && p.sent-p.arrived+int64(n) > p.credit {
		p.waited = true
		p.wake()
		p.room.Wait()
	}
	if p.closed {
		return errCarrierClosed
	}
	p.sent += int64(n)
	if p.sent-p.marked >= max(p.credit/maxPings, min(p.credit/2, pingStep)) {
		p.wake()
	}
	return nil
}

// fast reports whether long frames do no harm.
func (p *pacer) fast() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.credit >= fastCredit
}

func (p *pacer) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

func (p *pacer) wait() { p.wg.Wait() }

// run pings while bulk flows.
func (p *pacer) run() {
	var pings sync.WaitGroup
	defer pings.Wait()
	defer func() {
		p.mu.Lock()
		p.closed = true
		p.room.Broadcast()
		p.mu.Unlock()
	}()
	slots := make(chan struct{}, maxPings)
	for {
		select {
		case <-p.done:
			return
		case <-p.kick:
		}
		select {
		case <-p.done:
			return
		case slots <- struct{}{}:
		}
		p.mu.Lock()
		mark := p.sent
		news := mark > p.marked
		p.marked = mark
		p.mu.Unlock()
		if !news { // a ping behind all of it is under way
			<-slots
			continue
		}
		pings.Go(func() {
			rtt, err := p.ping()
			p.mu.Lock()
			if err == nil {
				p.adjust(time.Now(), mark, rtt)
			} else {
				p.marked = min(p.marked, p.arrived) // slow beyond measure: ask again
			}
			p.room.Broadcast() // who still has to wait asks for the next ping
			p.mu.Unlock()
			<-slots
		})
	}
}

// adjust takes in that all of the first mark bytes have arrived and that the
// last of them took rtt there and back.
func (p *pacer) adjust(at time.Time, mark int64, rtt time.Duration) {
	moved := max(mark-p.arrived, 0)
	p.arrived += moved
	base := p.base.add(at, rtt)
	switch delay := rtt - base; {
	case delay > highDelay:
		if at.Sub(p.shrunk) > rtt { // the pings of one round trip say it once
			p.credit = int64(float64(p.credit) * max(0.5, highDelay.Seconds()/delay.Seconds()))
			p.shrunk = at
		}
	case delay < lowDelay && p.waited:
		p.credit += max(min(moved, p.credit), smallFrame)
	case p.waited:
		p.credit += smallFrame / 4
	}
	floor := min(max(int64(p.measure(at)*rateFloor.Seconds()), minCredit), floorMost)
	p.credit = min(max(p.credit, floor), maxCredit)
	p.waited = p.waited && p.sent-p.arrived >= p.credit/2
}

// measure returns the best rate of late, in bytes per second.
func (p *pacer) measure(at time.Time) float64 {
	s := &p.sampled
	if s.at.IsZero() || at.Sub(s.at) > ratePeriod {
		s.at, s.arrived = at, p.arrived
	}
	var rate float64
	if d := at.Sub(s.at); d >= rateSample {
		rate = float64(p.arrived-s.arrived) / d.Seconds()
		s.at, s.arrived = at, p.arrived
	}
	return p.rate.add(at, rate)
}
