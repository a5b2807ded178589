package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCoordinatesJSON(t *testing.T) {
	lines := func() string {
		var out, errs bytes.Buffer
		if err := app(&out, &errs).Run([]string{"zorilla-sim", "coordinates", "--nodes", "40", "--rounds", "110", "--seed", "3", "--json"}); err != nil {
			t.Fatalf("%v\n%s", err, &errs)
		}
		return out.String()
	}
	first := lines()
	if again := lines(); again != first {
		t.Errorf("the same seed prints\n%sand\n%s", first, again)
	}
	var rounds []int
	for line := range strings.Lines(first) {
		var s struct {
			Round  int
			Median float64 `json:"median_relative_error"`
			P90    float64 `json:"p90_relative_error"`
			Near   float64 `json:"near_fraction"`
		}
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if s.Median <= 0 || s.Median > s.P90 || s.Near <= 0 || s.Near > 1 {
			t.Errorf("%s", line)
		}
		rounds = append(rounds, s.Round)
	}
	if len(rounds) != 3 || rounds[0] != 30 || rounds[1] != 100 || rounds[2] != 110 {
		t.Errorf("scores after rounds %v, want 30, 100, 110", rounds)
	}
}

// A matrix is the same in either unit.
func TestCoordinatesUnit(t *testing.T) {
	score := func(unit, text string) string {
		file := filepath.Join(t.TempDir(), "rtt.txt")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := app(&out, &out).Run([]string{"zorilla-sim", "coordinates", "--rtt", file, "--unit", unit, "--rounds", "20", "--json"}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	ms, s := score("ms", "0 8 16\n8 0 32\n16 32 0\n"), score("s", "0 0.008 0.016\n0.008 0 0.032\n0.016 0.032 0\n")
	if ms != s {
		t.Errorf("in ms %s, in s %s", ms, s)
	}
}

func TestCoordinatesRefuses(t *testing.T) {
	for _, args := range [][]string{{"--nodes", "1"}, {"--rounds", "0"}, {"--unit", "h"}, {"--rtt", "no/such/file"}, {"something"}} {
		var out bytes.Buffer
		if err := app(&out, &out).Run(append([]string{"zorilla-sim", "coordinates"}, args...)); err == nil {
			t.Errorf("coordinates %v is taken", args)
		}
	}
}
