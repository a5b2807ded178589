package transport

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	mrand "math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// memPipe is one end of a pipe in memory, in place of a lane.
type memPipe struct {
	net.Conn
	slow func() // before each write; nil: nothing
}

func (p *memPipe) closeWrite() error { return p.Close() }
func (p *memPipe) reset()            { p.Close() }
func (p *memPipe) whole() bool       { return true }

func (p *memPipe) Write(b []byte) (int, error) {
	if p.slow != nil {
		p.slow()
	}
	return p.Conn.Write(b)
}

// flowEnds is a flow between two endpoints, whose stripes a test makes.
type flowEnds struct {
	a, b   *flow
	stripe []*memPipe // of a
}

func newFlowEnds(t *testing.T) *flowEnds {
	t.Helper()
	var f flowEnds
	open := &wire.Open{Flow: bytes.Repeat([]byte{7}, wire.FlowSize)}
	x, y := net.Pipe()
	for i, end := range []net.Conn{x, y} {
		e, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		made, err := e.newFlow(channel{pipe: &memPipe{Conn: end}}, open, nil, i == 0)
		if err != nil {
			t.Fatal(err)
		}
		made.nextAsk = 1 << 60
		t.Cleanup(func() {
			made.reset()
			e.Close()
			if n := e.bulk.held.Load(); n != 0 {
				t.Errorf("%d bytes are still held", n)
			}
		})
		if i == 0 {
			f.a = made
		} else {
			f.b = made
		}
	}
	return &f
}

// add makes a stripe of the two flows.
func (f *flowEnds) add(t *testing.T) *memPipe {
	t.Helper()
	x, y := net.Pipe()
	p := &memPipe{Conn: x}
	f.stripe = append(f.stripe, p)
	number := uint8(len(f.stripe))
	for _, err := range []error{
		f.b.join(newStripe(channel{pipe: &memPipe{Conn: y}}, number)),
		f.a.join(newStripe(channel{pipe: p}, number)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// TestFlowOverStripes sends over stripes of different speed that come one after
// the other, both ways at once.
func TestFlowOverStripes(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	f := newFlowEnds(t)
	data := make([]byte, size)
	rand.Read(data)
	var wg sync.WaitGroup
	send := func(to *flow) {
		for i := 0; i < size; {
			n, err := to.Write(data[i:min(i+mrand.IntN(200<<10), size)])
			if err != nil {
				t.Errorf("write at %d: %v", i, err)
				return
			}
			i += n
			if to == f.a && i > len(f.stripe)<<20 && len(f.stripe) < 5 {
				p := f.add(t)
				if len(f.stripe)%2 == 0 {
					var n atomic.Int64
					p.slow = func() {
						if n.Add(1)%8 == 0 {
							<-time.After(time.Millisecond) // a slower path
						}
					}
				}
			}
		}
		if err := to.CloseWrite(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	for _, end := range []*flow{f.a, f.b} {
		wg.Go(func() { send(end) })
		wg.Go(func() {
			if got, err := io.ReadAll(end); err != nil || !bytes.Equal(got, data) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if f.a.spread == nil || f.b.gather == nil || f.a.spread.stripes != 5 {
		t.Error("the flow was not spread over five stripes")
	}
}

// spreadPair returns a flow with k stripes, of which nothing is used yet.
func spreadPair(t *testing.T, k int) *flowEnds {
	t.Helper()
	f := newFlowEnds(t)
	for range k {
		f.add(t)
	}
	return f
}

// TestStripeDies breaks one of three stripes: the flow fails on both ends, and
// nothing is taken for an end.
func TestStripeDies(t *testing.T) {
	t.Parallel()
	f := spreadPair(t, 3)
	wrote := make(chan error, 1)
	go func() {
		for {
			if _, err := f.a.Write(make([]byte, 1<<20)); err != nil {
				wrote <- err
				f.a.reset() // as a stream does whose Write has failed
				return
			}
		}
	}()
	if _, err := io.CopyN(io.Discard, f.b, 5<<20); err != nil {
		t.Fatal(err)
	}
	f.stripe[1].Close()
	if n, err := io.Copy(io.Discard, f.b); err == nil {
		t.Errorf("the reader got %d more bytes and an end", n)
	}
	f.b.reset()
	if err := <-wrote; err == nil {
		t.Error("the writer was not told")
	}
}

// TestHostileFrames sends a reader frames that no sender makes.
func TestHostileFrames(t *testing.T) {
	t.Parallel()
	type at struct {
		stripe int
		frame
	}
	data := func(stripe, offset, length int) at {
		return at{stripe, frame{frameData, length, uint64(offset)}}
	}
	turn := at{0, frame{frameTurn, 1, 0}}
	spread := []at{turn, {1, frame{frameSpread, 0, 0}}}
	for name, test := range map[string][]at{
		"hole":                {data(0, 1, 10)},
		"twice":               {data(0, 0, 10), data(0, 0, 10)},
		"nothing":             {data(0, 0, 0)},
		"giant":               {data(0, 0, maxPiece+1)},
		"end before its time": {data(0, 0, 10), {0, frame{frameEnd, 0, 9}}},
		"end later":           {data(0, 0, 10), {0, frame{frameEnd, 0, 11}}},
		"unknown kind":        {{0, frame{77, 0, 0}}},
		"turn to itself":      {{0, frame{frameTurn, 0, 0}}},
		"turn to stripe 200":  {{0, frame{frameTurn, 200, 0}}},
		"more of an acceptor": {{0, frame{frameMore, 2, 0}}},
		"spread: long piece":  append(spread, data(1, 0, spreadPiece+1)),
		"spread: twice":       append(spread, data(1, 10, 10), data(2, 10, 10), data(2, 20, 1)),
		"spread: back":        append(spread, data(1, 10, 10), data(1, 0, 10)),
		"spread: overlap":     append(spread, data(1, 0, 10), data(2, 5, 10), at{2, frame{frameEnd, 0, 10}}),
		"spread: two ends":    append(spread, at{1, frame{frameEnd, 0, 12}}, at{1, frame{frameEnd, 0, 10}}),
		"spread: turn":        append(spread, at{2, frame{frameTurn, 1, 0}}),
		"spread: more":        append(spread, at{2, frame{frameMore, 2, 0}}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := spreadPair(t, 2)
			go func() {
				for _, x := range test {
					s := f.a.stripes[x.stripe]
					n := 0
					if x.kind == frameData {
						n = x.length
					}
					if s.send(x.frame, make([]byte, n)) != nil {
						return
					}
				}
			}()
			n, err := io.Copy(io.Discard, f.b)
			if !errors.Is(err, wire.ErrInvalid) {
				t.Errorf("got %d bytes, then %v, want an error that matches %v", n, err, wire.ErrInvalid)
			}
		})
	}
}

// TestGatherIsBounded sends all but the first frame, endlessly: a reader holds
// what it may and no more, and gives up after a while.
func TestGatherIsBounded(t *testing.T) {
	t.Parallel()
	f := spreadPair(t, 2)
	sent := make(chan uint64, 1)
	go func() {
		_ = f.a.stripes[0].send(frame{frameTurn, 1, 0}, nil)
		_ = f.a.stripes[1].send(frame{frameSpread, 0, 0}, nil)
		var offset uint64 = spreadPiece
		var wg sync.WaitGroup
		var total atomic.Uint64
		for i := 1; i <= 2; i++ {
			at := offset + uint64(i)<<40
			wg.Go(func() {
				for f.a.stripes[i].send(frame{frameData, spreadPiece, at}, make([]byte, spreadPiece)) == nil {
					at += spreadPiece
					total.Add(spreadPiece)
				}
			})
		}
		wg.Wait()
		sent <- total.Load()
	}()
	_, err := f.b.Read(make([]byte, 1))
	if !errors.Is(err, wire.ErrInvalid) {
		t.Errorf("got %v, want an error that matches %v", err, wire.ErrInvalid)
	}
	f.b.reset()
	if n := <-sent; n < maxGather-spreadPiece || n > maxGather+4*spreadPiece {
		t.Errorf("%d bytes were taken ahead of a hole, want about %d", n, maxGather)
	}
}

// TestFlowDeadline reads with deadlines from a flow on one stripe and on two.
func TestFlowDeadline(t *testing.T) {
	t.Parallel()
	for _, k := range []int{0, 1, 3} {
		f := spreadPair(t, k)
		text := []byte("here it is")
		for round := range 3 {
			if err := f.b.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if n, err := f.b.Read(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%d stripes, round %d: read %d bytes, %v", k, round, n, err)
			}
			if err := f.b.SetReadDeadline(time.Time{}); err != nil {
				t.Fatal(err)
			}
			wrote := make(chan error, 1)
			go func() { _, err := f.a.Write(text); wrote <- err }()
			got := make([]byte, len(text))
			if _, err := io.ReadFull(f.b, got); err != nil || !bytes.Equal(got, text) {
				t.Fatalf("%d stripes, round %d: got %q, %v", k, round, got, err)
			}
			if err := <-wrote; err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestWidener runs the policy on paths of which each connection gets a part.
func TestWidener(t *testing.T) {
	t.Parallel()
	const mb = 1e6
	for _, test := range []struct {
		name      string
		rtt, near time.Duration
		each, all float64 // bytes per second, of one connection and of the path
		busy      float64
		losing    bool
		queued    bool
		want      int
	}{
		{"long path that loses", 100 * time.Millisecond, 100 * time.Millisecond, 0.5 * mb, 100 * mb, 1, true, false, wire.MaxStripes},
		{"and queues", 100 * time.Millisecond, 100 * time.Millisecond, 0.5 * mb, 100 * mb, 1, true, true, wire.MaxStripes},
		{"its rate is reached", 100 * time.Millisecond, 100 * time.Millisecond, 0.5 * mb, 1 * mb, 1, true, true, 4},
		{"one is enough", 100 * time.Millisecond, 100 * time.Millisecond, 1 * mb, 1 * mb, 1, true, true, 2},
		{"no loss", 100 * time.Millisecond, 100 * time.Millisecond, 50 * mb, 100 * mb, 1, false, false, 1},
		{"a loss now and then", 100 * time.Millisecond, 100 * time.Millisecond, 50 * mb, 100 * mb, 1, true, false, 1},
		{"loss behind a hub", 100 * time.Millisecond, time.Millisecond, 0.5 * mb, 100 * mb, 1, false, false, wire.MaxStripes},
		{"a slow sender", 100 * time.Millisecond, 100 * time.Millisecond, 0.5 * mb, 100 * mb, 0.1, true, false, 1},
		{"a near node", time.Millisecond, time.Millisecond, 0.5 * mb, 100 * mb, 1, true, false, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			var w widener
			c := course{at: time.Unix(0, 0), stripes: 1, rtt: test.rtt, near: test.near, queued: test.queued}
			for range 20 * 10 { // less than until it tries again
				c.at = c.at.Add(100 * time.Millisecond)
				c.sent += uint64(min(float64(c.stripes)*test.each, test.all) / 10)
				c.waited += time.Duration(test.busy * float64(100*time.Millisecond))
				if test.losing {
					c.lost++
				}
				if want := w.look(c); want > 0 {
					c.stripes = want
				}
			}
			if c.stripes != test.want {
				t.Errorf("%d stripes, want %d", c.stripes, test.want)
			}
		})
	}
}
