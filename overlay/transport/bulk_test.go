package transport_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// lanes makes further connections for a carrier, and keeps what passes.
type lanes struct {
	dial func() net.Conn
	fail error

	mu  sync.Mutex
	all []*spyConn
}

func (l *lanes) more(context.Context) (io.ReadWriteCloser, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &spyConn{Conn: l.dial()}
	l.all = append(l.all, c)
	if l.fail != nil {
		c.Close()
		return nil, l.fail
	}
	return c, nil
}

func (l *lanes) conns() []*spyConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// exchange sends a block with a mark in it there and back, over and over until
// it is enough, and says how often.
func exchange(t *testing.T, s io.ReadWriter, block []byte, enough func(round int) bool) int {
	t.Helper()
	got := make([]byte, len(block))
	began := time.Now()
	for round := 1; ; round++ {
		done := make(chan error, 1)
		go func() { _, err := s.Write(block); done <- err }()
		if _, err := io.ReadFull(s, got); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		report(t, <-done)
		if !bytes.Equal(got, block) {
			t.Fatalf("round %d: other bytes come back", round)
		}
		if enough(round) {
			return round
		}
		if round > 4096 && time.Since(began) > 20*time.Second {
			t.Fatalf("not enough after %d rounds", round)
		}
	}
}

var theMark = []byte("the quick brown fox jumps over the lazy dog")

func marked(size int) []byte {
	b := make([]byte, size)
	rand.Read(b)
	copy(b[size/2:], theMark)
	return b
}

// TestLanes looks that much data leaves the carrier for a connection of its
// own, whichever end opens the stream, and whether it is in the clear there.
func TestLanes(t *testing.T) {
	for _, test := range []struct {
		name  string
		kind  transport.CarrierKind
		clear bool
	}{
		{"tcp", transport.TCP, false},
		{"local", transport.Local, true},
	} {
		for _, dialler := range []bool{true, false} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				x, y := pair(t, transport.Config{Handlers: handle(wire.StreamFetch, echo)}, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
				dial := listen(t, y, test.kind)
				more := &lanes{dial: dial}
				control := &countConn{Conn: dial()}
				connect(t, x, control, test.kind, transport.Options{More: more.more})
				y.waitUp(x.ID())
				from, to := x, y
				if !dialler {
					from, to = y, x
				}
				s := open(t, from, to.ID(), wire.StreamFetch)
				block := marked(64 << 10)
				exchange(t, s, block, func(int) bool { return len(more.conns()) > 0 && more.conns()[0].size() > 1<<20 })
				before := control.count()
				exchange(t, s, block, func(round int) bool { return round == 32 })
				if n := control.count() - before; n > 4<<10 {
					t.Errorf("%d bytes went over the carrier after the stream had a lane", n)
				}
				if got := more.conns()[0].has(theMark); got != test.clear {
					t.Errorf("the lane is in the clear: %v, want %v", got, test.clear)
				}
				report(t, s.CloseWrite())
				if _, err := s.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("read %v at the end, want %v", err, io.EOF)
				}
				s.Close()
			})
		}
	}
}

func (c *spyConn) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all.Len()
}

// TestLanesThroughHub looks that a stream between others has a lane on each
// hop, and that the hub cannot read it there.
func TestLanesThroughHub(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, transport.Config{Handlers: handle(wire.StreamOutput, echo)}, transport.Config{}, nil)
	first, second := new(lanes), new(lanes)
	first.dial, second.dial = w.dialLocal, w.dialTCP
	l := w.launcher
	connect(t, l, w.dialLocal(), transport.Local, transport.Options{More: first.more}) // the newest counts
	p := w.pilot(t, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
	connect(t, p, w.dialTCP(), transport.TCP, transport.Options{More: second.more})
	for _, from := range []*testNode{l, p} {
		to, kind := p, wire.StreamFetch
		if from == p {
			to, kind = l, wire.StreamOutput
		}
		old := len(first.conns())
		s := open(t, from, to.ID(), kind)
		exchange(t, s, marked(64<<10), func(int) bool {
			a, b := first.conns(), second.conns()
			return len(a) > old && len(b) > old && a[old].size() > 1<<20 && b[old].size() > 1<<20
		})
		if first.conns()[old].has(theMark) || second.conns()[old].has(theMark) {
			t.Error("a stream through a hub is in the clear")
		}
		s.Close()
	}
}

// TestNoLane looks that a stream does without a lane where none can be made.
func TestNoLane(t *testing.T) {
	t.Parallel()
	for _, opener := range []string{"dialler", "listener"} {
		t.Run(opener, func(t *testing.T) {
			t.Parallel()
			x, y := pair(t, transport.Config{Handlers: handle(wire.StreamFetch, echo)}, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
			dial := listen(t, y, transport.TCP)
			more := &lanes{dial: dial, fail: errors.New("the firewall is new")}
			connect(t, x, dial(), transport.TCP, transport.Options{More: more.more})
			y.waitUp(x.ID())
			from, to := x, y
			if opener == "listener" {
				from, to = y, x
			}
			s := open(t, from, to.ID(), wire.StreamFetch)
			defer s.Close()
			block := marked(64 << 10)
			exchange(t, s, block, func(int) bool { return len(more.conns()) > 0 })
			exchange(t, s, block, func(round int) bool { return round == 64 })
			if n := len(more.conns()); n != 1 {
				t.Errorf("a lane was tried %d times within a second, want once", n)
			}
		})
	}
}

// laneStream opens a stream from x to y that has a lane.
func laneStream(t *testing.T, handler transport.Handler) (w *network, p *testNode, s *transport.Stream) {
	t.Helper()
	w = newNetwork(t, transport.Config{}, transport.Config{}, nil)
	more := &lanes{dial: w.dialLocal}
	connect(t, w.launcher, w.dialLocal(), transport.Local, transport.Options{More: more.more})
	p = w.pilot(t, transport.Config{Handlers: handle(wire.StreamFetch, func(ctx context.Context, s *transport.Stream) {
		// Echo until a block says that it is the last, then do as the test says.
		buf := make([]byte, 64<<10)
		for {
			if _, err := io.ReadFull(s, buf); err != nil {
				t.Errorf("echo: %v", err)
				return
			}
			if _, err := s.Write(buf); err != nil {
				t.Errorf("echo: %v", err)
				return
			}
			if buf[0] == 1 {
				break
			}
		}
		handler(ctx, s)
	})})
	s = open(t, w.launcher, p.ID(), wire.StreamFetch)
	block := marked(64 << 10)
	block[0] = 0
	exchange(t, s, block, func(int) bool { return len(more.conns()) > 0 && more.conns()[0].size() > 1<<20 })
	block[0] = 1
	exchange(t, s, block, func(int) bool { return true })
	return w, p, s
}

// TestLaneEnds looks that ends, resets and losses are told faithfully through a
// hub that splices.
func TestLaneEnds(t *testing.T) {
	t.Run("half-close", func(t *testing.T) {
		t.Parallel()
		_, _, s := laneStream(t, func(_ context.Context, s *transport.Stream) {
			n, err := io.Copy(io.Discard, s)
			report(t, err)
			if n == 3<<20 {
				_, err = s.Write([]byte("all of it"))
				report(t, err)
			}
		})
		_, err := s.Write(make([]byte, 3<<20))
		report(t, errors.Join(err, s.CloseWrite()))
		if got, err := io.ReadAll(s); err != nil || string(got) != "all of it" {
			t.Errorf("got %q, %v after half a close", got, err)
		}
		s.Close()
	})
	t.Run("reset", func(t *testing.T) {
		t.Parallel()
		errs := make(chan error, 1)
		_, _, s := laneStream(t, func(_ context.Context, s *transport.Stream) {
			_, err := io.Copy(io.Discard, s)
			errs <- err
		})
		_, err := s.Write(make([]byte, 100))
		report(t, err)
		s.Reset()
		wantError(t, <-errs, transport.ErrReset, "")
	})
	t.Run("reset by the writer's other end", func(t *testing.T) {
		t.Parallel()
		_, _, s := laneStream(t, func(_ context.Context, s *transport.Stream) { s.Reset() })
		var err error
		for err == nil {
			_, err = s.Write(make([]byte, 64<<10))
		}
		wantError(t, err, transport.ErrReset, "")
		s.Close()
	})
	t.Run("hub gone", func(t *testing.T) {
		t.Parallel()
		errs := make(chan error, 1)
		w, _, s := laneStream(t, func(_ context.Context, s *transport.Stream) {
			_, err := io.Copy(io.Discard, s)
			errs <- err
		})
		report(t, w.hub.Close())
		_, err := s.Read(make([]byte, 1))
		wantError(t, err, transport.ErrReset, "")
		wantError(t, <-errs, transport.ErrReset, "")
		s.Close()
	})
	t.Run("stalled reader", func(t *testing.T) {
		t.Parallel()
		release := make(chan struct{})
		count := make(chan int64, 1)
		_, _, s := laneStream(t, func(_ context.Context, s *transport.Stream) {
			<-release
			n, err := io.Copy(io.Discard, s)
			report(t, err)
			count <- n
		})
		block := make([]byte, 64<<10)
		var sent int64
		pushed := make(chan error, 1)
		stop := make(chan struct{})
		go func() {
			for !closed(stop) {
				n, err := s.Write(block)
				sent += int64(n)
				if err != nil {
					pushed <- err
					return
				}
			}
			pushed <- s.CloseWrite()
		}()
		select { // until all buffers on the way are full
		case err := <-pushed:
			t.Fatal(err)
		case <-time.After(time.Second):
		}
		close(stop)
		close(release)
		report(t, <-pushed)
		if n := <-count; n != sent || sent > 64<<20 {
			t.Errorf("%d bytes went in beside a stalled reader, %d came out", sent, n)
		}
		s.Close()
	})
}

// TestTickets presents tickets that are good for nothing.
func TestTickets(t *testing.T) {
	t.Parallel()
	x, y := pair(t, transport.Config{}, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
	dial, dialTCP := listen(t, y, transport.Local), listen(t, y, transport.TCP)
	taken := make(chan []byte, 1)
	hold := make(chan struct{})
	more := func(context.Context) (io.ReadWriteCloser, error) {
		return &ticketConn{Conn: dial(), taken: taken, hold: hold}, nil
	}
	connect(t, x, dial(), transport.Local, transport.Options{More: more})
	s := open(t, x, y.ID(), wire.StreamFetch)
	defer s.Close()
	refused := func(what string, c net.Conn, b []byte) {
		t.Helper()
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n > 0 || isDeadline(err) {
			t.Errorf("%s: read %d bytes, %v, want to be hung up on", what, n, err)
		}
	}
	block := marked(64 << 10)
	var hello []byte
	exchange(t, s, block, func(int) bool {
		select {
		case hello = <-taken: // the listener waits for this ticket now
			return true
		default:
			return false
		}
	})
	guess := append([]byte(nil), hello...)
	rand.Read(guess[len(guess)-wire.TicketSize:])
	refused("a guess", dial(), guess)
	refused("a ticket of another listener", dialTCP(), hello)
	refused("half a ticket", dial(), append([]byte("Zlane/2\n"), hello[8:]...))
	close(hold)
	exchange(t, s, block, func(round int) bool { return round == 64 })
	refused("a ticket that is used", dial(), hello)
	exchange(t, s, block, func(round int) bool { return round == 4 })
}

func isDeadline(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// ticketConn shows the ticket that is presented on it, and holds it back for a
// while.
type ticketConn struct {
	net.Conn
	taken chan []byte
	hold  chan struct{}
	once  sync.Once
}

func (c *ticketConn) Write(p []byte) (int, error) {
	c.once.Do(func() {
		c.taken <- slices.Clone(p)
		<-c.hold
	})
	return c.Conn.Write(p)
}

// TestStripes spreads streams over connections as they are made, direct and
// through a hub, and ends them in good order.
func TestStripes(t *testing.T) {
	t.Parallel()
	const want = 4
	w := newNetwork(t, transport.Config{}, transport.Config{Handlers: handle(wire.StreamFetch, echo)}, nil)
	p := w.pilot(t, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
	for _, to := range []*testNode{w.hub, p} {
		s := open(t, w.launcher, to.ID(), wire.StreamFetch)
		exchange(t, s, marked(256<<10), func(int) bool {
			s.Ask(want) // as often as needed: one that could not be made is not tried again by itself
			n, sends, gets := s.Stripes()
			return n == want && sends && gets
		})
		exchange(t, s, marked(1<<20), func(round int) bool { return round == 16 })
		report(t, s.CloseWrite())
		if n, err := s.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read %d bytes, %v at the end, want %v", n, err, io.EOF)
		}
		s.Close()
	}
	// What is reset or loses its hub is so on both ends.
	s := open(t, w.launcher, p.ID(), wire.StreamFetch)
	s.Ask(want)
	exchange(t, s, marked(256<<10), func(int) bool { _, _, gets := s.Stripes(); return gets })
	report(t, w.hub.Close())
	_, err := s.Read(make([]byte, 1))
	wantError(t, err, transport.ErrReset, "")
	s.Close()
}
