package sim

import (
	"fmt"
	"slices"
	"time"

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
	// manyNodes are too many to wait for their leases at the end.
	manyNodes = 2000
	leaveTime = 40 * time.Second // for everybody to leave, beside the lease
)

// Config is a simulation.
type Config struct {
	Nodes   int    // the launcher, hubs and pilots together
	Seconds int    // of jobs and faults, virtual; the end of it all comes on top
	Seed    uint64 // of everything

	// Calm leaves out the faults.
	Calm bool
	// RTT holds the round trips between sites, of which there are as many as
	// it has rows; 0 is a pair without one. nil means sites that are made up.
	RTT [][]time.Duration
	// RTTFlags are what Command adds for them.
	RTTFlags string
	// Trace takes every message that a node hands to its transport; nil discards them.
	Trace func(Message)
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

	Kinds   map[string]int `json:"kinds"` // messages by kind
	Overlay *Overlay       `json:"-"`     // as it was when the last job had ended
}

// Command returns the command line that repeats a simulation.
func (c Config) Command() string {
	s := fmt.Sprintf("go run ./cmd/zorilla-sim run --nodes %d --seconds %d --seed %d", c.Nodes, c.Seconds, c.Seed)
	if c.Calm {
		s += " --calm"
	}
	if c.RTTFlags != "" {
		s += " " + c.RTTFlags
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
	r := newRand(cfg.Seed)
	wc := worldConfig{Seed: cfg.Seed, Noise: 0.01, Skew: true, Calm: cfg.Calm, Log: cfg.Log, Trace: cfg.Trace}
	bad := 0.02
	if cfg.Calm {
		wc.Noise, bad = 0, 0
	}
	wc.Layout = mixedLayout(r, cfg.Nodes, cfg.RTT, bad)
	w := newWorld(wc)
	w.build(5 * time.Second)
	calm := time.Duration(cfg.Seconds) * time.Second
	w.planJobs(calm)
	if !cfg.Calm {
		w.planFaults(calm)
	}
	w.watch()

	w.k.Run(calm)
	w.calmDown()
	w.k.Run(calm + bootTime)
	for end := calm + endBound; w.k.Now() < end && w.openJobs() > 0 && len(w.violations) == 0; {
		w.k.Run(w.k.Now() + time.Second)
	}
	w.checkEnded()
	picture := w.picture()
	w.finish()
	result := w.result()
	result.Overlay = picture
	return result, nil
}

// finish ends the session, by the launcher's word or by its death, and looks for what is left.
func (w *world) finish() {
	if len(w.violations) > 0 {
		return
	}
	w.over = true
	home := w.home()
	if len(w.spots) > manyNodes || w.k.Chance(0.5) {
		w.logf("the launcher retires everybody")
		var told []*node
		for _, s := range w.spots[1:] {
			if n := s.node; n != nil && n.alive {
				// A pilot for which another pilot relays may find that this
				// one has left before it is told: it has its lease.
				if hops, _ := w.way(n, home); hops != nil {
					next := hops[0].link.end[1-hops[0].dir].spot
					if s.role == wire.RoleHub || next.role != wire.RolePilot {
						told = append(told, n)
					}
				}
			}
		}
		w.input(home, func(n *node) { n.core.Retire(w.local(n), "", "the session ends") })
		w.await(told, leaveTime)
	}
	if home.alive {
		w.crash(home, false)
	}
	var all []*node
	for _, s := range w.spots[1:] {
		all = append(all, s.node)
	}
	w.await(all, nodeLease+leaveTime)
}

// await gives nodes a time to end, and notes those that do not.
func (w *world) await(nodes []*node, d time.Duration) {
	alive := func(n *node) bool { return n != nil && n.alive }
	for end := w.k.Now() + d; w.k.Now() < end && slices.ContainsFunc(nodes, alive); {
		w.k.Run(min(end, w.k.Now()+time.Second))
	}
	w.checkGone(nodes)
}

func (w *world) result() Result {
	r := Result{Nodes: len(w.spots), Seed: w.cfg.Seed, Digest: fmt.Sprintf("%016x", w.k.Digest()),
		Violations: w.violations, Events: w.k.Events(), Messages: w.net.sent, Virtual: w.k.Now().Seconds(), Faults: w.faults, Kinds: w.traffic.byKind()}
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
func (w *world) planJobs(calm time.Duration) {
	k := w.k
	pilots := len(w.spots) - 1 - w.hubs
	slots := 0
	for _, s := range w.spots {
		slots += int(s.offer.Slots)
	}
	n := 3 + k.Rand().IntN(4)
	for i := range n {
		want := 1 + k.Rand().IntN(max(1, min(slots/3, pilots)))
		spec := job.Spec{Want: want, Min: 1 + k.Rand().IntN(want), OnFailure: job.Replace,
			Lease: k.Between(15*time.Second, 30*time.Second), GangWait: k.Between(20*time.Second, 60*time.Second)}
		spec.ID = w.jobID()
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
		j := newJobState(spec, k.Between(time.Second, min(40*time.Second, calm/3)+2*time.Second))
		if k.Chance(0.3) {
			j.fails = 0.02
		}
		second := i == 1
		w.jobs = append(w.jobs, j)
		w.jobOf[spec.ID] = j
		at := k.Between(0, calm/3)
		j.primary = w.home()
		k.At(at, func() {
			by := w.spots[0]
			if second {
				by = w.anyPilot()
			}
			if by == nil || by.paused != 0 || by.node.core.Stats(w.local(by.node)).Leaving {
				by = w.spots[0]
			}
			w.lead(by.node, j)
		})
		switch {
		case second && k.Chance(0.3): // its primary dies while everybody works
			j.last = time.Hour
			k.At(at+k.Between(20*time.Second, 60*time.Second), func() {
				if j.primary == w.home() {
					w.input(j.primary, func(n *node) { n.core.Cancel(w.local(n), spec.ID, job.Limit, false) })
				} else if j.primary.alive {
					s := j.primary.spot
					w.crash(j.primary, k.Chance(0.5))
					k.After(time.Minute, func() { w.boot(s) })
				}
			})
		case i == n-1 && k.Chance(0.5): // it is cancelled
			j.last = 10 * time.Minute
			k.At(at+k.Between(10*time.Second, 60*time.Second), func() {
				w.input(j.primary, func(n *node) { n.core.Cancel(w.local(n), spec.ID, job.Interrupted, k.Chance(0.5)) })
			})
		}
	}
}
