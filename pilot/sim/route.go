package sim

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// routes is what a node's core has told its transport about ways through hubs.
type routes struct {
	graph  map[wire.NodeID][]wire.NodeID // for each hub the hubs to cross, that one last
	wheres map[wire.NodeID][]wire.NodeID // by which hubs nodes are found
	gate   wire.NodeID                   // who is left what no other way is known for
}

// learn takes what a core says of the network.
func (r *routes) learn(fx *core.Effects) {
	if fx.Routes != nil {
		r.graph = fx.Routes
	}
	if fx.Gate != nil {
		r.gate = *fx.Gate
	}
	for _, a := range fx.Wheres {
		if r.wheres == nil {
			r.wheres = make(map[wire.NodeID][]wire.NodeID)
		}
		if r.wheres[a.ID] = a.Hubs; len(a.Hubs) == 0 {
			delete(r.wheres, a.ID)
		}
	}
}

// search is a stream on its way to where it is opened.
type search struct {
	dst   wire.NodeID
	hubs  []wire.NodeID // of the destination, as far as known
	route []wire.NodeID // hubs still to cross, next first
	been  []*node
}

// way returns the connections that a link through hubs crosses, and how long a
// message takes; 0 when there is no way. Each node on it decides with what its
// own core has told its transport, in the order in which the transport does.
func (w *world) way(a, b *node) (hops []hop, delay time.Duration) {
	s := search{dst: b.id, hubs: a.routes.wheres[b.id]}
	for x := a; len(hops) <= wire.MaxHops; {
		l := s.onward(x)
		if l == nil {
			return nil, 0
		}
		s.been = append(s.been, x)
		hops = append(hops, hop{l, l.side(x)})
		delay += l.delay
		if x = l.end[1-l.side(x)]; x == b {
			return hops, max(delay, 1)
		}
		if len(s.hubs) == 0 && len(hops) == 1 {
			s.hubs = x.routes.wheres[b.id]
		}
		if slices.Contains(s.hubs, x.id) {
			s.hubs = slices.DeleteFunc(slices.Clone(s.hubs), func(id wire.NodeID) bool { return id == x.id })
		}
	}
	return nil, 0
}

// onward returns the connection by which a stream leaves a node: to the
// destination, else by the route that came with it, else by a route to a hub of
// the destination, else by the node's gate. It leaves the rest of its route in
// the search.
func (s *search) onward(x *node) *link {
	if l := s.neighbour(x, s.dst); l != nil {
		return l
	}
	if len(s.route) > 0 {
		if l := s.neighbour(x, s.route[0]); l != nil {
			s.route = s.route[1:]
			return l
		}
	}
	s.route = nil
	if l := s.toward(x, s.dst, s.hubs); l != nil {
		return l
	}
	if gate := x.routes.gate; !gate.IsZero() && gate != s.dst {
		if l := s.neighbour(x, gate); l != nil {
			return l
		}
		if l := s.toward(x, gate, x.routes.wheres[gate]); l != nil {
			s.route = append(slices.Clone(s.route), gate)
			return l
		}
	}
	return nil
}

// toward takes the shortest route of a node to a hub, or to one that relays to
// a node.
func (s *search) toward(x *node, dst wire.NodeID, hubs []wire.NodeID) *link {
	var best *link
	var rest []wire.NodeID
	try := func(route []wire.NodeID) {
		if len(route) == 0 || best != nil && len(route) > len(rest) {
			return
		}
		if l := s.neighbour(x, route[0]); l != nil {
			best, rest = l, route[1:]
		}
	}
	if route := x.routes.graph[dst]; len(route) > 1 {
		try(route[:len(route)-1])
	}
	for _, h := range hubs {
		try([]wire.NodeID{h})
		try(x.routes.graph[h])
	}
	s.route = rest
	return best
}

// neighbour returns a node's connection to another one that works and does not
// lead back.
func (s *search) neighbour(x *node, id wire.NodeID) *link {
	l := x.links[id]
	if l == nil || l.hops != nil || l.blocked() || slices.Contains(s.been, l.end[1-l.side(x)]) {
		return nil
	}
	return l
}

// dial makes a connection between two nodes if they can have one: between
// machines of a site, or where reachability allows it. It takes a conversation
// through hubs, and then the calls.
func (w *world) dial(a, b *node) {
	l := a.links[b.id]
	if a == b || l != nil && l.hops == nil || a.spot.site != b.spot.site && !a.spot.reach.direct(b.spot.reach) {
		return
	}
	_, talk := w.way(a, b)
	if talk == 0 {
		return
	}
	w.k.After(2*talk+3*w.rttSpots(a.spot, b.spot)/2, func() {
		l := a.links[b.id]
		if a.alive && b.alive && !blocked(a.spot, b.spot) && (l == nil || l.hops != nil) {
			w.connect(a, b, nil)
		}
	})
}
