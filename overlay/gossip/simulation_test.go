package gossip_test

import (
	"testing"

	"github.com/zorilla-grid/zorilla/overlay/gossip"
	"github.com/zorilla-grid/zorilla/overlay/gossip/gossipsim"
)

// The tests here hold what gossip does for a session of 1,000 nodes or so. Their
// numbers leave some room to what is measured, so that any seed passes.

func world(t *testing.T, cfg gossipsim.Config) *gossipsim.World {
	t.Helper()
	if testing.Short() {
		t.Skip("simulates a thousand nodes")
	}
	t.Parallel()
	if cfg.Nodes == 0 {
		cfg.Nodes = 1000
	}
	if cfg.Seed == 0 {
		cfg.Seed = 1
	}
	w, err := gossipsim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// wantConnected holds that the graph of views has one part, and that all but a few
// nodes can find each other along the direction of its entries.
func wantConnected(t *testing.T, w *gossipsim.World, strong int) {
	t.Helper()
	weak, got := w.Components()
	t.Logf("%d parts, %d of %d nodes find each other", weak, got, w.Alive())
	if weak != 1 || got < strong {
		t.Errorf("%d parts, %d nodes find each other; want one part and %d nodes", weak, got, strong)
	}
}

// wantBalanced holds the spread of in-degrees.
func wantBalanced(t *testing.T, w *gossipsim.World, stddev float64, least, most int) {
	t.Helper()
	d := w.Degrees()
	t.Logf("in-degree %+v", d)
	if d.Mean < gossip.DefaultView-2 || d.Stddev > stddev || d.Min < least || d.Max > most {
		t.Errorf("in-degree %+v, want a mean of about %d, a deviation up to %v, %d to %d", d, gossip.DefaultView, stddev, least, most)
	}
}

// All nodes start at once and know their hubs only.
func TestBalance(t *testing.T) {
	w := world(t, gossipsim.Config{})
	w.Run(30)
	wantConnected(t, w, 990)
	w.Run(50)
	wantConnected(t, w, 1000)
	wantBalanced(t, w, 16, 1, 120)
}

func TestHalfTheMessagesLost(t *testing.T) {
	w := world(t, gossipsim.Config{Loss: 0.5})
	w.Run(30)
	for range 3 {
		w.Run(10)
		wantConnected(t, w, 990)
	}
	wantBalanced(t, w, 24, 0, 180)
}

// Four of five nodes can be reached through their hubs only.
func TestHiddenNodes(t *testing.T) {
	w := world(t, gossipsim.Config{Hidden: 0.8})
	w.Run(30)
	for range 2 {
		w.Run(10)
		wantConnected(t, w, 990)
	}
	wantBalanced(t, w, 24, 1, 140)
}

// TestHalfDies holds that half of the nodes, and of their hubs, can vanish:
// the others stay together, and forget them when their entries have expired.
func TestHalfDies(t *testing.T) {
	w := world(t, gossipsim.Config{Hidden: 0.8, Loss: 0.1})
	w.Run(30)
	w.Kill(0.5)
	w.Run(1)
	wantConnected(t, w, 470)
	const most = int(gossip.Expire/gossip.Period) + 1
	rounds := w.Clean(most)
	t.Logf("clean after %d rounds", rounds+1)
	if rounds < 0 {
		t.Errorf("%d dead entries after %d rounds", w.Dead(), most)
	}
	wantConnected(t, w, 490)
}

// TestJoin holds that others hear of those who come later, a fifth of the
// session at once.
func TestJoin(t *testing.T) {
	w := world(t, gossipsim.Config{Nodes: 500, Hidden: 0.8})
	w.Run(40)
	first := w.Join(100)
	known := func(least int) (count int) {
		for _, k := range w.InDegree()[first:] {
			if k >= least {
				count++
			}
		}
		return count
	}
	w.Run(5)
	if n := known(1); n < 65 {
		t.Errorf("%d of 100 that joined are in some view after 5 rounds, want 65", n)
	}
	w.Run(10)
	if n := known(1); n < 98 {
		t.Errorf("%d of 100 that joined are in some view after 15 rounds, want 98", n)
	}
	w.Run(15)
	if n := known(gossip.DefaultView / 4); n < 90 {
		t.Errorf("%d of 100 that joined are in %d views after 30 rounds, want 90", n, gossip.DefaultView/4)
	}
	t.Logf("after 30 rounds %d of 100 are in 4 views, %d in 8, %d in 16", known(4), known(8), known(16))
}

// One node of twenty sends forty exchanges in each round, full of entries of
// all attackers, and answers with such.
func TestFlood(t *testing.T) {
	w := world(t, gossipsim.Config{Attackers: 0.05, Attack: gossipsim.Flood})
	w.Run(40)
	c := w.Captured()
	t.Logf("captured %+v, %+v", c, w.Stats())
	if c.Mean > 0.45 || c.Steady > 0.25 {
		t.Errorf("attackers have %+v of the views, want at most 0.45 and 0.25 of the steady halves", c)
	}
	wantConnected(t, w, 930)
}

// The same with entries of nodes that do not exist.
func TestForge(t *testing.T) {
	w := world(t, gossipsim.Config{Nodes: 600, Attackers: 0.05, Attack: gossipsim.Forge})
	w.Run(25)
	c := w.Captured()
	s := w.Stats()
	t.Logf("captured %+v, %+v", c, s)
	if c.Mean > 0.4 {
		t.Errorf("attackers have %+v of the views, want at most 0.4", c)
	}
	if s.Forged == 0 || s.Forged > s.Verified/4 {
		t.Errorf("%d of %d verifications are of forged cards, want some, and few", s.Forged, s.Verified)
	}
	wantConnected(t, w, 540)
}

// A session that was in two halves for longer than entries last is one again.
func TestSplit(t *testing.T) {
	w := world(t, gossipsim.Config{Nodes: 200})
	w.Run(30)
	w.Split(func(i int) bool { return i%2 == 0 })
	w.Run(45)
	if weak, _ := w.Components(); weak < 2 {
		t.Fatalf("%d parts while the session is split", weak)
	}
	w.Split(nil)
	w.Run(10)
	wantConnected(t, w, 190)
}

func TestSameSeed(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) gossipsim.Result {
		r, err := gossipsim.Run(gossipsim.Plan{Config: gossipsim.Config{Nodes: 200, Loss: 0.2, Hidden: 0.5, Attackers: 0.05, Seed: seed}, Rounds: 20, Kill: 0.3})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	a, b, c := run(5), run(5), run(6)
	if a != b {
		t.Errorf("one seed, two results:\n%+v\n%+v", a, b)
	}
	if a.Digest == c.Digest {
		t.Errorf("two seeds, one digest %s", a.Digest)
	}
}
