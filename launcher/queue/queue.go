package queue

import (
	"errors"
	"fmt"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// After so many refused submissions, or so many jobs in a row that started and
// brought no pilot, a site is given up.
const (
	MaxRefused = 10
	MaxFailed  = 3
)

// Times of what is decided.
const (
	firstPause = 2 * time.Second // after a refused submission or a failed start; it doubles
	mostPause  = time.Minute

	endGrace = 3 * time.Second // for the call of a pilot whose job has ended by the queue's word
	settle   = 2 * time.Second // a job has all it wants before what is still queued is surplus
	fullLife = time.Minute     // a pilot that left at its wall time after this was no failure
)

// Limits say what is wanted of a queue and what is borne.
type Limits struct {
	Pilots   int           // wanted
	Lost     int           // how many lost pilots are replaced
	Patience time.Duration // with jobs that are held, and with submissions that are refused
	Join     time.Duration // from the start of a job to the call of its pilot

	Cores    int           // a pilot counts for so many; 0 means what it offers
	CoreTime time.Duration // cores times time that all pilots may take together; 0 means no bound
}

// A Queue is what is known of a site's jobs. It is not safe for concurrent use.
type Queue struct {
	lim   Limits
	jobs  map[gat.JobID]*job
	order []*job // by submission

	submitting int           // pilots of the submission under way
	pauseTo    time.Time     // nothing is submitted before
	pause      time.Duration // the last one's length
	refused    int           // submissions in a row
	refusedAt  time.Time     // the first of them
	failed     int           // jobs that brought no pilot since one did
	lost       int           // pilots that are replaced, or not any more
	closed     error         // why nothing is submitted any more

	full   bool      // the application has all the workers it wants
	fullAt time.Time // since when

	spent   time.Duration // cores times time
	spentAt time.Time     // until when
	drained bool
}

// job is one job of the site's scheduler; it runs one pilot or, on several
// nodes, several.
type job struct {
	id     gat.JobID
	pilots int // it is to run

	state  gat.State // by the queue's word
	reason string
	exit   int       // -1 when not known
	since  time.Time // in that state, by when we heard of it
	gone   bool      // the queue has no record of it any more
	late   bool      // it was told of that its pilot does not call

	up     map[wire.NodeID]pilot
	joined int // pilots that have called, at most pilots

	cancelled bool // by us
	failed    bool // it brought no pilot
}

type pilot struct {
	cores int
	since time.Time
}

// New returns an empty queue.
func New(l Limits) *Queue {
	return &Queue{lim: l, jobs: make(map[gat.JobID]*job)}
}

// pending is how many pilots of a job may still call for the first time.
func (j *job) pending() int {
	switch {
	case j.cancelled, j.failed:
		return 0
	case j.state.Final() && j.joined > 0:
		return 0 // the others of its nodes ended with it
	}
	return max(0, j.pilots-j.joined)
}

// Submitted tells that a submission succeeded, at least in part: jobs with the
// given identifiers are queued, each to run so many pilots.
func (q *Queue) Submitted(now time.Time, ids []gat.JobID, each int) {
	q.account(now)
	q.submitting = 0
	if len(ids) == 0 {
		return
	}
	q.refused = 0
	for _, id := range ids {
		if j := q.jobs[id]; j != nil {
			j.pilots = each // its pilot was quicker than the scheduler's answer
			continue
		}
		q.add(now, id, each)
	}
}

func (q *Queue) add(now time.Time, id gat.JobID, pilots int) *job {
	j := &job{id: id, pilots: pilots, state: gat.Queued, exit: -1, since: now, up: make(map[wire.NodeID]pilot)}
	q.jobs[id] = j
	q.order = append(q.order, j)
	return j
}

// Refused tells that a submission, or a part of one, failed. Final says that it will
// fail the same way again.
func (q *Queue) Refused(now time.Time, err error, final bool) {
	q.submitting = 0
	if q.refused == 0 {
		q.refusedAt = now
	}
	q.refused++
	switch {
	case final:
		q.close(err)
	case q.refused >= MaxRefused:
		q.close(fmt.Errorf("%d submissions were refused: %w", q.refused, err))
	case now.Sub(q.refusedAt) >= q.lim.Patience:
		q.close(fmt.Errorf("submissions were refused for %v: %w", q.lim.Patience, err))
	}
	q.backOff(now, q.refused)
}

// backOff has the next submission wait, the longer the more failed in a row.
func (q *Queue) backOff(now time.Time, times int) {
	q.pause = firstPause
	for range min(times-1, 8) {
		q.pause = min(2*q.pause, mostPause)
	}
	q.pauseTo = now.Add(q.pause)
}

// Told takes the queue's word on a job.
func (q *Queue) Told(now time.Time, st gat.JobStatus) {
	j := q.jobs[st.ID]
	if j == nil || st.State == gat.Unknown {
		return
	}
	q.account(now)
	if st.State != j.state || (st.State == gat.Running && j.reason != "" && st.Reason == "") {
		j.since = now // the time that a job was suspended is not the pilot's
	}
	j.state, j.reason, j.exit = st.State, st.Reason, st.Exit
	j.gone = st.State == gat.Failed && st.Exit < 0
}

// Up tells that a pilot called that runs in a job; an empty name means that the scheduler does
// not tell its jobs who they are. Cores is what it offers. The answer says whether the
// scheduler has run the job again: another pilot has called from it before.
func (q *Queue) Up(now time.Time, id gat.JobID, node wire.NodeID, cores int) (again bool) {
	q.account(now)
	j := q.jobs[id]
	switch {
	case j == nil && id == "":
		j = q.nameless()
	case j == nil:
		j = q.add(now, id, 1) // of a submission whose answer was lost
	}
	if j == nil {
		return false
	}
	if q.lim.Cores > 0 {
		cores = q.lim.Cores
	}
	again = j.joined >= j.pilots
	j.up[node] = pilot{cores, now}
	j.joined = min(j.joined+1, j.pilots)
	j.failed = false
	q.failed = 0
	if q.refused == 0 {
		q.pauseTo = time.Time{}
	}
	return again
}

// nameless returns the job that a pilot most likely runs in which cannot say so.
func (q *Queue) nameless() *job {
	var best *job
	for _, j := range q.order {
		if j.pending() > 0 && (best == nil || j.state == gat.Running && best.state != gat.Running) {
			best = j
		}
	}
	return best
}

// Loss is why a pilot is gone.
type Loss int

// The reasons.
const (
	Lost      Loss = iota // it died, or left for a reason of its own
	Expired               // its wall time came
	Restarted             // the scheduler runs its job again, and has started another
)

// Down tells that a pilot is gone. One whose wall time came is replaced without being
// counted as lost, unless that was at once; for one whose job runs again another calls.
func (q *Queue) Down(now time.Time, node wire.NodeID, why Loss) {
	q.account(now)
	for _, j := range q.order {
		p, ok := j.up[node]
		if !ok {
			continue
		}
		delete(j.up, node)
		switch {
		case j.cancelled || q.drained:
		case why == Expired && now.Sub(p.since) >= fullLife:
		case why == Restarted:
			j.joined--
			j.since, j.late = now, false
		default:
			q.lost++
		}
		return
	}
}

// Fail tells that a job of which Next said that it is late, or has ended, brought no
// pilot. Its error is shown when the site is given up for it.
func (q *Queue) Fail(now time.Time, id gat.JobID, err error) {
	j := q.jobs[id]
	if j == nil || j.failed || j.cancelled || j.joined > 0 {
		return
	}
	q.account(now)
	j.failed = true
	q.failed++
	q.lost++
	if q.failed >= MaxFailed && q.live() == 0 {
		q.close(fmt.Errorf("%d jobs started and brought no pilot: %w", q.failed, err))
	}
	q.backOff(now, q.failed)
}

// Drop takes jobs for no use, which is not their fault: they are cancelled by the caller.
func (q *Queue) Drop(ids []gat.JobID) {
	for _, id := range ids {
		if j := q.jobs[id]; j != nil {
			j.cancelled = true
		}
	}
}

// Adopt takes jobs of one pilot each that somebody else has submitted in the place of those
// that were lost.
func (q *Queue) Adopt(now time.Time, ids []gat.JobID) {
	q.account(now)
	for _, id := range ids {
		if q.jobs[id] == nil {
			q.add(now, id, 1)
			q.lost++
		}
	}
}

// SetJoin changes how long after the start of a job its pilot is late.
func (q *Queue) SetJoin(d time.Duration) { q.lim.Join = d }

// GiveUp submits nothing more and cancels what is queued. The first error that is
// given stays.
func (q *Queue) GiveUp(err error) { q.close(err) }

// Postpone tells that a submission did not take place, for a reason that is not
// the scheduler's, and may be tried again after a while.
func (q *Queue) Postpone(now time.Time) {
	q.submitting = 0
	q.pauseTo = now.Add(firstPause)
}

func (q *Queue) close(err error) {
	if q.closed == nil {
		q.closed = err
	}
}

// Full tells whether the application has all the workers it wants. While it has, what is
// still queued is surplus.
func (q *Queue) Full(now time.Time, full bool) {
	if full && !q.full {
		q.fullAt = now
	}
	q.full = full
}

// Err returns why no more pilots are submitted: the queue is given up, or too many were
// lost. It is nil as long as that is not so.
func (q *Queue) Err() error {
	if q.closed == nil && q.worn() {
		return fmt.Errorf("%d pilots were lost, no more are submitted", q.lost)
	}
	return q.closed
}

// worn reports whether more pilots were lost than are replaced.
func (q *Queue) worn() bool { return q.lost > q.lim.Lost }

// ErrCoreTime is why a queue is given up whose pilots took the core time they may.
var ErrCoreTime = errors.New("the core hours are used up")

// live is how many pilots are up.
func (q *Queue) live() (n int) {
	for _, j := range q.order {
		n += len(j.up)
	}
	return n
}

// waited is how many pilots may still call.
func (q *Queue) waited() (n int) {
	for _, j := range q.order {
		n += j.pending()
	}
	return n
}

// short is how many pilots are to be submitted.
func (q *Queue) short() int {
	if q.closed != nil || q.worn() {
		return 0
	}
	return max(0, q.lim.Pilots-q.live()-q.waited()-q.submitting)
}

// MayGrow reports whether more pilots may still call.
func (q *Queue) MayGrow() bool {
	return q.closed == nil && (q.submitting > 0 || q.waited() > 0 || q.short() > 0)
}
