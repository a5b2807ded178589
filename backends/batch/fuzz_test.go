package batch_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/gat"
)

// Whatever a system of a site's own prints, it gives identifiers that no command line
// minds, or an error.
func FuzzCustomAnswers(f *testing.F) {
	f.Add("1|PENDING|Priority|n\n2_3|RUNNING||n\n")
	f.Add("7\nhello\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := batch.Custom(homemade())
		if err != nil {
			t.Fatal(err)
		}
		ids := d.IDs(text, &batch.Job{Count: 2})
		if l, err := d.States(text); err == nil {
			for id := range l.Jobs {
				ids = append(ids, id)
			}
		}
		for _, id := range ids {
			if strings.ContainsAny(string(id), " \t\n;&|<>$`'\"\\*?(){}~!") || strings.HasPrefix(string(id), "-") {
				t.Errorf("%q gives the identifier %q", text, id)
			}
		}
	})
}

// A description is refused or renders.
func FuzzCustomConfig(f *testing.F) {
	f.Add("qsub {queue:-q %s} {script}", "qstat {user}", "qdel {ids}", "([0-9]+)", "(?P<id>x)(?P<state>y)", "{id}.{index}")
	f.Fuzz(func(t *testing.T, submit, status, cancel, id, job, task string) {
		d, err := batch.Custom(batch.CustomConfig{Name: "x", Submit: submit, Status: status, Cancel: cancel, ID: id, Job: job, Task: task, Array: true, States: map[string]string{"y": "queued"}})
		if err != nil {
			return
		}
		_, err = batch.New(d, local.Backend{}).(gat.Renderer).Render(&url.URL{Scheme: "x+local"}, gat.JobSpec{Argv: []string{"/x"}, Count: 3, Resources: gat.Resources{Queue: "q", Walltime: time.Hour}})
		if err != nil {
			t.Errorf("the description is taken and does not render: %v", err)
		}
		d.IDs(submit, &batch.Job{Count: 2})
		d.States(job)
	})
}

func FuzzParseWalltime(f *testing.F) {
	for _, text := range []string{"1-02:03:04", "INFINITY", "90", "99:99:99", "-"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, ok := batch.ParseWalltime(text, time.Minute); d < 0 || !ok && d != 0 {
			t.Errorf("%q is %v, %v", text, d, ok)
		}
	})
}

func FuzzSections(f *testing.F) {
	f.Add("x\n== a\nb\n== c\n")
	f.Fuzz(func(t *testing.T, text string) {
		for name, lines := range batch.Sections(text) {
			for _, line := range append(lines, name) {
				if strings.Contains(line, "\n") {
					t.Errorf("%q gives the line %q", text, line)
				}
			}
		}
	})
}
