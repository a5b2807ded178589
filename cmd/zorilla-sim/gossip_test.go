package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestGossipJSON(t *testing.T) {
	var out, errs bytes.Buffer
	args := []string{"zorilla-sim", "gossip", "--nodes", "60", "--rounds", "80", "--loss", "0.1", "--hidden", "0.5", "--kill", "0.2", "--seed", "3", "--json"}
	if err := app(&out, &errs).Run(args); err != nil {
		t.Fatalf("%v\n%s", err, &errs)
	}
	if strings.Count(out.String(), "\n") != 1 {
		t.Fatalf("want one line:\n%s", &out)
	}
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %q", err, &out)
	}
	for _, key := range []string{"in_degree_mean", "in_degree_stddev", "in_degree_min", "in_degree_max", "components", "rounds_to_clean", "messages", "bytes"} {
		if v, _ := line[key].(float64); v <= 0 {
			t.Errorf("%s is %v in %s", key, line[key], &out)
		}
	}
	if line["components"] != 1.0 || line["dead_entries"] != 0.0 || line["nodes"] != 48.0 {
		t.Errorf("want one component of 48 nodes without dead entries: %s", &out)
	}
}

func TestGossipRefuses(t *testing.T) {
	for _, args := range [][]string{{"--nodes", "1"}, {"--rounds", "0"}, {"--loss", "1.5"}, {"--hidden", "-1"}, {"--kill", "NaN"}, {"something"}} {
		var out bytes.Buffer
		if err := app(&out, &out).Run(append([]string{"zorilla-sim", "gossip"}, args...)); err == nil {
			t.Errorf("gossip %v is taken", args)
		}
	}
}
