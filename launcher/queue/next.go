package queue

import (
	"fmt"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// Do is what is to be done now.
type Do struct {
	// Submit is how many pilots are to be submitted; 0 is none. Submitted or
	// Refused, or both, must answer.
	Submit int

	// Cancel are jobs that are not wanted any more.
	Cancel []gat.JobID

	// Late are jobs that have started, and Ended those that have ended, of
	// which no pilot has called. Each is told of once; Fail is the answer
	// when nothing else can be done.
	Late, Ended []gat.JobID

	// Drain tells, once, that pilots that are up are to leave.
	Drain bool

	// Next is when to ask again at the latest, if nothing happens before; zero
	// means never.
	Next time.Time
}

// Next decides what is to be done.
func (q *Queue) Next(now time.Time) (d Do) {
	q.account(now)
	by := func(t time.Time) {
		if d.Next.IsZero() || t.Before(d.Next) {
			d.Next = t
		}
	}
	// due reports whether a time has come; if not, it is a time to ask again at.
	due := func(t time.Time) bool {
		if now.Before(t) {
			by(t)
			return false
		}
		return true
	}
	for _, j := range q.order {
		switch {
		case j.pending() == 0 || j.late || len(j.up) > 0:
		case j.state == gat.Held && due(j.since.Add(q.lim.Patience)):
			q.close(fmt.Errorf("job %s was held for %v: %s", j.id, q.lim.Patience, orUnknown(j.reason)))
		case j.state == gat.Running && j.reason == "" && due(j.since.Add(q.lim.Join)):
			j.late = true
			d.Late = append(d.Late, j.id)
		case j.state.Final() && due(j.since.Add(q.grace(j))):
			j.late = true
			d.Ended = append(d.Ended, j.id)
		}
	}
	q.checkCoreTime(now, &d, by)
	switch {
	case q.closed != nil:
		q.cancel(&d, func(j *job) bool { return j.pending() > 0 })
	case q.full && due(q.fullAt.Add(settle)):
		// A job without its pilot may be run again: that would be surplus too.
		q.cancel(&d, func(j *job) bool { return len(j.up) == 0 })
	case !q.full:
		q.cancelSurplus(&d)
	}
	q.cancel(&d, func(j *job) bool { return j.failed })
	if n := q.short(); n > 0 && q.submitting == 0 && !q.full && due(q.pauseTo) {
		q.submitting, d.Submit = n, n
	}
	return d
}

func orUnknown(reason string) string {
	if reason == "" {
		return "the scheduler gives no reason"
	}
	return reason
}

// grace is how long a pilot may still call whose job has ended by the queue's word: it may
// be the queue that has lost its memory.
func (q *Queue) grace(j *job) time.Duration {
	if j.gone {
		return max(endGrace, q.lim.Join)
	}
	return endGrace
}

// cancel adds those jobs to what is to be cancelled that are to be, once.
func (q *Queue) cancel(d *Do, which func(*job) bool) {
	d.Cancel = append(d.Cancel, q.ids(func(j *job) bool {
		if j.cancelled || j.state.Final() || !which(j) {
			return false
		}
		j.cancelled = true
		return true
	})...)
}

// cancelSurplus cancels what is more than wanted, as after a scheduler has run
// a job again whose pilot has been replaced: the newest that only wait.
func (q *Queue) cancelSurplus(d *Do) {
	surplus := q.live() + q.waited() - q.lim.Pilots
	for i := len(q.order) - 1; i >= 0 && surplus > 0; i-- {
		j := q.order[i]
		if n := j.pending(); n > 0 && n <= surplus && len(j.up) == 0 && j.state < gat.Running {
			j.cancelled = true
			surplus -= n
			d.Cancel = append(d.Cancel, j.id)
		}
	}
}

// checkCoreTime ends what takes core time when all of it is spent.
func (q *Queue) checkCoreTime(now time.Time, d *Do, by func(time.Time)) {
	if q.lim.CoreTime == 0 {
		return
	}
	left := q.lim.CoreTime - q.spent
	if left <= 0 {
		q.close(ErrCoreTime)
		d.Drain, q.drained = !q.drained, true
		return
	}
	if rate := q.rate(); rate > 0 {
		by(now.Add(max(left/time.Duration(rate), 100*time.Millisecond)))
	}
}
