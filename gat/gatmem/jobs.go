package gatmem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/zorilla-grid/zorilla/gat"
)

// job is a job of the machine. Guarded by Machine.mu.
type job struct {
	name      string
	status    gat.JobStatus
	proc      *Proc
	cancelled bool
	script    []gat.State // told instead of the state, one a call; the last stays
}

// Submit starts jobs, or queues them where the machine holds jobs.
func (l *login) Submit(ctx context.Context, spec gat.JobSpec) ([]gat.JobID, error) {
	if err := spec.Validate(); err != nil {
		return nil, &gat.Error{Class: gat.Invalid, Op: "submit", Err: err}
	}
	if len(spec.Files) > 0 || len(spec.Setup) > 0 {
		return nil, &gat.Error{Class: gat.Invalid, Op: "submit", Err: errors.New("a machine in memory has no sh for setup and carries no files")}
	}
	var ids []gat.JobID
	for range max(spec.Count, 1) {
		if err := l.begin(ctx, "submit"); err != nil {
			return ids, err
		}
		id, err := l.m.submit(spec)
		if err != nil {
			return ids, classify("submit", err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (m *Machine) submit(spec gat.JobSpec) (gat.JobID, error) {
	dir, err := m.chdir(spec.Dir)
	if err != nil {
		return "", err
	}
	var out io.Writer = io.Discard
	if spec.Stderr != "" {
		out = appender{m, spec.Stderr}
		if _, err := out.Write(nil); err != nil {
			return "", err
		}
	}
	m.mu.Lock()
	if m.programs[spec.Argv[0]] == nil {
		m.mu.Unlock()
		return "", &fs.PathError{Op: "start", Path: spec.Argv[0], Err: fs.ErrNotExist}
	}
	id := gat.JobID(fmt.Sprintf("job.%d.mem", len(m.jobs)+1))
	m.jobs[id] = &job{
		name:   spec.Name,
		status: gat.JobStatus{ID: id, State: gat.Queued, Exit: -1},
		proc: &Proc{Args: slices.Clone(spec.Argv), Env: slices.Clone(spec.Env), Dir: dir,
			Stdin: input(spec.Stdin), Stdout: out, Stderr: out,
			machine: m, tree: newTree()},
	}
	m.mu.Unlock()
	if !m.HoldJobs {
		m.Start(id)
	}
	return id, nil
}

// Start starts a job that is queued.
func (m *Machine) Start(id gat.JobID) {
	m.mu.Lock()
	j := m.jobs[id]
	if j == nil || j.status.State != gat.Queued {
		m.mu.Unlock()
		return
	}
	j.status.State = gat.Running
	m.mu.Unlock()
	ok := m.start(j.proc, func(code int) {
		m.mu.Lock()
		defer m.mu.Unlock()
		j.status.Exit = code
		switch {
		case j.cancelled:
			j.status.State = gat.Cancelled
		case code == 0:
			j.status.State = gat.Done
		default:
			j.status.State = gat.Failed
		}
	})
	if !ok {
		m.mu.Lock()
		j.status.State, j.status.Reason = gat.Failed, "the machine is switched off"
		m.mu.Unlock()
	}
}

// Report makes the machine tell these states of a job, one a call, whatever is
// true; the last one stays.
func (m *Machine) Report(id gat.JobID, states ...gat.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	j := m.jobs[id]
	if j == nil {
		j = &job{status: gat.JobStatus{ID: id, Exit: -1}, proc: &Proc{tree: newTree()}}
		m.jobs[id] = j
	}
	j.script = states
}

// Status tells the states of jobs.
func (l *login) Status(ctx context.Context, ids ...gat.JobID) ([]gat.JobStatus, error) {
	if err := l.begin(ctx, "status"); err != nil {
		return nil, err
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	all := make([]gat.JobStatus, len(ids))
	for i, id := range ids {
		all[i] = gat.JobStatus{ID: id, Exit: -1}
		j := l.m.jobs[id]
		if j == nil || l.m.ForgetEndedJobs && j.status.State.Final() {
			continue
		}
		all[i] = j.status
		if len(j.script) > 0 {
			all[i].State = j.script[0]
		}
		if len(j.script) > 1 {
			j.script = j.script[1:]
		}
	}
	return all, nil
}

// Cancel kills jobs with all their processes.
func (l *login) Cancel(ctx context.Context, ids ...gat.JobID) error {
	if err := l.begin(ctx, "cancel"); err != nil {
		return err
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	for _, id := range ids {
		j := l.m.jobs[id]
		if j == nil || j.status.State.Final() {
			continue
		}
		j.cancelled = true
		if j.status.State < gat.Running {
			j.status.State = gat.Cancelled
		}
		j.proc.tree.kill()
	}
	return nil
}
