package sim_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/pilot/sim"
)

func run(t *testing.T, cfg sim.Config) sim.Result {
	t.Helper()
	r, err := sim.Run(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Violations) > 0 {
		t.Errorf("%d violations:\n%s\nagain with: %s --log", len(r.Violations), strings.Join(r.Violations, "\n"), cfg.Command())
	}
	return r
}

// long skips a sweep where tests are to be short: it takes minutes with the race
// detector, which has nothing to look for in the one goroutine of a simulation.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("simulates for long")
	}
}

// TestSeeds runs whole sessions under faults. Seeds that once found something stay.
func TestSeeds(t *testing.T) {
	long(t)
	seeds := []uint64{1, 2, 3, 36, 60}
	for _, seed := range seeds {
		r := run(t, sim.Config{Nodes: 120, Seconds: 120, Seed: seed})
		if r.Faults < 10 || len(r.Jobs) < 3 {
			t.Errorf("seed %d: %d faults, %d jobs: that tries nothing", seed, r.Faults, len(r.Jobs))
		}
	}
}

func TestSameDigestTwice(t *testing.T) {
	cfg := sim.Config{Nodes: 100, Seconds: 60, Seed: 7}
	a, b := run(t, cfg), run(t, cfg)
	if d := cmp.Diff(a, b); d != "" {
		t.Errorf("the same seed twice (-first +second):\n%s", d)
	}
	cfg.Seed++
	if c := run(t, cfg); c.Digest == a.Digest {
		t.Errorf("seeds 7 and 8 have the same digest %s", c.Digest)
	}
}

// TestCalm holds that without faults nothing is lost, and nothing outlives its job.
func TestCalm(t *testing.T) {
	for seed := range uint64(4) {
		r := run(t, sim.Config{Nodes: 60, Seconds: 60, Seed: seed, Calm: true})
		for _, j := range r.Jobs {
			if j.Lost > 0 && j.Outcome == "ok" {
				t.Errorf("seed %d: job %s lost %d workers without any fault", seed, j.ID, j.Lost)
			}
		}
	}
}

// TestSmall runs many small sessions, in which single nodes matter more.
func TestSmall(t *testing.T) {
	long(t)
	for seed := range uint64(30) {
		run(t, sim.Config{Nodes: 6 + int(seed), Seconds: 120, Seed: seed})
	}
}

// TestFreshSeed runs a seed that nobody has run before. When it fails, the
// command that is printed runs it again.
func TestFreshSeed(t *testing.T) {
	run(t, sim.Config{Nodes: 60, Seconds: 90, Seed: uint64(time.Now().UnixNano())})
}

// TestSweep runs as many seeds as ZORILLA_SIM_SWEEP says.
func TestSweep(t *testing.T) {
	n, err := strconv.ParseUint(os.Getenv("ZORILLA_SIM_SWEEP"), 10, 32)
	if err != nil {
		t.Skip("ZORILLA_SIM_SWEEP is no number of seeds")
	}
	for seed := range n {
		run(t, sim.Config{Nodes: 40 + int(seed%5)*20, Seconds: 120, Seed: 1000 + seed})
	}
}

// TestSameDigestElsewhere holds that a digest is the same in another process,
// with other addresses and another hash of maps.
func TestSameDigestElsewhere(t *testing.T) {
	const child = "ZORILLA_SIM_DIGEST"
	cfg := sim.Config{Nodes: 60, Seconds: 30, Seed: 11}
	if os.Getenv(child) != "" {
		fmt.Printf("digest %s\n", run(t, cfg).Digest)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestSameDigestElsewhere$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := "digest " + run(t, cfg).Digest + "\n"; !strings.Contains(string(out), want) {
		t.Errorf("want %q of the other process, which says\n%s", want, out)
	}
}

// TestIdleNode holds that the whole state of an idle node, with all that it
// remembers of others, takes at most 16 KiB. Where it is more, a heap profile of
// [sim.IdleBytes] with -memprofilerate 1 says what has grown.
func TestIdleNode(t *testing.T) {
	long(t)
	const limit = 16 << 10
	b := sim.IdleBytes(300)
	t.Logf("%d bytes", b)
	if b <= 0 || b > limit {
		t.Errorf("an idle node takes %d bytes, want at most %d", b, limit)
	}
}

func TestConfig(t *testing.T) {
	for _, cfg := range []sim.Config{{Nodes: 3, Seconds: 1}, {Nodes: sim.MaxNodes + 1, Seconds: 1}, {Nodes: 10}, {Nodes: 10, Seconds: -1}} {
		if _, err := sim.Run(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}

func BenchmarkRun(b *testing.B) {
	for i := range b.N {
		r, err := sim.Run(sim.Config{Nodes: 200, Seconds: 60, Seed: uint64(i)})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(r.Events), "events/op")
	}
}
