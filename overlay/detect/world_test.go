package detect_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/detect"
	"github.com/zorilla-grid/zorilla/overlay/sim"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// world is a simulated session: sites of a hub and its pilots, all hubs linked
// with some others, a launcher with a link to each hub.
type world struct {
	t       testing.TB
	k       *sim.Kernel
	nodes   []*node
	byID    map[wire.NodeID]*node
	hubs    []*node
	loss    float64
	apart   func(*node) bool // one part of a network in two; nil: it is whole
	starve  bool             // all nodes but the launcher pause from time to time
	sent    map[wire.Kind]int
	bytes   int
	encoded int
}

type node struct {
	w      *world
	n      int
	member detect.Member
	d      *detect.Detector
	links  map[wire.NodeID]bool
	dead   bool
	diedAt time.Duration
	paused bool
	inbox  []func()
	timer  time.Duration
	lanes  map[wire.NodeID]*sim.Lane

	batches   []batch
	condemned bool
	suspected int
}

type batch struct {
	at    time.Duration
	nodes []wire.NodeID
}

func newWorld(t testing.TB, seed uint64) *world {
	return &world{t: t, k: sim.New(seed), byID: make(map[wire.NodeID]*node), sent: make(map[wire.Kind]int)}
}

func (w *world) add(role wire.Role, site string, home wire.NodeID) *node {
	n := &node{w: w, n: len(w.nodes), links: make(map[wire.NodeID]bool), lanes: make(map[wire.NodeID]*sim.Lane)}
	binary.BigEndian.PutUint64(n.member.ID[:], uint64(n.n+1)*0x9e3779b97f4a7c15)
	n.member.ID[15] = 1
	n.member.Role, n.member.Site, n.member.Home = role, site, home
	n.d = detect.New(detect.Config{ID: n.member.ID, Role: role, Site: site, Seed: w.k.Rand().Uint64()}, w.k.Now())
	w.nodes = append(w.nodes, n)
	w.byID[n.member.ID] = n
	if role == wire.RoleHub {
		w.hubs = append(w.hubs, n)
	}
	n.arm()
	return n
}

// build makes a session. Hubs have links to the next ones in a ring, two on
// each side, as far as there are that many.
func build(t testing.TB, seed uint64, sites, pilots int) *world {
	w := newWorld(t, seed)
	launcher := w.add(wire.RoleLauncher, "", wire.NodeID{})
	for s := range sites {
		w.add(wire.RoleHub, fmt.Sprint("site", s), wire.NodeID{})
	}
	for i, h := range w.hubs {
		w.connect(launcher, h)
		for j := 1; j <= 2; j++ {
			if o := w.hubs[(i+j)%sites]; o != h {
				w.connect(h, o)
			}
		}
		for _, o := range w.hubs {
			h.d.Join(w.k.Now(), o.member)
		}
		h.d.Join(w.k.Now(), launcher.member)
		launcher.d.Join(w.k.Now(), h.member)
		for range pilots {
			w.attach(w.add(wire.RolePilot, h.member.Site, h.member.ID), h)
		}
	}
	w.k.Run(w.k.Now() + 5*time.Second)
	return w
}

// attach makes a hub a pilot's home.
func (w *world) attach(p, h *node) {
	p.member.Home = h.member.ID
	w.connect(p, h)
	for _, n := range w.nodes {
		if n.dead {
			continue
		}
		if n == h || n.member.Role == wire.RoleLauncher || n.member.Role == wire.RoleHub && n.links[p.member.ID] {
			n.do(func() { n.d.Join(w.k.Now(), p.member) })
		}
	}
	p.do(func() { p.d.Join(w.k.Now(), h.member) })
}

// do lets a node do something: at once, or when it is awake again.
func (n *node) do(f func()) {
	switch {
	case n.dead:
	case n.paused:
		n.inbox = append(n.inbox, f)
	default:
		f()
		n.act()
	}
}

func (n *node) act() {
	now := n.w.k.Now()
	fx := n.d.Ready()
	for _, s := range fx.Sends {
		n.w.send(n, s)
	}
	for _, b := range fx.Deaths {
		if !slices.IsSortedFunc(b.Nodes, wire.NodeID.Compare) || b.Reason == "" {
			n.w.t.Errorf("%v: batch %v", now, b)
		}
		n.batches = append(n.batches, batch{now, b.Nodes})
	}
	n.condemned = n.condemned || fx.Condemned
	n.suspected += len(fx.Suspected)
	n.arm()
}

// arm sets the timer; whoever starves runs late.
func (n *node) arm() {
	next := n.d.Next()
	if n.timer == next {
		return
	}
	n.timer = next
	at := next
	if n.w.starve {
		at += n.w.k.Between(0, 120*time.Millisecond)
	}
	n.w.k.At(at, func() {
		if n.timer == next && !n.dead && !n.paused {
			n.timer = 0
			n.d.Tick(n.w.k.Now())
			n.act()
		}
	})
}

func (w *world) connect(a, b *node) {
	for _, e := range [2][2]*node{{a, b}, {b, a}} {
		e[0].links[e[1].member.ID] = true
		e[0].do(func() { e[0].d.LinkUp(w.k.Now(), e[1].member.ID, e[1].member.Role) })
	}
}

// disconnect ends a link; each end learns of it.
func (w *world) disconnect(a, b *node) {
	for _, e := range [2][2]*node{{a, b}, {b, a}} {
		if !e[0].links[e[1].member.ID] {
			continue
		}
		delete(e[0].links, e[1].member.ID)
		w.k.After(w.k.Between(0, 50*time.Millisecond), func() {
			e[0].do(func() { e[0].d.LinkDown(w.k.Now(), e[1].member.ID) })
		})
	}
}

// kill ends a node. The ends of its links are seen, as when a process is
// killed, or not, as when a host loses power.
func (w *world) kill(n *node, closed bool) {
	if n.dead {
		return
	}
	n.dead, n.diedAt = true, w.k.Now()
	for _, o := range w.nodes {
		if closed && o.links[n.member.ID] {
			w.disconnect(n, o)
		}
	}
}

// way returns the nodes that a message crosses, its receiver last; nil when
// there is none.
func (w *world) way(from, to, relay *node) []*node {
	if from.links[to.member.ID] && relay == nil {
		return []*node{to}
	}
	var hops []*node
	at := from
	step := func(n *node) bool {
		if n != nil && n != at {
			hops = append(hops, n)
			at = n
		}
		return n != nil && !n.dead
	}
	home := func(n *node) *node {
		if n.member.Role != wire.RolePilot {
			return n
		}
		if h := w.byID[n.member.Home]; h != nil && n.links[h.member.ID] {
			return h
		}
		for _, h := range w.hubs {
			if n.links[h.member.ID] && !h.dead {
				return h
			}
		}
		return nil
	}
	if relay != nil && (!from.links[relay.member.ID] || !step(relay)) {
		return nil
	}
	if !step(home(from)) || !step(home(to)) {
		return nil
	}
	step(to)
	return hops
}

func (w *world) send(from *node, s detect.Send) {
	to, relay := w.byID[s.To], w.byID[s.Relay]
	w.sent[s.Msg.Kind()]++
	m := s.Msg
	if w.encoded++; w.encoded%8 == 0 {
		b := wire.Encode(m)
		w.bytes += len(b)
		again, err := wire.Decode(b)
		if err != nil {
			w.t.Fatal(err)
		}
		m = again
	}
	if to == nil {
		return
	}
	linked := from.links[s.To] && relay == nil
	w.hop(from, from, w.way(from, to, relay), linked, m)
}

// hop brings a message to the next node of its way; one that is paused passes
// it on later.
func (w *world) hop(origin, from *node, way []*node, linked bool, m wire.Message) {
	if len(way) == 0 || w.k.Chance(w.loss) || w.apart != nil && w.apart(from) != w.apart(way[0]) {
		return
	}
	next := way[0]
	w.k.Trace(uint64(from.n), uint64(next.n), uint64(m.Kind()))
	l := from.lanes[next.member.ID]
	if l == nil {
		l = new(sim.Lane)
		from.lanes[next.member.ID] = l
	}
	delay := 20 * time.Millisecond
	if from.member.Site == next.member.Site {
		delay = time.Millisecond
	}
	w.k.At(l.Arrive(w.k, sim.Path{Delay: delay, Jitter: delay}), func() {
		next.do(func() {
			switch {
			case len(way) > 1:
				w.hop(origin, next, way[1:], false, m)
			case linked && next.links[origin.member.ID]:
				next.d.Heard(w.k.Now(), origin.member.ID)
				next.d.Receive(w.k.Now(), origin.member.ID, m)
			case !linked:
				next.d.Receive(w.k.Now(), origin.member.ID, m)
			}
		})
	})
}

// starving lets all nodes but launchers pause from now on: after some run time, for
// 1 to 8 seconds each time.
func (w *world) starving(run time.Duration) {
	w.starve = true
	for _, n := range w.nodes {
		if n.member.Role != wire.RoleLauncher {
			w.k.After(w.k.Between(0, run), func() { w.pause(n, run) })
		}
	}
}

func (w *world) pause(n *node, run time.Duration) {
	if !w.starve {
		return
	}
	n.paused = true
	w.k.After(w.k.Between(time.Second, 8*time.Second), func() {
		n.paused = false
		inbox := n.inbox
		n.inbox = nil
		if n.dead {
			return
		}
		// What comes first is chance: the timer that is long over, or the messages.
		if w.k.Chance(0.5) {
			n.d.Tick(w.k.Now())
			n.act()
		}
		for _, f := range inbox {
			n.do(f)
		}
		n.timer = 0
		n.arm()
		// Long enough to act; else it would be one pause, longer than 8 seconds.
		w.k.After(w.k.Between(200*time.Millisecond, 2*run), func() { w.pause(n, run) })
	})
}

// false deaths: nodes that somebody declared dead and that live.
func (w *world) slandered() (list []string) {
	for _, n := range w.nodes {
		for _, b := range n.batches {
			for _, id := range b.nodes {
				if x := w.byID[id]; !x.dead || x.diedAt > b.at {
					list = append(list, fmt.Sprintf("%v: %s %d says that %s %d is dead", b.at, n.member.Role, n.n, x.member.Role, x.n))
				}
			}
		}
		if n.condemned && !n.dead {
			list = append(list, fmt.Sprintf("%s %d is condemned", n.member.Role, n.n))
		}
	}
	return list
}

// told returns when a node was told of others' deaths first and last, and in how
// many batches.
func (n *node) told(of []*node) (first, last time.Duration, batches, missing int) {
	first = -1
	for _, b := range n.batches {
		hit := false
		for _, x := range of {
			if slices.Contains(b.nodes, x.member.ID) {
				hit = true
			}
		}
		if hit {
			batches++
			if first < 0 {
				first = b.at
			}
			last = b.at
		}
	}
	for _, x := range of {
		if !slices.ContainsFunc(n.batches, func(b batch) bool { return slices.Contains(b.nodes, x.member.ID) }) {
			missing++
		}
	}
	return first, last, batches, missing
}
