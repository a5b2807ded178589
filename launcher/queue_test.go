//go:build unix

package launcher_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/launcher"
)

// startIn starts a run whose sites have those queues.
func (b *bench) startIn(job launcher.Job, sites ...*launcher.Site) *live {
	return b.startWith(nil, job, sites...)
}

func (b *bench) startWith(queues []*fakeQueue, job launcher.Job, sites ...*launcher.Site) *live {
	b.t.Helper()
	return b.start(job, "[site.none]\nurl = \"local:\"\n", func(o *launcher.Options) {
		o.Dial, o.Sites, o.Backends, o.Poll = nil, sites, []gat.Backend{local.Backend{}}, 50*time.Millisecond
		for _, q := range queues {
			o.Backends = append(o.Backends, q)
		}
	})
}

// localBench is a bench without a network.
func localBench(t *testing.T) *bench {
	t.Parallel()
	return newBenchIn(t, nil)
}

// empty fails the test if a queue holds anything.
func (q *fakeQueue) empty() {
	q.t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range q.jobs {
		if !j.State.Final() {
			q.t.Errorf("job %s is left in the queue: %s", j.id, j.State)
		}
	}
}

// TestQueue is a whole run through a queue, with the pilot carried and with it in a
// shared directory.
func TestQueue(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%v", shared), func(t *testing.T) {
			b := localBench(t)
			q := newFakeQueue(t, "fake")
			site := q.site(2)
			if shared {
				site.Shared = t.TempDir()
			}
			x := b.startWith([]*fakeQueue{q}, launcher.Job{App: b.script("echo rank $ZORILLA_RANK of $ZORILLA_SIZE\n"), Workers: 2}, site)
			r := x.end(2 * time.Minute)
			wantOK(t, r)
			for rank := range 2 {
				if got, want := b.stdout(r, rank), fmt.Sprintf("rank %d of 2\n", rank); got != want {
					t.Errorf("rank %d printed %q, want %q", rank, got, want)
				}
			}
			if q.submits != 1 || q.cancels > 1 {
				t.Errorf("%d submissions, %d cancellations; want one, and one at most", q.submits, q.cancels)
			}
			q.empty()
			nothingHere(t, r.Run)
			if shared {
				if left, _ := filepath.Glob(filepath.Join(site.Shared, "*")); len(left) > 0 {
					t.Errorf("left in the shared directory: %q", left)
				}
			}
		})
	}
}

// gateHere is a script's wait for a file, and what makes the file.
func (b *bench) gateHere() (wait string, open func()) {
	path := filepath.Join(b.dir, "gate")
	return "while [ ! -e " + path + " ]; do sleep 0.05; done\n", func() {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			b.t.Error(err)
		}
	}
}

// TestQueueLate has pilots start long after they were submitted: they join, whatever else
// has happened meanwhile. One that the job needs no more is cancelled while it waits.
func TestQueueLate(t *testing.T) {
	b := localBench(t)
	q := newFakeQueue(t, "fake")
	q.arrive = nil
	wait, open := b.gateHere()
	x := b.startWith([]*fakeQueue{q}, launcher.Job{App: b.script("echo here\n" + wait), Workers: 2}, q.site(3))
	s := x.site("fake", "queued", time.Minute)
	if s.Submitted != 3 || s.Queued != 3 {
		t.Errorf("%+v, want 3 submitted and queued", s)
	}
	q.do(func() { q.job(1).Reason = "Priority" })
	x.await("the scheduler's words", 10*time.Second, func(e launcher.Event) bool {
		s, ok := e.Data.(launcher.SiteChanged)
		return ok && s.Reason == "Priority"
	})
	q.do(func() { q.job(2).start() })
	x.await("one pilot is up", 30*time.Second, func(e launcher.Event) bool {
		s, ok := e.Data.(launcher.SiteChanged)
		return ok && s.Up == 1 && s.Queued == 2
	})
	q.do(func() { q.job(0).start() })
	x.running(2)
	q.await("the surplus pilot is cancelled", func() bool { return q.job(1).State == gat.Cancelled })
	open()
	r := x.end(2 * time.Minute)
	wantOK(t, r)
	if q.submits != 1 {
		t.Errorf("%d submissions, want 1", q.submits)
	}
	q.empty()
	nothingHere(t, r.Run)
}

// TestQueueRefused: a scheduler that does not take pilots has the last word, and the job goes
// elsewhere if it can.
func TestQueueRefused(t *testing.T) {
	b := localBench(t)
	q, other := newFakeQueue(t, "fake"), newFakeQueue(t, "other")
	q.refuse = func(gat.JobSpec) error {
		return &gat.Error{Class: gat.Invalid, Op: "submit", Err: errors.New("invalid partition specified: fast")}
	}
	x := b.startWith([]*fakeQueue{q, other}, launcher.Job{App: b.script("echo here\n"), Workers: 1}, q.site(1), other.site(1))
	s := x.site("fake", "failed", time.Minute)
	if !strings.Contains(s.Error, "invalid partition specified: fast") {
		t.Errorf("failed with %q, want the scheduler's words", s.Error)
	}
	wantOK(t, x.end(2*time.Minute))
	if q.submits != 1 {
		t.Errorf("%d submissions of what is wrong, want 1", q.submits)
	}

	b = newBenchIn(t, nil)
	x = b.startWith([]*fakeQueue{q}, launcher.Job{App: b.script("echo here\n"), Workers: 1}, q.site(1))
	r := x.end(2 * time.Minute)
	if r.Outcome != launcher.OutcomeSites || r.Exit != launcher.ExitSites || !strings.Contains(fmt.Sprint(r.Err), "invalid partition") {
		t.Errorf("outcome %s, exit %d, error %v; want sites, the scheduler's words", r.Outcome, r.Exit, r.Err)
	}
	if len(r.Report.Leftovers) > 0 {
		t.Errorf("leftovers %v", r.Report.Leftovers)
	}
}

// TestQueueHeld: pilots that a scheduler holds are waited for as long as the site's patience.
func TestQueueHeld(t *testing.T) {
	b := localBench(t)
	q, other := newFakeQueue(t, "fake"), newFakeQueue(t, "other")
	q.arrive = func(j *fakeJob) { j.State, j.Reason = gat.Held, "PartitionNodeLimit" }
	other.arrive = nil
	site := q.site(2)
	site.Patience = time.Second
	x := b.startWith([]*fakeQueue{q, other}, launcher.Job{App: b.script("echo here\n"), Workers: 1}, site, other.site(1))
	x.await("pilots are held", time.Minute, func(e launcher.Event) bool {
		s, ok := e.Data.(launcher.SiteChanged)
		return ok && s.Held == 2 && s.Reason == "PartitionNodeLimit"
	})
	s := x.site("fake", "failed", time.Minute)
	if !strings.Contains(s.Error, "held") || !strings.Contains(s.Error, "PartitionNodeLimit") {
		t.Errorf("failed with %q, want why", s.Error)
	}
	q.await("its pilots are cancelled", func() bool { return q.in(gat.Cancelled) == 2 })
	other.await("pilots elsewhere", func() bool { return len(other.order) == 1 })
	other.do(func() { other.job(0).start() })
	wantOK(t, x.end(2*time.Minute))
	q.empty()
	other.empty()
}

// TestQueueBroken: jobs that start and bring no pilot are the end of a site, with what they
// said.
func TestQueueBroken(t *testing.T) {
	b := localBench(t)
	q := newFakeQueue(t, "fake")
	q.program = func(int) []string { return []string{"/bin/sh", "-c", "echo exec format error >&2; exit 126"} }
	site := q.site(5)
	site.Shared = t.TempDir()
	x := b.startWith([]*fakeQueue{q}, launcher.Job{App: b.script("echo here\n"), Workers: 1}, site)
	r := x.end(2 * time.Minute)
	if r.Outcome != launcher.OutcomeSites || !strings.Contains(fmt.Sprint(r.Err), "exec format error") {
		t.Errorf("outcome %s, error %v; want sites, what the jobs said", r.Outcome, r.Err)
	}
	if q.submits != 1 {
		t.Errorf("%d submissions, want 1", q.submits)
	}
	q.empty()
}

// TestQueueLost: a pilot that is killed is replaced by a submission; a job that the scheduler
// runs again brings a pilot again.
func TestQueueLost(t *testing.T) {
	b := localBench(t)
	q := newFakeQueue(t, "fake")
	wait, open := b.gateHere()
	x := b.startWith([]*fakeQueue{q}, launcher.Job{App: b.script("echo here\n" + wait), Workers: 2}, q.site(2))
	x.running(2)
	q.do(func() { q.job(0).kill(9) })
	q.await("another is submitted", func() bool { return len(q.order) == 3 })
	x.await("the worker runs again", time.Minute, func(e launcher.Event) bool {
		w, ok := e.Data.(launcher.WorkerChanged)
		return ok && w.Attempt == 2 && w.State == "running"
	})
	// The scheduler runs the first job again, as after the failure of its node.
	q.await("the job is known to have ended", func() bool { return q.job(0).State.Final() })
	q.do(func() { q.job(0).start() })
	x.await("three pilots are up", time.Minute, func(e launcher.Event) bool {
		s, ok := e.Data.(launcher.SiteChanged)
		return ok && s.Up == 3
	})
	open()
	r := x.end(2 * time.Minute)
	wantOK(t, r)
	q.empty()
	nothingHere(t, r.Run)
}

// TestQueueAnswerLost: jobs of a submission whose answer was lost are found by their name,
// and no others are submitted.
func TestQueueAnswerLost(t *testing.T) {
	b := localBench(t)
	q := newFakeQueue(t, "fake")
	q.lose = 1
	q.arrive = nil // they do not call before they are found
	x := b.startWith([]*fakeQueue{q}, launcher.Job{App: b.script("echo here\n"), Workers: 2}, q.site(2))
	x.await("the jobs are known", time.Minute, func(e launcher.Event) bool {
		s, ok := e.Data.(launcher.SiteChanged)
		return ok && s.Submitted == 2
	})
	q.do(func() {
		for n := range q.order {
			q.job(n).start()
		}
	})
	r := x.end(2 * time.Minute)
	wantOK(t, r)
	q.empty()
	if n := q.in(gat.Cancelled); len(q.order) != 2 || n != 0 || q.submits != 1 {
		t.Errorf("%d jobs of %d submissions, %d cancelled; want 2, 1, 0", len(q.order), q.submits, n)
	}
	nothingHere(t, r.Run)
}

// TestQueueInside: where no hub may run pilots are called through the scheduler. Two of them
// share a node, and what they are told.
func TestQueueInside(t *testing.T) {
	b := localBench(t)
	q := newFakeQueue(t, "fake")
	site := q.site(2)
	site.NoHub = true
	x := b.startWith([]*fakeQueue{q}, launcher.Job{App: b.script("echo rank $ZORILLA_RANK\n"), Workers: 2}, site)
	r := x.end(2 * time.Minute)
	wantOK(t, r)
	for rank := range 2 {
		if got, want := b.stdout(r, rank), fmt.Sprintf("rank %d\n", rank); got != want {
			t.Errorf("rank %d printed %q, want %q", rank, got, want)
		}
	}
	if n := x.count(func(e launcher.Event) bool {
		p, ok := e.Data.(launcher.PilotChanged)
		return ok && p.Role == "hub"
	}); n > 0 {
		t.Error("a hub was started")
	}
	q.empty()
	nothingHere(t, r.Run)
}

// TestQueueCoreHours: at the bound on core hours the site's pilots are cancelled.
func TestQueueCoreHours(t *testing.T) {
	b := localBench(t)
	q := newFakeQueue(t, "fake")
	site := q.site(2)
	site.MaxCoreHours = 3.0 / 3600
	wait, _ := b.gateHere()
	x := b.startWith([]*fakeQueue{q}, launcher.Job{App: b.script("echo here\n" + wait), Workers: 2}, site)
	r := x.end(2 * time.Minute)
	if r.Outcome != launcher.OutcomeSites || !strings.Contains(fmt.Sprint(r.Err), "core hours") {
		t.Errorf("outcome %s, error %v; want sites, core hours", r.Outcome, r.Err)
	}
	if q.submits != 1 {
		t.Errorf("%d submissions, want 1", q.submits)
	}
	q.empty()
	nothingHere(t, r.Run)
}

// TestQueueGC: what a launcher that died left in a queue, and on its head node, is found by
// the ledger.
func TestQueueGC(t *testing.T) {
	b := localBench(t)
	q := newFakeQueue(t, "fake")
	q.arrive = nil
	wait, _ := b.gateHere()
	app := b.script("echo here\n" + wait)
	state := filepath.Join(b.dir, "state")
	x := b.startWith([]*fakeQueue{q}, launcher.Job{App: app, Workers: 2}, q.site(3))
	x.site("fake", "queued", time.Minute)
	// What is in the ledger now is what a launcher that dies now leaves.
	kept := filepath.Join(b.dir, "kept", "runs")
	if err := os.MkdirAll(filepath.Join(kept, x.name), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ledger.jsonl", "events.jsonl"} {
		data, err := os.ReadFile(filepath.Join(state, "runs", x.name, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(kept, x.name, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ledger, err := launcher.ReadLedger(filepath.Join(kept, x.name, "ledger.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var made []launcher.Kind
	for _, m := range ledger.Open() {
		if m.Leftover() {
			made = append(made, m.Kind)
		}
	}
	if len(made) != 3 || made[2] != launcher.KindJob {
		t.Fatalf("the ledger holds %q, want a directory, a hub and jobs", made)
	}
	report, err := launcher.GC(t.Context(), launcher.GCOptions{Runs: []string{x.name}, State: filepath.Join(b.dir, "kept"), Backends: []gat.Backend{local.Backend{}, q}})
	if err != nil || len(report.Runs) != 1 || len(report.Runs[0].Left) > 0 || len(report.Runs[0].Removed) != 3 {
		t.Errorf("gc: %+v, error %v; want three things removed", report, err)
	}
	q.empty()
	if n := q.in(gat.Cancelled); n != 3 {
		t.Errorf("%d jobs were cancelled, want 3", n)
	}
	nothingHere(t, x.name)
	close(x.now)
	x.end(2 * time.Minute)
}
