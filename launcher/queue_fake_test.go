//go:build unix

package launcher_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/launcher"
)

// A fakeQueue is a queueing system that does as the test says. Its head node and its
// compute nodes are this machine; what it starts are real pilots. As a backend it
// serves "NAME+local:".
type fakeQueue struct {
	name   string
	t      testing.TB
	shared bool // nodes see the head node's directories

	mu       sync.Mutex
	jobs     map[gat.JobID]*fakeJob
	order    []gat.JobID
	changed  chan struct{}                  // closed and replaced
	refuse   func(gat.JobSpec) error        // nil takes all
	arrive   func(*fakeJob)                 // what becomes of a new job; nil leaves it queued
	program  func(node int) (argv []string) // instead of the pilot; nil or empty is the pilot
	lose     int                            // answers to submissions that get lost
	submits  int
	cancels  int
	statuses int
}

type fakeJob struct {
	q     *fakeQueue
	id    gat.JobID
	spec  gat.JobSpec
	name  string
	procs []*exec.Cmd
	dirs  []string
	left  int // processes that run
	gat.JobStatus
}

func newFakeQueue(t testing.TB, name string) *fakeQueue {
	q := &fakeQueue{name: name, t: t, jobs: make(map[gat.JobID]*fakeJob), changed: make(chan struct{}),
		arrive: func(j *fakeJob) { j.start() }}
	t.Cleanup(func() {
		q.mu.Lock()
		for _, j := range q.jobs {
			j.kill(syscall.SIGKILL)
		}
		q.mu.Unlock()
	})
	return q
}

func (q *fakeQueue) Schemes() []string    { return []string{q.name + "+local"} }
func (q *fakeQueue) Check(*url.URL) error { return nil }

func (q *fakeQueue) Open(ctx context.Context, t gat.Target) (gat.Login, error) {
	shell, err := local.Backend{}.Open(ctx, t)
	if err != nil {
		return nil, err
	}
	return &fakeLogin{shell, shell.(gat.Runner), shell.(gat.Files), q, t}, nil
}

// site is a site with this queue.
func (q *fakeQueue) site(pilots int) *launcher.Site {
	return &launcher.Site{Name: q.name, URLs: []*url.URL{{Scheme: q.name + "+local"}}, Pilots: pilots, Slots: 1, Cores: 1, Shared: "none"}
}

type fakeLogin struct {
	gat.Login
	gat.Runner
	gat.Files
	q *fakeQueue
	t gat.Target
}

func (l *fakeLogin) Head() gat.Login { return l.Login }

func (l *fakeLogin) PollEvery() time.Duration { return 50 * time.Millisecond }

func (l *fakeLogin) Describe(context.Context) (gat.QueueInfo, error) {
	return gat.QueueInfo{Scheduler: "Fake", Nodes: []string{"localhost"}}, nil
}

func (l *fakeLogin) Find(_ context.Context, name string, _ time.Time) (list []gat.JobStatus, err error) {
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	for _, id := range l.q.order {
		if j := l.q.jobs[id]; j.name == name && !j.State.Final() {
			list = append(list, j.JobStatus)
		}
	}
	return list, nil
}

func (l *fakeLogin) Inside(ctx context.Context, id gat.JobID, _ int, c gat.Command) (gat.Process, error) {
	l.q.mu.Lock()
	running := l.q.jobs[id] != nil && l.q.jobs[id].State == gat.Running
	l.q.mu.Unlock()
	if !running {
		return nil, &gat.Error{Class: gat.NotFound, Err: fmt.Errorf("job %s does not run", id)}
	}
	return l.Run(ctx, c)
}

func (l *fakeLogin) Submit(_ context.Context, spec gat.JobSpec) ([]gat.JobID, error) {
	q := l.q
	q.mu.Lock()
	defer q.mu.Unlock()
	q.submits++
	if err := spec.Validate(); err != nil {
		return nil, &gat.Error{Class: gat.Invalid, Err: err}
	}
	if q.refuse != nil {
		if err := q.refuse(spec); err != nil {
			q.wake()
			return nil, err
		}
	}
	var ids []gat.JobID
	for n := range max(1, spec.Count) {
		j := &fakeJob{q: q, id: gat.JobID(fmt.Sprintf("%d_%d", q.submits, n)), spec: spec, name: spec.Name}
		j.JobStatus = gat.JobStatus{ID: j.id, State: gat.Queued, Exit: -1}
		q.jobs[j.id] = j
		q.order = append(q.order, j.id)
		ids = append(ids, j.id)
		if q.arrive != nil {
			q.arrive(j)
		}
	}
	q.wake()
	if q.lose > 0 {
		q.lose--
		return nil, &gat.Error{Class: gat.Transient, Err: fmt.Errorf("%w: timed out waiting for an answer", gat.ErrUnsure)}
	}
	return ids, nil
}

func (l *fakeLogin) Status(ctx context.Context, ids ...gat.JobID) ([]gat.JobStatus, error) {
	var list []gat.JobStatus
	_, _, err := l.t.Polls.Poll(ctx, "fake "+l.q.name, time.Millisecond, func(context.Context) ([]byte, error) { return nil, nil })
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	l.q.statuses++
	for _, id := range ids {
		st := gat.JobStatus{ID: id, Exit: -1}
		if j := l.q.jobs[id]; j != nil {
			st = j.JobStatus
		}
		list = append(list, st)
	}
	return list, err
}

func (l *fakeLogin) Cancel(_ context.Context, ids ...gat.JobID) error {
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	l.q.cancels++
	for _, id := range ids {
		if j := l.q.jobs[id]; j != nil && !j.State.Final() {
			if j.State != gat.Running {
				j.State = gat.Cancelled
			}
			j.kill(syscall.SIGTERM)
		}
	}
	l.q.wake()
	return nil
}

// wake tells those that wait. The lock is held.
func (q *fakeQueue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// await waits until something is so of the queue.
func (q *fakeQueue) await(what string, ok func() bool) {
	q.t.Helper()
	late := time.After(30 * time.Second)
	for {
		q.mu.Lock()
		is, changed := ok(), q.changed
		q.mu.Unlock()
		if is {
			return
		}
		select {
		case <-changed:
		case <-late:
			q.t.Fatalf("queue %s: %s: not so within 30s", q.name, what)
		}
	}
}

// do does something to the queue.
func (q *fakeQueue) do(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f()
	q.wake()
}

// job is the nth job ever submitted. The lock is held.
func (q *fakeQueue) job(n int) *fakeJob { return q.jobs[q.order[n]] }

// in counts the jobs in a state. The lock is held.
func (q *fakeQueue) in(s gat.State) (n int) {
	for _, j := range q.jobs {
		if j.State == s {
			n++
		}
	}
	return n
}

// start runs the job's command, on each of its nodes. The lock is held.
func (j *fakeJob) start() {
	j.State, j.Reason = gat.Running, ""
	for node := range max(1, j.spec.Resources.Nodes) {
		if err := j.run(node); err != nil {
			j.q.t.Errorf("start job %s: %v", j.id, err)
			j.State = gat.Failed
		}
	}
	j.q.wake()
}

func (j *fakeJob) run(node int) error {
	dir := ""
	argv := j.spec.Argv
	if j.q.program != nil {
		if own := j.q.program(node); len(own) > 0 {
			argv = own
		}
	}
	if len(j.spec.Files) > 0 {
		var err error
		if dir, err = os.MkdirTemp("", "fake-job-"); err != nil {
			return err
		}
		j.dirs = append(j.dirs, dir)
		for _, f := range j.spec.Files {
			// A process that is just being started would hold the file open: it could not be run.
			syscall.ForkLock.RLock()
			err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, f.Mode)
			syscall.ForkLock.RUnlock()
			if err != nil {
				return err
			}
		}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	if dir != "" {
		cmd.Path, cmd.Err = filepath.Join(dir, argv[0]), nil
		if filepath.IsAbs(argv[0]) {
			cmd.Path = argv[0]
		}
	}
	cmd.Dir = dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "HOME=") }),
		"GAT_JOB="+string(j.id), "GAT_CORES=1", fmt.Sprintf("GAT_NODE=%d", node))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if j.spec.Stderr != "" {
		if f, err := os.OpenFile(j.spec.Stderr, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err == nil {
			cmd.Stderr = f
			defer f.Close()
		}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	j.procs = append(j.procs, cmd)
	j.left++
	go func() {
		cmd.Wait()
		j.q.mu.Lock()
		defer j.q.mu.Unlock()
		if dir != "" {
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 && j.q.program == nil {
				j.q.t.Logf("job %s left %q", j.id, left)
			}
			os.RemoveAll(dir)
		}
		if j.left--; j.left == 0 && j.State == gat.Running {
			j.Exit = cmd.ProcessState.ExitCode()
			if j.State = gat.Done; j.Exit != 0 {
				j.State = gat.Failed
			}
		}
		j.q.wake()
	}()
	return nil
}

// kill signals what the job runs. The lock is held.
func (j *fakeJob) kill(sig syscall.Signal) {
	for _, p := range j.procs {
		if p.ProcessState == nil {
			p.Process.Signal(sig)
		}
	}
}
