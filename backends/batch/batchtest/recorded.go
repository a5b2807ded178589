package batchtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/gat"
)

// Recorded returns what a command printed, by the name it has in the txtar archive
// that was made of a real system.
func Recorded(t testing.TB, archive, name string) string {
	t.Helper()
	text, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range txtar.Parse(text).Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	t.Fatalf("nothing recorded of %s", name)
	return ""
}

// Expect compares what a listing tells of jobs with what it should; a job in the state
// Unknown is not to be in it.
func Expect(t testing.TB, l *batch.Listing, want map[gat.JobID]gat.JobStatus) {
	t.Helper()
	for id, w := range want {
		got, ok := l.Find(id)
		w.ID = id
		if ok != (w.State != gat.Unknown) || ok && got != w {
			t.Errorf("%s is %v (%v), want %v", id, got, ok, w)
		}
	}
}

// Parse has all of a dialect's parsers read a text, which may be anything: they give
// jobs of this system's form, or an error.
func Parse(t testing.TB, d *batch.Dialect, text string) {
	t.Helper()
	for _, parse := range []func(string) (*batch.Listing, error){d.States, d.Accounts} {
		l, err := parse(text)
		if err != nil {
			continue
		}
		for id := range l.Jobs {
			// What may follow is the name of another cluster.
			if own, _, _ := strings.Cut(string(id), ";"); !d.ID(gat.JobID(own)) {
				t.Errorf("%q gives the job %q", text, id)
			}
		}
		for _, form := range []gat.JobID{"6", "6_1", "6.1", "6[1]"} {
			l.Find(form)
		}
	}
	if facts, err := d.Facts(text); err == nil {
		d.Submit(&batch.Job{Name: "n", Count: 2, Facts: facts, Spec: gat.JobSpec{ //nolint:errcheck // that it returns is enough
			Resources: gat.Resources{Cores: 2, Nodes: 2, Shape: gat.Multi, Memory: 1 << 30, GPUs: 1}}})
	}
	for _, id := range d.IDs(text, &batch.Job{Count: 2}) {
		if !d.ID(id) {
			t.Errorf("%q gives the identifier %q", text, id)
		}
	}
}

// GrowStatus holds the text by which others follow a dialect's jobs to the dialect's own
// reading of a listing, which is what the system's command prints.
func GrowStatus(t *testing.T, d *batch.Dialect, command, listing string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the text is for hosts with Linux")
	}
	bin := t.TempDir()
	answer := filepath.Join(bin, "answer")
	if err := os.WriteFile(answer, []byte(listing), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, command), []byte("#!/bin/sh\ncat "+batch.Quote(answer)+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-s")
	cmd.Stdin = strings.NewReader(d.Growing.Status)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want, err := d.States(listing)
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[gat.JobID]string)
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) != 2 {
			t.Errorf("a line of states: %q", line)
			continue
		}
		told[gat.JobID(f[0])] = f[1]
	}
	for id, word := range told {
		st, ok := want.Find(id)
		as := map[gat.State]string{gat.Queued: "queued", gat.Held: "held", gat.Running: "running"}[st.State]
		if st.State.Final() {
			as = "done"
		}
		if !ok || word != as {
			t.Errorf("job %s is told to be %s, want %q (%v)", id, word, as, st)
		}
	}
	for id := range want.Jobs {
		if told[id] == "" {
			t.Errorf("nothing is told of job %s", id)
		}
	}
	for _, r := range want.Ranges {
		if id := gat.JobID(r.Prefix + "1" + r.Suffix); r.First == 1 && told[id] == "" {
			t.Errorf("nothing is told of task %s", id)
		}
	}
}
