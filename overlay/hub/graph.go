package hub

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of a graph.
const (
	MaxVertices = 1024             // nodes that relay, this one included
	MaxServing  = 16               // neighbours that are pilots and relay
	pilotLinks  = 8                // links that such a pilot declares
	Forget      = 10 * time.Minute // how long a node that cannot be reached is remembered
)

// Times of a graph.
const (
	gather     = 200 * time.Millisecond // to say several new links at once
	unhurried  = 5 * time.Second        // to say a link to a node that can be reached already: its round-trip time is known by then
	firstRTT   = 2 * time.Second        // to say those whose round-trip times have just become known
	rttEvery   = 20 * time.Second       // between statements that only better a round-trip time
	sayBurst   = 8                      // own statements at once
	sayEvery   = 2 * time.Second        // and one more in this time
	hearBurst  = 2 * sayBurst           // statements of one origin that are taken at once
	hearEvery  = sayEvery / 2           // and one more in this time
	pathPause  = 50 * time.Millisecond  // between computations, doubled up to pathMax while changes go on
	pathMax    = time.Second
	forgetEach = time.Minute
)

// Costs of a route, in microseconds.
const (
	unknownRTT   = 50_000     // a link that nobody has measured
	crossing     = 250        // each link, besides its round-trip time
	lastResort   = 10_000_000 // across a launcher: a laptop behind a slow line
	maxRTTChange = 4          // a round-trip time is declared anew when it changes by one part in this
)

// Peer is a node that relays, or has a link to one.
type Peer struct {
	ID   wire.NodeID
	Role wire.Role
	Site string
}

// Config describes a node's part in the graph.
type Config struct {
	Peer // the node itself
	// Sign fills in the Proof and Signature of an own statement; nil leaves
	// them empty.
	Sign func(*wire.LinkState)
	// Verify reports whether a statement is its origin's own, and the origin
	// a member of the session in the role and site it says. nil believes those who pass statements on. It
	// is called at most once for each statement taken, after all limits, and
	// must not keep it.
	Verify func(*wire.LinkState) bool
}

// Send is a message for a neighbour, to hand to the link.
type Send struct {
	To  wire.NodeID
	Msg wire.Message
}

// Effects are what a Graph wants done, and told.
type Effects struct {
	Sends []Send
	// Routes are all routes, when one of them has changed; nil otherwise. See [Graph.Routes].
	Routes map[wire.NodeID][]wire.NodeID
	Up     []Peer // nodes that can be reached since
	Down   []Peer // and that cannot; they may be alive
}

// Stats count what happened since the start.
type Stats struct {
	Said     uint64 // own statements
	Taken    uint64 // of others, newer than what was known
	Old      uint64 // that were not newer
	Limited  uint64 // that came too fast, or from too many nodes
	Forged   uint64 // that were not their origin's, or for the neighbour to tell
	Computed uint64 // how often all routes were computed
}

// Graph is one node's picture of the nodes that relay. Its methods must be
// called by one goroutine at a time, with a now that never decreases.
type Graph struct {
	cfg   Config
	fx    Effects
	stats Stats
	next  time.Duration

	vertices map[wire.NodeID]*vertex
	order    []*vertex // by identity
	self     *vertex
	closed   bool
	say      bucket
	sayAt    time.Duration // when the own statement is due; 0: it is said
	forgetAt time.Duration

	neighbours map[wire.NodeID]*neighbour
	ring       []*neighbour // by identity
	stirred    []*neighbour // those with something to do, now or at a time

	dirty   bool // routes are to be computed
	pathAt  time.Duration
	pause   time.Duration
	routes  map[wire.NodeID][]wire.NodeID
	scratch paths
}

// vertex is what is known of a node.
type vertex struct {
	Peer
	state   *wire.LinkState // the newest; nil for a neighbour that has said nothing
	hear    bucket
	index   int // in Graph.order
	route   []wire.NodeID
	rtt     time.Duration
	reached time.Duration // when it last could be reached, or was first heard of
}

// New returns the graph of a node that knows no other.
func New(cfg Config, now time.Duration) *Graph {
	g := &Graph{
		cfg:        cfg,
		vertices:   make(map[wire.NodeID]*vertex),
		neighbours: make(map[wire.NodeID]*neighbour),
		routes:     make(map[wire.NodeID][]wire.NodeID),
		say:        newBucket(now, sayBurst),
		forgetAt:   now + forgetEach,
	}
	g.self = g.vertex(cfg.Peer, now)
	g.settle(now)
	return g
}

// vertex returns a node's vertex, a new one when it is not known.
func (g *Graph) vertex(p Peer, now time.Duration) *vertex {
	v := g.vertices[p.ID]
	if v == nil {
		v = &vertex{Peer: p, hear: newBucket(now, hearBurst), reached: now}
		g.vertices[p.ID] = v
		i, _ := slices.BinarySearchFunc(g.order, p.ID, func(v *vertex, id wire.NodeID) int { return v.ID.Compare(id) })
		g.order = slices.Insert(g.order, i, v)
		for ; i < len(g.order); i++ {
			g.order[i].index = i
		}
	}
	return v
}

// forget removes the nodes that nobody has reached for long.
func (g *Graph) forget(now time.Duration) {
	g.order = slices.DeleteFunc(g.order, func(v *vertex) bool {
		if v == g.self || v.route != nil || g.neighbours[v.ID] != nil || now-v.reached < Forget {
			return false
		}
		delete(g.vertices, v.ID)
		return true
	})
	for i, v := range g.order {
		v.index = i
	}
}

// LinkUp tells of a link to a hub, a launcher or a pilot. What is said of the
// peer must be proven. A second LinkUp without a LinkDown means that an older
// link was replaced.
func (g *Graph) LinkUp(now time.Duration, p Peer) {
	if p.ID == g.cfg.ID || p.ID.IsZero() {
		return
	}
	n := &neighbour{Peer: p, relays: p.Role != wire.RolePilot}
	if old := g.neighbours[p.ID]; old != nil {
		n.rtt = old.rtt
	}
	g.neighbours[p.ID] = n
	i, found := slices.BinarySearchFunc(g.ring, p.ID, func(n *neighbour, id wire.NodeID) int { return n.ID.Compare(id) })
	if found {
		g.ring[i] = n
	} else {
		g.ring = slices.Insert(g.ring, i, n)
	}
	if v := g.vertices[p.ID]; v != nil && v.state != nil && len(v.state.Links) > 0 {
		n.relays = true // a pilot that has said so before
	}
	if n.relays {
		n.talk = new(talk)
		g.greet(now, n)
	}
	g.settle(now)
}

// greet begins the conversation with a neighbour that relays.
func (g *Graph) greet(now time.Duration, n *neighbour) {
	n.metAt = now + meet
	if g.cfg.Role == wire.RolePilot {
		n.metAt = now // it is not taken for a node that relays before it says so
	}
	if len(g.vertices) < MaxVertices || g.vertices[n.ID] != nil {
		g.vertex(n.Peer, now)
	}
	g.tellHeld(n)
	at := now + gather
	if v := g.vertices[n.ID]; v != nil && v.route != nil {
		at = now + unhurried
	}
	g.declare(at)
	g.dirty = true
}

// LinkDown tells that the link to a neighbour has ended. Routes over it are
// replaced at once.
func (g *Graph) LinkDown(now time.Duration, id wire.NodeID) {
	n := g.neighbours[id]
	if n == nil {
		return
	}
	delete(g.neighbours, id)
	g.ring = slices.DeleteFunc(g.ring, func(n *neighbour) bool { return n.ID == id })
	if n.relays {
		g.declare(now)
		g.dirty, g.pathAt = true, now
	}
	g.settle(now)
}

// Close declares that this node relays no more: it is about to leave, or a
// pilot whose service has ended.
func (g *Graph) Close(now time.Duration) {
	g.closed = true
	g.declare(now)
	g.say.tokens = max(g.say.tokens, 1)
	g.settle(now)
}

// Measured takes a sample of the round-trip time to a neighbour.
func (g *Graph) Measured(now time.Duration, id wire.NodeID, rtt time.Duration) {
	n := g.neighbours[id]
	if n == nil || rtt < 0 {
		return
	}
	if n.sample(uint32(min(max(rtt/time.Microsecond, 1), wire.MaxRTT*1000))) && n.relays {
		at := now + rttEvery
		if n.declared == 0 {
			at = now + firstRTT
		}
		g.declare(at)
	}
	g.settle(now)
}

// declare plans a statement for no later than a time.
func (g *Graph) declare(at time.Duration) {
	if g.sayAt == 0 || at < g.sayAt {
		g.sayAt = max(at, 1)
	}
}

// Tick lets time pass. It is wanted at [Graph.Next], and allowed at any time.
func (g *Graph) Tick(now time.Duration) { g.settle(now) }

// Next returns the time at which Tick is wanted.
func (g *Graph) Next() time.Duration { return g.next }

// Ready returns what is to be done since the last call of Ready.
func (g *Graph) Ready() Effects {
	fx := g.fx
	g.fx = Effects{}
	return fx
}

// Stats returns the counters.
func (g *Graph) Stats() Stats { return g.stats }

// settle ends every input: it says what is due, computes, sends, and plans the
// next Tick.
func (g *Graph) settle(now time.Duration) {
	if g.sayAt != 0 && now >= g.sayAt {
		g.speak(now)
	}
	if g.dirty && now >= g.pathAt {
		g.compute(now)
	}
	if now >= g.forgetAt {
		g.forget(now)
		g.forgetAt = now + forgetEach
	}
	g.next = g.forgetAt
	if g.sayAt != 0 {
		g.next = min(g.next, g.sayAt)
	}
	if g.dirty {
		g.next = min(g.next, g.pathAt)
	}
	g.stirred = slices.DeleteFunc(g.stirred, func(n *neighbour) bool {
		if g.neighbours[n.ID] != n {
			return true // its link has ended
		}
		g.flush(now, n)
		if n.wakeAt != 0 {
			g.next = min(g.next, n.wakeAt)
		}
		n.stirred = n.wakeAt != 0
		return !n.stirred
	})
	g.next = max(g.next, now+1)
}

// speak makes and spreads the own statement.
func (g *Graph) speak(now time.Duration) {
	if ok, at := g.say.take(now, sayBurst, sayEvery); !ok {
		g.sayAt = at
		return
	}
	g.sayAt = 0
	s := &wire.LinkState{Origin: g.cfg.ID, Role: g.cfg.Role, Site: g.cfg.Site, Seq: 1}
	if g.self.state != nil {
		s.Seq = g.self.state.Seq + 1
	}
	for _, n := range g.declarable() {
		n.declared = n.rtt
		s.Links = append(s.Links, wire.HubLink{ID: n.ID, RTT: n.rtt})
	}
	if g.cfg.Sign != nil {
		g.cfg.Sign(s)
	}
	g.self.state = s
	g.stats.Said++
	g.spread(g.self, nil)
	g.dirty = true
}

// declarable returns the neighbours whose links are to be declared, by
// identity: those that are nearest when there are too many.
func (g *Graph) declarable() []*neighbour {
	if g.closed {
		return nil
	}
	list := slices.DeleteFunc(slices.Clone(g.ring), func(n *neighbour) bool { return !n.relays })
	for len(list) > wire.MaxLinks {
		worst := 0
		for i, n := range list {
			if n.cost() > list[worst].cost() {
				worst = i
			}
		}
		list = slices.Delete(list, worst, worst+1)
	}
	return list
}

// Hubs returns the nodes that relay and can be reached, other than this one,
// by identity.
func (g *Graph) Hubs() []Peer {
	var list []Peer
	for _, v := range g.order {
		if v.route != nil {
			list = append(list, v.Peer)
		}
	}
	return list
}

// Links returns what a node has declared of its own links, and whether it has
// declared anything. The caller must not change it.
func (g *Graph) Links(id wire.NodeID) ([]wire.HubLink, bool) {
	v := g.vertices[id]
	if v == nil || v.state == nil {
		return nil, false
	}
	return v.state.Links, true
}

// bucket is a token bucket.
type bucket struct {
	tokens int
	at     time.Duration // when the last one was added
}

func newBucket(now time.Duration, burst int) bucket { return bucket{burst, now} }

// take takes a token, or tells when there will be one.
func (b *bucket) take(now time.Duration, burst int, every time.Duration) (bool, time.Duration) {
	if n := int((now - b.at) / every); n > 0 {
		b.tokens = min(b.tokens+n, burst)
		b.at += time.Duration(n) * every
	}
	if b.tokens == 0 {
		return false, b.at + every
	}
	b.tokens--
	return true, 0
}
