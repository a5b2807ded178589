package core

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// carrier is a node's part in carrying datagrams: small messages between nodes
// that have no link. A hub passes on those of others, a pilot only its own.
type carrier struct {
	at     *wire.Locality // where this node is found; replaced, never changed
	gate   wire.NodeID    // who is left what no other way is known for
	deputy wire.NodeID    // the pilot that relays in the place of the hub; zero: none
	routes map[wire.NodeID][]wire.NodeID
	lost   uint64 // datagrams that went no further
}

// bucket bounds how often something may happen: a token is one time.
type bucket struct {
	tokens float32
	at     time.Duration
}

// take takes a token, of which there are rate more each second, at most burst.
func (b *bucket) take(now time.Duration, rate, burst float32) bool {
	b.tokens = min(burst, b.tokens+rate*float32((now-b.at).Seconds()))
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// How many datagrams, and messages that could be some, a hub takes of a pilot.
// One that behaves sends a few each second.
const (
	pilotRate  = 40 // a second
	pilotBurst = 200
)

// What a peer is blamed for.
const (
	blameFlood  uint8 = 1 << iota
	blameForged       // what only another node may say
	blameBody
	blameProbes
	blameCards
	blameClaim
)

// blame tells the user of this node, once, that a peer breaks the rules.
func (n *Node) blame(l *link, what uint8, reason string) {
	if l.blamed&what == 0 {
		l.blamed |= what
		n.fx.Events = append(n.fx.Events, Misbehaved{*l.peer, reason})
	}
}

// moved finds out by which hubs this node is found, after its links have
// changed: those next to a pilot, its own site's first.
func (n *Node) moved() {
	var hubs []wire.NodeID
	if n.cfg.Role == wire.RolePilot {
		var near []*link
		for _, l := range n.order {
			if !l.routed && (l.peer.Role != wire.RolePilot || l.peer.ID == n.deputy) {
				near = append(near, l)
			}
		}
		slices.SortStableFunc(near, func(a, b *link) int { return n.remote(a) - n.remote(b) })
		for _, l := range near[:min(len(near), wire.MaxHubs)] {
			hubs = append(hubs, l.peer.ID)
		}
	}
	var gate wire.NodeID
	if len(hubs) > 0 {
		gate = hubs[0]
	} else if i := slices.IndexFunc(n.order, func(l *link) bool { return l.peer.Role == wire.RoleLauncher }); i >= 0 && n.cfg.Role == wire.RoleHub {
		gate = n.order[i].peer.ID // which knows everybody
	}
	if gate != n.gate {
		n.gate, n.fx.Gate = gate, &gate
	}
	if n.at == nil || !slices.Equal(hubs, n.at.Hubs) {
		n.at = &wire.Locality{Site: n.cfg.Site, Hubs: hubs}
		for _, l := range n.order {
			if l.peer.Role != wire.RolePilot || l.peer.ID == n.deputy {
				n.send(l.peer.ID, n.hello())
			}
		}
	}
}

// remote orders the hubs of a pilot, the best one first.
func (n *Node) remote(l *link) int {
	switch {
	case n.doubted[l.peer.ID]:
		return 4
	case l.peer.Role == wire.RoleHub && l.peer.Site == n.cfg.Site:
		return 0
	case l.peer.Role == wire.RoleHub:
		return 1
	case l.peer.Role == wire.RoleLauncher:
		return 2
	}
	return 3
}

// toss sends a message that may get lost: over the link if there is one, else
// through hubs, as far as the kind may be [wire.Carried].
func (n *Node) toss(to wire.Address, m wire.Message) {
	if to.ID == n.cfg.ID || n.link(to.ID) != nil {
		n.send(to.ID, m)
		return
	}
	n.pass(n.datagram(to, m), n.cfg.ID)
}

// datagram wraps a message.
func (n *Node) datagram(to wire.Address, m wire.Message) *wire.Datagram {
	return &wire.Datagram{Src: n.cfg.ID, SrcHubs: n.at.Hubs, Dst: to.ID, Hubs: to.Hubs, Hops: wire.MaxHops, Body: wire.BodyOf(m)}
}

// found lets the transport know by which hubs a node is found, for links and
// streams to it.
func (n *Node) found(at wire.Address) {
	if at.ID != n.cfg.ID && len(at.Hubs) > 0 {
		n.fx.Wheres = append(n.fx.Wheres, at)
	}
}

// reaches reports whether there seems to be a way for datagrams to a node.
func (n *Node) reaches(to wire.Address) bool {
	if to.ID == n.cfg.ID {
		return false
	}
	if n.link(to.ID) != nil {
		return true
	}
	if !n.relaying() {
		return len(n.at.Hubs) > 0
	}
	_, _, ok := n.onward(&wire.Datagram{Dst: to.ID, Hubs: to.Hubs}, n.cfg.ID)
	return ok
}

// pass sends a datagram on its way.
func (n *Node) pass(d *wire.Datagram, from wire.NodeID) {
	next, route, ok := n.onward(d, from)
	if !ok || d.Hops == 0 {
		n.lost++
		return
	}
	on := *d
	on.Hops--
	on.Route = route
	n.send(next, &on)
}

// onward says to whom a datagram goes next, and over which hubs from there: to
// its destination, else as its route says, else by a route of this node's to a
// hub of the destination. A pilot leaves that to its hub.
func (n *Node) onward(d *wire.Datagram, from wire.NodeID) (next wire.NodeID, route []wire.NodeID, ok bool) {
	usable := func(id wire.NodeID) bool { return id != from && n.link(id) != nil }
	if usable(d.Dst) {
		return d.Dst, nil, true
	}
	if !n.relaying() {
		if len(n.at.Hubs) == 0 {
			return wire.NodeID{}, nil, false
		}
		return n.at.Hubs[0], nil, true
	}
	if len(d.Route) > 0 && usable(d.Route[0]) {
		return d.Route[0], d.Route[1:], true
	}
	for i := range len(d.Hubs) + 1 {
		hub := d.Dst // which may be a hub itself
		if i < len(d.Hubs) {
			hub = d.Hubs[i]
		}
		if usable(hub) {
			return hub, nil, true
		}
		if way := n.routes[hub]; len(way) > 0 && usable(way[0]) {
			return way[0], way[1:], true
		}
	}
	return wire.NodeID{}, nil, false
}

// receiveCarrier takes datagrams, and the messages that can be in them; false
// means that it is another's.
func (n *Node) receiveCarrier(now time.Duration, l *link, m wire.Message) bool {
	d, wrapped := m.(*wire.Datagram)
	if !wrapped && !wire.Carried(m.Kind()) {
		return false
	}
	pilot := !n.relays(l)
	switch {
	case pilot && !l.spent.take(now, pilotRate, pilotBurst):
		n.blame(l, blameFlood, "it sends too many messages that nobody asked for")
	case !wrapped:
		n.receiveCarried(now, l, wire.Address{ID: l.peer.ID}, m)
	case pilot && d.Src != l.peer.ID:
		n.blame(l, blameForged, "it sends what another node is said to have written")
	case d.Dst == n.cfg.ID:
		body, err := d.Body.Message()
		if err != nil {
			n.blame(l, blameBody, "it passes on what is no message: "+clip(err.Error()))
			break
		}
		n.receiveCarried(now, l, wire.Address{ID: d.Src, Hubs: d.SrcHubs}, body)
	case n.relaying():
		n.pass(d, l.peer.ID)
	default:
		n.lost++
	}
	return true
}

// receiveCarried takes a message from wherever, which is where an answer goes. The
// link is the one that it came over.
func (n *Node) receiveCarried(now time.Duration, l *link, from wire.Address, m wire.Message) {
	switch m := m.(type) {
	case *wire.Exchange, *wire.ExchangeReply:
		n.receiveGossip(now, l, from, m)
	case *wire.Probe:
		n.probed(now, l, from, m)
	case *wire.ProbeReply:
		n.measured(now, from, m)
	case *wire.Placed:
		n.placed(now, from, m)
	case *wire.Beat:
		n.detector.Receive(now, from.ID, m)
	}
}
