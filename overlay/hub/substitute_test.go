package hub_test

import (
	"slices"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/hub"
	"github.com/zorilla-grid/zorilla/overlay/sim"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// site is a simulated site whose hub is gone.
type site struct {
	k      *sim.Kernel
	hub    wire.NodeID
	pilots []*pilot
	byID   map[wire.NodeID]*pilot
	loss   float64
}

type pilot struct {
	s     *site
	id    wire.NodeID
	m     *hub.Substitute
	out   bool
	dead  bool
	mute  bool // others cannot get a link to it
	links map[wire.NodeID]bool
	timer time.Duration
	now   hub.SubstituteEffects // the latest
	turns int                   // how often it changed
}

func newSite(seed uint64, n int) *site {
	s := &site{k: sim.New(seed), hub: nodeID(1000), byID: make(map[wire.NodeID]*pilot)}
	for i := range n {
		p := &pilot{s: s, id: nodeID(i), m: hub.NewSubstitute(nodeID(i), "das5"), links: make(map[wire.NodeID]bool)}
		s.pilots = append(s.pilots, p)
		s.byID[p.id] = p
	}
	return s
}

func (s *site) ids() (list []wire.NodeID) {
	for _, p := range s.pilots {
		list = append(list, p.id)
	}
	return list
}

func (p *pilot) do(f func(now time.Duration)) {
	if p.dead {
		return
	}
	k := p.s.k
	f(k.Now())
	fx := p.m.Ready()
	if fx.Changed {
		p.turns++
	}
	p.now = fx
	for _, x := range fx.Sends {
		to := p.s.byID[x.To]
		if !p.links[x.To] || k.Chance(p.s.loss) {
			continue
		}
		k.After(k.Between(0, 5*time.Millisecond), func() {
			if to.links[p.id] {
				to.do(func(now time.Duration) { to.m.Receive(now, p.id, x.Msg) })
			}
		})
	}
	for _, id := range fx.Dials {
		to := p.s.byID[id]
		k.After(k.Between(0, 300*time.Millisecond), func() { p.s.connect(p, to) })
	}
	if next := p.m.Next(); next != p.timer {
		p.timer = next
		k.At(next, func() {
			if p.timer == next {
				p.do(p.m.Tick)
			}
		})
	}
}

func (s *site) connect(a, b *pilot) {
	if a.dead || b.dead || b.mute || a.links[b.id] {
		return
	}
	a.links[b.id], b.links[a.id] = true, true
	a.do(func(now time.Duration) { a.m.LinkUp(now, b.id) })
	b.do(func(now time.Duration) { b.m.LinkUp(now, a.id) })
}

func (s *site) kill(p *pilot) {
	p.dead = true
	for id := range p.links {
		o := s.byID[id]
		delete(o.links, p.id)
	}
	for _, o := range s.pilots { // in order
		if p.links[o.id] {
			o.do(func(now time.Duration) { o.m.LinkDown(now, p.id) })
		}
	}
}

func (s *site) setOut(p *pilot, out bool) {
	p.out = out
	p.do(func(now time.Duration) { p.m.WayOut(now, out) })
}

// lose ends the hub for all.
func (s *site) lose() {
	for _, p := range s.pilots {
		p.do(func(now time.Duration) { p.m.HubDown(now, s.hub) })
	}
}

// served returns whom the pilots without a way out follow, and how many follow nobody.
func (s *site) served() (whom []wire.NodeID, lost int) {
	for _, p := range s.pilots {
		switch h := p.now.Hub; {
		case p.dead || p.out:
		case h.IsZero():
			lost++
		case !slices.Contains(whom, h):
			whom = append(whom, h)
		}
	}
	return whom, lost
}

// TestSubstitute holds that all pilots of a site whose hub is gone come to the
// same substitute, move on together when it is gone too, and let it go when
// there is a hub again.
func TestSubstitute(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		s := newSite(seed, 40)
		s.loss = 0.01
		out := make(map[wire.NodeID]bool)
		for range 5 {
			p := s.pilots[s.k.Rand().IntN(40)]
			out[p.id] = true
			s.setOut(p, true)
		}
		deputies := hub.Deputies("das5", s.hub, s.ids(), func(id wire.NodeID) bool { return out[id] })
		for _, p := range s.pilots {
			p.m.Advised(deputies)
		}
		if !out[deputies[0]] || len(deputies) != wire.MaxDeputies {
			t.Fatalf("deputies: %v", deputies)
		}
		s.lose()
		s.k.Run(s.k.Now() + hub.Bereft + 3*time.Second)
		whom, lost := s.served()
		if lost > 0 || len(whom) != 1 || whom[0] != deputies[0] {
			t.Errorf("seed %d: %d pilots follow nobody, the others %v", seed, lost, whom)
			continue
		}
		if first := s.byID[whom[0]]; !first.now.Serves {
			t.Errorf("seed %d: the substitute does not know", seed)
		} else {
			s.kill(first)
		}
		s.k.Run(s.k.Now() + 5*time.Second)
		whom, lost = s.served()
		if lost > 0 || len(whom) != 1 || whom[0] != deputies[1] {
			t.Errorf("seed %d: after the first one's death %d pilots follow nobody, the others %v", seed, lost, whom)
			continue
		}
		// Its way out ends.
		second := s.byID[whom[0]]
		s.setOut(second, false)
		s.k.Run(s.k.Now() + 8*time.Second)
		whom, lost = s.served()
		if lost > 0 || len(whom) != 1 || !s.byID[whom[0]].out {
			t.Errorf("seed %d: after the second one has lost its way out %d pilots follow nobody, the others %v", seed, lost, whom)
		}
		turns := 0
		for _, p := range s.pilots {
			turns += p.turns
		}
		s.k.Run(s.k.Now() + 5*time.Minute)
		for _, p := range s.pilots {
			turns -= p.turns
		}
		if turns != 0 {
			t.Errorf("seed %d: %d changes without a cause", seed, -turns)
		}
		for _, p := range s.pilots {
			p.do(p.m.HubUp)
		}
		s.k.Run(s.k.Now() + 20*time.Second)
		for _, p := range s.pilots {
			if !p.dead && (!p.now.Hub.IsZero() || p.now.Serves) {
				t.Errorf("seed %d: a pilot that has its hub follows or serves", seed)
			}
		}
	}
}

// TestSubstituteUnreachable holds that deputies who cannot be reached, or have no way out, are passed
// over, and that a list from elsewhere does when the hub has named nobody.
func TestSubstituteUnreachable(t *testing.T) {
	t.Parallel()
	for _, named := range []bool{true, false} {
		s := newSite(7, 12)
		deputies := hub.Deputies("das5", s.hub, s.ids(), nil)
		for _, p := range s.pilots {
			if named {
				p.m.Advised(deputies)
			} else {
				p.m.Known(s.ids()...)
			}
			if w := p.m.Wants(); named && (len(w) != 2 || slices.Contains(w, p.id)) {
				t.Errorf("links are wanted to %v", w)
			}
		}
		s.byID[deputies[0]].mute = true // and has a way out
		s.setOut(s.byID[deputies[0]], true)
		s.setOut(s.byID[deputies[2]], true)
		s.lose()
		s.k.Run(s.k.Now() + 20*time.Second)
		if whom, lost := s.served(); lost > 0 || len(whom) != 1 || whom[0] != deputies[2] {
			t.Errorf("named %t: %d pilots follow nobody, the others %v", named, lost, whom)
		}
	}
}

// TestSubstituteNobody holds that pilots without any way out ask in vain, at a
// bounded rate, and find it when there is one.
func TestSubstituteNobody(t *testing.T) {
	t.Parallel()
	s := newSite(3, 8)
	for _, p := range s.pilots {
		p.m.Advised(s.ids())
	}
	s.lose()
	s.k.Run(s.k.Now() + time.Minute)
	if whom, lost := s.served(); lost != 8 {
		t.Errorf("%v are followed without a way out", whom)
	}
	if events := s.k.Events(); events > 60*8*60 {
		t.Errorf("%d events in a minute", events)
	}
	s.setOut(s.pilots[5], true)
	s.k.Run(s.k.Now() + 20*time.Second)
	if whom, lost := s.served(); lost > 0 || len(whom) != 1 || whom[0] != s.pilots[5].id {
		t.Errorf("%d pilots follow nobody, the others %v", lost, whom)
	}
}

// TestChoose holds whom a node keeps links to.
func TestChoose(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	for name, tt := range map[string]struct {
		candidates []hub.Candidate
		want       []wire.NodeID
	}{
		"nobody": {nil, nil},
		"the own site's, though others are nearer": {[]hub.Candidate{
			{ID: nodeID(1), Site: "b", RTT: ms}, {ID: nodeID(2), Site: "a", RTT: 9 * ms}, {ID: nodeID(3), Site: "c", RTT: 5 * ms}}, ids(2, 1)},
		"the nearest": {[]hub.Candidate{
			{ID: nodeID(1), Site: "b"}, {ID: nodeID(2), Site: "c", RTT: 9 * ms}, {ID: nodeID(3), Site: "d", RTT: 5 * ms}}, ids(3, 2)},
		"not behind the first": {[]hub.Candidate{
			{ID: nodeID(1), Site: "a", RTT: ms}, {ID: nodeID(2), Site: "b", RTT: 2 * ms, Cuts: ids(1)}, {ID: nodeID(3), Site: "c", RTT: 90 * ms}}, ids(1, 3)},
		"not behind the same third": {[]hub.Candidate{
			{ID: nodeID(1), Site: "a", Cuts: ids(9)}, {ID: nodeID(2), Site: "b", RTT: 2 * ms, Cuts: ids(9)}, {ID: nodeID(3), Site: "c", RTT: 90 * ms, Cuts: ids(8)}}, ids(1, 3)},
		"behind the same when there is no other": {[]hub.Candidate{
			{ID: nodeID(1), Site: "a", Cuts: ids(9)}, {ID: nodeID(2), Site: "b", RTT: 2 * ms, Cuts: ids(9)}}, ids(1, 2)},
	} {
		if got := hub.Choose("a", tt.candidates, 2); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestAdvice holds what a hub tells its pilots: hubs that do not depend on it
// first, and what those that do depend on.
func TestAdvice(t *testing.T) {
	t.Parallel()
	// A triangle 0-1-2 of hubs with more behind 2 than elsewhere; 3 and 4 are
	// leaves of 0, 5 is one of 1, and 6-7-8 hang on 2.
	w := newWorld(t, 1)
	for range 9 {
		w.add(wire.RoleHub)
	}
	for _, l := range [][3]int{{0, 1, 5}, {1, 2, 5}, {0, 2, 5}, {0, 3, 1}, {0, 4, 1}, {1, 5, 5}, {2, 6, 5}, {2, 7, 5}, {6, 8, 5}, {7, 8, 5}} {
		w.connect(w.nodes[l[0]], w.nodes[l[1]], time.Duration(l[2])*time.Millisecond)
	}
	w.k.Run(5 * time.Second)
	pilots := ids(100, 101, 102, 103, 104, 105, 106, 107, 108, 109)
	m := w.nodes[0].g.Advice(pilots)
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	if len(m.Hubs) != 8 || len(m.Deputies) != wire.MaxDeputies {
		t.Fatalf("%d hubs, %d deputies", len(m.Hubs), len(m.Deputies))
	}
	cuts := map[wire.NodeID][]wire.NodeID{
		nodeID(3): ids(0), nodeID(4): ids(0), nodeID(5): ids(1), nodeID(6): ids(2), nodeID(7): ids(2), nodeID(8): ids(2),
	}
	for i, h := range m.Hubs {
		if want := cuts[h.ID]; !slices.Equal(h.Cuts, want) {
			t.Errorf("hub %d is cut off by %v, want %v", w.byID[h.ID].n, h.Cuts, want)
		}
		if slices.Contains(h.Cuts, nodeID(0)) && i < 6 {
			t.Errorf("hub %d, which depends on the adviser, comes as number %d", w.byID[h.ID].n, i)
		}
	}
}

// FuzzReceive holds that no sequence of messages from a neighbour makes a graph panic, or
// say what cannot be encoded.
func FuzzReceive(f *testing.F) {
	for _, m := range []wire.Message{
		&wire.LinkStates{States: []*wire.LinkState{state(1, 1, 0, 2), state(2, 1, 1), state(0, 7)}},
		&wire.LinksHeld{Held: []wire.Held{{Origin: nodeID(0), Seq: 1}, {Origin: nodeID(2), Seq: 9}}},
		&wire.Serve{Hub: nodeID(1), Term: 4},
	} {
		f.Add(wire.Encode(m), uint8(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, seconds uint8) {
		m, err := wire.Decode(b)
		if err != nil {
			return
		}
		g := line(4)
		now := 10 * time.Second
		for range 3 {
			g.Receive(now, nodeID(1), m)
			now += time.Duration(seconds) * time.Second
			g.Tick(now)
		}
		for _, s := range g.Ready().Sends {
			wire.Encode(s.Msg)
		}
		s := hub.NewSubstitute(nodeID(0), "site0")
		s.HubDown(now, nodeID(1))
		s.Receive(now, nodeID(2), m)
		for _, s := range s.Ready().Sends {
			wire.Encode(s.Msg)
		}
	})
}
