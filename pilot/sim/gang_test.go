package sim_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/pilot/sim"
)

func gang(t *testing.T, cfg sim.GangConfig) sim.Gang {
	t.Helper()
	g, err := sim.RunGang(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", g)
	if len(g.Violations) > 0 {
		t.Errorf("violations: %v", g.Violations)
	}
	return g
}

// TestGang: a gang finds the set of slots that is close together with little
// more than a claim and a grant for each worker.
func TestGang(t *testing.T) {
	g := gang(t, sim.GangConfig{Nodes: 360, Sites: 12, Free: 60, Want: 16, Seed: 1})
	if limit := 16*2 + 16 + 2; g.Granted != 16 || g.Messages > limit || g.Ratio > 1.25 || g.Seconds > 3 {
		t.Errorf("want 16 granted with at most %d messages within 3 s, at most 1.25 times as far from each other as the best", limit)
	}
	blind := gang(t, sim.GangConfig{Nodes: 360, Sites: 12, Free: 60, Want: 16, Seed: 1, Blind: true})
	if blind.Granted != 16 || blind.Fanout < 3*g.Fanout {
		t.Errorf("in rings: %d granted, adverts passed on to %d pilots, beside %d with tables; that compares nothing", blind.Granted, blind.Fanout, g.Fanout)
	}
}

// TestGangs: gangs that together want four times what there is all run, one
// after the other, and waste little.
func TestGangs(t *testing.T) {
	g, err := sim.RunGangs(sim.GangsConfig{Nodes: 50, Sites: 5, Jobs: 10, Want: 20, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if g.Stuck > 0 || g.Lost > 0 || g.Ratio > 1.2 || len(g.Violations) > 0 {
		t.Errorf("%+v", g)
	}
}

// TestGangNumbers holds the numbers that are promised, for ZORILLA_GANG_SEEDS
// seeds; a run takes a minute or more.
func TestGangNumbers(t *testing.T) {
	seeds, _ := strconv.ParseUint(os.Getenv("ZORILLA_GANG_SEEDS"), 10, 32)
	if seeds == 0 {
		t.Skip("ZORILLA_GANG_SEEDS is not set")
	}
	for seed := uint64(1); seed <= seeds; seed++ {
		if g := gang(t, sim.GangConfig{Nodes: 10_000, Free: 200, Want: 64, Seed: seed}); g.Granted != 64 || g.Messages > 250 || g.Ratio > 1.1 {
			t.Errorf("seed %d: %d granted, %d messages, %.3f times the best", seed, g.Granted, g.Messages, g.Ratio)
		}
		g, err := sim.RunGangs(sim.GangsConfig{Nodes: 1000, Jobs: 40, Want: 100, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		if g.Stuck > 0 || g.Ratio > 1.2 {
			t.Errorf("seed %d: %+v", seed, g)
		}
	}
}

func TestGangConfig(t *testing.T) {
	for _, cfg := range []sim.GangConfig{{}, {Nodes: 10, Want: 11}, {Nodes: 10, Free: 11, Want: 1}, {Nodes: 10, Sites: 11, Want: 1},
		{Nodes: 10, Sites: 3, Want: 1, RTT: make([][]time.Duration, 2)}} {
		if _, err := sim.RunGang(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
	for _, cfg := range []sim.GangsConfig{{Nodes: 10, Want: 1}, {Nodes: 10, Want: 1, Jobs: 11}, {Nodes: 10, Want: 1, Jobs: 1, Runs: 1}} {
		if _, err := sim.RunGangs(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}
