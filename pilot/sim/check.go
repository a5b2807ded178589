package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

const (
	maxSends  = 512  // messages of a node at once, beside 8 for each link
	maxQueued = 1024 // messages under way between two nodes
	maxBad    = 20   // violations that are kept
	viewsEach = 1000 // views looked at in a second, about; all in turn

	// margin is for what a lease's end takes: messages, kills, reports.
	margin = 15 * time.Second
	// promptly is when workers are gone after their job's end if nothing
	// goes wrong: they have a grace of one second.
	promptly = 5 * time.Second
)

// violate notes that something is not as it must be.
func (w *world) violate(format string, args ...any) {
	text := fmt.Sprintf("%8.3fs ", w.k.Now().Seconds()) + fmt.Sprintf(format, args...)
	w.logf("VIOLATION: %s", text)
	if len(w.violations) < maxBad {
		w.violations = append(w.violations, text)
	}
}

// checkStart: a slot holds at most one worker, and an attempt is started once.
func (w *world) checkStart(n *node, s core.Start) {
	key := s.Key
	if len(s.Slots) == 0 {
		w.violate("worker %v on no slot", key)
	}
	for _, i := range s.Slots {
		if i < 0 || i >= len(n.slots) {
			w.violate("worker %d.%d on slot %d of %d", key.Rank, key.Attempt, i, len(n.slots))
		} else if p := n.slots[i]; p != nil {
			w.violate("slot %d of %s holds worker %d.%d and gets %d.%d", i, n.id.Short(), p.key.Rank, p.key.Attempt, key.Rank, key.Attempt)
		}
	}
	j := w.jobOf[key.Job]
	if j == nil {
		w.violate("start for an unknown job")
		return
	}
	a := wire.Attempt{Rank: key.Rank, Attempt: key.Attempt}
	if at, ok := j.started[a]; ok {
		w.violate("job %s: worker %d.%d is started on %s and on %s", key.Job.Short(), a.Rank, a.Attempt, at.Short(), n.id.Short())
	}
	j.started[a] = n.id
}

// checkGranted: attempts of a rank only grow.
func (w *world) checkGranted(j *jobState, key wire.Key) {
	if key.Attempt != j.newest[key.Rank]+1 {
		w.violate("job %s: rank %d goes from attempt %d to %d", key.Job.Short(), key.Rank, j.newest[key.Rank], key.Attempt)
	}
	if j.done[key.Rank] {
		w.violate("job %s: rank %d is done and granted again", key.Job.Short(), key.Rank)
	}
	j.newest[key.Rank] = key.Attempt
}

// checkDone: of a rank one attempt counts, the newest, and it was started.
func (w *world) checkDone(j *jobState, key wire.Key) {
	if j.done[key.Rank] {
		w.violate("job %s: rank %d is done twice", key.Job.Short(), key.Rank)
	}
	if j.newest[key.Rank] != key.Attempt {
		w.violate("job %s: attempt %d of rank %d counts, not %d", key.Job.Short(), key.Attempt, key.Rank, j.newest[key.Rank])
	}
	if _, ok := j.started[wire.Attempt{Rank: key.Rank, Attempt: key.Attempt}]; !ok {
		w.violate("job %s: worker %d.%d is done and was never started", key.Job.Short(), key.Rank, key.Attempt)
	}
	j.done[key.Rank] = true
}

// watch lets the checkers look at everything once a second from now on.
func (w *world) watch() { w.k.After(time.Second, w.checkEverySecond) }

func (w *world) checkEverySecond() {
	for _, s := range w.spots {
		n := s.node
		if n == nil || !n.alive {
			continue
		}
		st := n.core.Stats(w.local(n))
		if st.Overdue > time.Second && !s.slow && s.paused+time.Second < w.k.Now() {
			w.violate("a claim of %s is open %v after its time", n.id.Short(), st.Overdue)
		}
		if st.Stray > 0 {
			w.violate("%d claims of %s are for jobs that have ended", st.Stray, n.spot.name())
		}
		used := 0
		for i, p := range n.slots {
			if p == nil {
				continue
			}
			used++
			if p.ended {
				w.violate("slot %d of %s is held by a process that has ended", i, n.id.Short())
			}
		}
		if used > st.Committed || st.Free+st.Offered+st.Held+st.Committed+st.Withheld != len(n.slots) {
			w.violate("node %s: %d slots in use, stats %+v", n.id.Short(), used, st)
		}
		for _, p := range n.processes {
			w.checkOutlives(n, p.key)
		}
		if len(w.spots) <= viewsEach || (s.index+w.looks)%(len(w.spots)/viewsEach+1) == 0 {
			w.checkView(n)
		}
	}
	if w.net.queued > maxQueued {
		w.violate("%d messages under way between two nodes", w.net.queued)
	}
	if w.net.bytes > maxQueue {
		w.violate("%d bytes have waited for a link", w.net.bytes)
	}
	w.looks++
	if len(w.violations) < maxBad {
		w.watch()
	}
}

// checkView: a view holds no self, nobody twice, nobody who never was, and of
// nobody a card that is not its own word.
func (w *world) checkView(n *node) {
	view := n.core.View(w.local(n))
	for i, e := range view {
		o := w.byID[e.Card.ID]
		switch {
		case e.Card.ID == n.id:
			w.violate("%s is in its own view", n.spot.name())
		case o == nil || e.Card.Role != o.spot.role || e.Card.Site != o.spot.site.name:
			w.violate("%s has a card of nobody in its view: %s", n.spot.name(), e.Card.ID.Short())
		case slices.ContainsFunc(view[:i], func(x wire.Entry) bool { return x.Card.ID == e.Card.ID }):
			w.violate("%s has %s in its view twice", n.spot.name(), o.spot.name())
		}
	}
}

// checkOutlives: no worker outlives its job, or its primary, by more than the job's lease;
// without faults none outlives its job.
func (w *world) checkOutlives(n *node, key wire.Key) {
	j := w.jobOf[key.Job]
	since, limit := j.orphaned, j.spec.Lease+margin
	if j.ended {
		since = j.endedAt
		if w.cfg.Calm {
			limit = promptly
		}
	}
	if since != 0 && w.k.Now() > since+limit {
		w.violate("worker %d.%d on %s outlives job %s by %v", key.Rank, key.Attempt, n.id.Short(), key.Job.Short(), w.k.Now()-since)
	}
}

// openJobs counts the jobs that should still end.
func (w *world) openJobs() int {
	open := 0
	for _, j := range w.jobs {
		if !j.ended && j.orphaned == 0 {
			open++
		}
	}
	return open
}

// checkEnded: once faults have stopped every job ends.
func (w *world) checkEnded() {
	if len(w.violations) > 0 {
		return
	}
	for _, j := range w.jobs {
		if !j.ended && j.orphaned == 0 {
			c, _ := j.primary.core.Job(j.spec.ID)
			w.violate("job %s has not ended %v after the faults did: %+v", j.spec.ID.Short(), endBound, c)
		}
		if j.ended && j.end.Exit == 0 && len(j.done) != j.spec.Want && j.spec.OnFailure == 0 {
			w.violate("job %s ended well with %d of %d ranks done", j.spec.ID.Short(), len(j.done), j.spec.Want)
		}
	}
}

// checkGone: of these nodes nothing is left.
func (w *world) checkGone(nodes []*node) {
	for _, n := range nodes {
		if n != nil && n.alive {
			w.violate("node %s (%s) is left: %+v, %d processes", n.id.Short(), n.spot.name(), n.core.Stats(w.local(n)), len(n.processes))
		}
	}
}
