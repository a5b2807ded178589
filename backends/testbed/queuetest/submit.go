package queuetest

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
)

// turns are how often Submit takes each of both ways.
const turns = 30

// Submit compares submissions of jobs that are held with the bare command, given the same
// script over the same connection, taking turns: by their best times, in
// milliseconds, and their ratio. The flag native has the system hold a job.
func Submit(b *testing.B, c *testbed.Cluster, backend gat.Backend, scheme, native string) {
	t := c.Target(b, scheme, c.Head)
	l, err := backend.Open(b.Context(), t)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	spec := gat.JobSpec{Argv: []string{"/bin/true"}, Name: "bench", Resources: gat.Resources{Cores: 1, Walltime: time.Minute, Native: []string{native}}}
	r, err := backend.(gat.Renderer).Render(t.URL, spec)
	if err != nil {
		b.Fatal(err)
	}
	var ids []gat.JobID
	defer func() { l.Cancel(context.WithoutCancel(b.Context()), ids...) }()
	bare := func() {
		p, err := l.(gat.Headed).Head().(gat.Runner).Run(b.Context(), gat.Command{Argv: r.Submit})
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		io.WriteString(p.Stdin(), r.Script)
		p.Stdin().Close()
		out, err := io.ReadAll(p.Stdout())
		if err != nil {
			b.Fatal(err)
		}
		if code, err := p.Wait(); code != 0 || err != nil {
			b.Fatalf("%s: status %d, %v", r.Submit[0], code, err)
		}
		ids = append(ids, gat.JobID(strings.TrimSpace(string(out))))
	}
	ours := func() {
		got, err := l.Submit(b.Context(), spec)
		if err != nil {
			b.Fatal(err)
		}
		ids = append(ids, got...)
	}
	ours() // the first asks the site about itself
	best := [2]time.Duration{time.Hour, time.Hour}
	for b.Loop() {
		for range turns {
			for i, do := range []func(){bare, ours} {
				began := time.Now()
				do()
				best[i] = min(best[i], time.Since(began))
			}
		}
	}
	b.ReportMetric(float64(best[0].Microseconds())/1000, "bare-ms")
	b.ReportMetric(float64(best[1].Microseconds())/1000, "submit-ms")
	b.ReportMetric(float64(best[1])/float64(best[0]), "x-bare")
}
