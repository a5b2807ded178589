package hub_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/hub"
	"github.com/zorilla-grid/zorilla/overlay/sim"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

func hubPeer(n int) hub.Peer {
	return hub.Peer{ID: nodeID(n), Role: wire.RoleHub, Site: fmt.Sprint("site", n)}
}

// state is a node's statement, its links in order.
func state(n int, seq uint64, to ...int) *wire.LinkState {
	s := &wire.LinkState{Origin: nodeID(n), Role: wire.RoleHub, Site: fmt.Sprint("site", n), Seq: seq}
	for _, t := range to {
		s.Links = append(s.Links, wire.HubLink{ID: nodeID(t), RTT: 1000})
	}
	slices.SortFunc(s.Links, func(a, b wire.HubLink) int { return a.ID.Compare(b.ID) })
	return s
}

// line returns the graph of node 0 in a line of hubs 0-1-2-...-n, as told by 1.
func line(n int) *hub.Graph {
	g := hub.New(hub.Config{Peer: hubPeer(0)}, 0)
	g.LinkUp(0, hubPeer(1))
	tell(g, 0, state(1, 1, 0, 2))
	for i := 2; i < n; i++ {
		tell(g, 0, state(i, 1, i-1, i+1))
	}
	tell(g, 0, state(n, 1, n-1))
	g.Tick(time.Second)
	g.Ready()
	return g
}

// tell lets neighbour 1 pass a statement on.
func tell(g *hub.Graph, now time.Duration, s *wire.LinkState) {
	g.Receive(now, nodeID(1), &wire.LinkStates{States: []*wire.LinkState{s}})
}

func ids(numbers ...int) (list []wire.NodeID) {
	for _, n := range numbers {
		list = append(list, nodeID(n))
	}
	return list
}

// TestBothEnds holds that a link counts when both ends declare it, at the
// greater of their times, and that routes are as short as they must be.
func TestBothEnds(t *testing.T) {
	t.Parallel()
	g := line(10)
	for n := 1; n <= 10; n++ {
		want := ids(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)[:n]
		if n > wire.MaxHops {
			want = nil
		}
		if got := g.Routes()[nodeID(n)]; !slices.Equal(got, want) {
			t.Errorf("route to %d: %v", n, got)
		}
	}
	now := 10 * time.Second
	tell(g, now, state(5, 2, 4))        // 5 has lost its link to 6, which does not know yet
	tell(g, now, state(12, 1, 3))       // 12 says that it has a link to 3
	tell(g, now, state(13, 1, 12))      // and 13 does not say so,
	tell(g, now, state(2, 2, 1, 3, 13)) // but 2 does
	g.Tick(now + time.Second)
	fx := g.Ready()
	if fx.Routes == nil || fx.Routes[nodeID(6)] != nil || len(fx.Down) != 3 {
		t.Errorf("6, 7 and 8 cannot be reached any more: %v", fx.Down)
	}
	if g.Routes()[nodeID(12)] != nil || g.Routes()[nodeID(13)] != nil {
		t.Error("a link counts that only one end declares")
	}
	s := state(3, 2, 2, 4, 12)
	for i := range s.Links {
		s.Links[i].RTT = 30_000
	}
	tell(g, now+time.Second, s)
	g.Tick(now + 2*time.Second)
	if g.Routes()[nodeID(12)] == nil {
		t.Error("a link does not count that both ends declare")
	}
	if rtt, ok := g.RTT(nodeID(4)); !ok || rtt < 60*time.Millisecond {
		t.Errorf("4 is %v away, want the greater of the ends' words", rtt)
	}
}

// TestFailover holds that the end of a link is answered at once.
func TestFailover(t *testing.T) {
	t.Parallel()
	g := line(4)
	now := 5 * time.Second
	g.LinkUp(now, hubPeer(20))
	g.Receive(now, nodeID(20), &wire.LinkStates{States: []*wire.LinkState{state(20, 1, 0, 3)}})
	tell(g, now, state(3, 2, 2, 4, 20))
	g.Tick(now + time.Second)
	g.Measured(now+time.Second, nodeID(20), 100*time.Millisecond)
	g.Measured(now+time.Second, nodeID(1), time.Millisecond)
	g.Tick(now + 5*time.Second)
	if got := g.Routes()[nodeID(4)]; !slices.Equal(got, ids(1, 2, 3, 4)) {
		t.Fatalf("route to 4: %v", got)
	}
	if got := g.Route(nodeID(4), nodeID(2)); !slices.Equal(got, ids(20, 3, 4)) {
		t.Errorf("route to 4 without 2: %v", got)
	}
	if got := g.Route(nodeID(4), nodeID(3)); got != nil {
		t.Errorf("route to 4 without 3: %v", got)
	}
	g.Ready()
	g.LinkDown(now+5*time.Second, nodeID(1))
	if fx := g.Ready(); !slices.Equal(fx.Routes[nodeID(4)], ids(20, 3, 4)) || !slices.Equal(fx.Routes[nodeID(1)], ids(20, 3, 2, 1)) {
		t.Errorf("routes after the link has ended: %v", fx.Routes)
	}
}

// TestLauncherLast holds that a launcher is crossed when there is no other way.
func TestLauncherLast(t *testing.T) {
	t.Parallel()
	g := hub.New(hub.Config{Peer: hubPeer(0)}, 0)
	launcher := hub.Peer{ID: nodeID(9), Role: wire.RoleLauncher}
	g.LinkUp(0, hubPeer(1))
	g.LinkUp(0, launcher)
	x := state(9, 1, 0, 4)
	x.Role, x.Site = wire.RoleLauncher, ""
	g.Receive(0, nodeID(9), &wire.LinkStates{States: []*wire.LinkState{x}})
	tell(g, 0, state(1, 1, 0, 2))
	tell(g, 0, state(2, 1, 1, 3))
	tell(g, 0, state(3, 1, 2, 4))
	tell(g, 0, state(4, 1, 3, 9))
	g.Tick(time.Second)
	if got := g.Routes()[nodeID(4)]; !slices.Equal(got, ids(1, 2, 3, 4)) {
		t.Errorf("route to 4: %v", got)
	}
	if got := g.Routes()[nodeID(9)]; !slices.Equal(got, ids(9)) {
		t.Errorf("route to the launcher: %v", got)
	}
	g.LinkDown(2*time.Second, nodeID(1))
	if got := g.Routes()[nodeID(4)]; !slices.Equal(got, ids(9, 4)) {
		t.Errorf("route to 4 across the launcher: %v", got)
	}
}

// TestLies holds what a neighbour cannot do.
func TestLies(t *testing.T) {
	t.Parallel()
	t.Run("speak for this node", func(t *testing.T) {
		t.Parallel()
		g := line(3)
		tell(g, 2*time.Second, state(0, 1000)) // it has no links, says the neighbour
		g.Tick(10 * time.Second)
		said := uint64(0)
		for _, s := range g.Ready().Sends {
			if m, ok := s.Msg.(*wire.LinkStates); ok {
				for _, x := range m.States {
					if x.Origin == nodeID(0) && len(x.Links) == 1 {
						said = x.Seq
					}
				}
			}
		}
		if said <= 1000 {
			t.Errorf("it answers with statement %d", said)
		}
		tell(g, 20*time.Second, state(0, 1<<62))
		g.Tick(30 * time.Second) // and does not panic for want of a number
		for _, s := range g.Ready().Sends {
			wire.Encode(s.Msg)
		}
	})
	t.Run("speak for another neighbour", func(t *testing.T) {
		t.Parallel()
		g := line(3)
		g.LinkUp(0, hubPeer(7))
		x := state(7, 1, 0)
		x.Role = wire.RoleLauncher // its certificate says otherwise
		tell(g, 2*time.Second, x)
		if links, _ := g.Links(nodeID(7)); links != nil || g.Stats().Forged != 1 {
			t.Errorf("links %v, %d forged", links, g.Stats().Forged)
		}
	})
	t.Run("speak as a pilot for others", func(t *testing.T) {
		t.Parallel()
		g := line(3)
		g.LinkUp(0, hub.Peer{ID: nodeID(7), Role: wire.RolePilot, Site: "site0"})
		g.Receive(0, nodeID(7), &wire.LinkStates{States: []*wire.LinkState{state(3, 9)}})
		g.Receive(0, nodeID(8), &wire.LinkStates{States: []*wire.LinkState{state(3, 9)}}) // there is no link
		g.Tick(time.Second)
		if links, _ := g.Links(nodeID(3)); len(links) != 1 {
			t.Error("a pilot is believed")
		}
	})
	t.Run("flood", func(t *testing.T) {
		t.Parallel()
		g := line(3)
		for i := range 1000 {
			tell(g, 2*time.Second, state(2, uint64(2+i), 1, 3))
		}
		if st := g.Stats(); st.Taken > 30 || st.Limited < 900 {
			t.Errorf("of 1000 statements of one node in a moment %d were taken", st.Taken)
		}
		for i := range 5000 {
			tell(g, 2*time.Second, state(100+i, 1, 2))
		}
		if n := g.Stats().Taken; n > hub.MaxVertices+30 {
			t.Errorf("%d nodes are known", n)
		}
	})
	t.Run("forge signatures", func(t *testing.T) {
		t.Parallel()
		verified := 0
		g := hub.New(hub.Config{Peer: hubPeer(0), Verify: func(s *wire.LinkState) bool {
			verified++
			return len(s.Signature) > 0
		}, Sign: func(s *wire.LinkState) {
			sum := sha256.Sum256(s.AppendSigned(nil))
			s.Signature = append(sum[:], sum[:]...)
		}}, 0)
		g.LinkUp(0, hubPeer(1))
		good := state(1, 1, 0)
		good.Signature = make([]byte, wire.SignatureSize)
		tell(g, 0, good)
		for i := range 100 {
			tell(g, 0, state(2+i, 1, 1))
		}
		if verified > 20 {
			t.Errorf("%d of 100 forgeries of one neighbour were looked at", verified)
		}
		if len(g.Hubs()) != 1 {
			t.Errorf("known: %v", g.Hubs())
		}
		g.Tick(time.Second)
		signed := false
		for _, s := range g.Ready().Sends {
			if m, ok := s.Msg.(*wire.LinkStates); ok {
				signed = len(m.States[0].Signature) == wire.SignatureSize
			}
		}
		if !signed {
			t.Error("its own statement is not signed")
		}
	})
}

// TestServing holds that a pilot that stands in for its hub can be reached as one, but
// nothing crosses it, and that it can end that.
func TestServing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	for range 3 {
		w.add(wire.RoleHub)
	}
	w.connect(w.nodes[0], w.nodes[1], 10*time.Millisecond)
	p := w.add(wire.RolePilot)
	around := w.add(wire.RoleHub)
	w.connect(w.nodes[0], around, 200*time.Millisecond)
	w.connect(w.nodes[2], around, 200*time.Millisecond)
	w.connect(p, w.nodes[1], time.Millisecond)
	w.connect(p, w.nodes[2], time.Millisecond)
	w.k.Run(5 * time.Second)
	if got := w.nodes[0].g.Routes()[p.peer.ID]; !slices.Equal(got, ids(1, 3)) {
		t.Errorf("route to the pilot: %v", got)
	}
	if got := w.nodes[0].g.Routes()[nodeID(2)]; !slices.Equal(got, ids(4, 2)) {
		t.Errorf("route that could be shorter across a pilot: %v", got)
	}
	if got := p.g.Routes()[nodeID(0)]; !slices.Equal(got, ids(1, 0)) {
		t.Errorf("the pilot's route: %v", got)
	}
	p.g.Close(w.k.Now())
	p.act()
	w.k.Run(w.k.Now() + 5*time.Second)
	if got := w.nodes[0].g.Routes()[p.peer.ID]; got != nil {
		t.Errorf("route to a pilot that has closed: %v", got)
	}
}

// TestMeet holds that two parts of the network that meet know each other
// within a few round trips, and are told nothing that they know.
func TestMeet(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		partsMeet(t, seed)
	}
}

func partsMeet(t *testing.T, seed uint64) {
	w := newWorld(t, seed)
	for range 40 {
		w.add(wire.RoleHub)
	}
	for i := range 40 {
		if i%20 != 0 {
			w.connect(w.nodes[i], w.nodes[i/20*20], 10*time.Millisecond)
		}
	}
	w.k.Run(5 * time.Second)
	before := w.states
	w.connect(w.nodes[0], w.nodes[20], 10*time.Millisecond)
	w.k.Run(w.k.Now() + 500*time.Millisecond)
	if wrong, pairs, _ := w.judge(); wrong > 0 {
		t.Errorf("%d of %d routes are wrong half a second after two parts have met", wrong, pairs)
	}
	w.k.Run(w.k.Now() + 10*time.Second)
	// 20 to each of 20, both ways, and the two new ones of those that met to all.
	if n := w.states - before; n > 2*20*20+2*40+40 {
		t.Errorf("%d statements are passed on after two parts have met", n)
	}
	before = w.states
	w.cut(w.nodes[0], w.nodes[1])
	w.k.Run(w.k.Now() + 10*time.Second)
	w.connect(w.nodes[0], w.nodes[1], 10*time.Millisecond)
	w.k.Run(w.k.Now() + 10*time.Second)
	// Of four statements to all, and of all to the one whose first word may
	// have come before the other end knew of the link.
	if n := w.states - before; n > 4*40+40 {
		t.Errorf("%d statements are passed on about one link that ended and came back", n)
	}
}

// TestForget holds that nodes nobody reaches leave.
func TestForget(t *testing.T) {
	t.Parallel()
	g := line(6)
	tell(g, 2*time.Second, state(3, 2, 2)) // 4, 5 and 6 are cut off
	g.Tick(3 * time.Second)
	g.Tick(hub.Forget)
	if _, known := g.Links(nodeID(5)); !known {
		t.Error("a node is forgotten before its time")
	}
	g.Tick(hub.Forget + 2*time.Minute)
	if _, known := g.Links(nodeID(5)); known {
		t.Error("a node that nobody reaches is not forgotten")
	}
	if len(g.Hubs()) != 3 {
		t.Errorf("%d hubs are left, want 3", len(g.Hubs()))
	}
}

// TestDamping holds that round-trip times that tremble are not worth a
// statement, and that a link that comes and goes is worth few.
func TestDamping(t *testing.T) {
	t.Parallel()
	g := line(2)
	k := sim.New(1)
	now := time.Second
	run := func(until time.Duration) {
		for g.Next() <= until {
			now = g.Next()
			g.Tick(now)
			g.Ready()
		}
		now = until
	}
	g.Measured(now, nodeID(1), 20*time.Millisecond)
	run(15 * time.Second)
	before := g.Stats().Said
	for range 1000 {
		g.Measured(now, nodeID(1), k.Between(19*time.Millisecond, 23*time.Millisecond))
		run(now + 100*time.Millisecond)
	}
	if n := g.Stats().Said - before; n > 0 {
		t.Errorf("%d statements about a round trip that trembles", n)
	}
	for range 5 {
		g.Measured(now, nodeID(1), 80*time.Millisecond)
	}
	run(now + 25*time.Second)
	if n := g.Stats().Said - before; n != 1 {
		t.Errorf("%d statements about a round trip that has grown, want 1", n)
	}
	before = g.Stats().Said
	for range 600 {
		g.LinkDown(now, nodeID(1))
		run(now + 50*time.Millisecond)
		g.LinkUp(now, hubPeer(1))
		run(now + 50*time.Millisecond)
	}
	if n := g.Stats().Said - before; n > 45 {
		t.Errorf("%d statements in a minute about a link that comes and goes", n)
	}
}

// TestRepeatable holds that the same seed gives the same run.
func TestRepeatable(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) [3]uint64 {
		w := newWorld(t, seed)
		mesh(w, 20, 4, 2)
		w.loss = 0.05
		churn(w, 15*time.Second)
		sum := uint64(0)
		for _, n := range w.nodes {
			sum = sum*31 + n.g.Stats().Taken
		}
		return [3]uint64{uint64(w.messages), w.k.Events(), sum}
	}
	if a, b, c := run(1), run(1), run(2); a != b || a == c {
		t.Errorf("seeds 1, 1, 2: %v, %v, %v", a, b, c)
	}
}

// BenchmarkCompute is one change of one link among 500 hubs of 8 links each: what it costs
// every hub.
func BenchmarkCompute(b *testing.B) {
	const n = 500
	k := sim.New(1)
	adj := make([][]int, n)
	for i := range n {
		for d := 1; d <= 4; d++ {
			j := (i + 1 + k.Rand().IntN(n-1)) % n
			if d == 1 {
				j = (i + 1) % n
			}
			if !slices.Contains(adj[i], j) && i != j {
				adj[i], adj[j] = append(adj[i], j), append(adj[j], i)
			}
		}
	}
	g := hub.New(hub.Config{Peer: hubPeer(0)}, 0)
	for _, j := range adj[0] {
		g.LinkUp(0, hubPeer(j))
	}
	first := nodeID(adj[0][0])
	for i := 1; i < n; i++ {
		g.Receive(0, first, &wire.LinkStates{States: []*wire.LinkState{state(i, 1, adj[i]...)}})
	}
	now := time.Second
	g.Tick(now)
	g.Ready()
	if len(g.Routes()) != n-1 {
		b.Fatalf("%d routes", len(g.Routes()))
	}
	seq := uint64(1)
	for b.Loop() {
		seq++
		now += 10 * time.Second
		x := state(77, seq, adj[77]...)
		x.Links[0].RTT = uint32(1000 + seq%2*500)
		g.Receive(now, first, &wire.LinkStates{States: []*wire.LinkState{x}})
		g.Ready()
	}
	if g.Stats().Computed < seq-2 {
		b.Fatalf("%d computations", g.Stats().Computed)
	}
}
