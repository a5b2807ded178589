package queue

import (
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// Dropped reports whether a job was cancelled, as far as we know.
func (q *Queue) Dropped(id gat.JobID) bool { return q.jobs[id] != nil && q.jobs[id].cancelled }

// Knows reports whether a job was told of.
func (q *Queue) Knows(id gat.JobID) bool { return q.jobs[id] != nil }

// Pilots is how many pilots a job is to run.
func (q *Queue) Pilots(id gat.JobID) int {
	if j := q.jobs[id]; j != nil {
		return j.pilots
	}
	return 0
}

// Limit is how many lost pilots are replaced at most.
func (q *Queue) Limit() int { return q.lim.Lost }

// Wanted returns how many pilots are wanted now, and how many may still be submitted in the
// place of lost ones.
func (q *Queue) Wanted() (pilots, most int) {
	switch {
	case q.closed != nil, q.full:
		return q.live(), 0
	case q.worn():
		return q.lim.Pilots, 0
	}
	return q.lim.Pilots, q.lim.Lost - q.lost
}

// Counts are numbers of pilots, for people.
type Counts struct {
	Queued   int    // wait in the queue
	Held     int    // of them will not start without somebody's doing
	Starting int    // run by the queue's word, and have not called
	Up       int    // have called
	Reason   string // the scheduler's words about one of those that wait
}

// Counts returns how many pilots are where.
func (q *Queue) Counts() (c Counts) {
	held := ""
	for _, j := range q.order {
		c.Up += len(j.up)
		n := j.pending()
		if n == 0 {
			continue
		}
		switch j.state {
		case gat.Held:
			c.Held += n
			c.Queued += n
			if held == "" {
				held = j.reason
			}
		case gat.Queued:
			c.Queued += n
		default:
			c.Starting += n
		}
		if c.Reason == "" {
			c.Reason = j.reason
		}
	}
	if held != "" {
		c.Reason = held
	}
	return c
}

// Status returns the queue's word on a job.
func (q *Queue) Status(id gat.JobID) gat.JobStatus {
	j := q.jobs[id]
	if j == nil {
		return gat.JobStatus{ID: id, Exit: -1}
	}
	return gat.JobStatus{ID: id, State: j.state, Exit: j.exit, Reason: j.reason}
}

// Unfinished lists the jobs that may still be in the queue, in the order of
// their submission.
func (q *Queue) Unfinished() []gat.JobID {
	return q.ids(func(j *job) bool { return len(j.up) > 0 || !j.state.Final() || j.gone })
}

// Idle lists those of the unfinished jobs from which no pilot is up.
func (q *Queue) Idle() []gat.JobID {
	return q.ids(func(j *job) bool { return len(j.up) == 0 && (!j.state.Final() || j.gone) })
}

// Spent returns the cores times time that pilots took until now.
func (q *Queue) Spent(now time.Time) time.Duration {
	q.account(now)
	return q.spent
}

// rate is how many cores are taken at present.
func (q *Queue) rate() (cores int) {
	for _, j := range q.order {
		for _, p := range j.up {
			cores += p.cores
		}
		if j.state == gat.Running && !j.failed {
			cores += q.lim.Cores * max(0, j.pilots-j.joined)
		}
	}
	return cores
}

// account takes the time that has passed into account. It runs on while this machine sleeps.
func (q *Queue) account(now time.Time) {
	now = now.Round(0)
	if passed := now.Sub(q.spentAt); !q.spentAt.IsZero() && passed > 0 {
		q.spent += passed * time.Duration(q.rate())
	}
	q.spentAt = now
}

// ids lists the jobs for which something holds, in the order of their submission.
func (q *Queue) ids(which func(*job) bool) (ids []gat.JobID) {
	for _, j := range q.order {
		if which(j) {
			ids = append(ids, j.id)
		}
	}
	return ids
}
