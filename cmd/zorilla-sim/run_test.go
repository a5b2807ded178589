package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs the command with arguments and returns what it prints.
func command(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = app(&out, &errs).Run(append([]string{"zorilla-sim"}, args...))
	return out.String(), errs.String(), err
}

func TestScenario(t *testing.T) {
	out, errs, err := command(t, "run", "--scenario", "calibration", "--json")
	if err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	var line struct {
		Scenario   string
		Digest     string
		Nodes      int
		Kinds      map[string]int
		Recoveries []struct{ Seen, Replaced float64 }
		Report     []string
	}
	if err := json.Unmarshal([]byte(out), &line); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	if line.Scenario != "calibration" || line.Nodes != 40 || len(line.Recoveries) != 1 || line.Kinds["grant"] == 0 || len(line.Report) != 3 {
		t.Errorf("%s", out)
	}
	if r := line.Recoveries[0]; r.Seen <= 0 || r.Replaced <= r.Seen {
		t.Errorf("%+v: a loss is seen, and then made good", r)
	}
}

// TestBroken holds that a scenario whose expectation is wrong says so, and how to see it again.
func TestBroken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "broken.txt")
	text := "grid 10\njob a workers 2 at 10s runs 5s\nend 20s\nexpect job a app\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, errs, err := command(t, "run", "--scenario", file, "--seed", "9")
	if !errors.Is(err, errViolated) || !strings.Contains(out, "line 4: expect job a app: ok after") {
		t.Errorf("%v\n%s", err, out)
	}
	if want := "again with: go run ./cmd/zorilla-sim run --scenario " + file + " --seed 9"; !strings.Contains(errs, want) {
		t.Errorf("want %q in\n%s", want, errs)
	}
}

// TestTrace recounts a run's messages from its trace.
func TestTrace(t *testing.T) {
	dir := t.TempDir()
	file, dot, svg := filepath.Join(dir, "trace"), filepath.Join(dir, "dot"), filepath.Join(dir, "svg")
	out, errs, err := command(t, "run", "--nodes", "30", "--seconds", "10", "--json", "--trace", file, "--dot", dot, "--svg", svg)
	if err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	var line struct {
		Messages int
		Nodes    int
		Kinds    map[string]int
	}
	if err := json.Unmarshal([]byte(out), &line); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	kinds, total, last := map[string]int{}, 0, 0.0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var m struct {
			Time           float64
			From, To, Kind string
			Bytes          int
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		if m.Time < last || m.From == "" || m.To == "" || m.From == m.To || m.Bytes < 2 {
			t.Fatalf("%+v after %g", m, last)
		}
		last = m.Time
		kinds[m.Kind]++
		total++
	}
	if total != line.Messages || kinds["hello"] != line.Kinds["hello"] || kinds["hello"] == 0 {
		t.Errorf("%d messages in the trace, %d of them hello; the run says %d and %d", total, kinds["hello"], line.Messages, line.Kinds["hello"])
	}

	b, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	elements := 0
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the picture is no XML: %v", err)
		}
		if e, ok := tok.(xml.StartElement); ok && (e.Name.Local == "circle" || e.Name.Local == "path" || e.Name.Local == "rect") {
			elements++
		}
	}
	if elements != line.Nodes+1 { // and the background
		t.Errorf("%d shapes for %d nodes", elements, line.Nodes)
	}
	if b, err := os.ReadFile(dot); err != nil || !strings.HasPrefix(string(b), "graph overlay {") || strings.Count(string(b), "pos=") != line.Nodes {
		t.Errorf("the overlay for Graphviz: %v\n%s", err, b)
	}
}

func TestRTT(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rtt")
	if err := os.WriteFile(file, []byte("0 10 20\n10 0 30\n20 30 0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, errs, err := command(t, "run", "--nodes", "20", "--seconds", "10", "--rtt", file, "--unit", "ms", "--json")
	if err != nil || !strings.Contains(out, `"violations":[]`) {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
	if _, _, err := command(t, "run", "--rtt", file, "--unit", "days"); err == nil {
		t.Error("a unit of days is taken")
	}
}

func TestScenarioRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bad.txt")
	if err := os.WriteFile(file, []byte("grid 10\nend 10s\nevery 5s\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := command(t, "run", "--scenario", file); err == nil || !strings.Contains(err.Error(), file+":3:") {
		t.Errorf("%v: want the file and the line", err)
	}
	for _, args := range [][]string{{"--scenario", "no-such-file"}, {"--scenario", "calibration", "--nodes", "5"}} {
		if _, _, err := command(t, append([]string{"run"}, args...)...); err == nil {
			t.Errorf("run %v is taken", args)
		}
	}
}

// TestGangTrace recounts the messages of a gang from its trace.
func TestGangTrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trace")
	out, errs, err := command(t, "gang", "--nodes", "60", "--sites", "3", "--free", "30", "--want", "8", "--json", "--trace", file)
	if err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	var line struct {
		Messages int
		Kinds    map[string]int
	}
	if err := json.Unmarshal([]byte(out), &line); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	grants := 0
	for _, text := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		var m struct {
			Kind   string
			Passed bool
		}
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		if m.Kind == "grant" && !m.Passed {
			grants++
		}
	}
	if grants != line.Kinds["grant"] || grants == 0 {
		t.Errorf("%d grants in the trace; the run says %v", grants, line.Kinds)
	}
}
