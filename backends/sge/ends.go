package sge

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// An end is one record of how a job ended, or one of its tasks: what the job has
// started on its other hosts by qrsh -inherit, or somebody in it who has entered it.
// qacct does not say which it is. A task's record is there as soon as the task has
// ended, a job's own a while after that.
type end struct {
	gat.JobStatus
	parallel        bool      // only jobs of a parallel environment have tasks
	asked, from, to time.Time // where they are told in the form of this version
}

// soon is how long after it was asked for a task starts.
const soon = 2 * time.Second

// judge says how a job ended by the records of it and of its tasks. A success that may
// be that of a task says nothing of the job.
func judge(ends []end) (gat.JobStatus, bool) {
	for _, e := range ends {
		if len(ends) > 1 && e.parallel && e.outlasts(ends) {
			return e.JobStatus, true
		}
	}
	ends = slices.DeleteFunc(ends, func(e end) bool {
		return e.parallel && e.State == gat.Done && !e.from.IsZero() && e.from.Sub(e.asked) <= soon
	})
	if len(ends) == 0 {
		return gat.JobStatus{}, false
	}
	return slices.MaxFunc(ends, func(a, b end) int {
		switch {
		case worse(a.JobStatus, b.JobStatus):
			return 1
		case worse(b.JobStatus, a.JobStatus):
			return -1
		}
		return 0
	}).JobStatus, true
}

// outlasts reports whether a record is of what was asked for first, and ran around all
// the others: of the job itself.
func (e end) outlasts(ends []end) bool {
	others := 0
	for _, o := range ends {
		switch {
		case e.from.IsZero() || o.from.IsZero():
			return false
		case o == e:
		case !e.asked.Before(o.asked) || e.from.After(o.from) || e.to.Before(o.to):
			return false
		default:
			others++
		}
	}
	return others > 0
}
