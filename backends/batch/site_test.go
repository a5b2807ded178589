package batch_test

import (
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/gat"
)

// A site above a queueing system: what it watches goes on while the scheduler is down,
// and its head is the host itself.
func TestSite(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the small queue needs setsid and /proc")
	}
	f := batchtest.Slurm(t, slurm.Dialect(), local.Backend{})
	s, err := gat.NewSite(gat.SiteConfig{Name: "das", URLs: []*url.URL{f.URL()}, Backends: []gat.Backend{f.Backend}, PollEvery: 20 * time.Millisecond, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f.Write(t, "hold", "")
	ids, err := s.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}, Name: "watched", Count: 3})
	if err != nil {
		t.Fatal(err)
	}
	head := s.Head()
	defer head.Close()
	p, err := head.Run(t.Context(), gat.Command{Argv: []string{"/bin/true"}})
	if err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(); code != 0 || err != nil {
		t.Errorf("a command at the head ends with %d, %v", code, err)
	}
	p.Close()
	if _, err := head.Describe(t.Context()); gat.ClassOf(err) != gat.Permanent {
		t.Errorf("the head describes a queue: %v", err)
	}
	down, done := 0, 0
	for st, err := range s.Watch(t.Context(), ids...) {
		switch {
		case err != nil:
			if !strings.Contains(err.Error(), "Unable to contact slurm controller") {
				t.Fatalf("watch: %v", err)
			}
			if down++; down == 3 {
				f.Remove(t, "fault-squeue")
				f.Remove(t, "hold")
			}
		case st.State == gat.Queued && down == 0:
			f.Write(t, "fault-squeue", "1\nslurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
		case st.State == gat.Done:
			done++
		case st.State.Final() || st.State == gat.Unknown:
			t.Fatalf("a job is %v", st)
		}
	}
	if down < 3 || done != 3 {
		t.Errorf("%d polls failed and %d jobs are done, want at least 3 and 3", down, done)
	}
	if found, err := s.Find(t.Context(), "watched", time.Time{}); err != nil || len(found) != 0 {
		t.Errorf("found afterwards are %v, %v", found, err)
	}
}
