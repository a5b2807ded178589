package core

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/vivaldi"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// places is where a node is in the network, and how it finds out: it measures,
// every few seconds, the way that its messages to another node have, be it a
// link or datagrams through hubs. That is the distance which matters to whoever
// sends something, even when a shorter path exists that nobody can use.
type places struct {
	here    *vivaldi.Node // nil before there is a start, and without gossip
	chance  *rand.Rand
	next    time.Duration
	asked   []probe // measurements that this node has begun, or its answers have
	answers bucket
}

// probe is a measurement under way.
type probe struct {
	to   wire.NodeID
	seq  uint64
	sent time.Duration
	ours bool // it was asked for, not answered
}

// Limits of measurements.
const (
	maxProbes     = 16
	probePatience = wire.MaxRTT * time.Millisecond
	probeRate     = 32 // of others answered, a second
	probeBurst    = 128
	tells         = 2 // nodes told, at each probe, that this one has moved
)

func (n *Node) initPlaces(now time.Duration) {
	if n.cfg.Sign == nil {
		return
	}
	n.chance = rand.New(rand.NewPCG(n.cfg.Seed, ^binary.BigEndian.Uint64(n.cfg.ID[:])))
	n.places.next = now + vivaldi.Every + time.Duration(n.chance.Int64N(int64(vivaldi.Every)))
	n.answers = bucket{tokens: probeBurst, at: now}
	if n.cfg.Role != wire.RolePilot {
		n.startPlace(now, nil) // others start from it
	}
}

// startPlace gives the node its first coordinate: a neighbour's, or nobody's.
func (n *Node) startPlace(_ time.Duration, from *wire.Coordinate) {
	if n.cfg.Sign == nil || n.here != nil {
		return
	}
	o := vivaldi.Options{ID: n.cfg.ID, Site: n.cfg.Site, Rand: n.chance}
	if from != nil {
		o.Start = *from
	}
	here, err := vivaldi.New(o)
	if err != nil { // the start is not valid
		o.Start = wire.Coordinate{}
		here, _ = vivaldi.New(o)
	}
	n.here = here
}

// placeForWelcome is where a node that knows nothing yet may start.
func (n *Node) placeForWelcome() *wire.Coordinate {
	if n.here == nil {
		return nil
	}
	c := n.here.Coordinate()
	return &c
}

// Place returns where the node is in the network; false when it does not know.
func (n *Node) Place() (wire.Coordinate, bool) {
	if n.here == nil {
		return wire.Coordinate{}, false
	}
	return n.here.Coordinate(), true
}

// place returns where a node says to be, as far as this one has heard of it.
func (n *Node) place(id wire.NodeID) (vivaldi.Peer, bool) {
	if n.here == nil {
		return vivaldi.Peer{}, false
	}
	if id == n.cfg.ID {
		return vivaldi.Peer{ID: id, Site: n.cfg.Site, Coordinate: n.here.Coordinate(), At: n.at}, true
	}
	if c := n.sampler.Card(id); c != nil {
		if at, err := wire.ParseCoordinate(c.Coordinate); err == nil {
			return vivaldi.Peer{ID: id, Site: c.Site, Coordinate: at}, true
		}
	}
	return n.here.Find(id)
}

// wall is a moment as package vivaldi wants it.
func wall(now time.Duration) time.Time { return time.Unix(0, 0).Add(now) }

func (n *Node) tickPlaces(now time.Duration) {
	if n.chance == nil || now < n.places.next {
		return
	}
	n.startPlace(now, nil)
	n.places.next = now + vivaldi.Every
	n.asked = slices.DeleteFunc(n.asked, func(p probe) bool {
		if now-p.sent < probePatience {
			return false
		}
		if p.ours {
			n.here.Failed(p.to)
		}
		return true
	})
	var view []wire.NodeID
	for _, e := range n.sampler.Peers(now) {
		if e.Card.Site != n.cfg.Site {
			view = append(view, e.Card.ID)
		}
	}
	if id, ok := n.here.Next(wall(now), view); ok {
		n.probe(now, id)
	}
	for _, id := range n.here.Tell(tells) {
		if to, ok := n.find(id); ok {
			n.toss(to, &wire.Placed{At: n.at, Coordinate: n.here.Coordinate()})
		}
	}
}

func (n *Node) nextPlaces(now time.Duration) time.Duration {
	if n.chance == nil {
		return now + time.Hour
	}
	return n.places.next
}

// find returns the address of a node that was heard of, if there is a way.
func (n *Node) find(id wire.NodeID) (wire.Address, bool) {
	to := wire.Address{ID: id}
	if c := n.sampler.Card(id); c != nil {
		to.Hubs = c.Hubs
	} else if p, ok := n.here.Find(id); ok && p.At != nil {
		to.Hubs = p.At.Hubs
	}
	return to, n.reaches(to)
}

// probe begins a measurement.
func (n *Node) probe(now time.Duration, id wire.NodeID) {
	to, ok := n.find(id)
	if !ok {
		n.here.Failed(id)
		return
	}
	about, _ := n.place(id)
	about.ID = id
	n.toss(to, &wire.Probe{Seq: n.await(now, id, true), At: n.at, Coordinate: n.here.Coordinate(), Hints: n.hints(now, about)})
}

// await notes that an answer will be a measurement, and returns what it must
// carry.
func (n *Node) await(now time.Duration, id wire.NodeID, ours bool) uint64 {
	if len(n.asked) >= maxProbes {
		n.asked = slices.Delete(n.asked, 0, 1)
	}
	p := probe{to: id, seq: n.chance.Uint64() | 1, sent: now, ours: ours}
	n.asked = append(n.asked, p)
	return p.seq
}

// answered returns how long ago what a node answers was sent.
func (n *Node) answer(now time.Duration, from wire.NodeID, seq uint64) (rtt time.Duration, ok bool) {
	i := slices.IndexFunc(n.asked, func(p probe) bool { return p.to == from && p.seq == seq })
	if i < 0 {
		return 0, false
	}
	rtt = now - n.asked[i].sent
	n.asked = slices.Delete(n.asked, i, i+1)
	return rtt, true
}

// hints is what to tell a node about others.
func (n *Node) hints(now time.Duration, to vivaldi.Peer) []wire.Hint {
	list := n.here.Hints(wall(now), to)
	hints := make([]wire.Hint, 0, len(list))
	for _, h := range list {
		hints = append(hints, wire.Hint{ID: h.Peer.ID, At: h.Peer.At, Coordinate: h.Peer.Coordinate,
			Age: min(h.Age, wire.MaxTime), RTT: h.RTT})
	}
	return hints
}

// hear takes what a node says of itself and of others.
func (n *Node) hear(now time.Duration, p vivaldi.Peer, hints []wire.Hint) {
	list := make([]vivaldi.Hint, 1, 1+len(hints))
	list[0].Peer = p
	for _, h := range hints[:min(len(hints), vivaldi.MaxHints-1)] {
		list = append(list, vivaldi.Hint{Peer: vivaldi.Peer{ID: h.ID, Coordinate: h.Coordinate, At: h.At}, Age: h.Age, RTT: h.RTT})
	}
	n.here.Hear(wall(now), p.ID, list)
}

// probed answers a probe.
func (n *Node) probed(now time.Duration, l *link, from wire.Address, m *wire.Probe) {
	if n.chance == nil {
		return
	}
	if !n.answers.take(now, probeRate, probeBurst) {
		n.blame(l, blameProbes, "too many probes come over it")
		return
	}
	n.startPlace(now, nil)
	p := vivaldi.Peer{ID: from.ID, Coordinate: m.Coordinate, At: m.At}
	n.toss(from, &wire.ProbeReply{Seq: m.Seq, Again: n.await(now, from.ID, false), At: n.at,
		Coordinate: n.here.Coordinate(), Hints: n.hints(now, p)})
	n.hear(now, p, m.Hints)
}

// measured takes the answer to a probe.
func (n *Node) measured(now time.Duration, from wire.Address, m *wire.ProbeReply) {
	rtt, ok := n.answer(now, from.ID, m.Seq)
	if !ok || n.here == nil {
		return // nobody asked
	}
	p := vivaldi.Peer{ID: from.ID, Coordinate: m.Coordinate, At: m.At}
	if n.firsthand(from.ID) && n.here.Observe(wall(now), p, rtt) != nil {
		return // it cannot be true
	}
	n.hear(now, p, m.Hints)
	if m.Again != 0 {
		n.toss(from, &wire.Placed{Seq: m.Again, At: n.at, Coordinate: n.here.Coordinate()})
	}
}

// placed takes word of where a node is, which may end a measurement.
func (n *Node) placed(now time.Duration, from wire.Address, m *wire.Placed) {
	if n.here == nil {
		return
	}
	p := vivaldi.Peer{ID: from.ID, Coordinate: m.Coordinate, At: m.At}
	if rtt, ok := n.answer(now, from.ID, m.Seq); ok {
		if n.firsthand(from.ID) {
			_ = n.here.Observe(wall(now), p, rtt) // what cannot be true changes nothing
		}
		return
	}
	n.hear(now, p, nil)
}
