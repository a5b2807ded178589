package transport_test

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// counter reads what comes and counts it.
func counter(read *atomic.Int64) transport.Handler {
	return func(_ context.Context, s *transport.Stream) {
		buf := make([]byte, 64<<10)
		for {
			n, err := s.Read(buf)
			read.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
}

// fill writes until the stream breaks.
func fill(s *transport.Stream) {
	block := make([]byte, 256<<10)
	for {
		if _, err := s.Write(block); err != nil {
			return
		}
	}
}

// keeps looks that bytes are read at a rate, give or take a tenth. Between the
// limit and the reader are buffers, and this machine may be busy, which moves bytes from
// one second to the next: it looks for so long until all it has seen shows the rate,
// or never will.
func keeps(t *testing.T, read *atomic.Int64, rate float64) {
	t.Helper()
	var seen []float64
	before, began := read.Load(), time.Now()
	for range 10 {
		<-time.After(1500 * time.Millisecond)
		got := float64(read.Load()-before) / time.Since(began).Seconds()
		if got >= rate*0.9 && got <= rate*1.1 {
			return
		}
		seen = append(seen, got)
	}
	t.Errorf("%.0f bytes a second, %.0f are allowed", seen, rate)
}

// TestHubLimits has a hub pass bulk on between a pilot and others, some of it
// by the kernel, within its bandwidth; control is not late for that.
func TestHubLimits(t *testing.T) {
	t.Parallel()
	const most = 4e6
	var read atomic.Int64
	sink := transport.Config{Handlers: handle(wire.StreamOutput, counter(&read))}
	w := newNetwork(t, sink, transport.Config{Limits: transport.Limits{Bandwidth: most}}, nil)
	from, to := w.pilot(t, transport.Config{}), w.pilot(t, sink)
	for _, dst := range []*testNode{to, to, w.launcher} {
		s := open(t, from, dst.ID(), wire.StreamOutput)
		defer s.Reset()
		go fill(s)
	}
	for read.Load() < 16<<20 { // what fits in the buffers on the way
		<-time.After(10 * time.Millisecond)
	}
	keeps(t, &read, most)
	began := time.Now()
	report(t, from.Send(to.ID(), message(1)))
	to.waitMessage(from.ID(), 1)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a message took %v beside bulk", took)
	}
}

// TestOwnLimits has a node keep to its limits in what it sends and receives itself.
func TestOwnLimits(t *testing.T) {
	t.Parallel()
	const most = 4e6
	for name, limited := range map[string]int{"sender": 0, "receiver": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var read atomic.Int64
			var c [2]transport.Config
			c[1].Handlers = handle(wire.StreamFetch, counter(&read))
			c[limited].Limits.Bandwidth = most
			x, y := pair(t, c[0], c[1])
			connect(t, x, listen(t, y, transport.TCP)(), transport.TCP, transport.Options{})
			s := open(t, x, y.ID(), wire.StreamFetch)
			defer s.Reset()
			go fill(s)
			for read.Load() < 4<<20 {
				<-time.After(10 * time.Millisecond)
			}
			keeps(t, &read, most)
		})
	}
}

// TestLimitedEnds has streams through a limited hub end as they should: whole, or
// broken off.
func TestLimitedEnds(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, transport.Config{}, transport.Config{Limits: transport.Limits{Bandwidth: 20e6}}, nil)
	from := w.pilot(t, transport.Config{})
	to := w.pilot(t, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
	s := open(t, from, to.ID(), wire.StreamFetch)
	rounds := exchange(t, s, marked(256<<10), func(round int) bool { return round == 16 })
	report(t, s.CloseWrite())
	if n, err := io.Copy(io.Discard, s); n != 0 || err != nil {
		t.Errorf("after %d rounds %d bytes more came, then %v", rounds, n, err)
	}
	s.Close()
	s = open(t, from, to.ID(), wire.StreamFetch)
	go fill(s)
	if _, err := io.ReadFull(s, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	s.Reset()
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Error("a stream that was reset can be read")
	}
}
