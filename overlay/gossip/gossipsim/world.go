package gossipsim

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/gossip"
	"github.com/zorilla-grid/zorilla/overlay/sim"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Config says what is simulated.
type Config struct {
	Nodes     int     // at the start, attackers included; from 4 to 100,000
	Loss      float64 // probability that a message is lost
	Hidden    float64 // share of the nodes that are reached through their hubs only
	Attackers float64 // share of the nodes that attack
	Attack    Attack
	View      int // 0 means gossip.DefaultView
	Exchange  int // 0 means gossip.DefaultExchange
	Seed      uint64
}

func (c Config) validate() error {
	if c.Nodes < 4 || c.Nodes > 100_000 {
		return fmt.Errorf("%d nodes: want 4 to 100000", c.Nodes)
	}
	for name, p := range map[string]float64{"loss": c.Loss, "hidden": c.Hidden, "attackers": c.Attackers} {
		if !(p >= 0 && p <= 1) {
			return fmt.Errorf("%s of %v: want 0 to 1", name, p)
		}
	}
	return nil
}

// Times of the world.
const (
	startup  = gossip.Period    // within which the first nodes start
	rehome   = 10 * time.Second // until a node whose hub is gone has a link to another one
	perHub   = 50               // nodes of a hub
	wireEach = 64               // every so many messages one goes through the wire's encoding
)

// World is a session of gossiping nodes.
type World struct {
	cfg      Config
	k        *sim.Kernel
	nodes    []*node
	byID     map[wire.NodeID]*node
	hubs     []*node
	bad      []*node
	messages uint64
	sampled  uint64 // messages whose bytes were counted
	bytes    uint64
	// apart, while the session is in two, says on which side a node is.
	apart func(i int) bool
}

// node is one process.
type node struct {
	*gossip.Sampler
	index  int
	id     wire.NodeID
	key    uint64
	card   wire.Card
	hub    bool
	hidden bool
	alive  bool
	homes  []*node // its hubs
	tickAt time.Duration
	raid   *raider // of an attacker
}

// New returns a world whose nodes start within the first round.
func New(cfg Config) (*World, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	w := &World{cfg: cfg, k: sim.New(cfg.Seed), byID: make(map[wire.NodeID]*node)}
	hubs := max(2, cfg.Nodes/perHub)
	for i := range cfg.Nodes {
		w.add(i < hubs)
	}
	w.enlist()
	for _, n := range w.nodes {
		w.k.At(w.k.Between(0, startup), func() { w.start(n) })
	}
	return w, nil
}

// add makes a node that has not started.
func (w *World) add(hub bool) *node {
	r := w.k.Rand()
	n := &node{index: len(w.nodes), key: r.Uint64(), hub: hub}
	binary.BigEndian.PutUint64(n.id[:], r.Uint64())
	binary.BigEndian.PutUint64(n.id[8:], r.Uint64())
	n.hidden = !hub && w.k.Chance(w.cfg.Hidden)
	n.card = wire.Card{ID: n.id, Role: wire.RolePilot, Site: fmt.Sprintf("site%03d", n.index/perHub%1000),
		Offer: wire.Offer{Slots: 16, Cores: 16, Memory: 64 << 30}, Free: uint32(r.IntN(17)),
		Coordinate: make([]byte, 24), Proof: make([]byte, 96)}
	if hub {
		n.card.Role, n.card.Offer, n.card.Free = wire.RoleHub, wire.Offer{}, 0
		w.hubs = append(w.hubs, n)
	}
	w.nodes = append(w.nodes, n)
	w.byID[n.id] = n
	return n
}

// start lets a node begin.
func (w *World) start(n *node) {
	n.alive = true
	if !n.hub {
		w.house(n)
	}
	n.Sampler = gossip.New(gossip.Config{Card: n.card, Sign: n.sign, Verify: verifier{w}, View: w.cfg.View, Exchange: w.cfg.Exchange,
		Reach: func(c *wire.Card) gossip.Path { return w.reach(n, c) }, Seed: w.k.Rand().Uint64()}, w.k.Now())
	if n.hub {
		for _, h := range w.hubs {
			if h != n && h.alive {
				n.LinkUp(w.k.Now(), h.id)
				h.LinkUp(w.k.Now(), n.id)
				w.plan(h)
			}
		}
	}
	for _, h := range n.homes {
		w.link(n, h)
	}
	if n.raid != nil {
		w.k.After(raidEvery, func() { w.attack(n) })
	}
	w.plan(n)
}

// link opens a link, unless the hub has not started: then it opens later.
func (w *World) link(n, h *node) {
	if h.Sampler == nil {
		w.k.After(time.Second, func() { w.link(n, h) })
		return
	}
	if !n.alive || !h.alive || !slices.Contains(n.homes, h) {
		return
	}
	n.LinkUp(w.k.Now(), h.id)
	h.LinkUp(w.k.Now(), n.id)
	w.plan(n)
	w.plan(h)
}

// house gives a node two hubs, as far as there are so many: those it has, and
// others by chance.
func (w *World) house(n *node) {
	var live []*node
	for _, h := range w.hubs {
		if (h.alive || h.Sampler == nil) && !slices.Contains(n.homes, h) {
			live = append(live, h)
		}
	}
	for len(n.homes) < wire.MaxHubs && len(live) > 0 {
		i := w.k.Rand().IntN(len(live))
		n.homes = append(n.homes, live[i])
		live = slices.Delete(live, i, i+1)
	}
	n.card.Hubs = nil
	for _, h := range n.homes {
		n.card.Hubs = append(n.card.Hubs, h.id)
	}
}

// reach says what a node knows of the way to a card's subject.
func (w *World) reach(n *node, c *wire.Card) gossip.Path {
	to := w.byID[c.ID]
	switch {
	case to == nil:
		return gossip.Nowhere
	case n.hub && to.hub || slices.Contains(n.homes, to) || slices.Contains(to.homes, n):
		return gossip.Linked
	case n.hub || len(n.homes) > 0:
		return gossip.Routed
	}
	return gossip.Nowhere
}

// plan makes sure that a node is ticked when it wants to be.
func (w *World) plan(n *node) {
	at := n.Next()
	if !n.alive || n.tickAt > w.k.Now() && n.tickAt <= at {
		return
	}
	n.tickAt = at
	w.k.At(at, func() {
		if !n.alive || n.tickAt != at {
			return
		}
		w.send(n, n.Tick(w.k.Now()))
		n.tickAt = 0
		w.plan(n)
	})
}

// send brings messages on their way.
func (w *World) send(from *node, sends []gossip.Send) {
	for _, s := range sends {
		if from.raid != nil {
			from.raid.taint(w, s.Msg)
		}
		msg := w.count(s.Msg)
		to := w.byID[s.To]
		if to == nil || w.k.Chance(w.cfg.Loss) || !w.passes(from, to, s.Via) {
			continue
		}
		delay := w.k.Between(5*time.Millisecond, 100*time.Millisecond)
		if to.hidden {
			delay *= 3
		}
		w.k.After(delay, func() {
			if to.alive && w.passes(from, to, s.Via) {
				w.k.Trace(uint64(from.index), uint64(to.index), uint64(msg.Kind()))
				w.send(to, to.Receive(w.k.Now(), from.id, msg))
				w.plan(to)
			}
		})
	}
}

// passes reports whether there is a way: to a hidden node it leads over a hub
// of the card that the sender has, or over one of its own for an answer.
func (w *World) passes(from, to *node, via []wire.NodeID) bool {
	if !to.alive || w.apart != nil && w.apart(from.index) != w.apart(to.index) {
		return false
	}
	if !to.hidden || from.hub && slices.Contains(to.homes, from) {
		return true
	}
	up := func(h *node) bool { return h.alive && slices.Contains(to.homes, h) }
	if len(via) == 0 {
		return slices.ContainsFunc(to.homes, up)
	}
	return slices.ContainsFunc(via, func(id wire.NodeID) bool { h := w.byID[id]; return h != nil && up(h) })
}

// count counts a message, and passes some through the wire's encoding.
func (w *World) count(m wire.Message) wire.Message {
	w.messages++
	if w.messages%wireEach != 1 {
		return m
	}
	b := wire.Encode(m)
	w.sampled++
	w.bytes += uint64(len(b)) + 4
	back, err := wire.Decode(b)
	if err != nil {
		panic(err) // our own message
	}
	return back
}

// Run lets rounds pass.
func (w *World) Run(rounds int) { w.k.Run(w.k.Now() + time.Duration(rounds)*gossip.Period) }

// Kill ends a share of the nodes at once, hubs among them, without a word. Those
// that lose a hub have links to another one 10 s later.
func (w *World) Kill(share float64) {
	var live []*node
	for _, n := range w.nodes {
		if n.alive {
			live = append(live, n)
		}
	}
	w.k.Rand().Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
	dead := live[:int(share*float64(len(live)))]
	for _, n := range dead {
		n.alive = false
	}
	w.k.After(rehome, w.rehome)
}

// rehome gives those that have lost hubs new ones; without any hub left, some
// of the nodes that can be reached become hubs.
func (w *World) rehome() {
	w.hubs = slices.DeleteFunc(w.hubs, func(h *node) bool { return !h.alive })
	for _, n := range w.nodes {
		if len(w.hubs) < 2 && n.alive && !n.hidden && !n.hub {
			n.hub = true
			w.hubs = append(w.hubs, n)
		}
	}
	for _, n := range w.nodes {
		if !n.alive || n.hub || !slices.ContainsFunc(n.homes, func(h *node) bool { return !h.alive }) {
			continue
		}
		for _, h := range n.homes {
			if !h.alive {
				n.LinkDown(h.id)
			}
		}
		n.homes = slices.DeleteFunc(n.homes, func(h *node) bool { return !h.alive })
		w.house(n)
		n.Describe(n.card)
		for _, h := range n.homes {
			w.link(n, h)
		}
	}
}

// Join starts more nodes and returns the number of the first.
func (w *World) Join(count int) int {
	first := len(w.nodes)
	for range count {
		w.start(w.add(false))
	}
	return first
}

// Split parts the session in two by the numbers of the nodes, or makes it
// whole again; then hubs find each other anew.
func (w *World) Split(apart func(i int) bool) {
	was := w.apart
	w.apart = apart
	for _, a := range w.hubs {
		for _, b := range w.hubs {
			if a == b {
				continue
			}
			if apart != nil && apart(a.index) != apart(b.index) {
				a.LinkDown(b.id)
			} else if was != nil {
				a.LinkUp(w.k.Now(), b.id)
			}
		}
	}
}

// Digest returns a digest of all messages that arrived, with their times.
func (w *World) Digest() uint64 { return w.k.Digest() }
