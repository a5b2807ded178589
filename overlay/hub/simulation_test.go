package hub_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// mesh builds n hubs in a ring with some chords, and launchers with links to
// some of them.
func mesh(w *world, n, degree, launchers int) {
	for range n {
		w.add(wire.RoleHub)
	}
	rtt := func() time.Duration {
		return w.k.Between(time.Millisecond, 200*time.Millisecond).Round(time.Microsecond)
	}
	for i := range n {
		w.connect(w.nodes[i], w.nodes[(i+1)%n], rtt())
		for range degree/2 - 1 {
			if j := w.k.Rand().IntN(n); j != i {
				w.connect(w.nodes[i], w.nodes[j], rtt())
			}
		}
	}
	for range launchers {
		l := w.add(wire.RoleLauncher)
		for range 6 {
			w.connect(l, w.nodes[w.k.Rand().IntN(n)], rtt())
		}
	}
}

// churn lets faults happen until a time: links end and come back, hubs die and others
// come, the network falls apart and heals.
func churn(w *world, until time.Duration) {
	for at := w.k.Now() + time.Second; at < until; at += w.k.Between(0, 400*time.Millisecond) {
		w.k.At(at, func() {
			a, b := w.nodes[w.k.Rand().IntN(len(w.nodes))], w.nodes[w.k.Rand().IntN(len(w.nodes))]
			switch x := w.k.Rand().IntN(100); {
			case a == b || a.dead || b.dead:
			case x < 45:
				for _, o := range w.nodes {
					if l := w.link(a.n, o.n); l != nil && l.up {
						w.cut(a, o)
						w.k.After(w.k.Between(0, 10*time.Second), func() { w.connect(a, o, l.rtt) })
						break
					}
				}
			case x < 90:
				w.connect(a, b, w.k.Between(time.Millisecond, 200*time.Millisecond).Round(time.Microsecond))
			case x < 96:
				w.kill(a)
				fresh := w.add(wire.RoleHub)
				w.connect(fresh, b, 20*time.Millisecond)
			case x < 98 && w.group == nil:
				parts := 2 + w.k.Rand().IntN(2)
				w.partition(func(n int) int { return n % parts })
				w.k.After(w.k.Between(time.Second, 15*time.Second), func() { w.partition(nil) })
			}
		})
	}
	w.k.Run(until)
	w.partition(nil)
}

// settled runs until all routes are right and returns when that was; they must be within
// the limit, and stay so.
func settled(t *testing.T, w *world, limit time.Duration) time.Duration {
	t.Helper()
	from := w.k.Now()
	for w.k.Now() < from+limit {
		w.k.Run(w.k.Now() + 250*time.Millisecond)
		if wrong, _, _ := w.judge(); wrong == 0 {
			return w.k.Now() - from
		}
	}
	wrong, pairs, _ := w.judge()
	t.Errorf("%d of %d routes are wrong %v after the last fault", wrong, pairs, limit)
	return limit
}

// TestChurn holds that after faults all routes are right, equal to what Floyd
// and Warshall say of the true network, within 10 seconds, at a bounded price.
// ZORILLA_HUB_SEEDS=N makes it N seeds of larger networks.
func TestChurn(t *testing.T) {
	t.Parallel()
	type trial struct {
		hubs int
		seed uint64
		time time.Duration // of faults
	}
	trials := []trial{{50, 0, 20 * time.Second}, {80, 1, 10 * time.Second}}
	if n, err := strconv.Atoi(os.Getenv("ZORILLA_HUB_SEEDS")); err == nil {
		trials = nil
		for seed := range uint64(n) {
			trials = append(trials, trial{50, seed, time.Minute}, trial{100, seed, time.Minute}, trial{200, seed, time.Minute})
		}
	}
	for _, tt := range trials {
		w := newWorld(t, tt.seed)
		mesh(w, tt.hubs, 6, 3)
		settled(t, w, 10*time.Second)
		before := w.messages
		w.loss = 0.05
		churn(w, w.k.Now()+tt.time)
		w.loss = 0
		took := settled(t, w, 10*time.Second)
		during := w.messages - before

		w.k.Run(w.k.Now() + 15*time.Second)
		quiet := w.messages
		w.k.Run(w.k.Now() + time.Minute)
		said := uint64(0)
		for _, n := range w.nodes {
			said += n.g.Stats().Said
		}
		edges := 0
		for _, l := range w.links {
			if l.up {
				edges++
			}
		}
		wrong, pairs, long := w.judge()
		if wrong != 0 {
			t.Errorf("%d routes go wrong without a fault", wrong)
		}
		if w.messages != quiet {
			t.Errorf("%d messages in a minute in which nothing happens", w.messages-quiet)
		}
		// Each statement crosses each link about once, some in both directions,
		// and acknowledgements go together.
		if bound := 2 * int(said) * edges; during > bound {
			t.Errorf("%d messages, want at most %d: %d statements over %d links", during, bound, said, edges)
		}
		t.Logf("seed %d: %d hubs, %d links, %v of faults: right %v after the last one; %d statements, %d messages (%.2f per statement and link); %d pairs, %d beyond %d links",
			tt.seed, tt.hubs, edges, tt.time, took, said, during, float64(during)/float64(said)/float64(edges), pairs, long, wire.MaxHops)
	}
}
