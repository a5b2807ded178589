package batch_test

import (
	"errors"
	"net/url"
	"runtime"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/gat"
)

// A submission whose answer is lost is not made a second time, whoever would try
// again; its jobs are found by their name, in a listing that is newer.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the small queue needs setsid and /proc")
	}
	f := batchtest.Slurm(t, slurm.Dialect(), local.Backend{})
	s, err := gat.NewSite(gat.SiteConfig{Name: "das", URLs: []*url.URL{f.URL(), f.URL()}, Backends: []gat.Backend{f.Backend}, PollEvery: 500 * time.Millisecond, Retries: 3, Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f.Write(t, "hold", "")
	// The listing that all share is from before.
	if found, err := s.Find(t.Context(), "lost", time.Time{}); err != nil || len(found) != 0 {
		t.Fatalf("before anything was submitted there are %v, %v", found, err)
	}
	for n, said := range []string{
		"sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
		"sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
		"",
	} {
		f.Write(t, "lost-sbatch", said+"\n")
		if said == "" {
			f.Remove(t, "lost-sbatch")
			f.Write(t, "mute-sbatch", "")
		}
		ids, err := s.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}, Name: "lost", Count: 2})
		if len(ids) > 0 || !errors.Is(err, gat.ErrUnsure) || gat.ClassOf(err) != gat.Transient {
			t.Errorf("%q: %v, %v; want an error that is not sure", said, ids, err)
		}
		found, err := s.Find(t.Context(), "lost", time.Now())
		if err != nil || len(found) != 2*(n+1) {
			t.Errorf("%q: found are %v, %v; want %d", said, found, err, 2*(n+1))
		}
		defer func() {
			for _, st := range found {
				s.Cancel(t.Context(), st.ID)
			}
		}()
	}
	// What has certainly not happened may be tried again.
	f.Remove(t, "mute-sbatch")
	f.Write(t, "fault-sbatch", "1\nsbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n")
	if _, err := s.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}, Name: "lost"}); errors.Is(err, gat.ErrUnsure) || gat.ClassOf(err) != gat.Transient {
		t.Errorf("no controller: %v", err)
	}
}
