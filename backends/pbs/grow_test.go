package pbs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/pbs"
	"github.com/zorilla-grid/zorilla/gat"
)

// TestGrowStatus holds the text that others follow jobs by to the dialect's own
// reading of what was recorded.
func TestGrowStatus(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the text is for hosts with Linux")
	}
	d := pbs.Dialect()
	for _, name := range []string{"full", "tasks", "history"} {
		bin := t.TempDir()
		text := recorded(t, name)
		var ids strings.Builder
		for line := range strings.Lines(text) {
			if id, ok := strings.CutPrefix(line, "Job Id: "); ok {
				ids.WriteString(id)
			}
		}
		for tool, answer := range map[string]string{"qselect": ids.String(), "qstat": text} {
			file := filepath.Join(bin, "answer-"+tool)
			if err := os.WriteFile(file, []byte(answer), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(bin, tool), []byte("#!/bin/sh\ncat "+batch.Quote(file)+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("/bin/sh", "-s")
		cmd.Stdin = strings.NewReader(d.Growing.Status)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		want, err := d.States(listing(text))
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[gat.JobID]bool)
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			if len(f) != 2 {
				t.Errorf("%s: a line of states: %q", name, line)
				continue
			}
			id := gat.JobID(f[0])
			seen[id] = true
			st, ok := want.Find(id)
			word := map[gat.State]string{gat.Queued: "queued", gat.Held: "held", gat.Running: "running"}[st.State]
			if st.State.Final() {
				word = "done"
			}
			if !ok || f[1] != word {
				t.Errorf("%s: job %s is told to be %s, want %q (%v)", name, id, f[1], word, st)
			}
		}
		for id := range want.Jobs {
			if !seen[id] {
				t.Errorf("%s: nothing is told of job %s", name, id)
			}
		}
	}
}
