package vivaldi_test

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/vivaldi"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

var start = time.Unix(1000, 0)

func id(i int) (id wire.NodeID) {
	binary.BigEndian.PutUint32(id[:], uint32(i)*2654435761)
	id[15] = 1
	return id
}

func node(t testing.TB, o vivaldi.Options) *vivaldi.Node {
	t.Helper()
	o.ID, o.Rand = id(0), rand.New(rand.NewPCG(1, 2))
	n, err := vivaldi.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func at(x float32) wire.Coordinate {
	return wire.Coordinate{Position: wire.Position{x}, Height: 0.5, Error: 0.1}
}

func observe(t testing.TB, n *vivaldi.Node, now time.Time, i int, c wire.Coordinate, rtt time.Duration) {
	t.Helper()
	if err := n.Observe(now, vivaldi.Peer{ID: id(i), Coordinate: c}, rtt); err != nil {
		t.Fatal(err)
	}
}

func TestObserveRefuses(t *testing.T) {
	t.Parallel()
	n := node(t, vivaldi.Options{})
	observe(t, n, start, 1, at(10), 10*time.Millisecond)
	before := n.Coordinate()
	good, nan, inf := at(10), at(float32(math.NaN())), at(float32(math.Inf(1)))
	negative, forged := good, good
	negative.Height, forged.Error = -5, 1e-9
	for name, tt := range map[string]struct {
		peer int
		c    wire.Coordinate
		rtt  time.Duration
	}{
		"itself":          {0, good, time.Millisecond},
		"no time":         {2, good, 0},
		"negative time":   {2, good, -time.Millisecond},
		"endless time":    {2, good, time.Hour},
		"NaN":             {2, nan, time.Millisecond},
		"infinite":        {2, inf, time.Millisecond},
		"giant":           {2, at(1e30), time.Millisecond},
		"negative height": {2, negative, time.Millisecond},
		"forged error":    {2, forged, time.Millisecond},
		"unknown":         {2, wire.Coordinate{}, time.Millisecond},
	} {
		err := n.Observe(start, vivaldi.Peer{ID: id(tt.peer), Coordinate: tt.c}, tt.rtt)
		if !errors.Is(err, vivaldi.ErrRefused) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
	if got := n.Coordinate(); got != before {
		t.Errorf("what was refused moved the node from %v to %v", before, got)
	}
	if best := n.Best(10); len(best) != 1 || best[0].ID != id(1) {
		t.Errorf("neighbours %v, want the first peer alone", best)
	}
}

// One sample of a liar hardly moves a node that has settled.
func TestPoison(t *testing.T) {
	t.Parallel()
	n := node(t, vivaldi.Options{})
	for i := range 60 {
		x := float32(i%20)*10 - 100
		observe(t, n, start, 1+i%20, at(x), time.Duration(math.Abs(float64(x))*1e6)+time.Millisecond)
	}
	before := n.Coordinate()
	for _, poison := range []struct {
		c   wire.Coordinate
		rtt time.Duration
	}{
		{wire.Coordinate{Position: wire.Position{2000, 2000, 2000, 2000}, Error: wire.MinError}, time.Microsecond},
		{wire.Coordinate{Height: wire.MaxHeight, Error: wire.MinError}, 3 * time.Second},
		{wire.Coordinate{Position: wire.Position{-2000}, Error: wire.MinError}, time.Nanosecond},
	} {
		observe(t, n, start, 99, poison.c, poison.rtt)
		if moved := vivaldi.Distance(before, n.Coordinate()); moved > 10*time.Millisecond {
			t.Errorf("%+v moves a settled node by %v", poison, moved)
		}
	}
}

func TestLatencyFilter(t *testing.T) {
	t.Parallel()
	n := node(t, vivaldi.Options{})
	for i, tt := range []struct{ measured, want int }{{20, 20}, {900, 20}, {21, 21}, {22, 22}, {40, 22}, {41, 40}} {
		observe(t, n, start, 1, at(20), time.Duration(tt.measured)*time.Millisecond)
		if got := n.Best(1)[0].RTT; got.Round(time.Microsecond) != time.Duration(tt.want)*time.Millisecond {
			t.Errorf("measurement %d, %d ms: believes %v, want %d ms", i, tt.measured, got, tt.want)
		}
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	n := node(t, vivaldi.Options{Start: at(80)})
	if c := n.Coordinate(); c.Position[0] != 80 || c.Error != wire.MaxError {
		t.Errorf("starts at %+v, want the hub's position without its confidence", c)
	}
	if _, err := vivaldi.New(vivaldi.Options{Rand: rand.New(rand.NewPCG(1, 1)), Start: at(1e9)}); !errors.Is(err, wire.ErrInvalid) {
		t.Errorf("a start far away: %v", err)
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	n := node(t, vivaldi.Options{Every: time.Second})
	view := []wire.NodeID{id(0), id(1), id(2)}
	probes := 0
	for i := range 1000 { // ten seconds
		if p, ok := n.Next(start.Add(time.Duration(i)*10*time.Millisecond), view); ok {
			if probes++; p == id(0) {
				t.Error("probes itself")
			}
		}
	}
	if probes != 10 {
		t.Errorf("%d probes in ten seconds", probes)
	}
}

// The candidate that an acquaintance calls near is probed, once.
func TestNearCandidate(t *testing.T) {
	t.Parallel()
	n := node(t, vivaldi.Options{})
	var view []wire.NodeID
	for i := 1; i <= 10; i++ {
		observe(t, n, start, i, at(float32(50*i)), time.Duration(50*i)*time.Millisecond)
		view = append(view, id(i))
	}
	observe(t, n, start, 11, at(3), 3*time.Millisecond)
	n.Hear(start, id(11), []vivaldi.Hint{{Peer: vivaldi.Peer{ID: id(50), Coordinate: at(900)}, RTT: time.Millisecond}})
	asked := 0
	for i := range 40 {
		now := start.Add(time.Duration(i+1) * vivaldi.Every)
		p, ok := n.Next(now, view)
		if !ok {
			t.Fatalf("probe %d: nobody", i)
		}
		if p == id(50) {
			asked++
			n.Failed(p)
		}
	}
	if asked != 1 {
		t.Errorf("asked the candidate %d times, want once", asked)
	}
}

func TestSiteMates(t *testing.T) {
	t.Parallel()
	n := node(t, vivaldi.Options{Site: "das5"})
	before := n.Coordinate()
	mate := vivaldi.Peer{ID: id(1), Site: "das5", Coordinate: at(500)}
	if err := n.Observe(start, mate, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	n.Hear(start, id(2), []vivaldi.Hint{{Peer: mate}})
	if got := n.Coordinate(); got != before || len(n.Best(9)) != 0 {
		t.Errorf("a site mate moves the node to %v, neighbours %v", got, n.Best(9))
	}
	if p, ok := n.Next(start, nil); ok {
		t.Errorf("proposes site mate %s", p)
	}
}

// Where a peer is found goes with it: who hears of it can reach it, and knows
// its own site's.
func TestLocality(t *testing.T) {
	t.Parallel()
	n := node(t, vivaldi.Options{Site: "here"})
	there, here := &wire.Locality{Site: "there", Hubs: []wire.NodeID{id(9)}}, &wire.Locality{Site: "here"}
	if err := n.Observe(start, vivaldi.Peer{ID: id(1), Coordinate: at(10), At: there}, 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	n.Hear(start, id(1), []vivaldi.Hint{
		{Peer: vivaldi.Peer{ID: id(2), Coordinate: at(20), At: there}},
		{Peer: vivaldi.Peer{ID: id(3), Coordinate: at(0), At: here}},
	})
	for i, want := range map[int]*wire.Locality{1: there, 2: there, 3: nil} {
		p, ok := n.Find(id(i))
		if ok != (want != nil) || p.At != want || ok && p.Site != "there" {
			t.Errorf("%d is found: %v, at %+v", i, ok, p.At)
		}
	}
	hints := n.Hints(start, vivaldi.Peer{ID: id(8), Coordinate: at(0)})
	if len(hints) != 2 || hints[0].Peer.At != there || hints[1].Peer.At != there {
		t.Errorf("hints: %+v", hints)
	}
	// Word of the same peer that does not say where it is takes nothing away.
	n.Hear(start.Add(time.Second), id(1), []vivaldi.Hint{{Peer: vivaldi.Peer{ID: id(2), Coordinate: at(21)}}})
	if p, _ := n.Find(id(2)); p.At != there || p.Coordinate != at(21) {
		t.Errorf("heard again: %+v", p)
	}
}

func TestTell(t *testing.T) {
	t.Parallel()
	n := node(t, vivaldi.Options{})
	for i := 1; i <= 30; i++ {
		observe(t, n, start, i, at(float32(i)), time.Duration(200+i)*time.Millisecond)
	}
	told := n.Tell(7)
	if len(told) != 7 {
		t.Fatalf("tells %d, want 7", len(told))
	}
	rest := n.Tell(100)
	for _, p := range told {
		if slices.Contains(rest, p) {
			t.Errorf("tells %s twice", p)
		}
	}
	if again := n.Tell(100); len(again) != 0 {
		t.Errorf("tells %d though nothing has changed", len(again))
	}
}

// Whatever is said, a node's coordinate is valid and its memory bounded.
func FuzzHostile(f *testing.F) {
	f.Add([]byte("a few bytes of chance, enough for one observation and a hint or two"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := node(t, vivaldi.Options{})
		now := start
		for i := 0; len(b) >= 28 && i < 300; i++ {
			word := func(k int) uint32 { return binary.LittleEndian.Uint32(b[4*k:]) }
			float := func(k int) float32 { return math.Float32frombits(word(k)) }
			p := vivaldi.Peer{ID: id(int(b[0])), Coordinate: wire.Coordinate{
				Position: wire.Position{float(0), float(1), float(2), float(3)}, Height: float(4), Error: float(5)}}
			switch rtt := time.Duration(int32(word(6))); i % 3 {
			case 0:
				_ = n.Observe(now, p, rtt) // refusing is right
			case 1:
				n.Hear(now, id(int(b[1])), []vivaldi.Hint{{Peer: p, Age: rtt, RTT: -rtt}, {Peer: p, RTT: rtt}})
			default:
				n.Next(now, nil)
				n.Hints(now, p)
			}
			now = now.Add(time.Duration(int32(word(5))))
			b = b[7:]
		}
		c := n.Coordinate()
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		if best := n.Best(1000); len(best) > vivaldi.Remembered {
			t.Fatalf("%d neighbours", len(best))
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	n := node(b, vivaldi.Options{})
	for i := 0; b.Loop(); i++ {
		observe(b, n, start, 1+i%200, at(float32(i%200)), time.Duration(1+i%200)*time.Millisecond)
	}
}
