package transport

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// within reports whether a number is as it should be, up to a part of it.
func within(got, want, part float64) bool { return got >= want*(1-part) && got <= want*(1+part) }

// mover moves bytes through a throttle for as long as it is let.
func mover(t *throttle, n int, moved *atomic.Int64) func() {
	return func() {
		for t.take(n) == nil {
			moved.Add(int64(n))
		}
	}
}

// TestBandwidth has streams move what they can, in pieces of all sizes, while
// control takes a part.
func TestBandwidth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		rate    int64
		pieces  []int
		control int // bytes per millisecond
	}{
		{"one", 10e6, []int{64 << 10}, 0},
		{"many", 10e6, []int{100, 64 << 10, 256 << 10, 64 << 10, 1000}, 0},
		{"slow", 100e3, []int{4 << 10, 4 << 10}, 0},
		{"fast", 1e9, []int{256 << 10, 256 << 10}, 0},
		{"with control", 10e6, []int{64 << 10, 64 << 10}, 2000},
		{"with too much control", 1e6, []int{4 << 10}, 2000},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				done := make(chan struct{})
				l := newThrottle(Limits{Bandwidth: c.rate}, done)
				moved := make([]atomic.Int64, len(c.pieces))
				var wg sync.WaitGroup
				for i, n := range c.pieces {
					wg.Go(mover(l, n, &moved[i]))
				}
				const long = 10 * time.Second
				control := 0.0
				for range int(long / time.Millisecond) {
					time.Sleep(time.Millisecond)
					if c.control > 0 {
						l.spend(c.control) // never waits
						control += float64(c.control)
					}
				}
				close(done)
				wg.Wait()
				bulk := 0.0
				for i := range moved {
					n := moved[i].Load()
					if n == 0 {
						t.Errorf("stream %d, in pieces of %d, was starved", i, c.pieces[i])
					}
					bulk += float64(n)
				}
				want := float64(c.rate) * long.Seconds()
				switch {
				case control < want && !within(bulk+control, want, 0.02):
					t.Errorf("moved %.0f bytes and %.0f of control in %v, want %.0f", bulk, control, long, want)
				case control > want && bulk > want/2:
					t.Errorf("moved %.0f bytes though control took all there is", bulk)
				}
			})
		})
	}
}

// TestBandwidthBursts looks at each second: what was not used in one is not made
// up for in the next.
func TestBandwidthBursts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		l := newThrottle(Limits{Bandwidth: 1e6}, done)
		time.Sleep(time.Hour)
		var moved atomic.Int64
		var wg sync.WaitGroup
		wg.Go(mover(l, 16<<10, &moved))
		last := int64(0)
		for range 5 {
			time.Sleep(time.Second)
			n := moved.Load()
			if !within(float64(n-last), 1e6, 0.1) {
				t.Errorf("%d bytes in one second, 1,000,000 are allowed", n-last)
			}
			last = n
		}
		close(done)
		wg.Wait()
	})
}

// TestCPU has a process with all kinds of costs keep to its share of a core.
func TestCPU(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		share int           // thousandths of a core
		cost  float64       // seconds for a byte
		then  float64       // and later
		base  time.Duration // for each second
		least float64       // bytes per second
	}{
		{"cheap", 100, 1e-9, 1e-9, 0, 80e6},
		{"dear", 100, 200e-9, 200e-9, 0, 400e3},
		{"a full core", 1000, 2e-9, 2e-9, 10 * time.Millisecond, 400e6},
		{"one percent", 10, 5e-9, 5e-9, time.Millisecond, 1.4e6},
		{"much else", 100, 5e-9, 5e-9, 80 * time.Millisecond, 2e6},
		{"it becomes dear", 100, 1e-9, 20e-9, 5 * time.Millisecond, 3e6},
		{"it becomes cheap", 100, 20e-9, 1e-9, 5 * time.Millisecond, 60e6},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				done := make(chan struct{})
				began := time.Now()
				var moved, dear atomic.Int64
				used := func() time.Duration {
					bytes := float64(moved.Load()-dear.Load())*c.cost + float64(dear.Load())*c.then
					return time.Duration(bytes*float64(time.Second)) + time.Duration(time.Since(began).Seconds()*float64(c.base))
				}
				l := newThrottle(Limits{CPU: c.share, CPUTime: used}, done)
				var later atomic.Bool
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						for n := l.step(); l.take(n) == nil; n = l.step() {
							moved.Add(int64(n))
							if later.Load() {
								dear.Add(int64(n))
							}
						}
					})
				}
				last, bytes := used(), int64(0)
				for second := range 20 {
					if second == 10 {
						later.Store(true)
						bytes = moved.Load()
					}
					time.Sleep(time.Second)
					took := used() - last
					last = used()
					want := time.Duration(c.share) * time.Millisecond
					if settled := second%10 >= 3; settled && !within(took.Seconds(), want.Seconds(), 0.1) {
						t.Errorf("second %d: it took %v of a core, %v are allowed", second, took, want)
					} else if took > want*3/2 && second != 10 {
						t.Errorf("second %d: it took %v of a core before it knew better, %v are allowed", second, took, want)
					}
				}
				if rate := float64(moved.Load()-bytes) / 10; rate < c.least {
					t.Errorf("it moved %.0f bytes per second, want %.0f", rate, c.least)
				}
				close(done)
				wg.Wait()
			})
		})
	}
}

// TestCPUStarved has a process that needs more than its share for other things: what
// it passes on becomes a trickle, and recovers.
func TestCPUStarved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		began := time.Now()
		var moved atomic.Int64
		busy := func() time.Duration { // half a core, for ten seconds
			return min(time.Since(began), 10*time.Second) / 2
		}
		l := newThrottle(Limits{CPU: 100, CPUTime: func() time.Duration { return busy() + time.Duration(moved.Load()*5) }}, done)
		var wg sync.WaitGroup
		wg.Go(mover(l, 4<<10, &moved))
		time.Sleep(5 * time.Second)
		before := moved.Load()
		time.Sleep(5 * time.Second)
		if n := moved.Load() - before; n < 4*cpuTrickle || n > 6*cpuTrickle {
			t.Errorf("%d bytes in five seconds without processor time, want %d a second", n, cpuTrickle)
		}
		time.Sleep(5 * time.Second)
		before = moved.Load()
		time.Sleep(time.Second)
		if n := moved.Load() - before; !within(float64(n), 20e6, 0.1) {
			t.Errorf("%d bytes a second afterwards, want 20,000,000", n)
		}
		close(done)
		wg.Wait()
	})
}

// TestThrottleEnds closes the endpoint under those who wait.
func TestThrottleEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		l := newThrottle(Limits{Bandwidth: 1}, done)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for l.take(1<<20) == nil {
				}
			})
		}
		time.Sleep(time.Minute)
		close(done)
		wg.Wait()
	})
	var none *throttle
	if err := none.take(1 << 40); err != nil || newThrottle(Limits{CPU: 5}, nil) != nil {
		t.Errorf("without limits: %v", err)
	}
	none.spend(1)
	none.refund(1)
}

// TestThrottleCopies copies between things that are no connections.
func TestThrottleCopies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newThrottle(Limits{Bandwidth: 1e6}, make(chan struct{}))
		want := bytes.Repeat([]byte("0123456789"), 300_000)
		var got bytes.Buffer
		began := time.Now()
		if err := l.copy(&got, bytes.NewReader(want)); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("copied %d bytes of %d: %v", got.Len(), len(want), err)
		}
		if took := time.Since(began); !within(took.Seconds(), 3, 0.1) {
			t.Errorf("3 MB at 1 MB/s took %v", took)
		}
		if err := l.copy(brokenWriter{}, bytes.NewReader(want)); err != io.ErrClosedPipe {
			t.Errorf("copying to what is closed: %v", err)
		}
	})
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
