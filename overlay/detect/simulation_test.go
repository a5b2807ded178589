package detect_test

import (
	"os"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// pilots returns those of a world that live.
func (w *world) pilots() (list []*node) {
	for _, n := range w.nodes {
		if n.member.Role == wire.RolePilot && !n.dead {
			list = append(list, n)
		}
	}
	return list
}

// TestOneDies holds how fast a death is known to the launcher.
func TestOneDies(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		closed   bool
		min, max time.Duration
	}{
		"killed":     {true, 2 * time.Second, 5 * time.Second},
		"lost power": {false, 8 * time.Second, 10 * time.Second},
	} {
		worst := time.Duration(0)
		for seed := range uint64(20) {
			w := build(t, seed, 4, 10)
			w.loss = 0.01
			w.k.Run(w.k.Now() + w.k.Between(time.Second, 2*time.Second))
			victim := w.pilots()[w.k.Rand().IntN(40)]
			w.kill(victim, tt.closed)
			w.k.Run(w.k.Now() + 15*time.Second)
			for _, n := range w.nodes {
				first, _, batches, missing := n.told([]*node{victim})
				took := first - victim.diedAt
				switch {
				case n.member.Role == wire.RolePilot:
					if len(n.batches) > 0 {
						t.Errorf("%s, seed %d: a pilot is told", name, seed)
					}
				case missing > 0 || batches != 1 || took < tt.min || took > tt.max:
					t.Errorf("%s, seed %d: %s %d is told %d times, first after %v; want once, within %v to %v", name, seed, n.member.Role, n.n, batches, took, tt.min, tt.max)
				default:
					worst = max(worst, took)
				}
			}
			if list := w.slandered(); len(list) > 0 {
				t.Errorf("%s, seed %d: %q", name, seed, list)
			}
		}
		t.Logf("%s: known to all hubs and the launcher after at most %v", name, worst)
	}
}

// TestManyDie holds that nodes of several sites that die at once are one event.
func TestManyDie(t *testing.T) {
	t.Parallel()
	for name, closed := range map[string]bool{"killed": true, "lost power": false} {
		worst := time.Duration(0)
		for seed := range uint64(20) {
			w := build(t, seed, 4, 10)
			w.loss = 0.01
			w.k.Run(w.k.Now() + w.k.Between(time.Second, 2*time.Second))
			list := w.pilots()
			w.k.Rand().Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			victims := list[:11]
			for _, v := range victims {
				w.kill(v, closed)
			}
			w.k.Run(w.k.Now() + 15*time.Second)
			for _, n := range append(w.hubs, w.nodes[0]) {
				_, last, batches, missing := n.told(victims)
				if batches != 1 || missing > 0 || last-victims[0].diedAt > 10*time.Second {
					t.Errorf("%s, seed %d: %s %d is told in %d batches, %d are missing, the last after %v", name, seed, n.member.Role, n.n, batches, missing, last-victims[0].diedAt)
				}
				worst = max(worst, last-victims[0].diedAt)
			}
			if list := w.slandered(); len(list) > 0 {
				t.Errorf("%s, seed %d: %q", name, seed, list)
			}
		}
		t.Logf("%s: 11 of 40 in one batch everywhere, after at most %v", name, worst)
	}
}

// TestHubDies holds that hubs agree on a dead hub, and that its pilots are not
// declared dead with it.
func TestHubDies(t *testing.T) {
	t.Parallel()
	for name, closed := range map[string]bool{"killed": true, "lost power": false} {
		worst := time.Duration(0)
		limit := 10500 * time.Millisecond
		if closed {
			limit = 6 * time.Second
		}
		for seed := range uint64(10) {
			w := build(t, seed, 12, 3)
			w.loss = 0.01
			h := w.hubs[w.k.Rand().IntN(len(w.hubs))]
			w.kill(h, closed)
			w.k.Run(w.k.Now() + time.Minute)
			for _, n := range append(w.hubs, w.nodes[0]) {
				first, _, batches, missing := n.told([]*node{h})
				if n == h {
					continue
				}
				if missing > 0 || batches != 1 || first-h.diedAt > limit {
					t.Errorf("%s, seed %d: %s %d is told %d times, first after %v", name, seed, n.member.Role, n.n, batches, first-h.diedAt)
				}
				worst = max(worst, first-h.diedAt)
			}
			if list := w.slandered(); len(list) > 0 {
				t.Errorf("%s, seed %d: %q", name, seed, list)
			}
		}
		t.Logf("%s: a hub's death is known to all after at most %v", name, worst)
	}
}

// TestStarved holds that nodes which starve are not declared dead: 50 node-hours, or
// 1,000 when ZORILLA_DETECT_HOURS says so, with pauses of 1 to 8 seconds, late
// timers and 1 % of all messages lost.
func TestStarved(t *testing.T) {
	t.Parallel()
	hours := 50 * time.Hour
	if s := os.Getenv("ZORILLA_DETECT_HOURS"); s != "" {
		h, err := time.ParseDuration(s + "h")
		if err != nil {
			t.Fatal(err)
		}
		hours = h
	}
	const worlds = 5
	suspicions, late, events := uint64(0), uint64(0), uint64(0)
	messages, nodeTime := 0, time.Duration(0)
	for seed := range uint64(worlds) {
		w := build(t, seed, 4, 10)
		w.loss = 0.01
		w.starving(20 * time.Second)
		w.k.Run(w.k.Now() + hours/worlds/time.Duration(len(w.nodes)))
		for _, n := range w.nodes {
			suspicions += n.d.Stats().Suspicions
			late += n.d.Stats().Late
			nodeTime += w.k.Now()
		}
		for _, c := range w.sent {
			messages += c
		}
		events += w.k.Events()
		if list := w.slandered(); len(list) > 0 {
			t.Errorf("seed %d: %d false deaths: %q", seed, len(list), list[:min(len(list), 10)])
		}
	}
	t.Logf("%.0f node-hours: %d suspicions; %d late timers; %.1f messages per node and second; %d events",
		nodeTime.Hours(), suspicions, late, float64(messages)/nodeTime.Seconds(), events)
}

// TestStarvedAndDead holds that among starving nodes the dead are found all
// the same, and only they.
func TestStarvedAndDead(t *testing.T) {
	t.Parallel()
	worst := time.Duration(0)
	for seed := range uint64(10) {
		w := build(t, seed, 4, 10)
		w.loss = 0.01
		w.starving(20 * time.Second)
		w.k.Run(w.k.Now() + time.Minute)
		victim := w.pilots()[w.k.Rand().IntN(40)]
		w.kill(victim, seed%2 == 0)
		w.k.Run(w.k.Now() + 3*time.Minute)
		first, _, batches, missing := w.nodes[0].told([]*node{victim})
		if batches != 1 || missing != 0 {
			t.Errorf("seed %d: the launcher is told %d times", seed, batches)
		}
		worst = max(worst, first-victim.diedAt)
		if list := w.slandered(); len(list) > 0 {
			t.Errorf("seed %d: %q", seed, list)
		}
	}
	if worst > 90*time.Second {
		t.Errorf("a death among starving nodes is known after %v", worst)
	}
	t.Logf("a death among starving nodes is known after at most %v", worst)
}

// TestRedial holds that a pilot whose connection breaks is not dead: it comes
// back, or is heard by others.
func TestRedial(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		w := build(t, seed, 3, 6)
		p := w.pilots()[w.k.Rand().IntN(18)]
		home := w.byID[p.member.Home]
		w.disconnect(p, home)
		w.k.Run(w.k.Now() + 3*time.Second)
		w.connect(p, home)
		w.k.Run(w.k.Now() + 30*time.Second)
		if list := w.slandered(); len(list) > 0 {
			t.Errorf("seed %d: %q", seed, list)
		}

		// With a link to a second hub it need not even come back.
		second := w.hubs[0]
		if second == home {
			second = w.hubs[1]
		}
		w.connect(p, second)
		w.disconnect(p, home)
		w.k.Run(w.k.Now() + 5*time.Minute)
		if list := w.slandered(); len(list) > 0 {
			t.Errorf("seed %d, with a second hub: %q", seed, list)
		}
		w.kill(p, true)
		w.k.Run(w.k.Now() + 15*time.Second)
		if _, _, batches, _ := w.nodes[0].told([]*node{p}); batches != 1 {
			t.Errorf("seed %d: the launcher is told %d times of the death of a pilot with a second hub", seed, batches)
		}
	}
}

// TestWitnesses holds what links between pilots are worth: those that lost
// theirs confirm a death, and those that have one keep a pilot alive, for a
// while.
func TestWitnesses(t *testing.T) {
	t.Parallel()
	w := build(t, 1, 1, 12)
	pilots := w.pilots()
	victim := pilots[0]
	for _, p := range pilots[1:] {
		w.connect(victim, p)
	}
	w.k.Run(w.k.Now() + time.Second)
	w.kill(victim, true)
	w.k.Run(w.k.Now() + 15*time.Second)
	if first, _, _, _ := w.nodes[0].told([]*node{victim}); first-victim.diedAt > 3500*time.Millisecond {
		t.Errorf("a death that others confirm is known after %v", first-victim.diedAt)
	}

	cut := pilots[1]
	for _, p := range pilots[2:] {
		w.connect(cut, p)
	}
	at := w.k.Now()
	w.disconnect(cut, w.hubs[0])
	w.k.Run(at + 30*time.Second)
	if list := w.slandered(); len(list) > 0 {
		t.Errorf("a pilot that others hear: %q", list)
	}
	w.k.Run(at + 3*time.Minute)
	if _, _, batches, _ := w.nodes[0].told([]*node{cut}); batches != 1 {
		t.Errorf("a pilot that has no way to its hub for minutes is declared dead %d times, want once", batches)
	}
}

// TestClusterDies holds that the loss of a whole site is told twice at most:
// its hub, and when their lease is over, all its pilots at once.
func TestClusterDies(t *testing.T) {
	t.Parallel()
	for _, expect := range []bool{false, true} {
		w := build(t, 3, 5, 20)
		h := w.hubs[2]
		var lost []*node
		for _, p := range w.pilots() {
			if p.member.Home == h.member.ID {
				lost = append(lost, p)
				w.kill(p, false)
			}
		}
		w.kill(h, true)
		w.k.Run(w.k.Now() + time.Minute)
		launcher := w.nodes[0]
		if _, _, batches, _ := launcher.told([]*node{h}); batches != 1 {
			t.Errorf("the hub's death is told %d times", batches)
		}
		if _, _, batches, _ := launcher.told(lost); batches != 0 {
			t.Error("a hub takes its pilots along")
		}
		if expect {
			launcher.d.Expect(w.k.Now(), h.member.Site, 2*time.Second)
			launcher.act()
			w.k.Run(w.k.Now() + 5*time.Second)
		} else {
			w.k.Run(w.k.Now() + 10*time.Minute)
		}
		if _, _, batches, missing := launcher.told(lost); batches != 1 || missing > 0 {
			t.Errorf("expected %t: 20 pilots in %d batches, %d missing", expect, batches, missing)
		}
	}
}

// TestMove holds that pilots of a dead hub that find another one live on, and
// are watched by that one.
func TestMove(t *testing.T) {
	t.Parallel()
	w := build(t, 4, 5, 6)
	h, other := w.hubs[1], w.hubs[3]
	w.kill(h, true)
	w.k.Run(w.k.Now() + 3*time.Second)
	var moved []*node
	for _, p := range w.pilots() {
		if p.member.Home == h.member.ID {
			moved = append(moved, p)
			w.attach(p, other)
		}
	}
	w.k.Run(w.k.Now() + 15*time.Minute)
	if list := w.slandered(); len(list) > 0 {
		t.Errorf("pilots that moved: %q", list)
	}
	w.kill(moved[0], true)
	w.k.Run(w.k.Now() + 6*time.Second)
	if _, _, batches, _ := w.nodes[0].told(moved[:1]); batches != 1 {
		t.Errorf("the death of one that moved is told %d times", batches)
	}
}

// TestPartition holds that of a network in two parts only the greater one
// gives the other's hubs up, and that both know of deaths in either afterwards.
func TestPartition(t *testing.T) {
	t.Parallel()
	w := build(t, 5, 7, 3)
	launcher := w.nodes[0]
	minority := w.hubs[:3]
	inMinority := func(n *node) bool {
		return n.n <= 3 && n.n > 0 || n.member.Role == wire.RolePilot && w.byID[n.member.Home].n <= 3
	}
	var cut [][2]*node
	for _, a := range w.nodes {
		for _, b := range w.nodes[:a.n] {
			if a.links[b.member.ID] && inMinority(a) != inMinority(b) {
				cut = append(cut, [2]*node{a, b})
				w.disconnect(a, b)
			}
		}
	}
	w.apart = inMinority
	lost, kept := w.pilots()[0], w.pilots()[20]
	w.k.Run(w.k.Now() + 2*time.Second)
	w.kill(lost, true)
	w.kill(kept, true)
	w.k.Run(w.k.Now() + time.Minute)
	for _, h := range w.hubs {
		_, _, batches, missing := h.told(minority)
		if inMinority(h) && batches > 0 {
			t.Errorf("hub %d, of the lesser part, declares hubs dead", h.n)
		}
		if !inMinority(h) && missing > 0 {
			t.Errorf("hub %d, of the greater part, has not given up %d hubs", h.n, missing)
		}
		for _, b := range h.batches {
			for _, id := range b.nodes {
				if x := w.byID[id]; x.member.Role == wire.RoleHub && !inMinority(x) {
					t.Errorf("hub %d says that hub %d of the greater part is dead", h.n, x.n)
				}
			}
		}
	}
	w.apart = nil
	for _, e := range cut {
		w.connect(e[0], e[1])
	}
	w.k.Run(w.k.Now() + 30*time.Second)
	for _, n := range append(w.hubs[3:], launcher) {
		if _, _, _, missing := n.told([]*node{kept}); missing > 0 {
			t.Errorf("%s %d does not know of a death on its own side", n.member.Role, n.n)
		}
	}
	for _, h := range minority {
		if _, _, _, missing := h.told([]*node{kept}); missing > 0 {
			t.Errorf("hub %d was not told afterwards of a death on the other side", h.n)
		}
		if !h.condemned {
			t.Errorf("hub %d does not know that it was given up", h.n)
		}
	}
}

// TestRepeatable holds that the same seed gives the same run.
func TestRepeatable(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) [3]uint64 {
		w := build(t, seed, 10, 5)
		w.loss = 0.02
		w.starving(10 * time.Second)
		w.kill(w.hubs[3], true)
		w.kill(w.pilots()[7], false)
		w.k.Run(w.k.Now() + 2*time.Minute)
		sum := 0
		for _, c := range w.sent {
			sum += c
		}
		return [3]uint64{w.k.Events(), uint64(sum), w.k.Digest()}
	}
	if a, b, c := run(1), run(1), run(2); a != b || a == c {
		t.Errorf("seeds 1, 1, 2: %v, %v, %v", a, b, c)
	}
}
