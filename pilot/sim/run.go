package sim

import (
	"fmt"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/sim"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// Limits of a simulation.
const (
	MinNodes = 4
	MaxNodes = 100_000

	nodeLease = 60 * time.Second
	endBound  = 15 * time.Minute // for all jobs to end, once faults have
	bootTime  = 6 * time.Second  // for everybody to be there, once faults have stopped
	leaveTime = 30 * time.Second // for everybody to leave, beside the lease
	codecEach = 7                // every so many messages one goes through its encoding
)

// Config is a simulation.
type Config struct {
	Nodes   int    // the launcher, hubs and pilots together
	Seconds int    // of jobs and faults, virtual; the end of it all comes on top
	Seed    uint64 // of everything

	// Calm leaves out the faults.
	Calm bool
	// Log takes what happens, for people; nil discards it.
	Log func(now time.Duration, text string)
}

// Job is how a job of a simulation fared.
type Job struct {
	ID      string  `json:"id"`
	Primary string  `json:"primary"`
	Want    int     `json:"want"`
	Done    int     `json:"done"`
	Lost    int     `json:"lost"` // attempts
	Outcome string  `json:"outcome"`
	Exit    int     `json:"exit"`
	Seconds float64 `json:"seconds"` // from submission to end, virtual
}

// Result is what came of a simulation.
type Result struct {
	Nodes      int      `json:"nodes"`
	Seed       uint64   `json:"seed"`
	Digest     string   `json:"digest"`
	Violations []string `json:"violations"` // at most 20
	Events     uint64   `json:"events"`
	Messages   uint64   `json:"messages"`
	Virtual    float64  `json:"virtual_s"`
	Faults     int      `json:"faults"`
	Jobs       []Job    `json:"jobs"`
}

// Command returns the command line that repeats a simulation.
func (c Config) Command() string {
	s := fmt.Sprintf("go run ./cmd/zorilla-sim run --nodes %d --seconds %d --seed %d", c.Nodes, c.Seconds, c.Seed)
	if c.Calm {
		s += " --calm"
	}
	return s
}

func (c Config) validate() error {
	if c.Nodes < MinNodes || c.Nodes > MaxNodes {
		return fmt.Errorf("%d nodes: want %d to %d", c.Nodes, MinNodes, MaxNodes)
	}
	if c.Seconds < 1 || c.Seconds > 24*3600 {
		return fmt.Errorf("%d seconds: want 1 to 86400", c.Seconds)
	}
	return nil
}

// Run runs a simulation.
func Run(cfg Config) (Result, error) {
	if err := cfg.validate(); err != nil {
		return Result{}, err
	}
	w := newWorld(cfg)
	w.build()
	w.planJobs()
	if !cfg.Calm {
		w.planFaults()
	}
	w.k.At(time.Second, w.checkEverySecond)

	calm := time.Duration(cfg.Seconds) * time.Second
	w.k.Run(calm)
	w.calmDown()
	w.k.Run(calm + bootTime)
	for end := calm + endBound; w.k.Now() < end && w.openJobs() > 0 && len(w.violations) == 0; {
		w.k.Run(w.k.Now() + time.Second)
	}
	w.checkEnded()
	w.finish()
	return w.result(), nil
}

// finish ends the session, by the launcher's word or by its death, and looks for what is left.
func (w *world) finish() {
	if len(w.violations) > 0 {
		return
	}
	w.over = true
	home := w.spots[0].node
	if w.k.Chance(0.5) {
		w.logf("the launcher retires everybody")
		var told []*node
		for _, s := range w.spots[1:] {
			if w.linked(s) {
				told = append(told, s.node)
			}
		}
		w.input(home, func(n *node) { n.core.Retire(w.k.Now(), "", "the session ends") })
		w.k.Run(w.k.Now() + leaveTime)
		w.checkGone(told)
	} else {
		w.logf("the launcher dies")
		w.crash(home, false)
	}
	var all []*node
	for _, s := range w.spots[1:] {
		all = append(all, s.node)
	}
	w.k.Run(w.k.Now() + nodeLease + leaveTime)
	w.checkGone(all)
}

// linked reports whether there are links all the way from a spot to the launcher.
func (w *world) linked(s *spot) bool {
	for s.parent >= 0 {
		up := w.spots[s.parent]
		if s.node == nil || up.node == nil || s.node.links[up.node.id] == 0 {
			return false
		}
		s = up
	}
	return true
}

func (w *world) result() Result {
	r := Result{Nodes: w.cfg.Nodes, Seed: w.cfg.Seed, Digest: fmt.Sprintf("%016x", w.k.Digest()),
		Violations: w.violations, Events: w.k.Events(), Messages: w.net.Sent, Virtual: w.k.Now().Seconds(), Faults: w.faults}
	if r.Violations == nil {
		r.Violations = []string{}
	}
	for _, j := range w.jobs {
		out := Job{ID: j.spec.ID.Short(), Primary: j.primary.core.role.String(), Want: j.spec.Want, Done: len(j.done), Lost: j.lost, Outcome: "orphaned"}
		if j.ended {
			out.Outcome, out.Exit = j.end.Outcome.String(), j.end.Exit
			out.Seconds = (j.endedAt - j.submitted).Seconds()
		}
		r.Jobs = append(r.Jobs, out)
	}
	return r
}

// planJobs submits several jobs: most from the launcher, some from a pilot.
func (w *world) planJobs() {
	k := w.k
	pilots := w.cfg.Nodes - 1 - w.hubs
	slots := 0
	for _, s := range w.spots {
		slots += int(s.offer.Slots)
	}
	n := 3 + k.Rand().IntN(4)
	for i := range n {
		want := 1 + k.Rand().IntN(max(1, min(slots/3, pilots)))
		spec := job.Spec{Want: want, Min: 1 + k.Rand().IntN(want), OnFailure: job.Replace,
			Lease: k.Between(15*time.Second, 30*time.Second), GangWait: k.Between(20*time.Second, 60*time.Second)}
		k.Rand().Uint64()
		for b := range spec.ID {
			spec.ID[b] = byte(k.Rand().Uint32())
		}
		if k.Chance(0.3) {
			spec.Needs.Cores = 2
		}
		if k.Chance(0.5) {
			spec.Retries = 2
		}
		switch {
		case k.Chance(0.1):
			spec.OnFailure = job.Ignore
		case k.Chance(0.05):
			spec.OnFailure = job.Cancel
		}
		spec.Program = wire.Program{Argv: []string{"app"}, KillGrace: time.Second, Root: wire.Digest{1, byte(i)}}
		if k.Chance(0.3) {
			spec.Program.Root = wire.Digest{}
		}
		j := &jobState{spec: spec, last: k.Between(time.Second, 40*time.Second), fails: 0, started: make(map[wire.Attempt]wire.NodeID),
			newest: make(map[uint32]uint32), done: make(map[uint32]bool)}
		if k.Chance(0.3) {
			j.fails = 0.02
		}
		second := i == 1
		w.jobs = append(w.jobs, j)
		w.jobOf[spec.ID] = j
		at := k.Between(0, time.Duration(w.cfg.Seconds)*time.Second/3)
		j.primary = w.spots[0].node
		k.At(at, func() {
			by := w.spots[0]
			if second {
				by = w.anyPilot()
			}
			if by == nil || by.node.core.Stats(k.Now()).Leaving {
				by = w.spots[0]
			}
			j.primary, j.submitted = by.node, k.Now()
			w.logf("job %s: %d workers (at least %d), lease %v, primary %s", spec.ID.Short(), want, spec.Min, spec.Lease, by.node.id.Short())
			w.input(by.node, func(n *node) {
				if err := n.core.Submit(k.Now(), spec); err != nil {
					w.violate("submit: %v", err)
				}
			})
		})
		switch {
		case second && k.Chance(0.3): // its primary dies while everybody works
			j.last = time.Hour
			k.At(at+k.Between(20*time.Second, 60*time.Second), func() {
				if j.primary == w.spots[0].node {
					w.input(j.primary, func(n *node) { n.core.Cancel(k.Now(), spec.ID, job.Limit, false) })
				} else if j.primary.alive {
					w.logf("the primary of job %s dies", spec.ID.Short())
					s := j.primary.spot
					w.crash(j.primary, k.Chance(0.5))
					k.After(time.Minute, func() { w.boot(s) })
				}
			})
		case i == n-1 && k.Chance(0.5): // it is cancelled
			j.last = 10 * time.Minute
			k.At(at+k.Between(10*time.Second, 60*time.Second), func() {
				w.input(j.primary, func(n *node) { n.core.Cancel(k.Now(), spec.ID, job.Interrupted, k.Chance(0.5)) })
			})
		}
	}
}

func newWorld(cfg Config) *world {
	k := sim.New(cfg.Seed)
	w := &world{cfg: cfg, k: k, byID: make(map[wire.NodeID]*node), jobOf: make(map[wire.JobID]*jobState)}
	w.net = sim.NewNetwork(k, w.path)
	w.net.Partition(w.island)
	return w
}
