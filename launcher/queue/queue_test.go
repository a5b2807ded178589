package queue_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/launcher/queue"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// A trial is a queue whose clock the test moves.
type trial struct {
	*testing.T
	*queue.Queue
	now time.Time
	ids int
}

func begin(t *testing.T, l queue.Limits) *trial {
	t.Parallel()
	if l.Patience == 0 {
		l.Patience = 10 * time.Minute
	}
	if l.Join == 0 {
		l.Join = time.Minute
	}
	return &trial{T: t, Queue: queue.New(l), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func (x *trial) pass(d time.Duration) *trial { x.now = x.now.Add(d); return x }

// next is what is to be done now, apart from when to ask again.
func (x *trial) next() queue.Do {
	d := x.Next(x.now)
	d.Next = time.Time{}
	return d
}

func (x *trial) want(want queue.Do) {
	x.Helper()
	if diff := cmp.Diff(want, x.next()); diff != "" {
		x.Errorf("to do (-want +got):\n%s", diff)
	}
}

// submit does the submission that is to be done, of n pilots, each in a job of its own.
func (x *trial) submit(n int) (ids []gat.JobID) {
	x.Helper()
	x.want(queue.Do{Submit: n})
	for range n {
		x.ids++
		ids = append(ids, gat.JobID(fmt.Sprint(x.ids)))
	}
	x.Submitted(x.now, ids, 1)
	x.want(queue.Do{})
	return ids
}

func (x *trial) told(s gat.State, reason string, ids ...gat.JobID) {
	for _, id := range ids {
		x.Told(x.now, gat.JobStatus{ID: id, State: s, Exit: 0, Reason: reason})
	}
}

func node(n byte) wire.NodeID { return wire.NodeID{n} }

// A pilot that is queued is never late, and the silence of a queue is no death.
func TestPatience(t *testing.T) {
	x := begin(t, queue.Limits{Pilots: 2})
	ids := x.submit(2)
	x.told(gat.Queued, "Priority", ids...)
	x.pass(300 * time.Hour).want(queue.Do{})
	if diff := cmp.Diff(queue.Counts{Queued: 2, Reason: "Priority"}, x.Counts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	x.Up(x.now, ids[0], node(1), 4)
	x.told(gat.Unknown, "", ids...)
	x.Told(x.now, gat.JobStatus{ID: ids[0], State: gat.Failed, Exit: -1, Reason: "no record"})
	x.pass(time.Hour).want(queue.Do{})
	if c := x.Counts(); c.Up != 1 || c.Queued != 1 || !x.MayGrow() {
		t.Errorf("%+v, may grow %v; want one up and one queued", c, x.MayGrow())
	}
	if diff := cmp.Diff(ids, x.Unfinished()); diff != "" {
		t.Errorf("unfinished (-want +got):\n%s", diff)
	}
}

// A job that starts has a minute for its pilot's call, counted from the start; when it is
// suspended, from its going on.
func TestJoin(t *testing.T) {
	x := begin(t, queue.Limits{Pilots: 1, Lost: 9})
	ids := x.submit(1)
	x.pass(time.Hour).told(gat.Running, "", ids...)
	x.pass(50*time.Second).told(gat.Running, "suspended", ids...)
	x.pass(time.Hour).want(queue.Do{})
	x.told(gat.Running, "", ids...)
	x.pass(59 * time.Second).want(queue.Do{})
	x.pass(2 * time.Second).want(queue.Do{Late: ids})
	x.want(queue.Do{}) // once
	x.Fail(x.now, ids[0], errors.New("no call"))
	x.want(queue.Do{Cancel: ids})
	x.pass(2 * time.Second).submit(1)
}

// Three jobs in a row without a pilot are the end of it, unless others are there.
func TestFailedStarts(t *testing.T) {
	x := begin(t, queue.Limits{Pilots: 4, Lost: 9})
	ids := x.submit(4)
	x.told(gat.Failed, "", ids[:3]...)
	x.want(queue.Do{})
	x.pass(11 * time.Second).want(queue.Do{Ended: ids[:3]})
	for _, id := range ids[:3] {
		x.Fail(x.now, id, errors.New("command not found"))
	}
	x.want(queue.Do{Cancel: ids[3:]})
	if err := x.Err(); err == nil || !strings.Contains(err.Error(), "command not found") {
		t.Errorf("given up with %v, want the last failure", err)
	}
	if x.MayGrow() {
		t.Error("may grow after it was given up")
	}
}

func TestFailedStartsBesideOthers(t *testing.T) {
	x := begin(t, queue.Limits{Pilots: 4, Lost: 4})
	ids := x.submit(4)
	x.Up(x.now, ids[3], node(1), 1)
	x.told(gat.Failed, "", ids[:3]...)
	x.pass(11 * time.Second).want(queue.Do{Ended: ids[:3]})
	for _, id := range ids[:3] {
		x.Fail(x.now, id, errors.New("broken node"))
	}
	x.want(queue.Do{})
	x.pass(9 * time.Second)
	again := x.submit(3) // after 2, 4, 8 seconds
	x.told(gat.Failed, "", again...)
	x.pass(11 * time.Second).want(queue.Do{Ended: again})
	for _, id := range again {
		x.Fail(x.now, id, errors.New("broken node"))
	}
	x.pass(time.Hour).want(queue.Do{}) // as many were replaced as may be
	if x.Err() == nil || x.MayGrow() || x.Counts().Up != 1 {
		t.Errorf("no more with %v, may grow %v, %+v; want the reason and the one that is up", x.Err(), x.MayGrow(), x.Counts())
	}
}

// Pilots that are held, or refused, for too long are the end, with the scheduler's words.
func TestHeld(t *testing.T) {
	x := begin(t, queue.Limits{Pilots: 2, Patience: time.Minute})
	ids := x.submit(2)
	x.pass(time.Hour).told(gat.Held, "PartitionNodeLimit", ids[1])
	x.pass(30*time.Second).told(gat.Queued, "", ids[1]) // released
	x.pass(30*time.Second).told(gat.Held, "PartitionNodeLimit", ids[1])
	if c := x.Counts(); c.Queued != 2 || c.Held != 1 || c.Reason != "PartitionNodeLimit" {
		t.Errorf("counts %+v, want one of two held and why", c)
	}
	x.pass(59 * time.Second).want(queue.Do{})
	x.pass(time.Second).want(queue.Do{Cancel: ids})
	if err := x.Err(); err == nil || !strings.Contains(err.Error(), "PartitionNodeLimit") {
		t.Errorf("given up with %v, want the scheduler's words", err)
	}
}

func TestRefused(t *testing.T) {
	down := errors.New("unable to contact slurm controller")
	x := begin(t, queue.Limits{Pilots: 2})
	began := x.now
	for n := range queue.MaxRefused {
		x.want(queue.Do{Submit: 2})
		x.want(queue.Do{}) // one at a time
		x.Refused(x.now, down, false)
		if n < queue.MaxRefused-1 {
			at := x.Next(x.now).Next
			if wait := at.Sub(x.now); wait < 2*time.Second || wait > time.Minute {
				t.Errorf("waits for %v after refusal %d", wait, n+1)
			}
			x.now = at
		}
	}
	x.want(queue.Do{})
	if !errors.Is(x.Err(), down) {
		t.Errorf("given up with %v, want %v", x.Err(), down)
	}
	if d := x.now.Sub(began); d > 10*time.Minute {
		t.Errorf("refused for %v before it was given up", d)
	}
}

func TestRefusedForGood(t *testing.T) {
	x := begin(t, queue.Limits{Pilots: 2})
	x.want(queue.Do{Submit: 2})
	x.Submitted(x.now, []gat.JobID{"1"}, 1)
	x.Refused(x.now, errors.New("invalid partition"), true)
	x.want(queue.Do{Cancel: []gat.JobID{"1"}})
	if x.Err() == nil || x.MayGrow() {
		t.Errorf("given up with %v, may grow %v", x.Err(), x.MayGrow())
	}
}

// What is queued when the application has all it wants is cancelled, but not at once; it
// is submitted again when that changes.
func TestSurplus(t *testing.T) {
	x := begin(t, queue.Limits{Pilots: 3, Lost: 9})
	ids := x.submit(3)
	x.Up(x.now, ids[0], node(1), 1)
	x.Full(x.now, true)
	x.pass(time.Second).want(queue.Do{})
	x.Full(x.now, true)
	x.pass(time.Second).want(queue.Do{Cancel: ids[1:]})
	x.want(queue.Do{})
	x.Down(x.now, node(1), queue.Lost)
	x.Full(x.now, false)
	x.submit(3)
}

// A scheduler runs a job again whose pilot was lost, and has been replaced.
func TestRequeue(t *testing.T) {
	x := begin(t, queue.Limits{Pilots: 2, Lost: 1})
	ids := x.submit(2)
	for i, id := range ids {
		if x.Up(x.now, id, node(byte(i)), 1) {
			t.Errorf("job %s runs again", id)
		}
	}
	x.Down(x.now, node(1), queue.Lost)
	more := x.submit(1)
	if !x.Up(x.now, ids[1], node(7), 1) {
		t.Errorf("job %s does not run again", ids[1])
	}
	x.want(queue.Do{Cancel: more})
	x.Down(x.now, node(7), queue.Restarted) // and again, before we heard of its end
	x.want(queue.Do{})
	x.Up(x.now, ids[1], node(8), 1)
	x.Down(x.now, node(8), queue.Lost)
	x.pass(time.Hour).want(queue.Do{}) // replaced once already
}

// A pilot whose wall time came is replaced as often as it takes; one that leaves at once
// is a loss.
func TestWalltime(t *testing.T) {
	x := begin(t, queue.Limits{Pilots: 1})
	for n := range byte(5) {
		ids := x.submit(1)
		x.Up(x.now, ids[0], node(n), 1)
		x.pass(time.Hour).Down(x.now, node(n), queue.Expired)
	}
	ids := x.submit(1)
	x.Up(x.now, ids[0], node(9), 1)
	x.pass(time.Second).Down(x.now, node(9), queue.Expired)
	x.pass(time.Hour).want(queue.Do{})
}

// The pilots of a job of several nodes are counted one by one.
func TestMulti(t *testing.T) {
	x := begin(t, queue.Limits{Pilots: 3, Lost: 9})
	x.want(queue.Do{Submit: 3})
	x.Submitted(x.now, []gat.JobID{"1"}, 3)
	x.told(gat.Running, "", "1")
	for n := range byte(2) {
		if x.Up(x.now, "1", node(n), 1) {
			t.Error("runs again")
		}
	}
	if c := x.Counts(); c.Up != 2 || c.Starting != 1 {
		t.Errorf("counts %+v, want 2 up, 1 starting", c)
	}
	x.told(gat.Done, "", "1") // the third never called, the others work on
	x.want(queue.Do{Submit: 1})
}

// A scheduler that does not tell its jobs who they are.
func TestNameless(t *testing.T) {
	x := begin(t, queue.Limits{Pilots: 2})
	ids := x.submit(2)
	x.told(gat.Running, "", ids[1])
	x.Up(x.now, "", node(1), 1)
	x.pass(time.Hour).want(queue.Do{})
	if c := x.Counts(); c.Up != 1 || c.Queued != 1 || c.Starting != 0 {
		t.Errorf("counts %+v, want 1 up, 1 queued", c)
	}
}

// The bound on core time ends pilots, and what waits, when it is reached.
func TestCoreTime(t *testing.T) {
	x := begin(t, queue.Limits{Pilots: 3, Cores: 4, CoreTime: 8 * time.Hour, Lost: 9})
	ids := x.submit(3)
	x.Up(x.now, ids[0], node(1), 1)
	x.pass(30*time.Minute).Up(x.now, ids[1], node(2), 64)
	x.pass(30 * time.Minute).want(queue.Do{}) // 6 of 8 hours
	if got := x.Spent(x.now); got != 6*time.Hour {
		t.Errorf("spent %v, want 6h", got)
	}
	if at := x.Next(x.now).Next; at.Sub(x.now) != 15*time.Minute {
		t.Errorf("looks again after %v, want 15m", at.Sub(x.now))
	}
	x.pass(15 * time.Minute).want(queue.Do{Cancel: ids[2:], Drain: true})
	x.Down(x.now, node(1), queue.Lost)
	x.Down(x.now, node(2), queue.Lost)
	x.pass(time.Hour).want(queue.Do{})
	if !errors.Is(x.Err(), queue.ErrCoreTime) || x.Spent(x.now) != 8*time.Hour {
		t.Errorf("given up with %v after %v", x.Err(), x.Spent(x.now))
	}
}

// What somebody else has submitted in the place of lost pilots counts as that; what
// it has cancelled is not waited for.
func TestAdopt(t *testing.T) {
	x := begin(t, queue.Limits{Pilots: 2, Lost: 2})
	ids := x.submit(2)
	if pilots, most := x.Wanted(); pilots != 2 || most != 2 {
		t.Errorf("wants %d, %d more; want 2, 2", pilots, most)
	}
	x.Adopt(x.now, []gat.JobID{"7"})
	x.Adopt(x.now, []gat.JobID{"7"})
	x.Drop(ids[:1])
	if !x.Dropped(ids[0]) || x.Dropped(ids[1]) {
		t.Error("it is not known what was cancelled")
	}
	x.want(queue.Do{})
	if pilots, most := x.Wanted(); pilots != 2 || most != 1 {
		t.Errorf("wants %d, %d more; want 2, 1", pilots, most)
	}
	x.Up(x.now, "7", node(1), 1)
	x.Full(x.now, true)
	if pilots, most := x.Wanted(); pilots != 1 || most != 0 {
		t.Errorf("wants %d, %d more when the application has all; want 1, 0", pilots, most)
	}
	if diff := cmp.Diff([]gat.JobID{ids[0], ids[1]}, x.Idle()); diff != "" {
		t.Errorf("without pilots (-want +got):\n%s", diff)
	}
}

// A submission that did not take place is no refusal.
func TestPostpone(t *testing.T) {
	x := begin(t, queue.Limits{Pilots: 1})
	for range 3 * queue.MaxRefused {
		x.want(queue.Do{Submit: 1})
		x.Postpone(x.now)
		x.want(queue.Do{})
		x.pass(5 * time.Second)
	}
	if x.Err() != nil || !x.MayGrow() {
		t.Errorf("given up with %v", x.Err())
	}
	x.SetJoin(time.Second)
	ids := x.submit(1)
	x.Told(x.now, gat.JobStatus{ID: ids[0], State: gat.Running, Exit: -1, Reason: "node gone"})
	if st := x.Status(ids[0]); st.State != gat.Running || st.Reason != "node gone" || st.Exit != -1 {
		t.Errorf("status %+v", st)
	}
	x.GiveUp(errors.New("the hub died"))
	x.want(queue.Do{Cancel: ids})
	if x.MayGrow() {
		t.Error("may grow")
	}
}
