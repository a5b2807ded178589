package hub_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/hub"
	"github.com/zorilla-grid/zorilla/overlay/sim"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

func nodeID(n int) (id wire.NodeID) {
	// Identities are spread as digests are.
	binary.BigEndian.PutUint64(id[:], uint64(n+1)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint32(id[12:], uint32(n+1))
	return id
}

// world is a simulated network of nodes that relay.
type world struct {
	t        testing.TB
	k        *sim.Kernel
	loss     float64
	nodes    []*node
	byID     map[wire.NodeID]*node
	links    map[[2]int]*truth // both ways
	group    func(n int) int   // nil: no partition
	messages int
	states   int // statements in them
	bytes    int
}

type node struct {
	w     *world
	n     int
	peer  hub.Peer
	g     *hub.Graph
	dead  bool
	timer time.Duration
}

type truth struct {
	rtt  time.Duration
	up   bool
	life int // of the link, so that messages of an older one are lost
	lane [2]sim.Lane
}

func newWorld(t testing.TB, seed uint64) *world {
	return &world{t: t, k: sim.New(seed), byID: make(map[wire.NodeID]*node), links: make(map[[2]int]*truth)}
}

func (w *world) add(role wire.Role) *node {
	n := &node{w: w, n: len(w.nodes)}
	n.peer = hub.Peer{ID: nodeID(n.n), Role: role, Site: fmt.Sprint("site", n.n)}
	n.g = hub.New(hub.Config{Peer: n.peer}, w.k.Now())
	w.nodes = append(w.nodes, n)
	w.byID[n.peer.ID] = n
	n.act()
	return n
}

// act does what a graph wants done.
func (n *node) act() {
	fx := n.g.Ready()
	for _, s := range fx.Sends {
		n.w.send(n, n.w.byID[s.To], s.Msg)
	}
	if fx.Routes != nil {
		n.w.sound(n, fx.Routes)
	}
	if next := n.g.Next(); n.timer == 0 || next < n.timer {
		n.timer = next
		n.w.k.At(next, func() {
			if n.timer != next || n.dead {
				return
			}
			n.timer = 0
			n.g.Tick(n.w.k.Now())
			n.act()
		})
	}
}

// sound holds what must be true of routes at any time: they begin at a
// neighbour, end where they should, are short, and cross nobody twice.
func (w *world) sound(n *node, routes map[wire.NodeID][]wire.NodeID) {
	for dst, route := range routes {
		if len(route) == 0 || len(route) > wire.MaxHops || route[len(route)-1] != dst {
			w.t.Fatalf("%v: route to %s: %v", w.k.Now(), dst.Short(), route)
		}
		for i, id := range route {
			if id == n.peer.ID || slices.Contains(route[:i], id) {
				w.t.Fatalf("%v: route to %s goes in a circle: %v", w.k.Now(), dst.Short(), route)
			}
		}
	}
}

func (w *world) link(a, b int) *truth {
	if a > b {
		a, b = b, a
	}
	return w.links[[2]int{a, b}]
}

func (w *world) send(from, to *node, m wire.Message) {
	w.messages++
	if m, ok := m.(*wire.LinkStates); ok {
		w.states += len(m.States)
	}
	if w.messages%16 == 0 {
		b := wire.Encode(m)
		w.bytes += len(b)
		again, err := wire.Decode(b)
		if err != nil {
			w.t.Fatal(err)
		}
		m = again
	}
	l := w.link(from.n, to.n)
	if l == nil || !l.up || w.k.Chance(w.loss) {
		return
	}
	life, dir := l.life, 0
	if from.n > to.n {
		dir = 1
	}
	w.k.At(l.lane[dir].Arrive(w.k, sim.Path{Delay: l.rtt / 2, Jitter: l.rtt / 10}), func() {
		if l.up && l.life == life && !to.dead {
			to.g.Receive(w.k.Now(), from.peer.ID, m)
			to.act()
		}
	})
}

// connect makes a link; each end learns of it by itself.
func (w *world) connect(a, b *node, rtt time.Duration) {
	key := [2]int{min(a.n, b.n), max(a.n, b.n)}
	l := w.links[key]
	if l == nil {
		l = &truth{rtt: rtt}
		w.links[key] = l
	}
	if l.up || a.dead || b.dead || w.group != nil && w.group(a.n) != w.group(b.n) {
		return
	}
	l.up = true
	l.life++
	life := l.life
	for _, e := range [2][2]*node{{a, b}, {b, a}} {
		w.k.After(w.k.Between(0, l.rtt), func() {
			if l.up && l.life == life && !e[0].dead {
				e[0].g.LinkUp(w.k.Now(), e[1].peer)
				e[0].g.Measured(w.k.Now(), e[1].peer.ID, l.rtt)
				e[0].act()
			}
		})
	}
}

// cut ends a link; each end learns of it by itself.
func (w *world) cut(a, b *node) {
	l := w.link(a.n, b.n)
	if l == nil || !l.up {
		return
	}
	l.up = false
	life := l.life
	for _, e := range [2][2]*node{{a, b}, {b, a}} {
		w.k.After(w.k.Between(0, 2*l.rtt), func() {
			if l.life == life && !e[0].dead {
				e[0].g.LinkDown(w.k.Now(), e[1].peer.ID)
				e[0].act()
			}
		})
	}
}

func (w *world) kill(n *node) {
	for _, o := range w.nodes {
		w.cut(n, o)
	}
	n.dead = true
}

// partition ends all links between groups; nil brings them back.
func (w *world) partition(group func(n int) int) {
	w.group = group
	for i := range w.nodes {
		for j := range i {
			l := w.link(i, j)
			switch {
			case l == nil:
			case group != nil && group(i) != group(j):
				w.cut(w.nodes[i], w.nodes[j])
			case group == nil && !l.up:
				w.connect(w.nodes[i], w.nodes[j], l.rtt)
			}
		}
	}
}

const far = math.MaxInt64 / 4

// cost is what the graph minimises, for a link that is up.
func (w *world) cost(i, j int) int64 {
	l := w.link(i, j)
	if l == nil || !l.up {
		return far
	}
	return int64(l.rtt/time.Microsecond) + 250
}

// floyd returns the least costs without a bound on links, after Floyd and
// Warshall, and the fewest links of such a way. Launchers are crossed as a last resort.
func (w *world) floyd() (cost [][]int64, hops [][]int) {
	n := len(w.nodes)
	cost, hops = make([][]int64, n), make([][]int, n)
	for i := range n {
		cost[i], hops[i] = make([]int64, n), make([]int, n)
		for j := range n {
			cost[i][j], hops[i][j] = w.cost(i, j), 1
		}
	}
	for k := range n {
		toll := int64(0)
		if w.nodes[k].peer.Role == wire.RoleLauncher {
			toll = 10_000_000
		}
		for i := range n {
			if i == k || cost[i][k] >= far {
				continue
			}
			for j := range n {
				if c, h := cost[i][k]+toll+cost[k][j], hops[i][k]+hops[k][j]; j != i && j != k &&
					(c < cost[i][j] || c == cost[i][j] && h < hops[i][j]) {
					cost[i][j], hops[i][j] = c, h
				}
			}
		}
	}
	return cost, hops
}

// judge compares all routes with the truth and returns how many are wrong.
func (w *world) judge() (wrong, pairs, long int) {
	cost, hops := w.floyd()
	for _, a := range w.nodes {
		if a.dead {
			continue
		}
		routes := a.g.Routes()
		reachable := 0
		for _, b := range w.nodes {
			if a == b || b.dead {
				continue
			}
			pairs++
			route := routes[b.peer.ID]
			if route != nil {
				reachable++
			}
			c := cost[a.n][b.n]
			if c < far && hops[a.n][b.n] > wire.MaxHops {
				long++ // the best way is longer than allowed; any that holds will do
				if route != nil && w.along(a, route) < c {
					wrong++
				}
				continue
			}
			if (c < far) != (route != nil) || route != nil && w.along(a, route) != c {
				wrong++
			}
		}
		if len(routes) != reachable {
			wrong += len(routes) - reachable // to the dead
		}
	}
	return wrong, pairs, long
}

// along returns what a route costs in truth.
func (w *world) along(from *node, route []wire.NodeID) int64 {
	sum := int64(0)
	at := from
	for _, id := range route {
		to := w.byID[id]
		if at != from && at.peer.Role == wire.RoleLauncher {
			sum += 10_000_000
		}
		sum += w.cost(at.n, to.n)
		at = to
	}
	return min(sum, far)
}
