package hub

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Candidate is a hub that a node may hold a link to.
type Candidate struct {
	ID   wire.NodeID
	Site string
	RTT  time.Duration // to it; 0 is unknown
	Cuts []wire.NodeID // as in [wire.HubHint]
}

// Choose returns which hubs a node should hold links to, at most n, best
// first. The first is one of the node's own site where there is one, then the
// nearest; each further one is the next such that no single hub, once gone,
// takes it and one chosen before along, when there is such a one.
func Choose(site string, candidates []Candidate, n int) []wire.NodeID {
	var ids []wire.NodeID
	var chosen []Candidate
	for len(chosen) < min(n, len(candidates)) {
		var best *Candidate
		fewest := 0
		for i := range candidates {
			c := &candidates[i]
			if slices.Contains(ids, c.ID) {
				continue
			}
			shared := 0
			for _, o := range chosen {
				shared += common(*c, o)
			}
			if best == nil || shared < fewest || shared == fewest && before(site, c, best) {
				best, fewest = c, shared
			}
		}
		if best == nil {
			break // one was there twice
		}
		chosen = append(chosen, *best)
		ids = append(ids, best.ID)
	}
	return ids
}

// before reports whether a node of a site would rather have the one than the
// other.
func before(site string, a, b *Candidate) bool {
	switch {
	case (a.Site == site) != (b.Site == site):
		return a.Site == site
	case a.RTT == b.RTT:
		return a.ID.Compare(b.ID) < 0
	}
	return b.RTT == 0 || a.RTT != 0 && a.RTT < b.RTT
}

// common counts the hubs whose end takes both candidates along.
func common(a, b Candidate) int {
	count := 0
	for _, cut := range a.Cuts {
		if cut == b.ID || slices.Contains(b.Cuts, cut) {
			count++
		}
	}
	if slices.Contains(b.Cuts, a.ID) {
		count++
	}
	return count
}

// Advice returns what a hub tells its pilots for the day it is gone: the hubs
// worth a link, those first that do not depend on it, and its deputies, see
// [Deputies].
func (g *Graph) Advice(deputies []wire.NodeID) *wire.Advice {
	var list []Candidate
	for _, v := range g.order {
		if v.route != nil && v.Role == wire.RoleHub {
			list = append(list, Candidate{ID: v.ID, Site: v.Site, RTT: v.rtt})
		}
	}
	cuts := g.cuts()
	for i := range list {
		list[i].Cuts = cuts[list[i].ID]
	}
	m := &wire.Advice{Deputies: deputies[:min(len(deputies), wire.MaxDeputies)]}
	depends := func(c *Candidate) bool { return slices.Contains(c.Cuts, g.cfg.ID) }
	for len(m.Hubs) < wire.MaxAdvised && len(list) > 0 {
		best := 0
		for i := range list {
			a, b := &list[i], &list[best]
			if depends(a) != depends(b) && depends(b) || depends(a) == depends(b) && before(g.cfg.Site, a, b) {
				best = i
			}
		}
		c := list[best]
		m.Hubs = append(m.Hubs, wire.HubHint{ID: c.ID, Site: c.Site, RTT: c.RTT.Round(time.Millisecond), Cuts: c.Cuts[:min(len(c.Cuts), wire.MaxHops)]})
		list[best] = list[len(list)-1]
		list = list[:len(list)-1]
	}
	return m
}

// cuts returns, for each hub, the other nodes whose end would cut it off from
// more than half of the rest, nearest first. These are articulation points (Tarjan, SIAM
// J. Comput. 1972), found in one walk over the graph from this node on.
func (g *Graph) cuts() map[wire.NodeID][]wire.NodeID {
	g.edges()
	p := &g.scratch
	size := len(g.order)
	seen := make([]int, size) // order of the visit, from 1 on
	low := make([]int, size)  // the earliest node that can be reached from below without the tree's own edge
	weight := make([]int, size)
	parent := make([]int32, size)
	var visited []int32
	var walk func(u int32)
	walk = func(u int32) { // at most MaxVertices deep
		visited = append(visited, u)
		seen[u], low[u], weight[u] = len(visited), len(visited), 1
		for _, e := range p.edges[p.first[u]:p.first[u+1]] {
			switch {
			case seen[e.to] == 0:
				parent[e.to] = u
				walk(e.to)
				weight[u] += weight[e.to]
				low[u] = min(low[u], low[e.to])
			case e.to != parent[u]:
				low[u] = min(low[u], seen[e.to])
			}
		}
	}
	root := int32(g.self.index)
	parent[root] = -1
	walk(root)
	rest := len(visited) - 1
	half := func(part int) bool { return 2*part > rest }

	// above[c] says that the parent of c separates all below from the rest.
	above := func(c int32) bool { return parent[c] >= 0 && low[c] >= seen[parent[c]] }
	cuts := make(map[wire.NodeID][]wire.NodeID)
	for _, h := range visited {
		var list []wire.NodeID
		add := func(cut int32) {
			if id := g.order[cut].ID; !slices.Contains(list, id) {
				list = append(list, id)
			}
		}
		under := make(map[int32]bool)
		for c := h; c >= 0; c = parent[c] {
			under[c] = true
			if above(c) && half(rest-weight[c]) {
				add(parent[c])
			}
		}
		// Those that separate most of the others from where this one is.
		for _, c := range visited {
			if above(c) && !under[c] && parent[c] != h && half(weight[c]) {
				add(parent[c])
			}
		}
		cuts[g.order[h].ID] = list
	}
	return cuts
}
