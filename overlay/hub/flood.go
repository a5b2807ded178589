package hub

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of a conversation with one neighbour.
const (
	meet      = time.Second // to hear what a new neighbour has, before all is sent
	again     = time.Second // until what was not acknowledged is sent again, doubled up to againMax
	againMax  = 8 * time.Second
	rest      = 100 * time.Millisecond // after a message, to gather what goes into the next one
	window    = 4 * wire.MaxStates     // statements that are sent and not acknowledged
	forgeries = 8                      // before a neighbour is not listened to
	shun      = 30 * time.Second       // for this time
	maxSeq    = 1 << 61                // of a statement that is believed; there are greater ones on the wire
)

// neighbour is the other end of a link.
type neighbour struct {
	Peer
	relays bool // it is a vertex; a pilot is once it says so

	rtt      uint32 // microseconds, 0: unknown
	samples  [4]uint32
	declared uint32

	*talk // nil for a pilot that has made no statement
}

// talk is the conversation with a neighbour about statements.
type talk struct {
	met     bool // it has said what it has
	metAt   time.Duration
	has     map[wire.NodeID]uint64 // until it is met
	pending map[wire.NodeID]sent   // what it may lack
	queue   []wire.NodeID          // of pending, in order; some may not be there any more
	flying  int                    // of pending, sent and not acknowledged
	acks    []wire.Held
	ready   bool          // there may be something to send
	wakeAt  time.Duration // there will be; 0: never
	stirred bool          // it is in Graph.stirred
	restTo  time.Duration // when there may be another message
	forged  int
	shunned time.Duration
}

type sent struct {
	seq   uint64 // 0: not sent yet
	at    time.Duration
	tries int
}

// due returns when it is to be sent again.
func (p sent) due() time.Duration { return p.at + min(again<<min(p.tries-1, 8), againMax) }

// sample takes a round-trip time in microseconds and reports whether the link
// should be declared anew.
func (n *neighbour) sample(rtt uint32) bool {
	copy(n.samples[1:], n.samples[:])
	n.samples[0] = rtt
	low := rtt
	for _, s := range n.samples {
		if s != 0 {
			low = min(low, s)
		}
	}
	n.rtt = low
	d := max(low, n.declared) - min(low, n.declared)
	return n.declared == 0 || d > 1000 && d > n.declared/maxRTTChange
}

func (n *neighbour) cost() uint32 {
	if n.rtt == 0 {
		return unknownRTT
	}
	return n.rtt
}

// Receive takes a message from a neighbour. It reports false for messages that
// are another's.
func (g *Graph) Receive(now time.Duration, from wire.NodeID, m wire.Message) bool {
	n := g.neighbours[from]
	switch m := m.(type) {
	case *wire.LinkStates:
		if n != nil && n.talk == nil {
			n.talk = new(talk)
		}
		if n != nil && now >= n.shunned {
			waiting := n.relays && !n.met
			for _, s := range m.States {
				g.take(now, n, s)
			}
			if waiting && !n.met {
				g.know(n) // what it has was said before, and got lost
			}
		}
	case *wire.LinksHeld:
		if n != nil && n.relays {
			g.held(n, m)
		}
	default:
		return false
	}
	if n != nil {
		g.settle(now)
	}
	return true
}

// take takes a statement that a neighbour passes on.
func (g *Graph) take(now time.Duration, n *neighbour, s *wire.LinkState) {
	if s.Origin == g.cfg.ID {
		g.defend(now, n, s)
		return
	}
	v := g.vertices[s.Origin]
	if v != nil && v.state != nil && v.state.Seq >= s.Seq {
		g.stats.Old++
		if v.state.Seq > s.Seq {
			g.offer(n, v) // it should know better
		} else if g.acknowledged(n, v, s.Seq) {
			return // the two have met on their way, and n knows as well
		}
		g.confirm(n, wire.Held{Origin: s.Origin, Seq: v.state.Seq})
		return
	}
	known := g.neighbours[s.Origin]
	if n.Role == wire.RolePilot && known != n || s.Seq >= maxSeq ||
		known != nil && (s.Role != known.Role || s.Site != known.Site) ||
		s.Role == wire.RolePilot && len(s.Links) > pilotLinks {
		g.forgery(now, n)
		return
	}
	if !g.room(now, n, v, s) {
		g.stats.Limited++ // it is not acknowledged, so it will come again
		return
	}
	if g.cfg.Verify != nil && !g.cfg.Verify(s) {
		g.forgery(now, n)
		return
	}
	g.stats.Taken++
	v = g.vertex(Peer{s.Origin, s.Role, s.Site}, now)
	v.Role, v.Site, v.state = s.Role, s.Site, s
	g.acknowledged(n, v, s.Seq)
	g.confirm(n, wire.Held{Origin: s.Origin, Seq: s.Seq})
	g.dirty = true
	if s.Origin == n.ID && n.Role == wire.RolePilot && n.relays != (len(s.Links) > 0) {
		n.relays = !n.relays
		if n.relays {
			g.greet(now, n)
		} else {
			g.declare(now)
		}
	}
	g.spread(v, n)
}

// room reports whether a statement may be taken: its origin does not speak too
// often, and there is a place for it.
func (g *Graph) room(now time.Duration, n *neighbour, v *vertex, s *wire.LinkState) bool {
	if v != nil {
		ok, _ := v.hear.take(now, hearBurst, hearEvery)
		if !ok {
			return false
		}
	} else if len(g.vertices) >= MaxVertices {
		return false
	}
	if s.Origin != n.ID || n.Role != wire.RolePilot || n.relays || len(s.Links) == 0 {
		return true
	}
	serving := 0
	for _, o := range g.ring {
		if o.relays && o.Role == wire.RolePilot {
			serving++
		}
	}
	return serving < MaxServing
}

func (g *Graph) forgery(now time.Duration, n *neighbour) {
	g.stats.Forged++
	if n.forged++; n.forged%forgeries == 0 {
		n.shunned = now + shun
	}
}

// defend answers words that others put into this node's mouth, by a statement
// with a greater number.
func (g *Graph) defend(now time.Duration, n *neighbour, s *wire.LinkState) {
	own := g.self.state
	switch {
	case own != nil && s.Seq < own.Seq:
		g.confirm(n, wire.Held{Origin: own.Origin, Seq: own.Seq})
		g.offer(n, g.self)
	case own != nil && s.Seq == own.Seq && slices.Equal(s.Links, own.Links):
		g.acknowledged(n, g.self, s.Seq)
		g.confirm(n, wire.Held{Origin: own.Origin, Seq: own.Seq})
	case g.cfg.Verify != nil || s.Seq >= maxSeq:
		g.forgery(now, n)
	default:
		if own == nil {
			own = &wire.LinkState{Origin: g.cfg.ID, Role: g.cfg.Role, Site: g.cfg.Site}
		}
		ahead := *own
		ahead.Seq = s.Seq
		g.self.state = &ahead
		g.declare(now)
	}
}

// spread offers a statement to all neighbours but the one it came from.
func (g *Graph) spread(v *vertex, from *neighbour) {
	for _, n := range g.ring {
		if n != from && n.relays {
			g.offer(n, v)
		}
	}
}

// offer sends a statement to a neighbour until it is acknowledged.
func (g *Graph) offer(n *neighbour, v *vertex) {
	if v.state == nil {
		return
	}
	if n.pending == nil {
		n.pending = make(map[wire.NodeID]sent)
	}
	old, found := n.pending[v.ID]
	if found && old.seq != 0 {
		n.flying--
	}
	if !found {
		n.queue = append(n.queue, v.ID)
	}
	n.pending[v.ID] = sent{}
	g.stir(n)
}

// acknowledged notes that a neighbour has a statement, and reports whether it
// was on its way there.
func (g *Graph) acknowledged(n *neighbour, v *vertex, seq uint64) bool {
	if !n.met && n.has != nil {
		n.has[v.ID] = max(n.has[v.ID], seq)
	}
	p, found := n.pending[v.ID]
	if !found || seq < max(p.seq, v.state.Seq) {
		return false // or what it has is older than what it will be sent
	}
	if delete(n.pending, v.ID); len(n.pending) == 0 {
		n.pending, n.queue = nil, nil
	}
	if p.seq == 0 {
		return false
	}
	if n.flying >= window {
		g.stir(n)
	}
	n.flying--
	return true
}

// confirm lets a neighbour know what this node has.
func (g *Graph) confirm(n *neighbour, h wire.Held) {
	n.acks = append(n.acks, h)
	g.rouse(n)
}

// stir notes that there may be something to send to a neighbour.
func (g *Graph) stir(n *neighbour) {
	n.ready = true
	g.rouse(n)
}

// rouse has a neighbour looked at when the call ends.
func (g *Graph) rouse(n *neighbour) {
	if !n.stirred {
		n.stirred = true
		g.stirred = append(g.stirred, n)
	}
}

// tellHeld tells a new neighbour what this node has.
func (g *Graph) tellHeld(n *neighbour) {
	m := new(wire.LinksHeld)
	for _, v := range g.order {
		if v.state == nil {
			continue
		}
		if len(m.Held) == wire.MaxHeld {
			m.More = true
			g.send(n, m)
			m = new(wire.LinksHeld)
		}
		m.Held = append(m.Held, wire.Held{Origin: v.ID, Seq: v.state.Seq})
	}
	g.send(n, m)
	n.met = false
	g.stir(n)
	n.has = make(map[wire.NodeID]uint64)
}

// held takes what a neighbour says it has.
func (g *Graph) held(n *neighbour, m *wire.LinksHeld) {
	for _, h := range m.Held {
		if v := g.vertices[h.Origin]; v != nil && v.state != nil {
			g.acknowledged(n, v, h.Seq)
		}
	}
	if !n.met && !m.More {
		g.know(n)
	}
}

// know ends the meeting with a neighbour: what it has not named it is sent.
func (g *Graph) know(n *neighbour) {
	n.met = true
	g.stir(n)
	for _, v := range g.order {
		if v.state != nil && v.ID != n.ID && n.has[v.ID] < v.state.Seq {
			g.offer(n, v)
		}
	}
	n.has = nil
}

// flush sends a neighbour what is due, the first at once and what follows
// together, and notes when something will be.
func (g *Graph) flush(now time.Duration, n *neighbour) {
	if due := n.ready || len(n.acks) > 0 || n.wakeAt != 0 && now >= n.wakeAt; !due {
		return
	}
	if now < n.restTo {
		n.wakeAt = n.restTo
		return
	}
	before := len(g.fx.Sends)
	g.sendDue(now, n)
	if len(g.fx.Sends) > before {
		n.restTo = now + rest
	}
}

func (g *Graph) sendDue(now time.Duration, n *neighbour) {
	for part := range slices.Chunk(n.acks, wire.MaxHeld) {
		g.send(n, &wire.LinksHeld{Held: part, More: true})
	}
	n.acks = nil
	n.ready, n.wakeAt = false, 0
	if n.relays && !n.met {
		if now < n.metAt {
			n.wakeAt = n.metAt
			return
		}
		g.know(n)
	}
	if len(n.pending) == 0 {
		n.queue = nil
		return
	}
	var m *wire.LinkStates
	n.queue = slices.DeleteFunc(n.queue, func(id wire.NodeID) bool {
		p, found := n.pending[id]
		if !found {
			return true
		}
		v := g.vertices[id]
		if v == nil || v.state == nil {
			if p.seq != 0 {
				n.flying--
			}
			delete(n.pending, id)
			return true
		}
		switch {
		case p.seq == 0 && n.flying >= window:
			return false // an acknowledgement makes room
		case p.seq != 0 && now < p.due():
			n.wake(p.due())
			return false
		case p.seq == 0:
			n.flying++
		}
		p = sent{v.state.Seq, now, p.tries + 1}
		n.pending[id] = p
		n.wake(p.due())
		if m == nil {
			m = new(wire.LinkStates)
		}
		m.States = append(m.States, v.state)
		if len(m.States) == wire.MaxStates {
			g.send(n, m)
			m = nil
		}
		return false
	})
	if m != nil {
		g.send(n, m)
	}
}

func (n *neighbour) wake(at time.Duration) {
	if n.wakeAt == 0 || at < n.wakeAt {
		n.wakeAt = at
	}
}

func (g *Graph) send(n *neighbour, m wire.Message) {
	g.fx.Sends = append(g.fx.Sends, Send{n.ID, m})
}
