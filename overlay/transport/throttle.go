package transport

import (
	"io"
	"net"
	"sync"
	"time"
)

// Limits bound the bulk that a node sends, receives and passes on, both ways
// and all streams together. Control is counted, and never waits: when there is
// too much of it the bulk pays, down to a trickle. The zero value bounds
// nothing and costs nothing.
type Limits struct {
	Bandwidth int64 // bytes per second; 0: no bound
	CPU       int   // of this process, in thousandths of a core; 0: no bound

	// CPUTime returns how much processor time this process has taken. It is
	// needed to bound that.
	CPUTime func() time.Duration
}

// Constants of throttling.
const (
	throttleBurst = 50 * time.Millisecond  // what was not used for longer is lost
	throttleDebt  = time.Second            // control puts bulk off by at most so much
	throttleStep  = 20 * time.Millisecond  // of a rate is what a stream moves at a time
	throttleNap   = 100 * time.Millisecond // the longest sleep without another look
	leastStep     = 4 << 10
	mostStep      = 256 << 10

	cpuPeriod  = 100 * time.Millisecond // between two looks at the processor time
	cpuMemory  = time.Second            // what was taken too much is paid back at most so long
	cpuGuess   = 50e-9                  // seconds that a byte costs, before it is known
	cpuTrickle = 32 << 10               // bytes per second that are moved whatever the cost
	cpuSample  = 16 << 10               // bytes that a period must have moved to tell their cost
)

// throttle keeps to Limits: it is asked before bytes are moved. Streams take
// turns, in the order in which they came, so that none of many is starved. It is
// safe for concurrent use; nil bounds nothing.
type throttle struct {
	done <-chan struct{}
	turn chan struct{} // holds one while somebody waits for the rate

	mu   sync.Mutex
	net  purse
	cpu  purse // its rate follows from what bytes cost
	look governor
}

// newThrottle returns nil when nothing is bounded. Waiting ends with done.
func newThrottle(l Limits, done <-chan struct{}) *throttle {
	if l.Bandwidth <= 0 && (l.CPU <= 0 || l.CPUTime == nil) {
		return nil
	}
	now := time.Now()
	t := &throttle{done: done, turn: make(chan struct{}, 1), net: purse{rate: float64(l.Bandwidth), at: now}}
	if l.CPU > 0 && l.CPUTime != nil {
		t.look = governor{share: float64(l.CPU) / 1000, time: l.CPUTime, at: now, used: l.CPUTime()}
		t.cpu = purse{rate: max(t.look.share/cpuGuess, cpuTrickle), at: now}
	}
	return t
}

// take waits until n bytes of bulk may be moved. It fails when the endpoint is
// closed.
func (t *throttle) take(n int) error {
	if t == nil {
		return nil
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-t.done:
		return ErrClosed
	}
	for {
		wait := t.try(n)
		if wait <= 0 {
			return nil
		}
		nap := time.NewTimer(min(wait, throttleNap))
		select {
		case <-nap.C:
		case <-t.done:
			nap.Stop()
			return ErrClosed
		}
	}
}

// try takes n bytes, or returns how long to wait.
func (t *throttle) try(n int) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.settle(now)
	if wait := max(t.net.wait(), t.cpu.wait()); wait > 0 {
		return wait
	}
	t.pay(n)
	return 0
}

// spend counts n bytes of control, which do not wait.
func (t *throttle) spend(n int) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settle(time.Now())
	t.pay(n)
	t.net.forgive()
	t.cpu.forgive()
}

// refund gives back n bytes that were taken and not moved.
func (t *throttle) refund(n int) {
	if t == nil || n == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pay(-n)
}

// step is how many bytes a stream moves at a time.
func (t *throttle) step() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	rate := t.net.rate
	if rate == 0 || t.cpu.rate > 0 && t.cpu.rate < rate {
		rate = t.cpu.rate
	}
	return int(min(max(rate*throttleStep.Seconds(), leastStep), mostStep))
}

// settle brings both purses up to now. The lock is held.
func (t *throttle) settle(now time.Time) {
	t.net.earn(now)
	t.cpu.earn(now)
	t.cpu.rate = t.look.govern(now, t.cpu.rate)
}

func (t *throttle) pay(n int) {
	t.net.level -= float64(n)
	t.cpu.level -= float64(n)
	t.look.moved += int64(n)
}

// purse holds bytes that may be moved, earned at a rate; less than none is debt.
type purse struct {
	rate  float64 // bytes per second; 0: no bound
	level float64
	at    time.Time
}

func (p *purse) earn(now time.Time) {
	p.level = min(p.level+p.rate*now.Sub(p.at).Seconds(), p.rate*throttleBurst.Seconds())
	p.at = now
}

// wait returns how long the purse is in debt.
func (p *purse) wait() time.Duration {
	if p.rate == 0 || p.level >= 0 {
		return 0
	}
	return max(time.Duration(-p.level/p.rate*float64(time.Second)), time.Microsecond)
}

func (p *purse) forgive() { p.level = max(p.level, -p.rate*throttleDebt.Seconds()) }

// governor finds the rate at which this process takes its share of a
// core. What a byte costs is told by the bytes and the processor time of one
// period, all else that the process does included: where that is much, fewer
// bytes are moved.
type governor struct {
	share  float64 // of a core
	time   func() time.Duration
	at     time.Time
	used   time.Duration // at that time
	moved  int64         // bytes since
	credit float64       // seconds of a core that were left, or taken too much
	cost   float64       // seconds that a byte costs
}

// govern returns the rate from now on.
func (g *governor) govern(now time.Time, rate float64) float64 {
	passed := now.Sub(g.at)
	if g.share == 0 || passed < cpuPeriod {
		return rate
	}
	used := g.time()
	took, moved := (used - g.used).Seconds(), g.moved
	g.at, g.used, g.moved = now, used, 0
	g.credit = min(max(g.credit+g.share*passed.Seconds()-took, -g.share*cpuMemory.Seconds()), g.share*throttleBurst.Seconds())
	if moved < cpuSample && took <= g.share*passed.Seconds() {
		// Next to nothing was moved, which tells nothing of what more would cost.
		return max(rate, min(rate*2, g.share/cpuGuess))
	}
	cost := took / float64(max(moved, 1))
	if g.cost > 0 {
		cost = (cost + g.cost) / 2
	}
	g.cost = cost
	// What was taken too much is given back over the next half second.
	want := min(max(g.share+2*g.credit, g.share/8), g.share*5/4)
	return max(min(max(want/max(cost, 1e-12), rate/4), rate*2), cpuTrickle)
}

// copy moves all bytes of bulk from one pipe to another, as fast as may be. The
// kernel does it where it can.
func (t *throttle) copy(to io.Writer, from io.Reader) error {
	_, tcp := to.(*net.TCPConn)
	if tcp && kernelMoves(from) {
		for {
			n := t.step()
			if err := t.take(n); err != nil {
				return err
			}
			moved, err := io.CopyN(to, from, int64(n))
			t.refund(n - int(moved))
			if err != nil {
				return notEOF(err)
			}
		}
	}
	buf := make([]byte, spliceBuffer)
	for {
		n, err := from.Read(buf[:min(t.step(), len(buf))])
		if n > 0 {
			if err := t.take(n); err != nil {
				return err
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return notEOF(err)
		}
	}
}

// kernelMoves reports whether bytes from a connection to one of TCP can stay in the kernel.
func kernelMoves(from io.Reader) bool {
	switch from.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

func notEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// countedWriter counts what is written as control.
type countedWriter struct {
	io.Writer
	t *throttle
}

func (w countedWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.t.spend(n)
	return n, err
}
