package vivaldi

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of what a node keeps, about 9 KiB when all are reached.
const (
	Remembered = 80  // peers with measurements
	Candidates = 64  // peers heard of, not measured
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

	self    place
	path    float64 // milliseconds moved, ever
	samples []sample
	others  []candidate
	tried   []uint32 // a ring
	at      int      // where the ring goes on
	probes  uint64
	next    time.Time // of the budget
}

// place is the node's own coordinate while it moves.
type place struct {
	x             [wire.Dimensions]float64 // milliseconds
	height, error float64
}

// sample is a peer that was measured.
type sample struct {
	id         wire.NodeID
	coordinate wire.Coordinate
	heard      time.Time // when the coordinate was true
	measured   time.Time // when the node last measured the peer
	window     [3]float32
	told       float32 // value of path when the peer was last told where we are
	n          uint8   // values in window
}

// New returns a node that knows nobody. It refuses a start that is not valid.
func New(o Options) (*Node, error) {
	if o.Rand == nil {
		return nil, errors.New("a node needs a source of chance")
	}
	n := &Node{id: o.ID, site: o.Site, every: o.Every, rand: o.Rand}
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
	return n, nil
}

// Coordinate returns where the node is. It is always valid.
func (n *Node) Coordinate() wire.Coordinate {
	c := wire.Coordinate{Height: float32(n.self.height), Error: float32(n.self.error)}
	for k, x := range n.self.x {
		c.Position[k] = float32(x)
	}
	return c
}

// Observe takes a round-trip time that the node has measured to a peer, and
// the coordinate that came with it, and finds the node's place anew. The time
// must be of the direct path: a routed one says nothing about nearness. Peers
// of the node's own site are ignored. An error matches [ErrRefused]; nothing
// has changed then.
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
	if n.site != "" && n.site == p.Site {
		n.Failed(p.ID) // as a candidate: it needs no confirmation
		return nil
	}
	s := n.remember(p.ID)
	s.coordinate, s.heard, s.measured = p.Coordinate, now, now
	s.told = float32(n.path)
	s.add(float32(milliseconds(rtt)))
	n.settle(now)
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
		n.samples = append(n.samples, fresh)
		return &n.samples[len(n.samples)-1]
	}
	// The older of two random ones goes; a neighbour stays.
	limit := n.neighbourLimit()
	victim := -1
	for range 16 {
		i := n.rand.IntN(len(n.samples))
		if n.samples[i].rtt() <= limit {
			continue
		}
		if victim >= 0 {
			if n.samples[i].measured.Before(n.samples[victim].measured) {
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

// Forget drops all that is known of a peer, such as one that is dead.
func (n *Node) Forget(id wire.NodeID) {
	n.samples = slices.DeleteFunc(n.samples, func(s sample) bool { return s.id == id })
	n.dropCandidate(id)
}

// Tell returns up to limit peers that remember the node where it no longer is,
// and takes them as told. The caller sends them the node's coordinate. A node
// that has settled has nothing to tell.
func (n *Node) Tell(limit int) []wire.NodeID {
	type stale struct {
		i    int
		much float64 // of the distance to the peer
	}
	var all []stale
	for i := range n.samples {
		s := &n.samples[i]
		if much := (n.path - float64(s.told)) / (s.rtt() + 1); much > worthTelling {
			all = append(all, stale{i, much})
		}
	}
	slices.SortStableFunc(all, func(a, b stale) int {
		switch {
		case a.much > b.much:
			return -1
		case a.much < b.much:
			return 1
		}
		return 0
	})
	all = all[:min(len(all), max(limit, 0))]
	ids := make([]wire.NodeID, len(all))
	for i, s := range all {
		n.samples[s.i].told = float32(n.path)
		ids[i] = n.samples[s.i].id
	}
	return ids
}

// worthTelling is the part of the distance to a peer that a node may move
// without telling it.
const worthTelling = 0.05

// add puts a measurement into the latency filter, in milliseconds.
func (s *sample) add(rtt float32) {
	copy(s.window[1:], s.window[:2])
	s.window[0] = rtt
	s.n = min(s.n+1, uint8(len(s.window)))
}

// rtt is the lower median of the last three measurements, in milliseconds: one
// delayed answer changes nothing, a path that has changed is believed the
// second time.
func (s *sample) rtt() float64 {
	a, b, c := s.window[0], s.window[1], s.window[2]
	switch s.n {
	case 1:
		return float64(a)
	case 2:
		return float64(min(a, b))
	}
	return float64(max(min(a, b), min(max(a, b), c)))
}

func clamp(x, low, high float64) float64 { return math.Max(low, math.Min(high, x)) }
