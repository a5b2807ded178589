package sim

import (
	"math"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// tree holds the shortest ways from one hub, or the launcher, to all others,
// over the connections between them.
type tree struct {
	relays uint64 // of which state of those connections
	dist   []time.Duration
	via    []hop // the last connection of each way
}

const unreachable = time.Duration(math.MaxInt64)

// isRelay reports whether others' links lead through a node.
func (n *node) isRelay() bool { return n.spot.role != wire.RolePilot }

// way returns the connections that a link through hubs crosses, and how long a
// message takes; 0 when there is no way.
func (w *world) way(a, b *node) ([]hop, time.Duration) {
	best := unreachable
	var first, last hop
	var t *tree
	var end int
	w.entries(a, func(up hop, h *node) {
		ways := w.tree(h)
		w.entries(b, func(down hop, o *node) {
			d := ways.dist[o.spot.index]
			if d == unreachable {
				return
			}
			if up.link != nil {
				d += up.link.delay
			}
			if down.link != nil {
				d += down.link.delay
			}
			if d < best {
				best, first, last, t, end = d, up, down, ways, o.spot.index
			}
		})
	})
	if best == unreachable {
		return nil, 0
	}
	var hops []hop
	if last.link != nil {
		hops = append(hops, hop{last.link, 1 - last.dir})
	}
	for i := end; t.via[i].link != nil; {
		h := t.via[i]
		hops = append(hops, h)
		i = h.link.end[h.dir].spot.index
	}
	if first.link != nil {
		hops = append(hops, first)
	}
	for i, j := 0, len(hops)-1; i < j; i, j = i+1, j-1 {
		hops[i], hops[j] = hops[j], hops[i]
	}
	return hops, max(best, 1)
}

// entries yields the hubs that a node is linked to, each with the way there, or itself if it is one.
func (w *world) entries(n *node, yield func(hop, *node)) {
	if n.isRelay() {
		yield(hop{}, n)
		return
	}
	for _, l := range n.order {
		i := l.side(n)
		if o := l.end[1-i]; l.hops == nil && o.isRelay() && !l.blocked() {
			yield(hop{l, i}, o)
		}
	}
}

// tree returns the shortest ways from a relay (Dijkstra), found anew when
// connections have changed since.
func (w *world) tree(from *node) *tree {
	relays := 1 + w.hubs
	if w.net.trees == nil {
		w.net.trees = make([]*tree, relays)
	}
	t := w.net.trees[from.spot.index]
	if t == nil {
		t = &tree{dist: make([]time.Duration, relays), via: make([]hop, relays)}
		w.net.trees[from.spot.index] = t
	} else if t.relays == w.net.relays {
		return t
	}
	t.relays = w.net.relays
	for i := range t.dist {
		t.dist[i], t.via[i] = unreachable, hop{}
	}
	t.dist[from.spot.index] = 0
	open := []*node{from}
	for len(open) > 0 {
		low := 0
		for i, n := range open {
			if t.dist[n.spot.index] < t.dist[open[low].spot.index] {
				low = i
			}
		}
		n := open[low]
		open[low] = open[len(open)-1]
		open = open[:len(open)-1]
		for _, l := range n.order {
			i := l.side(n)
			o := l.end[1-i]
			if l.hops != nil || !o.isRelay() || l.blocked() {
				continue
			}
			at := o.spot.index
			if d := t.dist[n.spot.index] + max(l.delay, 1); d < t.dist[at] {
				if t.dist[at] == unreachable {
					open = append(open, o)
				}
				t.dist[at], t.via[at] = d, hop{l, i}
			}
		}
	}
	return t
}
