package gatmem

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// queued is a login to a machine that has a queue: its jobs wait where the machine
// holds jobs, those of its head do not.
type queued struct{ *login }

// Head returns the login with jobs that start at once.
func (q queued) Head() gat.Login { return headed(q) }

// headed is a login past the queue.
type headed struct{ *login }

// Submit starts jobs at once.
func (h headed) Submit(ctx context.Context, spec gat.JobSpec) ([]gat.JobID, error) {
	ids, err := h.login.Submit(ctx, spec)
	for _, id := range ids {
		h.m.Start(id)
	}
	return ids, err
}

// Describe returns Machine.Queue.
func (q queued) Describe(ctx context.Context) (gat.QueueInfo, error) {
	if err := q.begin(ctx, "describe"); err != nil {
		return gat.QueueInfo{}, err
	}
	return *q.m.Queue, nil
}

// PollEvery returns Machine.PollEvery.
func (q queued) PollEvery() time.Duration { return q.m.PollEvery }

// Inside runs a program of the machine, if the job runs. It has one node.
func (q queued) Inside(ctx context.Context, id gat.JobID, node int, c gat.Command) (gat.Process, error) {
	const op = "run inside"
	if err := q.begin(ctx, op); err != nil {
		return nil, err
	}
	q.m.mu.Lock()
	j := q.m.jobs[id]
	runs := j != nil && node == 0 && j.status.State == gat.Running
	q.m.mu.Unlock()
	if !runs {
		return nil, &gat.Error{Class: gat.NotFound, Op: op, Err: fmt.Errorf("job %q does not run on node %d", id, node)}
	}
	return q.Run(ctx, c)
}

// Find returns the jobs of a name that have not ended, as of now.
func (q queued) Find(ctx context.Context, name string, _ time.Time) ([]gat.JobStatus, error) {
	if err := q.begin(ctx, "find jobs"); err != nil {
		return nil, err
	}
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	var all []gat.JobStatus
	for _, j := range q.m.jobs {
		if j.name == name && !j.status.State.Final() {
			all = append(all, j.status)
		}
	}
	slices.SortFunc(all, func(a, b gat.JobStatus) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

var (
	_ gat.Headed    = queued{}
	_ gat.Describer = queued{}
	_ gat.Insider   = queued{}
	_ gat.Finder    = queued{}
	_ gat.Paced     = queued{}
)
