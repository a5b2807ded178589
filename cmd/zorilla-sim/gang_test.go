package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestGangJSON(t *testing.T) {
	var out, errs bytes.Buffer
	if err := app(&out, &errs).Run([]string{"zorilla-sim", "gang", "--nodes", "60", "--sites", "3", "--free", "50%", "--want", "9", "--json"}); err != nil {
		t.Fatalf("%v\n%s", err, &errs)
	}
	var line struct {
		Granted, Messages, Fanout int
		Seconds                   float64
		Ratio                     float64 `json:"mean_rtt_ratio"`
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Granted != 9 || line.Messages < 18 || line.Seconds <= 0 || line.Ratio < 1 {
		t.Errorf("%v: %s", err, &out)
	}
}

func TestGangsJSON(t *testing.T) {
	var out, errs bytes.Buffer
	if err := app(&out, &errs).Run([]string{"zorilla-sim", "gangs", "--nodes", "20", "--sites", "2", "--jobs", "4", "--want", "10", "--runs", "10s", "--json"}); err != nil {
		t.Fatalf("%v\n%s", err, &errs)
	}
	var line struct {
		Stuck           int
		Makespan, Ideal float64
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Stuck != 0 || line.Ideal != 20 || line.Makespan <= line.Ideal {
		t.Errorf("%v: %s", err, &out)
	}
}

func TestParseFree(t *testing.T) {
	for s, want := range map[string]int{"0.02": 200, "2%": 200, "2": 2, "1": 1, "0": 0, "150%": -1, "10001": -1, "1.5": -1, "-1": -1, "many": -1, "NaN": -1, "": -1} {
		got, err := parseFree(s, 10_000)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q of 10,000: %d (%v), want %d", s, got, err, want)
		}
	}
}

func TestGangRefuses(t *testing.T) {
	for _, args := range [][]string{{"gang", "--free", "x"}, {"gang", "something"}, {"gang", "--rtt", "/does/not/exist"}, {"gang", "--want", "0"}, {"gangs", "--jobs", "0"}, {"gangs", "x"}} {
		var out bytes.Buffer
		if err := app(&out, &out).Run(append([]string{"zorilla-sim"}, args...)); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}
