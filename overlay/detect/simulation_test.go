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
	t.Logf("%.0f node-hours: %d suspicions, none of them fatal; %d late timers; %.1f messages per node and second; %d events",
		nodeTime.Hours(), suspicions, late, float64(messages)/nodeTime.Seconds(), events)
}
