package vivaldi

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// TestSpot holds that a coordinate that is remembered stays valid and where it
// was, at the limits too, and is no coarser when it is remembered twice.
func TestSpot(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	list := []wire.Coordinate{
		{Height: 0, Error: wire.MinError},
		{Position: wire.Position{wire.MaxPosition, -wire.MaxPosition, 0, 1e-9}, Height: wire.MaxHeight, Error: wire.MaxError},
	}
	for range 1000 {
		c := wire.Coordinate{Height: r.Float32() * wire.MaxHeight, Error: wire.MinError + r.Float32()*(wire.MaxError-wire.MinError)}
		for k := range c.Position {
			c.Position[k] = (2*r.Float32() - 1) * wire.MaxPosition
		}
		list = append(list, c)
	}
	for _, c := range list {
		s := spotOf(&c)
		got := s.coordinate()
		if err := got.Validate(); err != nil {
			t.Fatalf("%+v is remembered as %+v: %v", c, got, err)
		}
		off := math.Abs(float64(got.Height - c.Height))
		for k := range c.Position {
			off = max(off, math.Abs(float64(got.Position[k]-c.Position[k])))
		}
		if off > 1.0/32 || math.Abs(float64(got.Error-c.Error)) > 1.0/40000 {
			t.Errorf("%+v is remembered as %+v", c, got)
		}
		if again := spotOf(&got); again != s {
			t.Errorf("%+v is remembered as %+v, and that as %+v", c, s, again)
		}
	}
}

// TestSpan holds how true a round trip is that is remembered, and that spans
// are ordered as round trips are.
func TestSpan(t *testing.T) {
	t.Parallel()
	last := span(0)
	for ms := 2e-5; ms <= wire.MaxRTT; ms *= 1.0007 {
		s := spanOf(ms)
		if got := s.milliseconds(); math.Abs(got-ms) > ms/4000 {
			t.Errorf("%g ms is remembered as %g ms", ms, got)
		}
		if s <= last || s >= never {
			t.Errorf("%g ms is span %d, a little less was %d", ms, s, last)
		}
		last = s
	}
	for _, ms := range []float64{0, 1e-30, 1e-6} { // measured, though hardly
		if s := spanOf(ms); s == 0 || s.milliseconds() > 1e-4 {
			t.Errorf("%g ms is remembered as %g ms", ms, s.milliseconds())
		}
	}
	if s := span(0); s.milliseconds() != 0 {
		t.Errorf("no span at all is %g ms", s.milliseconds())
	}
}

// TestLocalities holds that peers are found where they said to be, however many
// there were, that what many have in common is kept once, and that what nobody
// has any more is forgotten.
func TestLocalities(t *testing.T) {
	t.Parallel()
	n, err := New(Options{Rand: rand.New(rand.NewPCG(1, 2))})
	if err != nil {
		t.Fatal(err)
	}
	id := func(i int) (id wire.NodeID) {
		binary.BigEndian.PutUint64(id[:], uint64(i)*0x9e3779b97f4a7c15)
		id[15] = 1
		return id
	}
	now := time.Unix(1000, 0)
	said := make(map[wire.NodeID]wire.Locality)
	for i := range 2000 {
		now = now.Add(time.Second)
		at := &wire.Locality{Site: fmt.Sprint("site", i/3), Hubs: []wire.NodeID{id(-1 - i/3)}}
		p := Peer{ID: id(i), Coordinate: wire.Coordinate{Position: wire.Position{float32(i % 100)}, Height: 1, Error: 0.1}, At: at}
		said[p.ID] = *at
		if i%2 == 0 {
			err = n.Observe(now, p, time.Duration(1+i%90)*time.Millisecond)
		} else {
			n.Hear(now, p.ID, []Hint{{Peer: p}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	found, shared := 0, make(map[*wire.Locality]string)
	for id, want := range said {
		p, ok := n.Find(id)
		if !ok {
			continue
		}
		found++
		if p.At == nil || p.At.Site != want.Site || p.At.Hubs[0] != want.Hubs[0] || p.Site != want.Site {
			t.Errorf("%s is found at %+v, said to be at %+v", id.Short(), p.At, want)
		}
		shared[p.At] = want.Site
	}
	if found != Remembered+Candidates {
		t.Errorf("%d peers are known, want %d", found, Remembered+Candidates)
	}
	sites := make(map[string]bool)
	for _, site := range shared {
		if sites[site] {
			t.Errorf("%s is kept twice", site)
		}
		sites[site] = true
	}
	if len(n.localities) > found+8 {
		t.Errorf("%d localities of %d peers", len(n.localities), found)
	}
}
