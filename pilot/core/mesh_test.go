package core_test

import (
	"container/heap"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/vivaldi"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// seal signs cards in tests: whoever knows the session's key can verify.
type seal struct{}

func (seal) of(id wire.NodeID, signed []byte) []byte {
	mac := hmac.New(sha256.New, id[:])
	mac.Write(signed)
	return append(mac.Sum(nil), make([]byte, wire.SignatureSize-sha256.Size)...)
}

func (s seal) Verify(c *wire.Card, signed []byte) bool {
	return hmac.Equal(c.Signature, s.of(c.ID, signed))
}

// mesh is a network of nodes in which messages take time.
type mesh struct {
	t      *testing.T
	now    time.Duration
	nodes  map[wire.NodeID]*core.Node
	names  map[wire.NodeID]string
	peers  map[string]wire.Peer
	delays map[[2]string]time.Duration // one way, of links
	events map[string][]core.Event
	counts map[wire.Kind]int
	todo   agenda
	lose   func(from, to string, m wire.Message) bool
	silent func(from, to string)                   // what a node does not hear any more; nil ignores it
	routed map[[2]string]bool                      // links over others
	direct func(a, b string) (time.Duration, bool) // what a wish for a direct link gets
}

type entry struct {
	at  time.Duration
	seq int
	do  func()
}

type agenda struct {
	list []entry
	seq  int
}

func (a *agenda) Len() int { return len(a.list) }
func (a *agenda) Less(i, j int) bool {
	x, y := &a.list[i], &a.list[j]
	return x.at < y.at || x.at == y.at && x.seq < y.seq
}
func (a *agenda) Swap(i, j int) { a.list[i], a.list[j] = a.list[j], a.list[i] }
func (a *agenda) Push(x any)    { a.list = append(a.list, x.(entry)) }
func (a *agenda) Pop() any {
	x := a.list[len(a.list)-1]
	a.list = a.list[:len(a.list)-1]
	return x
}

func newMesh(t *testing.T) *mesh {
	return &mesh{t: t, now: time.Minute, nodes: map[wire.NodeID]*core.Node{}, names: map[wire.NodeID]string{}, peers: map[string]wire.Peer{},
		delays: map[[2]string]time.Duration{}, events: map[string][]core.Event{}, counts: map[wire.Kind]int{}, routed: map[[2]string]bool{}}
}

func (w *mesh) after(d time.Duration, do func()) {
	w.todo.seq++
	heap.Push(&w.todo, entry{w.now + d, w.todo.seq, do})
}

func (w *mesh) add(name string, role wire.Role, site string, change func(*core.Config)) {
	w.t.Helper()
	p := wire.Peer{ID: nodeID(name), Role: role, Site: site}
	cfg := core.Config{ID: p.ID, Role: role, Site: site, Name: name, Platform: "linux/amd64", Verify: seal{}, Idle: core.Forever, Seed: uint64(len(w.peers)) + 7,
		Sign: func(b []byte) []byte { return seal{}.of(p.ID, b) }}
	if role == wire.RolePilot {
		cfg.Offer = wire.Offer{Slots: 4, Cores: 4, Memory: 4 << 30}
	}
	if change != nil {
		change(&cfg)
	}
	w.peers[name], w.names[p.ID] = p, name
	w.nodes[p.ID] = core.New(cfg, w.now)
	w.do(name, func(*core.Node) {})
}

// do gives a node an input, and does what it wants done.
func (w *mesh) do(name string, f func(*core.Node)) {
	n := w.nodes[w.peers[name].ID]
	if n == nil {
		return
	}
	f(n)
	fx := n.Ready()
	w.events[name] = append(w.events[name], fx.Events...)
	for _, id := range fx.Silent {
		if w.silent != nil {
			w.silent(name, w.names[id])
		}
	}
	for _, s := range fx.Sends {
		w.send(name, w.names[s.To], s.Msg)
	}
	for _, to := range fx.Dials {
		if other := w.names[to.ID]; w.direct != nil && w.nodes[to.ID] != nil {
			if d, ok := w.direct(name, other); ok {
				w.after(3*d, func() {
					if _, there := w.delays[pair(name, other)]; !there && w.node(name) != nil && w.node(other) != nil {
						w.link(name, other, d)
					}
				})
			}
		}
	}
	if fx.Leave != nil {
		w.kill(name)
		return
	}
	at := n.Next()
	w.after(max(at-w.now, 1), func() {
		if w.nodes[w.peers[name].ID] == n && n.Next() == at {
			w.do(name, func(n *core.Node) { n.Tick(w.now) })
		}
	})
}

func (w *mesh) send(from, to string, m wire.Message) {
	delay, ok := w.delays[pair(from, to)]
	if !ok && w.routed[pair(from, to)] {
		delay, ok = w.path(from, to)
	}
	if !ok {
		w.linkOver(from, to)
		return
	}
	if w.lose != nil && w.lose(from, to, m) {
		return
	}
	w.counts[m.Kind()]++
	back, err := wire.Decode(wire.Encode(m))
	if err != nil {
		w.t.Fatalf("%s sends %T, which does not decode: %v", from, m, err)
	}
	w.after(delay, func() {
		if _, ok := w.delays[pair(from, to)]; ok || w.routed[pair(from, to)] {
			w.do(to, func(n *core.Node) { n.Receive(w.now, w.peers[from].ID, back) })
		}
	})
}

func (w *mesh) link(a, b string, delay time.Duration) {
	w.delays[pair(a, b)] = delay
	w.do(a, func(n *core.Node) { n.LinkUp(w.now, w.peers[b]) })
	w.do(b, func(n *core.Node) { n.LinkUp(w.now, w.peers[a]) })
}

func (w *mesh) unlink(a, b string) {
	delete(w.delays, pair(a, b))
	delete(w.routed, pair(a, b))
	w.do(a, func(n *core.Node) { n.LinkDown(w.now, w.peers[b].ID) })
	w.do(b, func(n *core.Node) { n.LinkDown(w.now, w.peers[a].ID) })
	for _, p := range slices.SortedFunc(maps.Keys(w.routed), func(x, y [2]string) int { return slices.Compare(x[:], y[:]) }) {
		if _, ok := w.path(p[0], p[1]); !ok && w.routed[p] {
			w.unlink(p[0], p[1])
		}
	}
}

// kill ends a node without a word.
func (w *mesh) kill(name string) {
	delete(w.nodes, w.peers[name].ID)
	for _, other := range slices.Sorted(maps.Keys(w.peers)) {
		if _, ok := w.delays[pair(name, other)]; ok || w.routed[pair(name, other)] {
			w.unlink(name, other)
		}
	}
}

// path is how long a message takes over those that relay.
func (w *mesh) path(from, to string) (time.Duration, bool) {
	best := map[string]time.Duration{from: 0}
	for list := []string{from}; len(list) > 0; list = list[1:] {
		at := list[0]
		n := w.node(at)
		if n == nil || at != from && !n.Stats(w.now).Relays {
			continue
		}
		for p, d := range w.delays {
			other := p[0]
			if other == at {
				other = p[1]
			} else if p[1] != at {
				continue
			}
			if old, ok := best[other]; !ok || best[at]+d < old {
				best[other] = best[at] + d
				list = append(list, other)
			}
		}
	}
	d, ok := best[to]
	return d, ok && w.node(to) != nil
}

// linkOver makes a link over others, which takes a while.
func (w *mesh) linkOver(a, b string) {
	d, ok := w.path(a, b)
	if !ok {
		return
	}
	w.after(2*d, func() {
		_, direct := w.delays[pair(a, b)]
		if _, ok := w.path(a, b); !ok || direct || w.routed[pair(a, b)] || w.node(a) == nil {
			return
		}
		w.routed[pair(a, b)] = true
		w.do(a, func(n *core.Node) { n.LinkRouted(w.now, w.peers[b]) })
		w.do(b, func(n *core.Node) { n.LinkRouted(w.now, w.peers[a]) })
	})
}

// run lets time pass.
func (w *mesh) run(d time.Duration) {
	end := w.now + d
	for w.todo.Len() > 0 && w.todo.list[0].at <= end {
		e := heap.Pop(&w.todo).(entry)
		w.now = e.at
		e.do()
	}
	w.now = end
}

func (w *mesh) node(name string) *core.Node { return w.nodes[w.peers[name].ID] }

// blamed counts what a node has said against others.
func (w *mesh) blamed(name string) (n int) {
	for _, e := range w.events[name] {
		if _, ok := e.(core.Misbehaved); ok {
			n++
		}
	}
	return n
}

// twoSites are a launcher, and two hubs with pilots that have no other link.
func twoSites(t *testing.T, pilots int) *mesh {
	w := newMesh(t)
	w.add("L", wire.RoleLauncher, "home", nil)
	for _, site := range []string{"a", "b"} {
		w.add("hub-"+site, wire.RoleHub, site, nil)
		w.link("L", "hub-"+site, 15*time.Millisecond)
	}
	w.link("hub-a", "hub-b", 20*time.Millisecond)
	for i := range pilots {
		for _, site := range []string{"a", "b"} {
			name := fmt.Sprintf("%s%d", site, i)
			w.add(name, wire.RolePilot, site, nil)
			w.link(name, "hub-"+site, 100*time.Microsecond)
		}
	}
	return w
}

// Pilots that have a link to their hub only learn of all others, and how far
// the other site is over the hubs.
func TestGossipThroughHubs(t *testing.T) {
	t.Parallel()
	w := twoSites(t, 4)
	w.run(90 * time.Second)
	for id, n := range w.nodes {
		if got := n.Stats(w.now).View; got != len(w.nodes)-1 {
			t.Errorf("%s knows %d of %d others", w.names[id], got, len(w.nodes)-1)
		}
		for _, e := range w.events[w.names[id]] {
			if m, ok := e.(core.Misbehaved); ok {
				t.Errorf("%s blames %s: %s", w.names[id], w.names[m.Peer.ID], m.Reason)
			}
		}
	}
	w.run(3 * time.Minute)
	for _, pair := range [][2]string{{"a0", "b0"}, {"a3", "b1"}, {"hub-a", "b2"}} {
		a, ok := w.node(pair[0]).Place()
		b, also := w.node(pair[1]).Place()
		if d := vivaldi.Distance(a, b); !ok || !also || d < 28*time.Millisecond || d > 54*time.Millisecond {
			t.Errorf("%s and %s are %v apart: they should be about 40 ms", pair[0], pair[1], d)
		}
	}
	if w.counts[wire.KindDatagram] == 0 {
		t.Error("nothing went through the hubs")
	}
}

// A node without anything to sign with has no part in it, and bothers nobody.
func TestWithoutGossip(t *testing.T) {
	t.Parallel()
	w := newMesh(t)
	w.add("L", wire.RoleLauncher, "home", nil)
	w.add("P", wire.RolePilot, "a", func(c *core.Config) { c.Sign, c.Verify = nil, nil })
	w.link("L", "P", time.Millisecond)
	w.run(time.Minute)
	if _, ok := w.node("P").Place(); ok || w.node("P").Stats(w.now).View != 0 {
		t.Error("it has a place, or a view")
	}
	w.do("P", func(n *core.Node) {
		n.Receive(w.now, w.peers["L"].ID, &wire.Probe{Seq: 1, Coordinate: wire.Coordinate{Error: 1}})
		n.Receive(w.now, w.peers["L"].ID, &wire.ProbeReply{Seq: 1, Coordinate: wire.Coordinate{Error: 1}})
		n.Receive(w.now, w.peers["L"].ID, &wire.Placed{Coordinate: wire.Coordinate{Error: 1}})
	})
	if w.counts[wire.KindProbeReply] != 0 {
		t.Error("it answers probes")
	}
}

// What a pilot sends in others' names goes no further than its hub, and what
// it sends too much of neither.
func TestHostilePilot(t *testing.T) {
	t.Parallel()
	w := twoSites(t, 2)
	w.run(10 * time.Second)
	forged := &wire.Datagram{Src: w.peers["a1"].ID, Dst: w.peers["b0"].ID, Hubs: []wire.NodeID{w.peers["hub-b"].ID}, Hops: 8,
		Body: wire.BodyOf(&wire.Placed{Coordinate: wire.Coordinate{Error: 1}})}
	w.lose = func(from, _ string, m wire.Message) bool {
		if d, ok := m.(*wire.Datagram); ok && from == "hub-a" && d.Src == forged.Src && d.Hops == forged.Hops-1 && len(d.SrcHubs) == 0 {
			t.Error("a forged datagram is passed on")
		}
		return false
	}
	for range 3 {
		w.send("a0", "hub-a", forged)
	}
	w.run(time.Second / 4)
	if n := w.blamed("hub-a"); n != 1 {
		t.Errorf("the forger is named %d times", n)
	}

	mine := *forged
	mine.Src = w.peers["a0"].ID
	got := 0
	w.lose = func(from, to string, m wire.Message) bool {
		if d, ok := m.(*wire.Datagram); ok && to == "b0" && d.Src == mine.Src {
			got++
		}
		return false
	}
	for range 2000 {
		w.send("a0", "hub-a", &mine)
	}
	w.run(time.Second)
	if got < 100 || got > 300 {
		t.Errorf("%d of 2000 datagrams at once were passed on", got)
	}
	if n := w.blamed("hub-a"); n != 2 {
		t.Errorf("forger and flooder are named %d times", n)
	}
}

// Who passes on what nobody has signed is named once.
func TestForgedCards(t *testing.T) {
	t.Parallel()
	w := twoSites(t, 2)
	w.run(10 * time.Second)
	for i := range 20 {
		c := &wire.Card{ID: nodeID(fmt.Sprint("nobody", i)), Role: wire.RolePilot, Site: "a", Seq: 1, Signature: make([]byte, wire.SignatureSize)}
		w.send("a0", "hub-a", &wire.Exchange{Seq: uint64(i), Entries: []wire.Entry{{Card: c}}})
		w.run(time.Second)
	}
	if n := w.blamed("hub-a"); n != 1 {
		t.Errorf("the forger is named %d times", n)
	}
	if v := w.node("hub-a").Stats(w.now).View; v > len(w.nodes)-1 {
		t.Errorf("%d nodes are known, there are %d", v, len(w.nodes))
	}
}

// A node answers only so many probes, whoever asks.
func TestProbesBounded(t *testing.T) {
	t.Parallel()
	w := twoSites(t, 1)
	w.run(10 * time.Second)
	before := w.counts[wire.KindProbeReply]
	for range 1000 {
		w.send("hub-a", "a0", &wire.Probe{Seq: 1, Coordinate: wire.Coordinate{Error: 1}})
	}
	w.run(time.Second / 2)
	if n := w.counts[wire.KindProbeReply] - before; n < 100 || n > 200 {
		t.Errorf("%d of 1000 probes at once were answered", n)
	}
	if n := w.blamed("a0"); n != 1 {
		t.Errorf("the flood is told of %d times", n)
	}
}

// Datagrams end: without hops, without a way, and in a circle of lies.
func TestDatagramsEnd(t *testing.T) {
	t.Parallel()
	w := twoSites(t, 1)
	w.run(10 * time.Second)
	body := wire.BodyOf(&wire.Placed{Coordinate: wire.Coordinate{Error: 1}})
	for name, d := range map[string]*wire.Datagram{
		"no hops":  {Dst: w.peers["b0"].ID, Hubs: []wire.NodeID{w.peers["hub-b"].ID}},
		"nowhere":  {Dst: nodeID("nobody"), Hops: 8},
		"a circle": {Dst: nodeID("nobody"), Hops: 8, Route: []wire.NodeID{w.peers["hub-b"].ID, w.peers["L"].ID, w.peers["hub-a"].ID}},
	} {
		d.Src, d.Body = w.peers["a0"].ID, body
		lost, sent := uint64(0), w.counts[wire.KindDatagram]
		for _, n := range w.nodes {
			lost -= n.Stats(w.now).Lost
		}
		w.lose = func(_, _ string, m wire.Message) bool {
			x, ok := m.(*wire.Datagram)
			return !ok || x.Src != d.Src || x.Dst != d.Dst
		}
		w.send("a0", "hub-a", d)
		w.run(time.Second)
		w.lose = nil
		for _, n := range w.nodes {
			lost += n.Stats(w.now).Lost
		}
		if hops := w.counts[wire.KindDatagram] - sent; lost != 1 || hops > 1+wire.MaxHops {
			t.Errorf("%s: lost %d times after %d hops", name, lost, hops)
		}
		w.run(10 * time.Second)
	}
}

// Pilots that lie about where they are mislead nobody else by much, and the
// session goes on.
func TestLyingPlaces(t *testing.T) {
	t.Parallel()
	for name, place := range map[string]wire.Coordinate{
		"far and sure": {Position: wire.Position{wire.MaxPosition, -wire.MaxPosition, wire.MaxPosition, 0}, Height: wire.MaxHeight, Error: wire.MinError},
		"everywhere":   {Error: wire.MinError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := twoSites(t, 10)
			told := 0
			var lie func(m wire.Message) bool
			lie = func(m wire.Message) bool {
				switch m := m.(type) {
				case *wire.Probe:
					m.Coordinate = place
				case *wire.ProbeReply:
					m.Coordinate = place
				case *wire.Placed:
					m.Coordinate = place
				case *wire.Datagram:
					in, err := m.Body.Message()
					if err != nil || !lie(in) {
						return false
					}
					m.Body = wire.BodyOf(in)
				default:
					return false
				}
				told++
				return true
			}
			w.lose = func(from, _ string, m wire.Message) bool {
				if from == "b0" {
					lie(m)
				}
				return false
			}
			w.run(5 * time.Minute)
			if told < 20 {
				t.Fatalf("only %d lies were told", told)
			}
			for _, pair := range [][2]string{{"a0", "b1"}, {"a3", "b2"}, {"hub-a", "b3"}, {"hub-a", "hub-b"}} {
				a, ok := w.node(pair[0]).Place()
				b, also := w.node(pair[1]).Place()
				if d := vivaldi.Distance(a, b); !ok || !also || d < 28*time.Millisecond || d > 54*time.Millisecond {
					t.Errorf("%s and %s are %v apart: they should be about 40 ms", pair[0], pair[1], d)
				}
			}
			if got := w.node("L").Stats(w.now).View; got != len(w.nodes)-1 {
				t.Errorf("the launcher knows %d of %d others", got, len(w.nodes)-1)
			}
		})
	}
}
