package transport

import (
	"slices"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// maxHomes bounds the nodes whose hubs an endpoint remembers: the last this
// many at least, twice as many at most.
const maxHomes = 16 << 10

// homes remembers which hubs relay to which nodes, and forgets those that
// nobody has asked for in the longest time: entries that are used move from the
// old half to the new one.
type homes struct {
	now, old map[wire.NodeID][]wire.NodeID
}

func (h *homes) put(id wire.NodeID, hubs []wire.NodeID) {
	if len(h.now) >= maxHomes {
		h.old, h.now = h.now, nil
	}
	if h.now == nil {
		h.now = make(map[wire.NodeID][]wire.NodeID)
	}
	h.now[id] = hubs
}

func (h *homes) get(id wire.NodeID) []wire.NodeID {
	if hubs, ok := h.now[id]; ok {
		return hubs
	}
	hubs, ok := h.old[id]
	if ok {
		h.put(id, hubs)
	}
	return hubs
}

func (h *homes) drop(id wire.NodeID) {
	delete(h.now, id)
	delete(h.old, id)
}

// SetRoutes says over which hubs each hub is reached: the ones to cross after
// this node, in order, that hub itself last. It replaces what was said before;
// streams that are open keep their way. The map and its lists must not be
// changed afterwards.
func (e *Endpoint) SetRoutes(routes map[wire.NodeID][]wire.NodeID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.graph = routes
}

// SetHubs says which hubs relay to a node, best first, [wire.MaxHubs] of them
// at most; none forgets the node. The endpoint remembers the 16,384 nodes that
// were set or used last; SetRoute and SetDefaultRoute serve for others.
func (e *Endpoint) SetHubs(id wire.NodeID, hubs []wire.NodeID) {
	var kept []wire.NodeID
	for _, hub := range hubs {
		if len(kept) < wire.MaxHubs && !hub.IsZero() && hub != id && !slices.Contains(kept, hub) {
			kept = append(kept, hub)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(kept) == 0 {
		e.homes.drop(id)
		return
	}
	e.homes.put(id, kept)
}

// way is how a stream leaves this node.
type way struct {
	by    *carrier
	hubs  []wire.NodeID // of the destination
	route []wire.NodeID // hubs to cross after the carrier's other end
}

// open returns the first frame of a stream of this node's that goes this way.
func (w *way) open(dst, src wire.NodeID, kind wire.StreamKind) *wire.Open {
	return &wire.Open{Dst: dst, Src: src, Stream: kind, Hops: wire.MaxHops, Hubs: w.hubs, Route: w.route}
}

// search is what a way is looked for with.
type search struct {
	dst   wire.NodeID
	kind  wire.StreamKind
	self  wire.NodeID
	not   wire.NodeID // where the stream comes from: no way leads back there
	src   wire.NodeID // its origin, which no route crosses
	hubs  []wire.NodeID
	route []wire.NodeID // hubs to cross, as another node has chosen them
	hops  int           // hubs that may be crossed
}

// find returns a way for a stream of this node's own, or false.
func (e *Endpoint) find(dst wire.NodeID, kind wire.StreamKind) (way, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.findLocked(dst, kind)
}

func (e *Endpoint) findLocked(dst wire.NodeID, kind wire.StreamKind) (way, bool) {
	return e.wayLocked(search{dst: dst, kind: kind, hubs: e.homes.get(dst), hops: wire.MaxHops})
}

// wayLocked looks for a way: a carrier to the destination, the route that came
// with the stream, a route to a hub of the destination, and at last what
// SetRoute and SetDefaultRoute say. A route that came with the stream and goes
// over a hub that is no neighbour any more is replaced.
func (e *Endpoint) wayLocked(s search) (way, bool) {
	if s.dst.IsZero() || e.identity == nil {
		return way{}, false
	}
	s.self = e.identity.ID
	if c := e.neighbourLocked(s.dst, s); c != nil {
		return way{by: c, hubs: s.hubs}, true
	}
	if len(s.route) > 0 {
		if c := e.neighbourLocked(s.route[0], s); c != nil {
			return way{by: c, hubs: s.hubs, route: s.route[1:]}, true
		}
	}
	if w, ok := e.routeLocked(s); ok {
		return w, true
	}
	// Towards some other node, which has a way to the destination.
	via := s.dst
	for range wire.MaxHops {
		next, ok := e.routes[via]
		if !ok {
			next = e.fallback
		}
		if next.IsZero() || next == via {
			break
		}
		via = next
		if via == s.dst {
			continue
		}
		if c := e.neighbourLocked(via, s); c != nil {
			return way{by: c, hubs: s.hubs}, true
		}
		leg := s
		leg.dst, leg.hubs, leg.hops = via, e.homes.get(via), s.hops-1
		if w, ok := e.routeLocked(leg); ok {
			if route := slices.Concat(w.route, []wire.NodeID{via}); s.fits(route) {
				return way{by: w.by, hubs: s.hubs, route: route}, true
			}
		}
	}
	return way{}, false
}

// routeLocked returns the shortest way over the graph to the destination, if
// that is a hub, or to one of its hubs; of two the better hub's.
func (e *Endpoint) routeLocked(s search) (best way, found bool) {
	try := func(route []wire.NodeID) {
		if len(route) == 0 || found && len(route)-1 >= len(best.route) || !s.fits(route) {
			return
		}
		if c := e.neighbourLocked(route[0], s); c != nil {
			best, found = way{by: c, hubs: s.hubs, route: route[1:]}, true
		}
	}
	if route := e.graph[s.dst]; len(route) > 1 && route[len(route)-1] == s.dst {
		try(route[:len(route)-1])
	}
	for _, hub := range s.hubs {
		try([]wire.NodeID{hub})
		if route := e.graph[hub]; len(route) > 1 && route[len(route)-1] == hub {
			try(route)
		}
	}
	return best, found
}

// fits reports whether a stream may take a route: short enough, over no hub
// twice, and not over where it has been or ends.
func (s *search) fits(route []wire.NodeID) bool {
	if len(route) > s.hops {
		return false
	}
	for i, hub := range route {
		if hub.IsZero() || hub == s.dst || hub == s.src || hub == s.self || hub == s.not || slices.Contains(route[:i], hub) {
			return false
		}
	}
	return true
}

// neighbourLocked returns a carrier to a node, unless the stream comes from
// there.
func (e *Endpoint) neighbourLocked(id wire.NodeID, s search) *carrier {
	n := e.nodes[id]
	if n == nil || !s.not.IsZero() && id == s.not {
		return nil
	}
	return n.carrier(isBulk(s.kind))
}
