package vivaldi

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of what a node keeps, about 6 KiB when all are reached.
const (
	Remembered = 72  // peers with measurements
	Candidates = 32  // peers heard of, not measured
	Neighbours = 8   // nearest measured peers, never forgotten for others
	MaxHints   = 16  // in one message
	tried      = 256 // latest measured peers, not proposed again as candidates
)

// Every is the default of Options.Every.
const Every = 5 * time.Second

// ErrRefused matches the errors about observations that cannot be true.
var ErrRefused = errors.New("refused")

// Options say who a node is and where it starts.
type Options struct {
	ID   wire.NodeID
	Site string // "" is a node without a site
	// Start is the coordinate of a node nearby, such as the hub; the zero value
	// is the origin. The node's confidence starts low all the same.
	Start wire.Coordinate
	// Every is the budget: Next proposes one probe in this time. 0 means [Every].
	Every time.Duration
	// Rand is the node's source of chance; required.
	Rand *rand.Rand
}

// Node is the coordinate of one node, and the measured neighbours around it.
type Node struct {
	id    wire.NodeID
	site  string
	every time.Duration
	rand  *rand.Rand
	began time.Time // of ticks

	salt    uint64 // of marks
	self    place
	said    wire.Coordinate // what others are told; follows self when that has moved
	samples []sample
	others  []candidate
	localities
	tried   []uint16 // a ring of marks
	turn    uint8    // where it goes on
	probes  uint8    // proposed, modulo 256
	version uint16   // of said
	next    tick     // of the budget
}

// place is the node's own coordinate while it moves.
type place struct {
	x             [wire.Dimensions]float64 // milliseconds
	height, error float64
}

// sample is a peer that was measured.
type sample struct {
	id       wire.NodeID
	spot     spot
	window   [3]span // of measurements, the latest first
	told     uint16  // version of our coordinate that the peer has heard
	at       uint16  // its locality
	heard    tick    // when the spot was true
	measured tick    // when the node last measured the peer
}

// tick is time since the node's first observation, in hundredths of a second:
// half the size of a [time.Duration], and enough for 497 days.
type tick uint32

const tickLength = 10 * time.Millisecond

// tick returns the tick of a time; what was before the first is the first.
func (n *Node) tick(t time.Time) tick {
	if n.began.IsZero() {
		n.began = t
	}
	return tick(min(max(0, t.Sub(n.began)/tickLength), math.MaxUint32))
}

// age returns how long ago a tick was.
func (n *Node) age(now time.Time, t tick) time.Duration {
	return max(0, now.Sub(n.began)-time.Duration(t)*tickLength)
}

// New returns a node that knows nobody. It refuses a start that is not valid.
func New(o Options) (*Node, error) {
	if o.Rand == nil {
		return nil, errors.New("a node needs a source of chance")
	}
	n := &Node{id: o.ID, site: o.Site, every: o.Every, rand: o.Rand, salt: o.Rand.Uint64()}
	if n.every <= 0 {
		n.every = Every
	}
	n.self = place{height: 1, error: wire.MaxError}
	if o.Start != (wire.Coordinate{}) {
		if err := o.Start.Validate(); err != nil {
			return nil, fmt.Errorf("start: %w", err)
		}
		for k, x := range o.Start.Position {
			n.self.x[k] = float64(x)
		}
		n.self.height = float64(o.Start.Height)
	}
	n.said = n.here()
	return n, nil
}

// Coordinate returns where the node is, to within [Settled]. It is always
// valid, and changes only when the node has moved by more than that or is much
// surer or less sure than it was.
func (n *Node) Coordinate() wire.Coordinate { return n.said }

// Settled is how far a node moves without saying so, in milliseconds.
const Settled = 2.0

// say publishes where the node is, when it is worth it.
func (n *Node) say() {
	c := n.here()
	sum := 0.0
	for k := range c.Position {
		d := float64(c.Position[k] - n.said.Position[k])
		sum += d * d
	}
	moved := math.Sqrt(sum) + math.Abs(float64(c.Height-n.said.Height))
	if r := c.Error / n.said.Error; moved > Settled || r < 0.75 || r > 1.5 {
		n.said = c
		n.version++
	}
}

// here is the node's place as a coordinate.
func (n *Node) here() wire.Coordinate {
	c := wire.Coordinate{Height: float32(n.self.height), Error: float32(n.self.error)}
	for k, x := range n.self.x {
		c.Position[k] = float32(x)
	}
	return c
}

// Observe takes a round-trip time that the node has measured to a peer, and
// the coordinate that came with it, and finds the node's place anew. The time
// is of the path that the two have, over hubs when there is no other: distance
// is what messages take. Peers of the node's own site are ignored. An error
// matches [ErrRefused]; nothing has changed then.
func (n *Node) Observe(now time.Time, p Peer, rtt time.Duration) error {
	if p.ID == n.id {
		return fmt.Errorf("%w: %s measured itself", ErrRefused, p.ID.Short())
	}
	if rtt <= 0 || rtt > wire.MaxRTT*time.Millisecond {
		return fmt.Errorf("%w: round trip of %v to %s", ErrRefused, rtt, p.ID.Short())
	}
	if err := p.Coordinate.Validate(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrRefused, p.ID.Short(), err)
	}
	if n.site != "" && n.site == p.site() {
		n.Failed(p.ID) // as a candidate: it needs no confirmation
		return nil
	}
	s := n.remember(p.ID)
	s.spot, s.heard, s.measured = spotOf(&p.Coordinate), n.tick(now), n.tick(now)
	s.at = cmp.Or(n.number(p.At), s.at)
	s.told = n.version // it came with the probe
	s.add(spanOf(milliseconds(rtt)))
	n.settle(now)
	n.say()
	return nil
}

// remember returns the sample of a peer, a new one in place of another when
// the memory is full.
func (n *Node) remember(id wire.NodeID) *sample {
	n.dropCandidate(id)
	if s := n.sample(id); s != nil {
		return s
	}
	n.markTried(id)
	fresh := sample{id: id}
	if len(n.samples) < Remembered {
		n.samples = append(room(n.samples, Remembered), fresh)
		return &n.samples[len(n.samples)-1]
	}
	// The older of two random ones goes; a neighbour stays.
	limit := n.neighbourLimit()
	victim := -1
	for range 16 {
		i := n.rand.IntN(len(n.samples))
		if n.samples[i].span() <= limit {
			continue
		}
		if victim >= 0 {
			if n.samples[i].measured < n.samples[victim].measured {
				victim = i
			}
			break
		}
		victim = i
	}
	if victim < 0 { // all are as near as each other
		victim = n.rand.IntN(len(n.samples))
	}
	n.samples[victim] = fresh
	return &n.samples[victim]
}

func (n *Node) sample(id wire.NodeID) *sample {
	if i := slices.IndexFunc(n.samples, func(s sample) bool { return s.id == id }); i >= 0 {
		return &n.samples[i]
	}
	return nil
}

// Find returns where a peer says to be, if it has been measured or heard of.
func (n *Node) Find(id wire.NodeID) (Peer, bool) {
	if s := n.sample(id); s != nil {
		return peerAt(id, n.localities.get(s.at), s.spot.coordinate()), true
	}
	if i := slices.IndexFunc(n.others, func(c candidate) bool { return c.id == id }); i >= 0 {
		c := &n.others[i]
		return peerAt(id, n.localities.get(c.at), c.spot.coordinate()), true
	}
	return Peer{}, false
}

// Forget drops all that is known of a peer, such as one that is dead.
func (n *Node) Forget(id wire.NodeID) {
	n.samples = slices.DeleteFunc(n.samples, func(s sample) bool { return s.id == id })
	n.dropCandidate(id)
}

// Tell returns up to limit peers that remember the node where it no longer is,
// those who have heard the least of it first, and takes them as told. The
// caller sends them the node's coordinate. A node that has settled has little
// to tell.
func (n *Node) Tell(limit int) []wire.NodeID {
	var behind []int
	for i := range n.samples {
		if n.samples[i].told != n.version {
			behind = append(behind, i)
		}
	}
	slices.SortStableFunc(behind, func(a, b int) int {
		return cmp.Compare(n.version-n.samples[b].told, n.version-n.samples[a].told)
	})
	behind = behind[:min(len(behind), max(limit, 0))]
	ids := make([]wire.NodeID, len(behind))
	for k, i := range behind {
		n.samples[i].told = n.version
		ids[k] = n.samples[i].id
	}
	return ids
}

// add puts a measurement into the latency filter.
func (s *sample) add(rtt span) {
	copy(s.window[1:], s.window[:2])
	s.window[0] = rtt
}

// span is the lower median of the last three measurements: one delayed answer
// changes nothing, a path that has changed is believed the second time.
func (s *sample) span() span {
	a, b, c := s.window[0], s.window[1], s.window[2]
	switch {
	case b == 0:
		return a
	case c == 0:
		return min(a, b)
	}
	return max(min(a, b), min(max(a, b), c))
}

// rtt is the span in milliseconds.
func (s *sample) rtt() float64 { return s.span().milliseconds() }

func clamp(x, low, high float64) float64 { return math.Max(low, math.Min(high, x)) }
