package vivaldi

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Neighbour is a measured peer.
type Neighbour struct {
	ID  wire.NodeID
	RTT time.Duration // as measured, filtered
}

// Hint is what one node tells another about a third. Durations travel, not dates.
type Hint struct {
	Peer Peer
	Age  time.Duration // of the coordinate
	RTT  time.Duration // as the teller measured it; 0 when it has not
}

// candidate is a peer that was heard of and not measured.
type candidate struct {
	id    wire.NodeID
	spot  spot
	bound span   // of the way over a common acquaintance
	at    uint16 // its locality
	heard tick   // when the spot was true
}

// Best returns up to limit of the nearest measured peers, nearest first. Those
// of the node's own site are nearer than any of them and not among them.
func (n *Node) Best(limit int) []Neighbour {
	order := n.nearest()
	best := make([]Neighbour, 0, max(0, min(limit, len(order))))
	for _, i := range order[:cap(best)] {
		s := &n.samples[i]
		best = append(best, Neighbour{s.id, time.Duration(s.rtt() * float64(time.Millisecond))})
	}
	return best
}

// nearest returns the indices of the samples, nearest first.
func (n *Node) nearest() []int {
	order := make([]int, len(n.samples))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(n.samples[a].span(), n.samples[b].span()) })
	return order
}

// neighbourLimit is the round trip of the last of the neighbours.
func (n *Node) neighbourLimit() span {
	var room [Remembered]span
	all := room[:0]
	for i := range n.samples {
		all = append(all, n.samples[i].span())
	}
	slices.Sort(all)
	return all[min(Neighbours, len(all))-1]
}

// Next proposes whom to probe, within the budget: seldom a neighbour whose
// measurement is old, else by turns a random peer of the view, which keeps the
// coordinate true, and the candidate that should be nearest. View is whom the
// caller knows, such as the view of its gossip; it may be empty. It reports
// false when the budget is spent or there is nobody to probe.
//
// The caller then calls Observe, or [Node.Failed] when there is no answer.
func (n *Node) Next(now time.Time, view []wire.NodeID) (wire.NodeID, bool) {
	if n.tick(now) < n.next {
		return wire.NodeID{}, false
	}
	id, ok := n.choose(now, view)
	if ok {
		n.next = n.tick(now.Add(n.every))
		n.probes++
	}
	return id, ok
}

func (n *Node) choose(now time.Time, view []wire.NodeID) (wire.NodeID, bool) {
	if n.probes%16 == 15 {
		if id, ok := n.oldNeighbour(now); ok {
			return id, true
		}
	}
	if len(n.samples) >= first && n.rand.IntN(exploreOf) >= explore {
		if id, ok := n.nearestCandidate(); ok {
			return id, true
		}
	}
	for range 8 {
		if len(view) == 0 {
			break
		}
		if id := view[n.rand.IntN(len(view))]; id != n.id {
			return id, true
		}
	}
	if len(n.others) > 0 {
		return n.others[n.rand.IntN(len(n.others))].id, true
	}
	if len(n.samples) > 0 {
		return n.samples[n.rand.IntN(len(n.samples))].id, true
	}
	return wire.NodeID{}, false
}

// How probes are spent.
const (
	first     = 6 // samples before candidates are worth a probe
	explore   = 4 // of exploreOf probes go to random peers
	exploreOf = 10
	hope      = 1.5 // how much nearer than it should be a candidate may be
)

// oldNeighbour returns the neighbour whose measurement is the oldest, and old.
func (n *Node) oldNeighbour(now time.Time) (id wire.NodeID, ok bool) {
	oldest := 32 * n.every
	order := n.nearest()
	for _, i := range order[:min(Neighbours, len(order))] {
		if age := n.age(now, n.samples[i].measured); age > oldest {
			id, ok, oldest = n.samples[i].id, true, age
		}
	}
	return id, ok
}

// nearestCandidate returns the one that should be the nearest, if it may be
// nearer than one of the neighbours is. Otherwise the probe is better spent on
// a random peer: those tell most about where the node is.
func (n *Node) nearestCandidate() (id wire.NodeID, ok bool) {
	best := math.Inf(1)
	if len(n.samples) >= Neighbours {
		best = hope * n.neighbourLimit().milliseconds()
	}
	here := n.here()
	for i := range n.others {
		c := &n.others[i]
		if d := c.distance(&here); d < best && !n.wasTried(c.id) {
			id, ok, best = c.id, true, d
		}
	}
	return id, ok
}

// distance is how near the candidate may be, in milliseconds. The heights do
// not count: those of two nodes in one spot say nothing about the path between
// them, and a candidate that is farther than hoped costs one probe.
func (c *candidate) distance(here *wire.Coordinate) float64 {
	there := c.spot.coordinate()
	flat := distance(here, &there) - float64(here.Height) - float64(there.Height)
	return math.Min(flat, c.bound.milliseconds())
}

// Hear takes what a peer tells of others, and of itself, in the order given.
// What is not valid, and more than [MaxHints] hints, is left out.
func (n *Node) Hear(now time.Time, from wire.NodeID, hints []Hint) {
	n.tick(now)
	via := 0.0 // round trip to the teller
	if s := n.sample(from); s != nil {
		via = s.rtt()
	}
	for _, h := range hints[:min(len(hints), MaxHints)] {
		p := &h.Peer
		if p.ID == n.id || h.Age < 0 || h.RTT < 0 || p.Coordinate.Validate() != nil || n.site != "" && n.site == p.site() {
			continue
		}
		heard := n.tick(now.Add(-h.Age))
		if s := n.sample(p.ID); s != nil {
			if heard > s.heard {
				s.spot, s.heard, s.at = spotOf(&p.Coordinate), heard, cmp.Or(n.number(p.At), s.at)
			}
			continue
		}
		bound := span(never)
		if via > 0 && h.RTT > 0 {
			bound = spanOf(via + milliseconds(h.RTT))
		}
		n.consider(candidate{id: p.ID, spot: spotOf(&p.Coordinate), bound: bound, heard: heard}, p.At)
	}
}

// consider keeps a candidate: the table holds those that should be near, and
// chance decides among the others.
func (n *Node) consider(c candidate, at *wire.Locality) {
	if i := slices.IndexFunc(n.others, func(o candidate) bool { return o.id == c.id }); i >= 0 {
		o := &n.others[i]
		if c.heard > o.heard {
			o.spot, o.heard, o.at = c.spot, c.heard, cmp.Or(n.number(at), o.at)
		}
		o.bound = min(o.bound, c.bound)
		return
	}
	c.at = n.number(at)
	if len(n.others) < Candidates {
		n.others = append(room(n.others, Candidates), c)
		return
	}
	here := n.here()
	victim, far := 0, -1.0
	for range 3 {
		i := n.rand.IntN(len(n.others))
		d := n.others[i].distance(&here)
		if n.wasTried(n.others[i].id) {
			d += wire.MaxRTT
		}
		if d > far {
			victim, far = i, d
		}
	}
	n.others[victim] = c
}

// Hints returns what to tell a node that says to be at the given coordinate:
// a quarter each of whom it should be near to and of the nearest neighbours,
// the others at random.
func (n *Node) Hints(now time.Time, to Peer) []Hint {
	all := make([]Hint, 0, len(n.samples)+len(n.others))
	for i := range n.samples {
		s := &n.samples[i]
		if s.id != to.ID {
			all = append(all, Hint{peerAt(s.id, n.localities.get(s.at), s.spot.coordinate()), n.age(now, s.heard), time.Duration(s.rtt() * float64(time.Millisecond))})
		}
	}
	for i := range n.others {
		if c := &n.others[i]; c.id != to.ID {
			all = append(all, Hint{peerAt(c.id, n.localities.get(c.at), c.spot.coordinate()), n.age(now, c.heard), 0})
		}
	}
	n.rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if len(all) <= MaxHints {
		return all
	}
	// The front of the list is what is told.
	front(all, MaxHints/4, func(h *Hint) float64 { return distance(&to.Coordinate, &h.Peer.Coordinate) })
	front(all[MaxHints/4:], MaxHints/4, func(h *Hint) float64 {
		if h.RTT == 0 {
			return math.Inf(1)
		}
		return float64(h.RTT)
	})
	return slices.Clip(all[:MaxHints])
}

// front moves the k least hints to the front.
func front(all []Hint, k int, key func(*Hint) float64) {
	keys := make([]float64, len(all))
	for i := range all {
		keys[i] = key(&all[i])
	}
	for i := range min(k, len(all)) {
		least := i
		for j := i + 1; j < len(all); j++ {
			if keys[j] < keys[least] {
				least = j
			}
		}
		all[i], all[least] = all[least], all[i]
		keys[i], keys[least] = keys[least], keys[i]
	}
}

// Failed says that a peer did not answer a probe: it is no candidate any more.
// A measured peer stays until [Node.Forget], or until others take its place.
func (n *Node) Failed(id wire.NodeID) {
	n.dropCandidate(id)
	n.markTried(id)
}

func (n *Node) dropCandidate(id wire.NodeID) {
	if i := slices.IndexFunc(n.others, func(c candidate) bool { return c.id == id }); i >= 0 {
		last := len(n.others) - 1
		n.others[i] = n.others[last]
		n.others = n.others[:last]
	}
}

// mark is what the ring of those tried keeps of a peer, salted, so that nobody
// can have an identity that passes for another's. One candidate of two hundred
// is taken for one that was tried, for as long as the ring goes round once.
func (n *Node) mark(id wire.NodeID) uint16 {
	x := n.salt ^ binary.BigEndian.Uint64(id[:]) ^ binary.BigEndian.Uint64(id[8:])
	return uint16(x * 0x9e3779b97f4a7c15 >> 48)
}

func (n *Node) wasTried(id wire.NodeID) bool { return slices.Contains(n.tried, n.mark(id)) }

func (n *Node) markTried(id wire.NodeID) {
	if n.wasTried(id) {
		return
	}
	if len(n.tried) < tried {
		n.tried = append(room(n.tried, tried), n.mark(id))
		return
	}
	n.tried[n.turn] = n.mark(id)
	n.turn = uint8((int(n.turn) + 1) % tried)
}
