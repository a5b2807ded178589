package pilot

import (
	"slices"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of what a hub does under a grow order.
const (
	growTries  = 3  // failures in a row after which nothing more is submitted
	growMisses = 2  // looks in which a job is not known before it counts as over
	growBatch  = 64 // jobs of one command
)

// A growth is what becomes of a grow order: a pure machine that is told what is
// the case and says what to do. Silence is never death: a job that the
// scheduler does not tell of for a while may run, and a pilot that is there is
// there, whatever is said of its job.
type growth struct {
	order    wire.GrowOrder
	given    time.Duration // when
	jobs     []growJob     // in the order in which they were submitted
	done     wire.Grown
	pollAt   time.Duration
	submitAt time.Duration
	cancelAt time.Duration
	failed   int // submissions in a row
}

type growJob struct {
	wire.GrowJob
	joined bool // its pilot was seen
	misses int
}

// A siteView is what a hub knows of its site's pilots.
type siteView struct {
	now    time.Duration
	quiet  time.Duration   // since the launcher was heard
	pilots int             // that are there
	joined map[string]bool // names of the jobs that they run in
	work   bool            // there is a job that may want them
}

// A growStep is a command to run: at most one of its fields is set.
type growStep struct {
	status []string
	cancel []string
	submit int
}

func newGrowth(now time.Duration, o wire.GrowOrder) *growth {
	g := &growth{order: o, given: now, done: wire.Grown{Seq: o.Seq}}
	for _, id := range o.Jobs {
		g.add(id, false)
	}
	return g
}

func (g *growth) add(id string, ours bool) {
	known := slices.ContainsFunc(g.jobs, func(j growJob) bool { return j.ID == id })
	if !known && len(g.jobs) < wire.MaxGrowJobs {
		g.jobs = append(g.jobs, growJob{GrowJob: wire.GrowJob{ID: id, Ours: ours}})
	}
}

// waits reports whether a job is in the queue, as far as is known, and its
// pilot yet to come.
func (j *growJob) waits() bool { return !j.joined && !j.Cancelled && j.State != wire.GrowDone }

// next says what to do now.
func (g *growth) next(v siteView) growStep {
	for i := range g.jobs {
		j := &g.jobs[i]
		j.joined = j.joined || v.joined[j.ID]
	}
	if v.quiet < g.order.Away {
		return growStep{}
	}
	var open, queued []string
	for i := range g.jobs {
		j := &g.jobs[i]
		if j.State != wire.GrowDone && !j.Cancelled {
			open = append(open, j.ID)
		}
		if j.waits() && j.State != wire.GrowRunning {
			queued = append(queued, j.ID)
		}
	}
	waiting := 0
	for i := range g.jobs {
		if g.jobs[i].waits() {
			waiting++
		}
	}
	wanted := int(g.order.Pilots)
	if !v.work {
		wanted = 0
	}
	have := v.pilots + waiting
	switch {
	case have > wanted && len(queued) > 0 && v.now >= g.cancelAt && (wanted == 0 || g.polled()):
		g.cancelAt = v.now + g.order.Every
		// The latest are furthest from their turn.
		n := min(have-wanted, len(queued), growBatch)
		return growStep{cancel: slices.Clone(queued[len(queued)-n:])}
	case len(open) > 0 && v.now >= g.pollAt:
		g.pollAt = v.now + g.order.Every
		return growStep{status: open}
	case have < wanted && v.now >= g.submitAt && v.now < g.given+g.order.TTL && g.failed < growTries && g.polled():
		n := min(wanted-have, int(g.order.Most-g.done.Submitted), growBatch, wire.MaxGrowJobs-len(g.jobs))
		if n > 0 {
			g.submitAt = v.now + g.order.Every
			return growStep{submit: n}
		}
	}
	return growStep{}
}

// polled reports whether the scheduler was asked for every job whose pilot is not there:
// until then nobody knows how many are missing.
func (g *growth) polled() bool {
	return !slices.ContainsFunc(g.jobs, func(j growJob) bool {
		return j.waits() && j.State == wire.GrowUnknown && j.misses == 0 && !j.Ours
	})
}

// ran takes what a command printed, or why it failed.
func (g *growth) ran(s growStep, out string, err error) {
	g.done.Commands++
	if err != nil {
		g.done.Error = short(err.Error())
	}
	switch {
	case s.submit > 0:
		n := 0
		for line := range strings.Lines(out) {
			if id := strings.TrimSpace(line); wire.IsGrowJob(id) && n < s.submit {
				g.add(id, true)
				n++
			}
		}
		g.done.Submitted += uint32(n)
		if n == 0 {
			g.failed++
		} else {
			g.failed = 0
		}
	case err != nil:
	case len(s.cancel) > 0:
		for i := range g.jobs {
			if j := &g.jobs[i]; slices.Contains(s.cancel, j.ID) {
				j.Cancelled = true
				g.done.Cancelled++
			}
		}
	case len(s.status) > 0:
		g.listed(s.status, out)
	}
}

// listed takes a list of jobs and states. One that is held counts as queued: a
// further one would be held, too.
func (g *growth) listed(asked []string, out string) {
	states := make(map[string]wire.GrowState)
	for line := range strings.Lines(out) {
		id, word, ok := strings.Cut(strings.TrimSpace(line), " ")
		if state, known := wire.ParseGrowState(strings.TrimSpace(word)); ok && known {
			states[id] = state
		}
	}
	for i := range g.jobs {
		j := &g.jobs[i]
		if !slices.Contains(asked, j.ID) {
			continue
		}
		if state, ok := states[j.ID]; ok {
			j.State, j.misses = state, 0
			j.joined = j.joined && state != wire.GrowQueued // else the scheduler runs it again
		} else if j.misses++; j.misses >= growMisses {
			j.State = wire.GrowDone
		}
	}
}

// report is what a launcher is told.
func (g *growth) report() *wire.Grown {
	if g == nil {
		return new(wire.Grown)
	}
	r := g.done
	for i := range g.jobs {
		r.Jobs = append(r.Jobs, g.jobs[i].GrowJob)
	}
	return &r
}

// rest returns the jobs that are to be cancelled when the session is over:
// all that may not be.
func (g *growth) rest() []string {
	var list []string
	for i := range g.jobs {
		if j := &g.jobs[i]; j.State != wire.GrowDone && !j.Cancelled {
			list = append(list, j.ID)
		}
	}
	return list
}
