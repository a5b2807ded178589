package transport_test

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// slowConn passes on what is written at a rate, after a delay, with a queue
// in between as long as a bad path's.
type slowConn struct {
	net.Conn
	rate  float64 // bytes per second
	delay time.Duration
	queue chan []byte

	once sync.Once
	done chan struct{}
}

const slowQueue = 4 << 20 // bytes, in pieces of 16 KiB

func newSlowConn(c net.Conn, rate float64, delay time.Duration) *slowConn {
	s := &slowConn{Conn: c, rate: rate, delay: delay, queue: make(chan []byte, slowQueue>>14), done: make(chan struct{})}
	go s.run()
	return s
}

func (s *slowConn) run() {
	type parcel struct {
		at time.Time
		b  []byte
	}
	late := make(chan parcel, 1024)
	defer close(late)
	go func() {
		for p := range late {
			if !s.until(p.at) {
				continue
			}
			_, _ = s.Conn.Write(p.b)
		}
	}()
	free := time.Now()
	for {
		select {
		case b := <-s.queue:
			free = free.Add(time.Duration(float64(len(b)) / s.rate * 1e9))
			if now := time.Now(); free.Before(now.Add(-10 * time.Millisecond)) {
				free = now
			}
			s.until(free)
			select {
			case late <- parcel{free.Add(s.delay), b}:
			case <-s.done:
				return
			}
		case <-s.done:
			return
		}
	}
}

func (s *slowConn) until(at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.done:
		return false
	}
}

func (s *slowConn) Write(p []byte) (int, error) {
	for piece := range slices.Chunk(p, 16<<10) {
		select {
		case s.queue <- slices.Clone(piece):
		case <-s.done:
			return 0, net.ErrClosed
		}
	}
	return len(p), nil
}

func (s *slowConn) Close() error {
	s.once.Do(func() { close(s.done) })
	return s.Conn.Close()
}

// TestControlBesideBulk fills a path of 1 MB/s, with four megabytes of queue in
// it, with bulk streams, and measures control messages there and back on the
// same carrier.
func TestControlBesideBulk(t *testing.T) {
	const rate = 1e6
	var got sync.WaitGroup
	var mu sync.Mutex
	var arrived int64
	x, y := pair(t, transport.Config{}, transport.Config{
		Handlers: handle(wire.StreamOutput, func(_ context.Context, s *transport.Stream) {
			buf := make([]byte, 32<<10)
			for {
				n, err := s.Read(buf)
				mu.Lock()
				arrived += int64(n)
				mu.Unlock()
				if err != nil {
					return
				}
			}
		}),
	})
	connect(t, x, newSlowConn(listen(t, y, transport.Local)(), rate, 20*time.Millisecond), transport.Local, transport.Options{})
	const streams = 4
	ctx, cancel := context.WithCancel(t.Context())
	for range streams {
		s := open(t, x, y.ID(), wire.StreamOutput)
		context.AfterFunc(ctx, s.Reset)
		got.Go(func() { _, _ = io.Copy(s, zeros{}) })
	}
	mu.Lock()
	before := arrived
	mu.Unlock()
	begin := time.Now()
	var worst time.Duration
	var at []time.Duration
	for i := range int64(20) {
		start := time.Now()
		report(t, x.Send(y.ID(), message(i)))
		y.waitMessage(x.ID(), i)
		report(t, y.Send(x.ID(), message(i)))
		x.waitMessage(y.ID(), i)
		d := time.Since(start)
		at = append(at, d.Round(time.Millisecond))
		if i >= 3 { // the path is learned by then
			worst = max(worst, d)
		}
	}
	mu.Lock()
	n := arrived - before
	mu.Unlock()
	used := float64(n) / time.Since(begin).Seconds() / rate
	cancel()
	got.Wait()
	t.Logf("control there and back beside bulk: %v; bulk used %.0f %% of the path", at, 100*used)
	if worst > 500*time.Millisecond {
		t.Errorf("control took %v beside bulk, want less than 500ms", worst)
	}
	if used < 0.4 { // yamux's own window would use 13 %; a busy machine takes its share
		t.Errorf("bulk used only %.0f %% of the path", 100*used)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestBulkCarrier looks that bulk goes over the carrier made for it.
func TestBulkCarrier(t *testing.T) {
	t.Parallel()
	for _, kind := range []transport.CarrierKind{transport.TCP, transport.Local} {
		x, y := pair(t, transport.Config{Handlers: handle(wire.StreamFetch, echo)}, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
		dial := listen(t, y, kind)
		control, bulk := &countConn{Conn: dial()}, &countConn{Conn: dial()}
		connect(t, x, control, kind, transport.Options{})
		connect(t, x, bulk, kind, transport.Options{Bulk: true})
		y.waitUp(x.ID())
		for _, n := range []*testNode{x, y} {
			to := y.ID()
			if n == y {
				to = x.ID()
			}
			before := control.count()
			s := open(t, n, to, wire.StreamFetch)
			data := make([]byte, 1<<20)
			done := make(chan error, 1)
			go func() { _, err := s.Write(data); s.CloseWrite(); done <- err }()
			if got, err := io.ReadAll(s); err != nil || len(got) != len(data) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			report(t, <-done)
			s.Close()
			if n := control.count() - before; n > 64<<10 {
				t.Errorf("%d bytes of bulk went over the control carrier", n)
			}
		}
		if bulk.count() < 4<<20 {
			t.Errorf("only %d bytes went over the bulk carrier", bulk.count())
		}
	}
}

type countConn struct {
	net.Conn
	mu sync.Mutex
	n  int
}

func (c *countConn) add(n int) {
	c.mu.Lock()
	c.n += n
	c.mu.Unlock()
}

func (c *countConn) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func (c *countConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.add(n)
	return n, err
}

func (c *countConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.add(n)
	return n, err
}

// TestLongPath sends bulk over a TCP carrier of 100 ms and 20 MB/s: the window
// and the credit must open far enough.
func TestLongPath(t *testing.T) {
	const rate, total = 20e6, 80 << 20
	done := make(chan struct{})
	x, y := pair(t, transport.Config{}, transport.Config{
		Handlers: handle(wire.StreamOutput, func(_ context.Context, s *transport.Stream) {
			_, _ = io.Copy(io.Discard, s)
			close(done)
		}),
	})
	dial := listen(t, y, transport.TCP)
	// The delay of the way back is put on the way out: the ends cannot tell.
	connect(t, x, newSlowConn(dial(), rate, 100*time.Millisecond), transport.TCP, transport.Options{})
	s := open(t, x, y.ID(), wire.StreamOutput)
	begin := time.Now()
	_, err := io.CopyN(s, zeros{}, total)
	report(t, err)
	report(t, s.CloseWrite())
	<-done
	used := total / time.Since(begin).Seconds() / rate
	t.Logf("used %.0f %% of the path", 100*used)
	if used < 0.4 { // yamux's own window would use 13 %; a busy machine takes its share
		t.Errorf("used only %.0f %% of a path of 100 ms", 100*used)
	}
}
