package trial_test

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/vivaldi"
	"github.com/zorilla-grid/zorilla/overlay/vivaldi/trial"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// bar is what a trial must reach.
type bar struct {
	round       int
	error, near float64
}

// long skips a trial where tests are to be short: it takes long with the race
// detector, which has nothing to look for in one goroutine.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("many rounds")
	}
}

func run(t *testing.T, tr *trial.Trial, bars ...bar) {
	t.Helper()
	round := tr.Score().Round
	for _, b := range bars {
		for ; round < b.round; round++ {
			tr.Round()
		}
		s := tr.Score()
		t.Logf("%+v", s)
		if s.Median > b.error || s.Near < b.near {
			t.Errorf("round %d: median error %.4f, near %.3f; want at most %.3f, at least %.2f", s.Round, s.Median, s.Near, b.error, b.near)
		}
		if s.Probes > 1 {
			t.Errorf("round %d: %.3f probes of a node in a round", s.Round, s.Probes)
		}
	}
}

// TestQuality fails when coordinates get worse.
func TestQuality(t *testing.T) {
	long(t)
	t.Parallel()
	for seed := range uint64(2) {
		run(t, trial.New(trial.Synthetic(120, seed), trial.Options{Seed: seed}),
			bar{30, 0.10, 0.80}, bar{60, 0.065, 0.97})
	}
}

// TestMeasured is TestQuality with times that were measured, and with the
// figures to reach. ZORILLA_RTT names a matrix in milliseconds; after a colon,
// another of the same nodes at a later time.
func TestMeasured(t *testing.T) {
	t.Parallel()
	if os.Getenv("ZORILLA_RTT") == "" {
		t.Skip("ZORILLA_RTT names no matrix of measured times")
	}
	before, after, changes := strings.Cut(os.Getenv("ZORILLA_RTT"), ":")
	tr := trial.New(read(t, before), trial.Options{Seed: 1})
	run(t, tr, bar{30, 0.09, 0.60}, bar{100, 0.075, 0.95}, bar{300, 0.065, 0.99})
	if changes {
		tr.Change(read(t, after))
		run(t, tr, bar{301, 0.09, 0.90}, bar{400, 0.075, 0.95}, bar{500, 0.065, 0.97})
	}
}

func read(t *testing.T, path string) trial.Matrix {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := trial.Read(f, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A third of the paths takes half as long again from some round on.
func TestChange(t *testing.T) {
	long(t)
	t.Parallel()
	m := trial.Synthetic(80, 3)
	tr := trial.New(m, trial.Options{Seed: 3})
	run(t, tr, bar{60, 0.065, 0.95})
	changed := trial.Synthetic(80, 3)
	for i := range changed {
		for j := range changed {
			if i%3 == 0 && j%3 == 0 {
				changed[i][j] = changed[i][j] * 3 / 2
			}
		}
	}
	tr.Change(changed)
	run(t, tr, bar{180, 0.07, 0.95})
}

// Liars cost accuracy, not the session.
func TestLiars(t *testing.T) {
	t.Parallel()
	nan := float32(math.NaN())
	for name, lie := range map[string]wire.Coordinate{
		"not a number": {Position: wire.Position{nan, nan, nan, nan}, Height: nan, Error: nan},
		"far and sure": {Position: wire.Position{wire.MaxPosition, -wire.MaxPosition, wire.MaxPosition, 0}, Height: wire.MaxHeight, Error: wire.MinError},
		"everywhere":   {Height: 0, Error: wire.MinError},
		"forged error": {Position: wire.Position{300}, Error: 1e-9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, trial.New(trial.Synthetic(100, 4), trial.Options{Seed: 4,
				Lie: func(node int, _ vivaldi.Peer) (wire.Coordinate, bool) { return lie, node%20 == 7 }}),
				bar{60, 0.075, 0.95})
		})
	}
}

// A node that comes late is soon as good as the others.
func TestJoin(t *testing.T) {
	t.Parallel()
	m := trial.Synthetic(90, 5)
	late := []int{3, 30, 45, 60, 75, 89}
	tr := trial.New(m, trial.Options{Seed: 5, Absent: late})
	run(t, tr, bar{60, 0.065, 0.95})
	for _, i := range late {
		hub := (i + 1) % 90
		for j, rtt := range m[i] { // the nearest node that is there
			if tr.Node(j) != nil && rtt > 0 && rtt < m[i][hub] {
				hub = j
			}
		}
		tr.Join(i, tr.Node(hub).Coordinate())
		if e := tr.Node(i).Coordinate().Error; e != wire.MaxError {
			t.Errorf("node %d starts with error %g", i, e)
		}
	}
	run(t, tr, bar{61, 0.07, 0.85}, bar{80, 0.065, 0.95})
	var off []float64
	for _, i := range late {
		for j, rtt := range m[i] {
			if rtt > 0 {
				off = append(off, math.Abs(float64(vivaldi.Distance(tr.Node(i).Coordinate(), tr.Node(j).Coordinate())-rtt))/float64(rtt))
			}
		}
	}
	good := 0
	for _, e := range off {
		if e < 0.12 {
			good++
		}
	}
	if good < len(off)*6/10 {
		t.Errorf("20 rounds after they came, %d of %d distances of late nodes are within 12 %%", good, len(off))
	}
}

// Two sites with 0.1 ms inside and 100 ms between: the label is nearness.
func TestSites(t *testing.T) {
	t.Parallel()
	const nodes = 40
	m := make(trial.Matrix, nodes)
	sites := make([]string, nodes)
	for i := range m {
		m[i] = make([]time.Duration, nodes)
		sites[i] = []string{"das5", "cloud"}[i%2]
		for j := range m {
			switch {
			case i == j:
			case i%2 == j%2:
				m[i][j] = 100 * time.Microsecond
			default:
				m[i][j] = 100 * time.Millisecond
			}
		}
	}
	tr := trial.New(m, trial.Options{Seed: 6, Sites: sites})
	for range 60 {
		tr.Round()
	}
	for i := range nodes {
		for j := range i {
			got := vivaldi.Between(tr.Peer(i), tr.Peer(j))
			if off := math.Abs(float64(got-m[i][j])) / float64(m[i][j]); off > 0.05 {
				t.Fatalf("from %d to %d: %v, want %v", i, j, got, m[i][j])
			}
		}
	}
}

func TestRepeatable(t *testing.T) {
	t.Parallel()
	score := func() trial.Score {
		tr := trial.New(trial.Synthetic(60, 7), trial.Options{Seed: 7})
		for range 40 {
			tr.Round()
		}
		return tr.Score()
	}
	if a, b := score(), score(); a != b {
		t.Errorf("the same seed gives\n%+v and\n%+v", a, b)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	m, err := trial.Read(strings.NewReader("0 2 0\n4 0 -1\n5 7 NaN\n"), time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if m[0][1] != 3*time.Millisecond || m[1][0] != m[0][1] || m[0][2] != 0 || m[1][2] != 0 || m[2][2] != 0 {
		t.Errorf("%v", m)
	}
	for name, text := range map[string]string{
		"empty": "", "one row": "0\n", "not square": "0 1\n1\n", "too few rows": "0 1 2\n1 0 2\n", "words": "0 a\n1 0\n",
	} {
		if _, err := trial.Read(strings.NewReader(text), time.Millisecond); err == nil {
			t.Errorf("%s: %q is taken", name, text)
		}
	}
}
