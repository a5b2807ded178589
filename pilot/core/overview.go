package core

import (
	"cmp"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Overview is the overlay as one node knows it, for people.
type Overview struct {
	Nodes []NodeView // by identity
	Links []LinkView // by their ends
}

// NodeView is a node in an [Overview].
type NodeView struct {
	wire.Peer
	Hubs  []wire.NodeID    // that relay to it, best first, as far as is known
	Place *wire.Coordinate // nil: not known
	Lost  bool             // it cannot be reached at present
}

// LinkView is a link between two nodes, as one of them has told: a launcher is
// told by hubs of the links to their neighbours.
type LinkView struct {
	A, B wire.NodeID // in the order of identities
	Path wire.Path
	RTT  time.Duration // 0 is unknown
}

// maxWays bounds what is remembered of how hubs are linked.
const maxWays = 4096

// noteWay remembers how a hub is linked to another.
func (n *Node) noteWay(from wire.NodeID, p wire.Peer) {
	ends := [2]wire.NodeID{from, p.ID}
	if _, ok := n.ways[ends]; !ok && len(n.ways) >= maxWays {
		return
	}
	if n.ways == nil {
		n.ways = make(map[[2]wire.NodeID]wire.Path)
	}
	n.ways[ends] = p.Path
}

// Overview returns the overlay as this node knows it, itself included: on a
// launcher all of it, where links of pilots are those to their hubs.
func (n *Node) Overview() Overview {
	o := overviewer{n: n, seen: make(map[wire.NodeID]bool), at: make(map[[2]wire.NodeID]int)}
	o.node(wire.Peer{ID: n.cfg.ID, Role: n.cfg.Role, Site: n.cfg.Site, Name: n.cfg.Name, Offer: n.cfg.Offer, Platform: n.cfg.Platform, Job: n.cfg.Job, Part: n.cfg.Part}, n.at.Hubs, false)
	for _, l := range n.order {
		path := l.peer.Path
		if l.routed {
			path = wire.PathRouted
		}
		o.link(n.cfg.ID, l.peer.ID, path, l.rtt())
	}
	for _, p := range n.Peers() {
		o.peer(p)
	}
	if n.graph != nil {
		for _, h := range n.graph.Hubs() {
			o.node(wire.Peer{ID: h.ID, Role: h.Role, Site: h.Site}, nil, false)
			links, _ := n.graph.Links(h.ID)
			for _, l := range links {
				path := cmp.Or(n.ways[[2]wire.NodeID{h.ID, l.ID}], n.ways[[2]wire.NodeID{l.ID, h.ID}])
				o.link(h.ID, l.ID, path, time.Duration(l.RTT)*time.Microsecond)
			}
		}
	}
	slices.SortFunc(o.Nodes, func(a, b NodeView) int { return a.ID.Compare(b.ID) })
	slices.SortFunc(o.Links, func(a, b LinkView) int { return cmp.Or(a.A.Compare(b.A), a.B.Compare(b.B)) })
	return o.Overview
}

// overviewer puts an overview together: what is told twice is there once.
type overviewer struct {
	Overview
	n    *Node
	seen map[wire.NodeID]bool
	at   map[[2]wire.NodeID]int // of the links
}

func (o *overviewer) node(p wire.Peer, hubs []wire.NodeID, lost bool) {
	if o.seen[p.ID] {
		return
	}
	o.seen[p.ID] = true
	v := NodeView{Peer: p, Hubs: hubs, Lost: lost}
	if at, ok := o.n.place(p.ID); ok {
		v.Place = &at.Coordinate
	}
	o.Nodes = append(o.Nodes, v)
}

// peer adds a node that is known, and its link to the hub that told of it.
func (o *overviewer) peer(p wire.Peer) {
	var hubs []wire.NodeID
	x := o.n.peers[p.ID]
	lost := x != nil && x.lostAt != 0
	if x != nil && !x.via.IsZero() {
		hubs = []wire.NodeID{x.via}
		if !lost {
			o.link(p.ID, x.via, p.Path, time.Duration(p.RTT)*time.Microsecond)
		}
	}
	if l := o.n.link(p.ID); l != nil && len(l.hubs) > 0 {
		hubs = l.hubs
	} else if c := o.n.cardOf(p.ID); c != nil && len(c.Hubs) > 0 {
		hubs = c.Hubs
	}
	o.node(p, hubs, lost)
}

func (o *overviewer) link(a, b wire.NodeID, path wire.Path, rtt time.Duration) {
	if a.Compare(b) > 0 {
		a, b = b, a
	}
	ends := [2]wire.NodeID{a, b}
	i, ok := o.at[ends]
	if !ok {
		o.at[ends] = len(o.Links)
		o.Links = append(o.Links, LinkView{a, b, path, rtt})
		return
	}
	l := &o.Links[i]
	l.Path, l.RTT = cmp.Or(l.Path, path), cmp.Or(l.RTT, rtt)
}
