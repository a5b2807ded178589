package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestRunJSON(t *testing.T) {
	var out, errs bytes.Buffer
	args := []string{"zorilla-sim", "run", "--nodes", "30", "--seconds", "20", "--seed", "5", "--json"}
	if err := app(&out, &errs).Run(args); err != nil {
		t.Fatalf("%v\n%s", err, &errs)
	}
	var line struct {
		Digest     string
		Violations []string
		Events     uint64
		Wall       float64 `json:"wall_s"`
		Bytes      int64   `json:"bytes_per_idle_node"`
		Jobs       []struct{ Outcome string }
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %q", err, &out)
	}
	if len(line.Digest) != 16 || line.Violations == nil || line.Events == 0 || line.Wall <= 0 || line.Bytes <= 0 || len(line.Jobs) == 0 {
		t.Errorf("%s", &out)
	}
	if strings.Count(out.String(), "\n") != 1 {
		t.Errorf("want one line:\n%s", &out)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, args := range [][]string{{"--nodes", "1"}, {"--seconds", "0"}, {"something"}, {"--unknown"}} {
		var out bytes.Buffer
		if err := app(&out, &out).Run(append([]string{"zorilla-sim", "run"}, args...)); err == nil {
			t.Errorf("run %v is taken", args)
		}
	}
}
