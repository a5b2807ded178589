package batch_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/gat"
)

// queue is a fake Slurm with a login.
type queue struct {
	*testing.T
	*batchtest.Fake
	gat.Login
	dir string // of the test
}

func open(t *testing.T, every time.Duration) *queue {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the small queue needs setsid and /proc")
	}
	f := batchtest.Slurm(t, slurm.Dialect(), local.Backend{})
	if every > 0 {
		f.Every = every
	}
	l := f.Open(t)
	t.Cleanup(func() { l.Close() })
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &queue{t, f, l, dir}
}

func (q *queue) submit(spec gat.JobSpec) []gat.JobID {
	q.Helper()
	ids, err := q.Submit(q.Context(), spec)
	q.Cleanup(func() { q.Cancel(context.WithoutCancel(q.Context()), ids...) })
	if err != nil {
		q.Fatal(err)
	}
	return ids
}

// until polls until a job's state is one of those wanted.
func (q *queue) until(id gat.JobID, want ...gat.State) gat.JobStatus {
	q.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last []gat.JobStatus
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		all, err := q.Status(q.Context(), id)
		if err != nil {
			q.Fatal(err)
		}
		if slices.Contains(want, all[0].State) {
			return all[0]
		}
		last = all
	}
	q.Fatalf("job %s is %v, want it to be %v", id, last, want)
	return gat.JobStatus{}
}

// sh runs a script as a job and returns what it prints.
func (q *queue) sh(spec gat.JobSpec, script string, args ...string) string {
	q.Helper()
	spec.Argv = append([]string{"/bin/sh", "-c", script, "sh"}, args...)
	spec.Stderr = filepath.Join(q.dir, "out-"+rand.Text())
	q.until(q.submit(spec)[0], gat.Done, gat.Failed)
	out, err := os.ReadFile(spec.Stderr)
	if err != nil {
		q.Fatal(err)
	}
	return string(out)
}

func (q *queue) ran(command string) int {
	n := 0
	for _, line := range q.Commands(q.T) {
		if line == command || strings.HasPrefix(line, command+" ") {
			n++
		}
	}
	return n
}

// However many ask, and over however many logins, the queue is listed once an
// interval.
func TestOneListing(t *testing.T) {
	t.Parallel()
	q := open(t, time.Hour)
	q.Write(t, "hold", "")
	ids := q.submit(gat.JobSpec{Argv: []string{"/bin/true"}, Count: 5})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			all, err := q.Status(t.Context(), ids[i%len(ids)], "77") // which is not young
			if err != nil || all[0].State != gat.Queued {
				t.Errorf("status is %v, %v", all, err)
			}
		})
	}
	wg.Wait()
	later := q.submit(gat.JobSpec{Argv: []string{"/bin/true"}})
	if all, err := q.Status(t.Context(), later[0], "77"); err != nil || all[0].State != gat.Queued {
		t.Errorf("a job younger than the listing is %v, %v, want queued", all, err)
	}
	if n := q.ran("squeue"); n != 1 {
		t.Errorf("%d listings, want 1", n)
	}
}

// The first listing after a submission is one that can tell that the jobs started.
func TestFirstListing(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	l, err := q.Backend.Open(t.Context(), gat.Target{Site: "s", URL: q.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pace := func(least, most time.Duration) {
		t.Helper()
		if got := l.(gat.Paced).PollEvery(); got < least || got > most {
			t.Errorf("it asks to be polled every %v, want %v to %v", got, least, most)
		}
	}
	spec := gat.JobSpec{Argv: []string{"/bin/true"}, Resources: gat.Resources{Walltime: time.Minute}}
	pace(61*time.Second, 61*time.Second)
	ids, err := l.Submit(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := l.Status(t.Context(), ids...); err != nil || all[0].State != gat.Queued {
		t.Errorf("a job just submitted is %v, %v", all, err)
	}
	if n := q.ran("squeue"); n != 0 {
		t.Errorf("%d listings, want none yet", n)
	}
	pace(4*time.Second, 6*time.Second)
	if _, err := l.Status(t.Context(), "77"); err != nil {
		t.Fatal(err)
	}
	pace(61*time.Second, 61*time.Second)
	if _, err := l.Submit(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Status(t.Context(), "77"); err != nil {
		t.Fatal(err)
	}
	pace(50*time.Second, 61*time.Second) // not before the next listing is due
	if n := q.ran("squeue"); n != 1 {
		t.Errorf("%d listings, want 1", n)
	}
}

// shared is the memory that logins of several programs share.
type shared struct {
	mu     sync.Mutex
	answer []byte
	when   time.Time
	asked  int
}

func (s *shared) Poll(ctx context.Context, key string, every time.Duration, ask func(context.Context) ([]byte, error)) ([]byte, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == 0 || time.Since(s.when) >= every {
		s.asked++
		answer, err := ask(ctx)
		if err != nil {
			return nil, time.Time{}, err
		}
		s.answer, s.when = answer, time.Now()
	}
	return s.answer, s.when, nil
}

func TestSharedListing(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	q.Write(t, "hold", "")
	polls := &shared{}
	var logins []gat.Login
	for range 3 {
		l, err := q.Backend.Open(t.Context(), gat.Target{Site: "s", URL: q.URL(), PollEvery: time.Hour, Polls: polls})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		logins = append(logins, l)
	}
	ids := q.submit(gat.JobSpec{Argv: []string{"/bin/true"}})
	for _, l := range logins {
		if all, err := l.Status(t.Context(), ids...); err != nil || all[0].State != gat.Queued {
			t.Errorf("status is %v, %v", all, err)
		}
	}
	if n := q.ran("squeue"); n != 1 {
		t.Errorf("%d listings, want 1", n)
	}
}

// Listings that cannot be believed are errors of class Transient; no job ends by
// them.
func TestBadListings(t *testing.T) {
	t.Parallel()
	q := open(t, time.Nanosecond)
	ids := q.submit(gat.JobSpec{Argv: []string{"/bin/sleep", "1000"}})
	q.until(ids[0], gat.Running)
	for name, text := range map[string]string{
		"fails":     "1\nslurm_load_jobs error: Unable to contact slurm controller (connect failure)\n",
		"times out": "1\nslurm_load_jobs error: Socket timed out on send/recv operation\n",
		"odd":       "3\nSegmentation fault\n",
		"silent":    "0\n",
	} {
		q.Write(t, "fault-squeue", text)
		if all, err := q.Status(t.Context(), ids...); gat.ClassOf(err) != gat.Transient || err == nil {
			t.Errorf("%s: %v, %v, want an error of class transient", name, all, err)
		}
	}
	q.Remove(t, "fault-squeue")
	if all, err := q.Status(t.Context(), ids...); err != nil || all[0].State != gat.Running {
		t.Errorf("afterwards: %v, %v", all, err)
	}
}

// A job that is not listed any more is looked up; only when nobody knows it is it
// unknown.
func TestVanished(t *testing.T) {
	t.Parallel()
	q := open(t, time.Nanosecond)
	id := q.submit(gat.JobSpec{Argv: []string{"/bin/sh", "-c", "exit 9"}})[0]
	if st := q.until(id, gat.Failed); st.Exit != 9 {
		t.Errorf("the job is %v, want exit status 9", st)
	}
	lookUps := q.ran("scontrol")
	for range 3 {
		q.until(id, gat.Failed)
	}
	if n := q.ran("scontrol"); n != lookUps {
		t.Errorf("what is known is looked up %d times more", n-lookUps)
	}
	q.Remove(t, filepath.Join("jobs", string(id)))
	if st := q.until(id, gat.Failed); st.Exit != 9 {
		t.Errorf("the job is %v after the queue forgot it", st)
	}
	if all, err := q.Status(t.Context(), "77", "78_1"); err != nil || all[0].State != gat.Unknown || all[1].State != gat.Unknown {
		t.Errorf("jobs of nobody are %v, %v", all, err)
	}
	held := q.submit(gat.JobSpec{Argv: []string{"/bin/sleep", "1000"}})[0]
	if err := q.Cancel(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	q.Remove(t, filepath.Join("jobs", string(held)))
	if st := q.until(held, gat.Cancelled, gat.Unknown); st.State != gat.Cancelled {
		t.Errorf("a job that was cancelled and vanished is %v", st)
	}
}

// Sites wrap the submit command.
func TestBanner(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	q.Write(t, "banner", "*** Welcome to the cluster of 2026 ***\n2026\nYour project has 12345 hours left.\n--- 77 ---\n")
	if ids := q.submit(gat.JobSpec{Argv: []string{"/bin/true"}}); !slices.Equal(ids, []gat.JobID{"1"}) {
		t.Errorf("identifiers are %q", ids)
	}
	if ids := q.submit(gat.JobSpec{Argv: []string{"/bin/true"}, Count: 2}); !slices.Equal(ids, []gat.JobID{"2_1", "2_2"}) {
		t.Errorf("identifiers are %q", ids)
	}
}

// What a site refuses, or would keep waiting for ever, is said in the same words,
// with the key of the sites file.
func TestRefusals(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	for want, r := range map[string]gat.Resources{
		`the queue "nope" is not there`:             {Queue: "nope"},
		"the wall time 3d is over the queue's":      {Walltime: 72 * time.Hour},
		"the wall time 2h is over the queue's":      {Walltime: 2 * time.Hour, Queue: "debug"},
		"there are no 8 nodes for one job (debug":   {Shape: gat.Multi, Nodes: 8},
		"no node gives 5 cores (the largest of de":  {Cores: 5},
		"no node gives 2001 MiB of memory (the lar": {Memory: 2001 << 20},
		`no node fulfils the constraint "gold"`:     {Queue: "short", Constraint: "gold"},
		"a flag or resource is not known":           {Native: []string{"--nonsense"}},
	} {
		ids, err := q.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}, Resources: r})
		if gat.ClassOf(err) != gat.Invalid || len(ids) > 0 || !strings.Contains(fmt.Sprint(err), want) || !strings.Contains(err.Error(), "sites file") {
			t.Errorf("%+v: %q, %v, want class invalid and %q", r, ids, err, want)
		}
	}
	// The same from the scheduler itself, where the description did not tell.
	for said, want := range map[string]string{
		"sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)":                                         "the wall time 30m is over the queue's limit",
		"sbatch: error: Batch job submission failed: Node count specification invalid":                                                                        "there are no 2 nodes for one job",
		"sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified":                                              `the account "a" is not one`,
		"sbatch: error: Batch job submission failed: Invalid feature specification":                                                                           `no node fulfils the constraint "fast"`,
		"sbatch: error: invalid partition specified: short\nsbatch: error: Batch job submission failed: Invalid partition name specified":                     `the queue "debug" is not there`,
		"sbatch: error: Batch job submission failed: Requested node configuration is not available":                                                           "there are no 2 nodes for one job",
		"sbatch: error: Memory specification can not be satisfied\nsbatch: error: Batch job submission failed: Requested node configuration is not available": "MiB of memory",
	} {
		q.Write(t, "fault-sbatch", "1\n"+said+"\n")
		_, err := q.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}, Resources: gat.Resources{Shape: gat.Multi, Nodes: 2, Walltime: 30 * time.Minute, Queue: "debug", Account: "a", Memory: 1 << 29}})
		if want == `no node fulfils the constraint "fast"` {
			_, err = q.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}, Resources: gat.Resources{Queue: "short", Constraint: "fast"}})
		}
		if gat.ClassOf(err) != gat.Invalid || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q becomes %v, want class invalid and %q", said, err, want)
		}
	}
	for said, want := range map[string]gat.Class{
		"sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)":                                                                              gat.Transient,
		"sbatch: error: Batch job submission failed: Socket timed out on send/recv operation":                                                                                           gat.Transient,
		"sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)": gat.Transient,
		"sbatch: error: Batch job submission failed: Access/permission denied":                                                                                                          gat.Denied,
		"sbatch: error: something new": gat.Permanent,
	} {
		q.Write(t, "fault-sbatch", "1\n"+said+"\n")
		if _, err := q.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}}); gat.ClassOf(err) != want || err == nil {
			t.Errorf("%q becomes %v of class %v, want %v", said, err, gat.ClassOf(err), want)
		}
	}
}

// A site that does not describe itself takes jobs all the same; one whose scheduler is
// down does not.
func TestNoDescription(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	q.Write(t, "fault-sinfo", "1\nslurm_load_partitions error: Unable to contact slurm controller (connect failure)\n")
	if _, err := q.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}}); gat.ClassOf(err) != gat.Transient || err == nil {
		t.Errorf("with the controller down: %v", err)
	}
	q.Write(t, "fault-sinfo", "1\nsinfo is not for users here\n")
	q.until(q.submit(gat.JobSpec{Argv: []string{"/bin/true"}, Resources: gat.Resources{Queue: "anything"}})[0], gat.Done)
}

// A cancellation that is refused is an error, unless the jobs were gone.
func TestRefusedCancel(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	if err := q.Cancel(t.Context(), "77", "78_3", "no job"); err != nil {
		t.Errorf("cancelling nobody's jobs: %v", err)
	}
	q.Write(t, "fault-scancel", "1\nscancel: error: Kill job error on job id 77: Access/permission denied\n")
	if err := q.Cancel(t.Context(), "77"); gat.ClassOf(err) != gat.Denied || !strings.Contains(err.Error(), "Access/permission denied") {
		t.Errorf("a refused cancellation: %v", err)
	}
}

// Without its commands a host is no head node, and says so.
func TestNoScheduler(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	d := slurm.Dialect()
	d.Tool = "no-such-sbatch"
	f := batchtest.Slurm(t, d, local.Backend{})
	l := f.Open(t)
	defer l.Close()
	_, err := l.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/true"}})
	if gat.ClassOf(err) != gat.Permanent || !strings.Contains(fmt.Sprint(err), "is this a host from which Slurm jobs are submitted?") {
		t.Errorf("without commands: %v", err)
	}
	if _, err := l.(gat.Headed).Head().(gat.Runner).Run(t.Context(), gat.Command{Argv: []string{"/bin/true"}}); err != nil {
		t.Errorf("the host itself: %v", err)
	}
	_ = q
}
