package sim

import (
	"fmt"
	"time"

	"github.com/zorilla-grid/zorilla/pilot/core"
)

// GangsConfig is an experiment: many gangs, each with a primary of its own, look
// for slots at once.
type GangsConfig struct {
	Nodes int           // pilots with one slot each; their hubs and the launcher come on top
	Sites int           // as in [GangConfig]
	Jobs  int           // gangs
	Want  int           // workers of each
	Runs  time.Duration // how long each worker runs; 0 means a minute
	Seed  uint64        // of everything

	Trace func(Message) // of every message from the first submission on; nil discards them
	Log   func(now time.Duration, text string)
}

// Gangs is what came of it.
type Gangs struct {
	Nodes      int      `json:"nodes"`
	Jobs       int      `json:"jobs"`
	Want       int      `json:"want"`
	Seed       uint64   `json:"seed"`
	Stuck      int      `json:"stuck"`    // gangs that have not ended well
	Makespan   float64  `json:"makespan"` // seconds from the first submission to the last end
	Ideal      float64  `json:"ideal"`
	Ratio      float64  `json:"ratio"`      // of these two
	Idle       float64  `json:"idle_share"` // of the core time used: held or offered while a gang was not complete
	Lost       int      `json:"lost"`       // attempts
	Violations []string `json:"violations"`
	Digest     string   `json:"digest"`
}

// RunGangs runs the experiment on whole nodes. The primaries are the launcher
// and pilots at random, and submit within a second. The ideal makespan is that
// of a scheduler that knows everything and takes no time: as many gangs at once
// as the slots hold, in rounds, each as long as a worker runs.
func RunGangs(cfg GangsConfig) (Gangs, error) {
	one := GangConfig{Nodes: cfg.Nodes, Sites: cfg.Sites, Want: cfg.Want}
	if err := one.validate(); err != nil {
		return Gangs{}, err
	}
	if cfg.Runs == 0 {
		cfg.Runs = time.Minute
	}
	switch {
	case cfg.Jobs < 1 || cfg.Jobs > min(core.MaxJobs, cfg.Nodes):
		return Gangs{}, fmt.Errorf("%d gangs: want 1 to %d", cfg.Jobs, min(core.MaxJobs, cfg.Nodes))
	case cfg.Runs < time.Second || cfg.Runs > 24*time.Hour:
		return Gangs{}, fmt.Errorf("workers that run for %v: want a second to a day", cfg.Runs)
	}
	w := gangWorld(worldConfig{Seed: cfg.Seed, Log: cfg.Log}, cfg.Nodes, one.Sites, nil)
	w.bootHubs()
	w.k.Run(gangsWarm)
	w.bootPilots(func(*spot) bool { return false })
	w.watch()
	w.k.Run(gangsWarm + gangSettle)

	first := w.k.Now()
	w.cfg.Trace = cfg.Trace
	nodes := []*node{w.home()}
	for _, i := range w.k.Rand().Perm(cfg.Nodes)[:cfg.Jobs-1] {
		nodes = append(nodes, w.spots[1+w.hubs+i].node)
	}
	for _, n := range nodes {
		w.k.After(w.k.Between(0, time.Second), func() { w.submit(n, gangSpec(w.world, cfg.Want), cfg.Runs) })
	}
	rounds := (cfg.Jobs + cfg.Nodes/cfg.Want - 1) / (cfg.Nodes / cfg.Want)
	ideal := time.Duration(rounds) * cfg.Runs
	var idle time.Duration
	w.onEvent = func(_ *node, e core.Event) {
		if e, ok := e.(core.JobEnded); ok {
			idle += e.Idle
		}
	}
	for w.k.Run(first + time.Second); w.k.Now() < first+4*ideal+time.Minute && w.openJobs() > 0; {
		w.k.Run(w.k.Now() + time.Second)
	}
	r := Gangs{Nodes: cfg.Nodes, Jobs: cfg.Jobs, Want: cfg.Want, Seed: cfg.Seed, Ideal: ideal.Seconds(), Digest: fmt.Sprintf("%016x", w.k.Digest())}
	var last time.Duration
	for _, j := range w.jobs {
		r.Lost += j.lost
		if !j.ended || j.end.Exit != 0 {
			r.Stuck++
			continue
		}
		last = max(last, j.endedAt-first)
	}
	r.Makespan = last.Seconds()
	r.Ratio = r.Makespan / r.Ideal
	r.Idle = idle.Seconds() / (float64(cfg.Jobs*cfg.Want) * cfg.Runs.Seconds())
	if r.Violations = w.violations; r.Violations == nil {
		r.Violations = []string{}
	}
	return r, nil
}

// gangsWarm is for the hubs to be linked before pilots come.
const gangsWarm = time.Minute
