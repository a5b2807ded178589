package sim_test

import (
	"encoding/json"
	"testing"

	"github.com/zorilla-grid/zorilla/pilot/sim"
)

func gang(t *testing.T, cfg sim.GangConfig) sim.Gang {
	t.Helper()
	g, err := sim.RunGang(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(g)
	t.Logf("%s", b)
	if len(g.Violations) > 0 {
		t.Errorf("violations: %v", g.Violations)
	}
	return g
}

func TestGang(t *testing.T) {
	gang(t, sim.GangConfig{Nodes: 1000, Sites: 40, Free: 100, Want: 32, Seed: 1})
	gang(t, sim.GangConfig{Nodes: 1000, Sites: 40, Free: 100, Want: 32, Seed: 1, Blind: true})
}
