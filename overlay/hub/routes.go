package hub

import (
	"math"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// paths is the room that a computation of routes takes: one row per number of
// links, one column per vertex.
//
// It is Bellman and Ford's algorithm with as many rounds as a route may have
// links: routes are bounded in length, and the cheapest way to a node may be
// longer than allowed where a dearer one is not, which Dijkstra's would miss.
type paths struct {
	edges []edge
	first []int32 // of a vertex's edges; one more at the end
	cost  [wire.MaxHops + 1][]uint32
	prev  [wire.MaxHops + 1][]int32
	front []int32 // vertices that the last round improved
	next  []int32
	best  []int8 // the row of the cheapest way; -1: none
}

type edge struct {
	to  int32
	rtt uint32
}

const unreached = math.MaxUint32

// Routes returns, for each node that can be reached, the hubs to cross after this one,
// that node last. The map and what is in it never change; a new one
// takes its place.
func (g *Graph) Routes() map[wire.NodeID][]wire.NodeID { return g.routes }

// Route returns the best route to a node that crosses none of some others, as
// the statements are now; nil when there is none. It costs a whole
// computation.
func (g *Graph) Route(dst wire.NodeID, avoiding ...wire.NodeID) []wire.NodeID {
	v := g.vertices[dst]
	if v == nil || v == g.self || slices.Contains(avoiding, dst) {
		return nil
	}
	g.edges()
	g.search(avoiding)
	route, _ := g.scratch.route(g, v)
	return route
}

// RTT returns the round-trip time to a node along its route, the hubs' own
// time not counted; false when it cannot be reached.
func (g *Graph) RTT(dst wire.NodeID) (time.Duration, bool) {
	v := g.vertices[dst]
	if v == nil || v.route == nil {
		return 0, false
	}
	return v.rtt, true
}

// compute brings all routes up to date and tells what has changed.
func (g *Graph) compute(now time.Duration) {
	g.dirty = false
	if now-g.pathAt > 2*pathMax {
		g.pause = 0
	}
	g.pause = min(max(2*g.pause, pathPause), pathMax)
	g.pathAt = now + g.pause
	g.stats.Computed++

	g.edges()
	g.search(nil)
	changed := false
	for _, v := range g.order {
		if v == g.self {
			continue
		}
		before := v.route
		after, rtt := g.scratch.route(g, v)
		v.rtt = rtt
		if after != nil || before != nil {
			v.reached = now
		}
		if slices.Equal(before, after) {
			continue
		}
		changed = true
		v.route = after
		switch {
		case before == nil:
			g.fx.Up = append(g.fx.Up, v.Peer)
		case after == nil:
			g.fx.Down = append(g.fx.Down, v.Peer)
		}
	}
	if !changed {
		return
	}
	g.routes = make(map[wire.NodeID][]wire.NodeID, len(g.order))
	for _, v := range g.order {
		if v.route != nil {
			g.routes[v.ID] = v.route
		}
	}
	g.fx.Routes = g.routes
}

// edges lists the links that both ends declare.
func (g *Graph) edges() {
	p := &g.scratch
	p.edges, p.first = p.edges[:0], p.first[:0]
	for _, v := range g.order {
		p.first = append(p.first, int32(len(p.edges)))
		switch {
		case v == g.self:
			for _, n := range g.ring {
				if w := g.vertices[n.ID]; w != nil && n.relays {
					p.edges = append(p.edges, edge{int32(w.index), max(n.cost(), w.word(g.self))})
				}
			}
		case v.state != nil && v.Role != wire.RolePilot: // nothing crosses a pilot
			for i := range v.state.Links {
				l := &v.state.Links[i]
				w := g.vertices[l.ID]
				if w == nil || w == g.self {
					continue
				}
				if back := w.word(v); back != 0 {
					p.edges = append(p.edges, edge{int32(w.index), max(l.RTT, back)})
				}
			}
		}
	}
	p.first = append(p.first, int32(len(p.edges)))
}

// word returns what a node says of its link to another, in microseconds; 0 when it
// declares none.
func (v *vertex) word(to *vertex) uint32 {
	if v.state == nil {
		return 0
	}
	links := v.state.Links
	i, found := slices.BinarySearchFunc(links, to.ID, func(l wire.HubLink, id wire.NodeID) int { return l.ID.Compare(id) })
	switch {
	case !found:
		return 0
	case links[i].RTT == 0:
		return unknownRTT
	}
	return links[i].RTT
}

// search computes the cheapest ways from this node. Of two that cost the same
// it takes the one with fewer links, then the one whose last but one node has
// the lower identity.
func (g *Graph) search(avoiding []wire.NodeID) {
	p := &g.scratch
	size := len(g.order)
	p.best = slices.Grow(p.best[:0], size)[:size]
	for i := range p.best {
		p.best[i] = -1
	}
	for h := range p.cost {
		p.cost[h] = slices.Grow(p.cost[h][:0], size)[:size]
		p.prev[h] = slices.Grow(p.prev[h][:0], size)[:size]
	}
	for i := range size {
		p.cost[0][i] = unreached
	}
	self := int32(g.self.index)
	p.cost[0][self] = 0
	p.best[self] = 0
	p.front = append(p.front[:0], self)
	for h := 1; h <= wire.MaxHops && len(p.front) > 0; h++ {
		old, cost, prev := p.cost[h-1], p.cost[h], p.prev[h]
		copy(cost, old)
		p.next = p.next[:0]
		for _, u := range p.front {
			v := g.order[u]
			base := old[u] + crossing
			if v.Role == wire.RoleLauncher && u != self {
				base += lastResort
			}
			for _, e := range p.edges[p.first[u]:p.first[u+1]] {
				c := base + e.rtt
				fresh := p.best[e.to] != int8(h)
				if c > cost[e.to] || c == cost[e.to] && (fresh || u >= prev[e.to]) || slices.Contains(avoiding, g.order[e.to].ID) {
					continue
				}
				if fresh {
					p.best[e.to] = int8(h)
					p.next = append(p.next, e.to)
				}
				cost[e.to], prev[e.to] = c, u
			}
		}
		p.front, p.next = p.next, p.front
	}
}

// route reads a way out of the rows, and its round-trip time.
func (p *paths) route(g *Graph, v *vertex) ([]wire.NodeID, time.Duration) {
	h := int(p.best[v.index])
	if h <= 0 {
		return nil, 0
	}
	cost := p.cost[h][v.index]
	route := make([]wire.NodeID, h)
	for at := int32(v.index); h > 0; h-- {
		route[h-1] = g.order[at].ID
		at = p.prev[h][at]
		cost -= crossing
		if g.order[at].Role == wire.RoleLauncher && at != int32(g.self.index) {
			cost -= lastResort
		}
	}
	return route, time.Duration(cost) * time.Microsecond
}
