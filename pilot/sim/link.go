package sim

import (
	"time"

	"github.com/zorilla-grid/zorilla/overlay/sim"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

const (
	maxQueue  = 1 << 20          // bytes at the entrance of a link, as the transport caps it
	deadAfter = 20 * time.Second // until the end of a silent link is seen, at most, as by the transport
	resetTime = 100 * time.Millisecond

	lanRate   = 125_000_000 // bytes a second
	wanRate   = 12_500_000
	loginRate = 4_000_000 // of a link over a login channel
)

// link is the control conversation of two nodes: over a connection of its own,
// or through hubs over those of others.
type link struct {
	w      *world
	end    [2]*node
	up     [2]bool // what each end believes
	dead   bool    // one end has seen its end
	severs bool    // its end is on its way to be seen
	hops   []hop   // the connections it crosses; none when it is one itself
	delay  time.Duration
	lane   [2]sim.Lane
	queued [2]int // messages under way

	// Of a connection:
	riders []*link // links through it, ended ones among them
	rate   int64   // bytes a second
	queue  [2]sim.Queue
}

// hop is a connection on the way of a link, in the direction from end dir.
type hop struct {
	link *link
	dir  int
}

// netState is what the world knows of its links.
type netState struct {
	free     *packet
	sent     uint64
	lost     uint64
	queued   int   // the largest number of messages under way in one direction of a link
	bytes    int64 // the most bytes that have waited at the entrance of a connection
	overflow int   // links closed because more would have
}

// gossips reports whether a kind of messages is dropped rather than its link closed.
func gossips(k wire.Kind) bool {
	return k == wire.KindExchange || k == wire.KindExchangeReply || k == wire.KindDatagram
}

// packet is a message on its way. Packets are used again.
type packet struct {
	link *link
	dir  int // from that end
	msg  wire.Message
	next *packet
}

// blocked reports whether nothing passes between two machines.
func blocked(a, b *spot) bool {
	if a.cut || b.cut {
		return true
	}
	return a.site != b.site && (a.site.cut || b.site.cut || a.site.group != b.site.group)
}

// blocked reports whether nothing passes over a link any more.
func (l *link) blocked() bool {
	a, b := l.end[0], l.end[1]
	if l.dead || !a.alive || !b.alive {
		return true
	}
	if l.hops == nil {
		return blocked(a.spot, b.spot)
	}
	for _, h := range l.hops {
		if h.link.blocked() {
			return true
		}
	}
	return false
}

// side returns which end of a link a node is.
func (l *link) side(n *node) int {
	if l.end[0] == n {
		return 0
	}
	return 1
}

// dialParent sees to a node's link to one of its hubs: it is dialled until it is there.
func (w *world) dialParent(n *node, to *spot) {
	if !n.alive || w.parentLink(n, to) != nil {
		return
	}
	again := func() { w.dialParent(n, to) }
	up := to.node
	if up == nil || !up.alive || blocked(n.spot, to) {
		w.k.After(w.k.Between(time.Second, 3*time.Second), again)
		return
	}
	w.k.After(2*w.rttSpots(n.spot, to), func() {
		if n.alive && up.alive && !blocked(n.spot, to) && w.parentLink(n, to) == nil {
			w.connect(n, up, nil)
		} else {
			again()
		}
	})
}

// parentLink returns the connection of a node to the machine of its hub, if it believes to have one.
func (w *world) parentLink(n *node, to *spot) *link {
	for _, l := range n.order {
		if l.hops == nil && l.end[1-l.side(n)].spot == to {
			return l
		}
	}
	return nil
}

// call makes a link through hubs, if there is a way. Messages wait for it, as
// in the transport; where it comes to nothing they are lost.
func (w *world) call(a, b *node, s core.Send) {
	if a == b || a.links[b.id] != nil {
		return
	}
	if waiting, calls := a.calls[b.id]; calls {
		if len(waiting) < maxSends {
			a.calls[b.id] = append(waiting, s)
		}
		return
	}
	_, delay := w.way(a, b)
	if delay == 0 {
		return
	}
	if a.calls == nil {
		a.calls = make(map[wire.NodeID][]core.Send)
	}
	a.calls[b.id] = []core.Send{s}
	w.k.After(4*delay, func() {
		defer delete(a.calls, b.id)
		if !a.alive || !b.alive || a.links[b.id] != nil {
			return
		}
		if hops, _ := w.way(a, b); hops != nil {
			w.connect(a, b, hops)
		}
	})
}

// connect makes a link between two nodes, over a connection of its own or over those of others.
func (w *world) connect(a, b *node, hops []hop) {
	l := &link{w: w, end: [2]*node{a, b}, up: [2]bool{true, true}, hops: hops}
	if hops == nil {
		l.delay = w.rttSpots(a.spot, b.spot) / 2
		l.rate = wanRate
		switch {
		case a.spot.site == b.spot.site:
			l.rate = lanRate
		case a.spot.role == wire.RoleLauncher || b.spot.role == wire.RoleLauncher:
			l.rate = loginRate
		}
	}
	for _, h := range hops {
		l.delay += h.link.delay
		h.link.ride(l)
	}
	w.k.Trace(1, uint64(a.spot.index), uint64(b.spot.index))
	a.hold(l, b.id)
	b.hold(l, a.id)
	w.sendWaiting(a, b)
	w.sendWaiting(b, a)
	w.input(a, func(n *node) { n.linkUp(l) })
	w.input(b, func(n *node) { n.linkUp(l) })
}

// sendWaiting sends what has waited for a link that is there now.
func (w *world) sendWaiting(a, b *node) {
	waiting := a.calls[b.id]
	if len(waiting) == 0 {
		return
	}
	a.calls[b.id] = nil
	for _, s := range waiting {
		w.send(a, s)
	}
}

// linkUp tells a core of a link, unless that has ended while the machine stood still.
func (n *node) linkUp(l *link) {
	switch i := l.side(n); {
	case !l.up[i]:
	case l.hops == nil:
		n.core.LinkUp(n.w.local(n), l.end[1-i].peer())
	default:
		n.core.LinkRouted(n.w.local(n), l.end[1-i].peer())
	}
}

// hold puts a link in the place of an older one to the same node.
func (n *node) hold(l *link, to wire.NodeID) {
	if old := n.links[to]; old != nil {
		old.dead, old.up[old.side(n)] = true, false
		n.drop(old)
		n.w.sever(old, resetTime)
	}
	n.links[to] = l
	n.order = append(n.order, l)
}

// drop takes a link out of a node's.
func (n *node) drop(l *link) {
	for i, o := range n.order {
		if o == l {
			n.order = append(n.order[:i], n.order[i+1:]...)
			break
		}
	}
	to := l.end[1-l.side(n)].id
	if n.links[to] == l {
		delete(n.links, to)
	}
}

// ride notes a link that crosses a connection.
func (l *link) ride(r *link) {
	if len(l.riders) == cap(l.riders) { // make room where links have ended
		kept := l.riders[:0]
		for _, o := range l.riders {
			if !o.dead {
				kept = append(kept, o)
			}
		}
		clear(l.riders[len(kept):])
		l.riders = kept
	}
	l.riders = append(l.riders, r)
}

// sever lets the ends of a link that is blocked, and of those through it, see
// that within a time, if it is still so.
func (w *world) sever(l *link, seen time.Duration) {
	if l.severs {
		return
	}
	l.severs = true
	for i := range l.end {
		w.k.After(w.k.Between(seen/10, seen), func() {
			l.severs = false
			if l.blocked() {
				w.unlink(l, i)
			}
		})
	}
	for _, r := range l.riders {
		if r.blocked() {
			w.sever(r, seen)
		}
	}
}

// unlink lets one end of a link see that it has ended.
func (w *world) unlink(l *link, i int) {
	l.dead = true
	n, o := l.end[i], l.end[1-i]
	if !l.up[i] {
		return
	}
	l.up[i] = false
	n.drop(l)
	if !n.alive {
		return
	}
	w.input(n, func(n *node) {
		if n.links[o.id] == nil {
			n.core.LinkDown(w.local(n), o.id)
		}
	})
	if l.hops == nil {
		for _, p := range n.spot.parents {
			if p == o.spot {
				w.k.After(w.k.Between(time.Second, 3*time.Second), func() { w.dialParent(n, p) })
			}
		}
	}
}

// hangUp ends a node's link through hubs. The other end hears of it if
// anything still passes.
func (w *world) hangUp(n *node, id wire.NodeID) {
	l := n.links[id]
	if l == nil || l.hops == nil {
		return
	}
	works := !l.blocked()
	l.dead = true
	if works {
		w.sever(l, resetTime)
	}
	w.k.After(time.Millisecond, func() { w.unlink(l, l.side(n)) })
}

// recheck looks for links over which nothing passes any more.
func (w *world) recheck() {
	for _, s := range w.spots {
		if s.node == nil {
			continue
		}
		for _, l := range s.node.order {
			if l.blocked() {
				w.sever(l, deadAfter)
			}
		}
	}
}

// send carries a message of a node.
func (w *world) send(n *node, s core.Send) {
	l := n.links[s.To]
	if l == nil {
		if o := w.byID[s.To]; o != nil {
			w.call(n, o, s)
		}
		return
	}
	dir := l.side(n)
	o := l.end[1-dir]
	msg, size := s.Msg, w.traffic.estimate(s.Msg)
	w.net.sent++
	if w.net.sent%w.codec == 0 {
		if msg, size = w.recode(n, msg); msg == nil {
			return
		}
	}
	w.count(n, o, msg)
	if w.onSend != nil {
		w.onSend(n, o, msg)
	}
	if w.noise > 0 && w.k.Chance(w.noise) || l.blocked() {
		w.net.lost++
		return
	}
	wait, ok := w.enqueue(l, dir, msg.Kind(), size)
	if !ok {
		w.net.lost++
		return
	}
	w.carry(l, dir, msg, wait)
	if w.noise > 0 && w.k.Chance(w.noise) {
		w.carry(l, dir, msg, wait)
	}
}

// enqueue puts a message into the queues of the connections on its way, all of
// them now. When the first one is full, gossip is dropped; anything else
// closes the link, with all that is on its way.
func (w *world) enqueue(l *link, dir int, kind wire.Kind, size int) (wait time.Duration, ok bool) {
	now := w.k.Now()
	if l.hops == nil {
		return w.push(l, dir, now, kind, size)
	}
	for _, h := range l.hops {
		d, ok := w.push(h.link, h.dir, now, kind, size)
		if !ok {
			if !gossips(kind) {
				l.dead = true
				w.sever(l, resetTime)
			}
			return 0, false
		}
		wait += d
	}
	return wait, true
}

func (w *world) push(c *link, dir int, now time.Duration, kind wire.Kind, size int) (wait time.Duration, ok bool) {
	q := &c.queue[dir]
	if waiting := q.Len(now, c.rate) + int64(size); waiting > maxQueue {
		if !gossips(kind) {
			w.net.overflow++
			w.logf("the link of %s to %s is full: %d bytes wait, and a message of %d", c.end[dir].spot.name(), c.end[1-dir].spot.name(), q.Len(now, c.rate), size)
			c.dead = true
			w.sever(c, resetTime)
		}
		return 0, false
	} else if waiting > w.net.bytes {
		w.net.bytes = waiting
	}
	return q.Add(now, int64(size), c.rate), true
}

// carry brings one copy of a message on its way.
func (w *world) carry(l *link, dir int, msg wire.Message, wait time.Duration) {
	p := w.net.free
	if p == nil {
		p = new(packet)
	} else {
		w.net.free = p.next
	}
	*p = packet{link: l, dir: dir, msg: msg}
	path := sim.Path{Delay: l.delay + wait, Jitter: l.delay / 5, Late: 3 * w.noise}
	if l.end[0].spot.slow || l.end[1].spot.slow {
		path.Jitter += 2 * time.Second
	}
	l.queued[dir]++
	if l.queued[dir] > w.net.queued {
		w.net.queued = l.queued[dir]
	}
	w.k.Plan(l.lane[dir].Arrive(w.k, path), p)
}

// Happen is a message's arrival.
func (p *packet) Happen() {
	l, dir, msg := p.link, p.dir, p.msg
	w, from, to := l.w, l.end[dir], l.end[1-dir]
	if at := to.spot.paused; at > w.k.Now() && to.alive {
		w.k.Plan(at, p)
		return
	}
	*p = packet{next: w.net.free}
	w.net.free = p
	l.queued[dir]--
	if !l.up[0] || !l.up[1] || l.blocked() {
		w.net.lost++
		return
	}
	w.k.Trace(2, uint64(from.spot.index), uint64(to.spot.index), uint64(msg.Kind()))
	to.core.Receive(w.local(to), from.id, msg)
	w.settle(to)
}
