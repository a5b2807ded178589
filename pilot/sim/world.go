package sim

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/sim"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// world is a session: places in a tree of links, and the nodes on them.
type world struct {
	cfg   Config
	k     *sim.Kernel
	net   *sim.Network
	spots []*spot
	byID  map[wire.NodeID]*node // dead ones included
	hubs  int
	ids   uint64
	noise float64 // probability of a message's misfortune
	over  bool    // the session ends

	jobs       []*jobState
	jobOf      map[wire.JobID]*jobState
	faults     int
	messages   uint64
	violations []string
}

// spot is a place for one node at a time: a machine.
type spot struct {
	index  int
	parent int // -1 for the launcher
	role   wire.Role
	site   int
	delay  time.Duration // to the parent
	cut    bool          // the way to the parent is cut
	slow   bool          // the machine does everything late
	bad    bool          // no worker starts here
	offer  wire.Offer
	node   *node
}

// node is one process on a spot, with its shell.
type node struct {
	id     wire.NodeID
	spot   *spot
	core   *machine
	alive  bool
	links  map[wire.NodeID]uint64 // to whom; which link it is
	dials  map[wire.NodeID]bool
	tickAt time.Duration
	shell
}

// machine is the core node with what the world wants to know of it.
type machine struct {
	*core.Node
	role wire.Role
}

// jobState is a job as the checkers see it.
type jobState struct {
	spec      job.Spec
	primary   *node
	last      time.Duration // how long a worker runs
	fails     float64       // probability that the program fails
	submitted time.Duration
	started   map[wire.Attempt]wire.NodeID
	newest    map[uint32]uint32
	done      map[uint32]bool
	lost      int
	ended     bool
	endedAt   time.Duration
	end       core.JobEnded
	orphaned  time.Duration // when its primary died; 0: it did not
}

func (w *world) logf(format string, args ...any) {
	if w.cfg.Log != nil {
		w.cfg.Log(w.k.Now(), fmt.Sprintf(format, args...))
	}
}

// build makes the tree and boots everybody.
func (w *world) build() {
	k := w.k
	w.noise = 0.01
	if w.cfg.Calm {
		w.noise = 0
	}
	sites := min(max(1, w.cfg.Nodes/25), 200)
	w.hubs = sites
	add := func(parent int, role wire.Role, site int, delay time.Duration) *spot {
		s := &spot{index: len(w.spots), parent: parent, role: role, site: site, delay: delay}
		w.spots = append(w.spots, s)
		return s
	}
	add(-1, wire.RoleLauncher, -1, 0)
	for i := range sites {
		parent := 0
		if i == 2 { // behind another site
			parent = 1
		}
		add(parent, wire.RoleHub, i, k.Between(2*time.Millisecond, 80*time.Millisecond))
	}
	for len(w.spots) < w.cfg.Nodes {
		site := k.Rand().IntN(sites)
		s := add(1+site, wire.RolePilot, site, k.Between(50*time.Microsecond, time.Millisecond))
		n := uint32(1 + k.Rand().IntN(8))
		s.offer = wire.Offer{Slots: n, Cores: n, Memory: int64(n) << 30}
		s.bad = !w.cfg.Calm && k.Chance(0.02)
	}
	w.boot(w.spots[0])
	for _, s := range w.spots[1:] {
		k.At(k.Between(0, 5*time.Second), func() { w.boot(s) })
	}
}

// boot starts a process on a spot.
func (w *world) boot(s *spot) {
	if s.node != nil && s.node.alive {
		return
	}
	w.ids++
	n := &node{spot: s, alive: true, links: make(map[wire.NodeID]uint64), dials: make(map[wire.NodeID]bool)}
	binary.BigEndian.PutUint64(n.id[:], w.k.Rand().Uint64())
	binary.BigEndian.PutUint64(n.id[8:], w.ids)
	n.shell.init(int(s.offer.Slots))
	cfg := core.Config{ID: n.id, Role: s.role, Site: siteName(s.site), Name: fmt.Sprintf("spot%d", s.index), Offer: s.offer,
		Platform: "linux/amd64", Lease: nodeLease, Idle: core.Forever, Seed: w.k.Rand().Uint64()}
	n.core = &machine{core.New(cfg, w.k.Now()), s.role}
	s.node = n
	w.byID[n.id] = n
	w.input(n, func(*node) {})
	if s.parent >= 0 {
		w.dialParent(n)
	}
}

func siteName(i int) string {
	if i < 0 {
		return "home"
	}
	return fmt.Sprintf("site%d", i)
}

// island returns the highest spot that a spot can reach.
func (w *world) island(i int) int {
	for {
		s := w.spots[i]
		if s.node == nil || !s.node.alive {
			return -1 - i // nobody there
		}
		if s.cut || s.parent < 0 {
			return i
		}
		up := w.spots[s.parent]
		if up.node == nil || !up.node.alive {
			return i
		}
		i = s.parent
	}
}

func (w *world) connected(a, b *node) bool {
	return a.alive && b.alive && w.net.Connected(a.spot.index, b.spot.index)
}

// path adds up the way from one spot to another in the tree.
func (w *world) path(from, to int) sim.Path {
	d := w.delay(from, to)
	p := sim.Path{Delay: d, Jitter: d / 5, Loss: w.noise, Twice: w.noise, Late: 3 * w.noise}
	if w.spots[from].slow || w.spots[to].slow {
		p.Jitter += 2 * time.Second
	}
	return p
}

func (w *world) delay(a, b int) time.Duration {
	var d time.Duration
	for a != b { // parents have lower numbers
		if a < b {
			a, b = b, a
		}
		d += w.spots[a].delay
		a = w.spots[a].parent
	}
	return d
}

// dialParent sees to a node's link to its hub, for as long as it lives.
func (w *world) dialParent(n *node) {
	if !n.alive {
		return
	}
	if up := w.spots[n.spot.parent].node; up != nil && n.links[up.id] == 0 {
		w.dial(n, up)
	}
	w.k.After(w.k.Between(time.Second, 3*time.Second), func() { w.dialParent(n) })
}

// dial opens a link, if there is a way.
func (w *world) dial(a, b *node) {
	if a.dials[b.id] || a.links[b.id] != 0 || a == b {
		return
	}
	a.dials[b.id] = true
	w.k.After(4*w.delay(a.spot.index, b.spot.index), func() {
		delete(a.dials, b.id)
		if !w.connected(a, b) || a.links[b.id] != 0 {
			return
		}
		w.ids++
		gen := w.ids
		a.links[b.id], b.links[a.id] = gen, gen
		w.k.Trace(1, uint64(a.spot.index), uint64(b.spot.index))
		w.input(a, func(n *node) { n.core.LinkUp(w.k.Now(), b.peer()) })
		w.input(b, func(n *node) { n.core.LinkUp(w.k.Now(), a.peer()) })
	})
}

func (n *node) peer() wire.Peer {
	return wire.Peer{ID: n.id, Role: n.spot.role, Site: siteName(n.spot.site)}
}

// recheck ends the links that have no way any more, after the time it takes to see
// it.
func (w *world) recheck(seen time.Duration) {
	for _, s := range w.spots {
		n := s.node
		if n == nil || !n.alive {
			continue
		}
		for _, id := range sortedIDs(n.links) {
			if o := w.byID[id]; !w.connected(n, o) {
				w.unlink(n, o, seen)
			}
		}
	}
}

// unlink lets a node see, after a while, that a link has ended.
func (w *world) unlink(n, o *node, seen time.Duration) {
	gen := n.links[o.id]
	w.k.After(w.k.Between(seen/10, seen), func() {
		if n.alive && gen != 0 && n.links[o.id] == gen && !w.connected(n, o) {
			delete(n.links, o.id)
			w.input(n, func(n *node) { n.core.LinkDown(w.k.Now(), o.id) })
		}
		if o.alive && gen != 0 && o.links[n.id] == gen && !w.connected(n, o) {
			delete(o.links, n.id)
			w.input(o, func(o *node) { o.core.LinkDown(w.k.Now(), n.id) })
		}
	})
}

func sortedIDs[V any](m map[wire.NodeID]V) []wire.NodeID {
	ids := make([]wire.NodeID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, wire.NodeID.Compare)
	return ids
}

// send carries a message of a node.
func (w *world) send(n *node, s core.Send) {
	o := w.byID[s.To]
	if o == nil {
		return
	}
	if n.links[s.To] == 0 {
		if w.connected(n, o) {
			w.dial(n, o)
		}
		return
	}
	msg := s.Msg
	w.messages++
	kind := uint64(msg.Kind())
	if w.messages%codecEach == 0 {
		b := wire.Encode(msg)
		w.k.TraceBytes(b)
		m, err := wire.Decode(b)
		if err != nil {
			w.violate("message %T of %s does not survive its encoding: %v", msg, n.id.Short(), err)
			return
		}
		msg = m
	}
	w.net.Send(n.spot.index, o.spot.index, func() {
		if o.alive && n.links[o.id] != 0 && o.links[n.id] != 0 {
			w.k.Trace(2, uint64(n.spot.index), uint64(o.spot.index), kind)
			w.input(o, func(o *node) { o.core.Receive(w.k.Now(), n.id, msg) })
		}
	})
}

// input gives a node something to think about, and does what it wants done.
func (w *world) input(n *node, f func(*node)) {
	if !n.alive {
		return
	}
	f(n)
	w.apply(n, n.core.Ready())
	if n.alive {
		w.schedule(n)
	}
}

// schedule plans the next Tick.
func (w *world) schedule(n *node) {
	at := n.core.Next()
	if at <= w.k.Now() {
		w.violate("node %s wants to tick in the past", n.id.Short())
		return
	}
	if n.tickAt != 0 && n.tickAt <= at {
		return
	}
	n.tickAt = at
	w.k.At(at, func() {
		if n.alive && n.tickAt == at {
			n.tickAt = 0
			w.input(n, func(n *node) { n.core.Tick(w.k.Now()) })
		}
	})
}
