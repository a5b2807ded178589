package core

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/vivaldi"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Rhythm and limits of exploring.
const (
	exploreEvery  = 5 * time.Second
	exploreLinks  = 12  // direct links to other hubs beyond which a hub asks for no more
	exploreMost   = 20  // nor for one that may be nearer than most it has
	exploreNear   = 6   // that is: than the nearest so many
	exploreEnough = 4   // with as many, a hub believes only what it measures on them
	exploreHubs   = 128 // in larger sessions every link is one too many for the graph of hubs
)

// explore lets hubs find out how near they are to each other. What they measure
// over other hubs says little: two hubs next door may be linked across an ocean.
// So a hub asks for direct links, by turns to the hub that should be the
// nearest and to any one, until it has some; what it measures on them is the
// way itself, and where a hub is stands for where its pilots are.
func (n *Node) explore(now time.Duration) {
	t := &n.tab
	if n.cfg.Role != wire.RoleHub || n.here == nil || now < t.exploreAt {
		return
	}
	t.exploreAt = now + exploreEvery
	t.turn++
	var direct []*link
	for _, l := range n.order {
		if l.peer.Role == wire.RoleHub && !l.routed {
			direct = append(direct, l)
		}
	}
	t.direct = len(direct)
	for i := range min(2, len(direct)) {
		l := direct[(2*int(t.turn)+i)%len(direct)]
		if r := t.known.Get(l.peer.ID); r != nil && r.Coordinate != nil && l.micros > 0 && l.peer.Site != n.cfg.Site {
			// What cannot be true changes nothing.
			_ = n.here.Observe(wall(now), vivaldi.Peer{ID: l.peer.ID, Coordinate: *r.Coordinate, At: &wire.Locality{Site: l.peer.Site}}, l.rtt())
		}
	}
	switch {
	case t.known.Len() > exploreHubs:
	case len(direct) < exploreLinks:
		n.exploreMore(now, t.turn%2 == 0, time.Hour)
	case len(direct) < exploreMost && t.turn%2 == 0:
		var near []time.Duration
		for _, l := range direct {
			near = append(near, l.rtt())
		}
		slices.Sort(near)
		n.exploreMore(now, false, near[exploreNear-1])
	}
}

// exploreMore asks for another direct link: to any hub, or to the one that should
// be the nearest, if it should be near enough.
func (n *Node) exploreMore(now time.Duration, anyone bool, within time.Duration) {
	t := &n.tab
	self := n.standing(nil)
	places := t.known.Places(now, &wire.Requirements{})
	best, least := -1, uint64(0)
	for i := range places {
		p := &places[i]
		if l := n.link(p.Hub); p.Hub == n.cfg.ID || l != nil && !l.routed {
			continue
		}
		if n.dialled.has(now, p.Hub) {
			continue // there is no way, it seems: others are to have their turn
		}
		far := flood.Between(&self, p)
		if far >= within {
			continue
		}
		rank := uint64(far)
		if anyone { // another one each time
			rank = mix(binary.BigEndian.Uint64(p.Hub[:]) ^ mix(n.cfg.Seed+t.turn))
		}
		if best < 0 || rank < least {
			best, least = i, rank
		}
	}
	if best >= 0 {
		n.dial(now, wire.Address{ID: places[best].Hub})
	}
}

// mix spreads the bits of a number (splitmix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// firsthand reports whether what is measured of a node tells how far it is: over
// a direct link it does, over hubs only for want of something better.
func (n *Node) firsthand(id wire.NodeID) bool {
	if n.cfg.Role != wire.RoleHub || n.tab.direct < exploreEnough {
		return true
	}
	l := n.link(id)
	return l != nil && !l.routed
}
