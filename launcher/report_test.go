package launcher_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/launcher"
)

func TestTally(t *testing.T) {
	var tally launcher.Tally
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	after := func(s float64, d launcher.EventData) {
		tally.Add(launcher.Event{Time: at.Add(time.Duration(s * float64(time.Second))), Run: "abcdefgh", Data: d})
	}
	worker := func(rank, attempt int, site, state string, exit int) launcher.WorkerChanged {
		w := launcher.WorkerChanged{Rank: rank, Attempt: attempt, Site: site, State: state}
		if exit >= 0 {
			w.Exit = &exit
		}
		return w
	}
	after(0, launcher.RunStarted{App: "x", Workers: 3, Sites: []string{"b", "a"}})
	after(1, launcher.SiteChanged{Site: "a", State: "up", Wanted: 1, Submitted: 1, Up: 1})
	after(1, launcher.Transferred{Site: "a", Up: 10, Down: 20})
	after(1, worker(0, 1, "a", "granted", -1))
	after(2, worker(0, 1, "a", "running", -1))
	after(2, worker(1, 1, "a", "running", -1))
	after(2, worker(2, 1, "b", "running", -1))
	if st := tally.Status(); st.Running != 3 || st.Sites[1].Running != 2 || st.Sites[0].Site != "b" {
		t.Errorf("three run: %+v", st)
	}
	after(3, worker(2, 1, "b", "lost", -1))
	if st := tally.Status(); st.Lost != 1 || st.Running != 2 {
		t.Errorf("one lost: %+v", st)
	}
	after(4, worker(2, 2, "a", "running", -1))
	after(5, worker(2, 1, "b", "running", -1)) // an old attempt that comes late
	after(12, worker(0, 1, "", "exited", 0))
	after(12, worker(0, 1, "", "done", 0))
	after(12, worker(1, 1, "a", "done", 3))
	if st := tally.Status(); st.Done != 1 || st.Failed != 1 || st.Running != 1 || st.Lost != 0 {
		t.Errorf("one goes on: %+v", st)
	}
	after(12, worker(2, 2, "a", "done", 0))
	after(13, launcher.RunEnded{Outcome: launcher.OutcomeApp, Exit: 3, Wall: 13})

	r := tally.Report()
	if r.V != 1 || r.Outcome != launcher.OutcomeApp || r.Exit != 3 || r.Wall != 13 || len(r.Workers) != 3 || len(r.Sites) != 2 {
		t.Errorf("report: %+v", r)
	}
	// 10 + 10 + 8 seconds of work in 3 * 10 seconds.
	if r.Efficiency < 0.933 || r.Efficiency > 0.934 {
		t.Errorf("efficiency %v, want 28/30", r.Efficiency)
	}
	if w := r.Workers[2]; w.Attempt != 2 || w.Site != "a" || w.Wall != 8 || *w.Exit != 0 {
		t.Errorf("replaced worker: %+v", w)
	}
	if s := r.Sites[1]; s.Workers != 3 || s.Sent != 10 || s.Got != 20 {
		t.Errorf("site a: %+v", s)
	}
}

func TestOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "out")
	o, err := launcher.CreateOut(dir, "abcdefgh")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for range 2 { // the second attempt's output replaces that of the first
		f, err := o.Create(3, "stdout")
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("hi")
		f.Close()
	}
	if data, err := os.ReadFile(filepath.Join(dir, "worker-3", "stdout")); err != nil || string(data) != "hi" {
		t.Errorf("stdout %q, %v", data, err)
	}
	exit := 0
	want := launcher.Report{V: 1, Run: "abcdefgh", Outcome: launcher.OutcomeOK, Workers: []launcher.WorkerReport{{Exit: &exit}},
		Sites: []launcher.SiteReport{}, Leftovers: []launcher.Leftover{}}
	if err := o.WriteReport(want); err != nil {
		t.Fatal(err)
	}
	got, err := launcher.ReadReport(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("report (-want +got):\n%s", d)
	}
	data, _ := os.ReadFile(filepath.Join(dir, "report.json"))
	for _, key := range []string{`"v"`, `"run"`, `"outcome"`, `"exit"`, `"wall_s"`, `"efficiency"`, `"workers": [`, `"sites": []`, `"leftovers": []`} {
		if !strings.Contains(string(data), key) {
			t.Errorf("report.json has no %s:\n%s", key, data)
		}
	}
}

func TestCreateOut(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for path, content := range map[string]string{"full/notes": "x", "old/report.json": "{}", "file": "x"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"full": "is not empty; give another --out",
		"old":  "holds the results of an earlier run; remove it or give another --out",
		"file": "is not a directory",
	} {
		if _, err := launcher.CreateOut(path, "abcdefgh"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CreateOut(%q) = %v, want %q", path, err, want)
		}
	}
	if err := os.Mkdir("empty", 0o755); err != nil {
		t.Fatal(err)
	}
	o, err := launcher.CreateOut("empty", "abcdefgh")
	if err != nil {
		t.Fatal(err)
	}
	o.Discard()
	o.Close()
	if _, err := os.Stat("empty"); err != nil {
		t.Errorf("a directory of the user's was removed: %v", err)
	}
	o, err = launcher.CreateOut("", "abcdefgh")
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(o.Path) != "zorilla-abcdefgh" || !filepath.IsAbs(o.Path) {
		t.Errorf("default path %q", o.Path)
	}
	o.Discard()
	o.Close()
	if _, err := os.Stat(o.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("our own empty directory stayed: %v", err)
	}
}
