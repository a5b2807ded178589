package transport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// pair is two nodes of one session.
func pair(t testing.TB, cx, cy transport.Config) (x, y *testNode) {
	t.Helper()
	a := authority(t)
	cx.Identity, cy.Identity = identity(t, a, wire.RoleLauncher, "home"), identity(t, a, wire.RoleHub, "das5")
	return start(t, cx), start(t, cy)
}

func TestSimultaneousConnect(t *testing.T) {
	for _, kind := range []transport.CarrierKind{transport.TCP, transport.Local} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			x, y := pair(t, transport.Config{}, transport.Config{})
			dx, dy := listen(t, x, kind), listen(t, y, kind)
			cx, cy := dx(), dy()
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() { _, err := y.Connect(t.Context(), cx, kind, transport.Options{}); report(t, err) })
				wg.Go(func() { _, err := x.Connect(t.Context(), cy, kind, transport.Options{}); report(t, err) })
				wg.Wait()
				cx, cy = dx(), dy()
			}
			cx.Close()
			cy.Close()
			for i := range int64(100) {
				report(t, x.Send(y.ID(), message(i)))
				report(t, y.Send(x.ID(), message(i)))
			}
			x.waitMessage(y.ID(), 99)
			y.waitMessage(x.ID(), 99)
			for _, n := range []*testNode{x, y} {
				var ups, messages int
				for _, ev := range n.eventsSeen() {
					switch ev.(type) {
					case transport.LinkUp:
						ups++
					case transport.LinkDown:
						t.Errorf("got %+v", ev)
					case transport.Received:
						messages++
					}
				}
				if ups != 1 || messages != 100 {
					t.Errorf("%d links came up and %d messages arrived, want 1 and 100", ups, messages)
				}
			}
		})
	}
}

func report(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestLossAndReconnect(t *testing.T) {
	t.Parallel()
	var path *cutConn
	w := newNetwork(t, transport.Config{}, transport.Config{}, func(c net.Conn) net.Conn {
		path = &cutConn{Conn: c}
		return path
	})
	p := w.pilot(t, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
	l := w.launcher
	report(t, l.Send(p.ID(), message(1)))
	p.waitMessage(l.ID(), 1)
	s := open(t, l, p.ID(), wire.StreamFetch)
	defer s.Close()

	path.Conn.Close()
	_, err := s.Read(make([]byte, 1))
	wantError(t, err, transport.ErrReset, "")
	_, fromHub := l.waitDown(w.hub.ID(), 0)
	_, fromPilot := l.waitDown(p.ID(), 0)
	p.waitDown(l.ID(), 0)
	wantError(t, l.Send(p.ID(), message(2)), transport.ErrNoRoute, "")

	// The hub is admitted already; its identity is the same.
	hub := connect(t, l, w.dialLocal(), transport.Local, transport.Options{Admit: true})
	if hub.ID != w.hub.ID() {
		t.Errorf("hub is %v now, was %v", hub.ID, w.hub.ID())
	}
	wait(l, fromHub, func(e transport.LinkUp) bool { return e.Peer.ID == w.hub.ID() })
	report(t, l.Send(p.ID(), message(3)))
	p.waitMessage(l.ID(), 3)
	wait(l, fromPilot, func(e transport.LinkUp) bool { return e.Peer.ID == p.ID() })
}

// cutConn is a path that a test can cut.
type cutConn struct{ net.Conn }

// silentConn swallows everything once it is told to.
type silentConn struct {
	net.Conn
	silent chan struct{}
}

func (c *silentConn) Write(p []byte) (int, error) {
	if closed(c.silent) {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *silentConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !closed(c.silent) {
			return n, err
		}
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestSilentCarrier(t *testing.T) {
	t.Parallel()
	quick := transport.Config{Keepalive: 100 * time.Millisecond, DeadAfter: time.Second}
	x, y := pair(t, quick, transport.Config{})
	c := &silentConn{listen(t, y, transport.Local)(), make(chan struct{})}
	ended := make(chan error, 1)
	connect(t, x, c, transport.Local, transport.Options{OnClose: func(err error) { ended <- err }})
	timer := time.NewTimer(3 * quick.DeadAfter)
	defer timer.Stop()
	select { // idle is not dead
	case err := <-ended:
		t.Fatalf("an idle carrier was closed: %v", err)
	case <-timer.C:
	}
	close(c.silent)
	wantError(t, <-ended, transport.ErrSilent, "")
	x.waitDown(y.ID(), 0)
	y.waitDown(x.ID(), 0)
}

// TestHangUp gives up a link through a hub that nothing comes from any more,
// long before the carrier to the hub is found silent; one over a way that works
// is made again with the next message, and a direct link stays.
func TestHangUp(t *testing.T) {
	t.Parallel()
	var c *silentConn
	w := newNetwork(t, transport.Config{}, transport.Config{}, func(conn net.Conn) net.Conn {
		c = &silentConn{conn, make(chan struct{})}
		return c
	})
	l, p := w.launcher, w.pilot(t, transport.Config{})
	l.HangUp(p.ID()) // nothing to hang up
	if err := l.Send(p.ID(), message(1)); err != nil {
		t.Fatal(err)
	}
	p.waitMessage(l.ID(), 1)
	l.HangUp(p.ID())
	_, next := l.waitDown(p.ID(), 0)
	p.waitDown(l.ID(), 0)
	l.HangUp(w.hub.ID())
	if err := errors.Join(l.Send(w.hub.ID(), message(2)), l.Send(p.ID(), message(3))); err != nil {
		t.Fatal(err)
	}
	w.hub.waitMessage(l.ID(), 2)
	p.waitMessage(l.ID(), 3)
	for _, e := range l.eventsSeen() {
		if e, ok := e.(transport.LinkDown); ok && e.ID == w.hub.ID() {
			t.Errorf("the direct link to the hub has ended: %v", e.Err)
		}
	}
	close(c.silent)
	began := time.Now()
	l.HangUp(p.ID())
	l.waitDown(p.ID(), next)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the dead link has ended after %v, with its carrier", took)
	}
}

func TestGoodbye(t *testing.T) {
	t.Parallel()
	x, y := pair(t, transport.Config{}, transport.Config{})
	connect(t, x, listen(t, y, transport.TCP)(), transport.TCP, transport.Options{})
	for i := range int64(1000) {
		report(t, x.Send(y.ID(), message(i)))
	}
	report(t, x.Close()) // what is queued goes out first
	y.waitMessage(x.ID(), 999)
	if down, _ := y.waitDown(x.ID(), 0); down.Err != nil {
		t.Errorf("link ended with %v, want a good-bye", down.Err)
	}
	wantError(t, x.Send(y.ID(), message(1)), transport.ErrClosed, "")
}

func TestQueueOverflow(t *testing.T) {
	t.Parallel()
	x, y := pair(t, transport.Config{}, transport.Config{})
	blocked := make(chan struct{})
	c := &blockedConn{listen(t, y, transport.Local)(), blocked, make(chan struct{})}
	connect(t, x, c, transport.Local, transport.Options{})
	close(blocked)
	big := &wire.Want{Digests: make([]wire.Digest, 1024)}
	var err error
	var n int
	for ; err == nil; n++ {
		err = x.Send(y.ID(), big)
	}
	wantError(t, err, transport.ErrOverflow, "")
	if size := n * 32 << 10; size < 900<<10 || size > 4<<20 {
		t.Errorf("overflow after about %d bytes, want 1 MiB", size)
	}
	down, _ := x.waitDown(y.ID(), 0)
	wantError(t, down.Err, transport.ErrOverflow, "")
}

// blockedConn writes nothing from a moment on, until it is closed.
type blockedConn struct {
	net.Conn
	blocked, done chan struct{}
}

func (c *blockedConn) Write(p []byte) (int, error) {
	if closed(c.blocked) {
		<-c.done
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

func (c *blockedConn) Close() error {
	if !closed(c.done) {
		close(c.done)
	}
	return c.Conn.Close()
}

// TestStalledReader looks that a hub does not hold more than a window of a
// stream whose reader has stopped, that control still passes, and that all
// arrives when the reader goes on.
func TestStalledReader(t *testing.T) {
	release := make(chan struct{})
	total := make(chan int64, 1)
	w := newNetwork(t, transport.Config{Handlers: handle(wire.StreamOutput, func(_ context.Context, s *transport.Stream) {
		<-release
		n, err := io.Copy(io.Discard, s)
		if err == nil { // the first one is reset
			total <- n
		}
	})}, transport.Config{}, nil)
	p := w.pilot(t, transport.Config{})
	s := open(t, p, w.launcher.ID(), wire.StreamOutput)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	block := make([]byte, 64<<10)
	var sent int64
	_ = s.SetWriteDeadline(time.Now().Add(2 * time.Second))
	for {
		n, err := s.Write(block)
		sent += int64(n)
		if err != nil {
			break
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); sent > 40<<20 || grown > 80<<20 {
		t.Errorf("%d bytes went into a stream that nobody reads, the heap grew by %d", sent, grown)
	} else {
		t.Logf("%d KiB sent, heap grew by %d KiB", sent>>10, grown>>10)
	}
	report(t, p.Send(w.launcher.ID(), message(7)))
	w.launcher.waitMessage(p.ID(), 7)
	s.Reset()

	s = open(t, p, w.launcher.ID(), wire.StreamOutput)
	done := make(chan error, 1)
	const want = 20 << 20
	go func() {
		for range want / len(block) {
			if _, err := s.Write(block); err != nil {
				done <- err
				return
			}
		}
		done <- s.Close()
	}()
	close(release)
	report(t, <-done)
	if n := <-total; n != want {
		t.Errorf("%d bytes arrived, want %d", n, int64(want))
	}
}
