package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// GangConfig is an experiment: one gang looks for slots in a session in which few
// are free.
type GangConfig struct {
	Nodes int    // pilots with one slot each; their hubs and the launcher come on top
	Sites int    // over which they are spread; 0 means about a site for 100 pilots, at most 100
	Free  int    // pilots whose slot is free; the owners of the others keep theirs
	Want  int    // workers of the gang
	Seed  uint64 // of everything

	// Blind lets the primary search in rings, without the tables of free slots.
	Blind bool
	// RTT holds the true round-trip times between places, of which the sites take
	// some at random; nil means made up ones.
	RTT [][]time.Duration
	// Trace takes every message from the submission on; nil discards them.
	Trace func(Message)
	// Log takes what happens, for people; nil discards it.
	Log func(now time.Duration, text string)
}

// Times of a gang experiment.
const (
	gangWarm   = 10 * time.Minute // for the hubs to find their places before pilots come
	gangSettle = 15 * time.Second // for pilots to be there and hubs to know
	gangLimit  = 5 * time.Minute
	gangAfter  = 5 * time.Second // messages are counted for so much longer
)

// Gang is what came of a gang experiment.
type Gang struct {
	Nodes      int            `json:"nodes"`
	Sites      int            `json:"sites"`
	Free       int            `json:"free"`
	Want       int            `json:"want"`
	Seed       uint64         `json:"seed"`
	Tables     bool           `json:"tables"`
	Granted    int            `json:"granted"`
	Messages   int            `json:"messages"` // as their authors sent them
	Kinds      map[string]int `json:"kinds"`    // the same
	Fanout     int            `json:"fanout"`   // adverts that hubs passed on
	Seconds    float64        `json:"seconds"`  // from submission to the last grant
	MeanRTT    float64        `json:"mean_rtt_ms"`
	BestRTT    float64        `json:"best_rtt_ms"`
	Ratio      float64        `json:"mean_rtt_ratio"`
	Violations []string       `json:"violations"`
	Digest     string         `json:"digest"`
}

func (c *GangConfig) validate() error {
	if c.Sites == 0 {
		c.Sites = min(max(1, c.Nodes/100), 100)
		if c.RTT != nil {
			c.Sites = min(c.Sites, len(c.RTT))
		}
	}
	switch {
	case c.Nodes < 1 || c.Nodes > MaxNodes/2:
		return fmt.Errorf("%d nodes: want 1 to %d", c.Nodes, MaxNodes/2)
	case c.Sites < 1 || c.Sites > c.Nodes || c.Sites > maxGangSites:
		return fmt.Errorf("%d sites for %d nodes: want at least one node each, at most %d sites", c.Sites, c.Nodes, maxGangSites)
	case c.RTT != nil && c.Sites > len(c.RTT):
		return fmt.Errorf("%d sites on a matrix of %d", c.Sites, len(c.RTT))
	case c.Free < 0 || c.Free > c.Nodes:
		return fmt.Errorf("%d of %d nodes free", c.Free, c.Nodes)
	case c.Want < 1 || c.Want > c.Nodes:
		return fmt.Errorf("a gang of %d among %d nodes", c.Want, c.Nodes)
	}
	return nil
}

const maxGangSites = 2000

// RunGang runs a gang experiment on whole nodes. Hubs and launcher are up for ten
// minutes, long enough to know where they are; then the pilots come, and the
// launcher submits the gang.
func RunGang(cfg GangConfig) (Gang, error) {
	if err := cfg.validate(); err != nil {
		return Gang{}, err
	}
	w := gangWorld(worldConfig{Seed: cfg.Seed, Log: cfg.Log, Blind: cfg.Blind}, cfg.Nodes, cfg.Sites, cfg.RTT)
	w.bootHubs()
	w.k.Run(gangWarm)
	idle := make(map[*spot]bool)
	for _, i := range w.k.Rand().Perm(cfg.Nodes)[:cfg.Free] {
		idle[w.spots[1+w.hubs+i]] = true
	}
	w.bootPilots(func(s *spot) bool { return !idle[s] })
	w.k.Run(gangWarm + gangSettle)

	g := Gang{Nodes: cfg.Nodes, Sites: cfg.Sites, Free: cfg.Free, Want: cfg.Want, Seed: cfg.Seed, Tables: !cfg.Blind, Kinds: make(map[string]int)}
	spec := gangSpec(w.world, cfg.Want)
	w.onSend = func(n, _ *node, m wire.Message) { g.count(n.id, m, spec.ID) }
	w.cfg.Trace = cfg.Trace
	j := w.submit(w.home(), spec, time.Hour)
	for end := w.k.Now() + gangLimit; w.k.Now() < end && len(j.granted) < cfg.Want; {
		w.k.Run(w.k.Now() + time.Second)
	}
	w.k.Run(w.k.Now() + gangAfter)
	g.Granted = len(j.granted)
	if len(j.grants) > 0 {
		g.Seconds = (j.grants[len(j.grants)-1] - j.submitted).Seconds()
	}
	if g.Granted == cfg.Want {
		g.judge(w, j, idle)
	}
	g.Digest = fmt.Sprintf("%016x", w.k.Digest())
	if g.Violations = w.violations; g.Violations == nil {
		g.Violations = []string{}
	}
	return g, nil
}

// gangSpec is the job of a gang.
func gangSpec(w *world, want int) job.Spec {
	return job.Spec{ID: w.jobID(), Want: want, Program: wire.Program{Argv: []string{"app"}, KillGrace: time.Second}}
}

// count counts a message of the gang's search for slots.
func (g *Gang) count(from wire.NodeID, m wire.Message, id wire.JobID) {
	switch m := m.(type) {
	case *wire.Advert:
		if m.Primary != from {
			g.Fanout++
			return
		}
	case *wire.Claim, *wire.Hold, *wire.Grant, *wire.Refuse, *wire.Release, *wire.Find, *wire.Found:
	default:
		return
	}
	g.Messages++
	g.Kinds[messageName(m)]++
}

// gangWorld is a session of sites that are alike, on places of a matrix.
func gangWorld(cfg worldConfig, nodes, sites int, rtt [][]time.Duration) *gangs {
	r := rand.New(rand.NewPCG(cfg.Seed, 1))
	if rtt == nil {
		rtt = synthetic(r, sites)
	}
	rows := r.Perm(len(rtt))[:sites]
	l := layout{WAN: make([][]time.Duration, sites)}
	for i, a := range rows {
		l.WAN[i] = make([]time.Duration, sites)
		for j, b := range rows {
			l.WAN[i][j] = rtt[a][b]
		}
		count := nodes / sites
		if i < nodes%sites {
			count++
		}
		l.Sites = append(l.Sites, site{Name: fmt.Sprintf("site%d", i), Hubs: 1, Behind: -1,
			LAN:    time.Duration(100+r.IntN(400)) * time.Microsecond,
			Groups: []group{{Count: count, Offer: offer(1)}}})
		l.Home = append(l.Home, time.Duration(4+r.IntN(120))*time.Millisecond)
	}
	cfg.Layout, cfg.Calm = l, true
	return &gangs{newWorld(cfg)}
}

// gangs is a world for experiments with gangs.
type gangs struct{ *world }

func (w *gangs) bootHubs() {
	for _, s := range w.spots[:1+w.hubs] {
		w.boot(s)
	}
}

// bootPilots boots all pilots. The owners of some keep their slots.
func (w *gangs) bootPilots(busy func(*spot) bool) {
	for _, s := range w.spots[1+w.hubs:] {
		w.k.After(w.k.Between(0, 5*time.Second), func() {
			w.boot(s)
			if busy(s) {
				w.input(s.node, func(n *node) { n.core.Occupy(w.local(n), len(n.slots)) })
			}
		})
	}
}

// judge compares the gang with the best set of free slots, on the true matrix.
func (g *Gang) judge(w *gangs, j *jobState, idle map[*spot]bool) {
	room, got := make([]int, len(w.sites)), make([]int, len(w.sites))
	for s := range idle {
		room[s.site.index]++
	}
	for _, id := range j.granted {
		got[w.byID[id].spot.site.index]++
	}
	g.MeanRTT = w.mean(got)
	g.BestRTT = min(g.MeanRTT, w.best(room, got))
	g.Ratio = 1
	if g.BestRTT > 0 {
		g.Ratio = g.MeanRTT / g.BestRTT
	}
}

// far is the true round-trip time between two sites, or inside one, in
// milliseconds.
func (w *gangs) far(i, j int) float64 {
	d := w.sites[i].lan
	if i != j {
		d = w.sites[i].rtt[j]
	}
	return float64(d) / float64(time.Millisecond)
}

// mean is the mean over all pairs of so many nodes at each site.
func (w *gangs) mean(at []int) float64 {
	sum, n := 0.0, 0
	for i, a := range at {
		n += a
		sum += w.far(i, i) * float64(a*(a-1)/2)
		for j, b := range at[:i] {
			sum += w.far(i, j) * float64(a*b)
		}
	}
	if n < 2 {
		return 0
	}
	return sum / float64(n*(n-1)/2)
}

// best looks for the set of as many nodes with the least mean: by simulated
// annealing from the greedy set around each site, and from the set that was
// got, each improved until no exchange of two nodes gains anything.
func (w *gangs) best(room, got []int) float64 {
	want := 0
	for _, n := range got {
		want += n
	}
	var used []int
	for i, n := range room {
		if n > 0 {
			used = append(used, i)
		}
	}
	starts := [][]int{got}
	for _, c := range used {
		order := slices.Clone(used)
		slices.SortStableFunc(order, func(a, b int) int {
			return int(math.Copysign(1, w.near(c, a)-w.near(c, b)))
		})
		at, left := make([]int, len(room)), want
		for _, i := range order {
			at[i] = min(room[i], left)
			left -= at[i]
		}
		starts = append(starts, at)
	}
	slices.SortStableFunc(starts[1:], func(a, b []int) int { return int(math.Copysign(1, w.mean(a)-w.mean(b))) })
	least := math.Inf(1)
	for _, at := range starts[:min(len(starts), 9)] {
		a := newAnneal(w, used, room, at)
		a.run()
		least = min(least, w.mean(a.at))
	}
	return least
}

// near orders sites around one, itself first.
func (w *gangs) near(i, j int) float64 {
	if i == j {
		return 0
	}
	return w.far(i, j)
}

// anneal is a search for a better set.
type anneal struct {
	w        *gangs
	used     []int // sites with room
	room, at []int
	sums     []float64 // from a site to all nodes of the set
	cost     float64   // of all pairs
}

func newAnneal(w *gangs, used, room, at []int) *anneal {
	a := &anneal{w: w, used: used, room: room, at: slices.Clone(at), sums: make([]float64, len(at))}
	for i := range a.sums {
		for _, j := range used {
			a.sums[i] += w.far(i, j) * float64(at[j])
		}
	}
	return a
}

// gain is what moving a node saves.
func (a *anneal) gain(from, to int) float64 {
	return a.sums[from] - a.w.far(from, from) - a.sums[to] + a.w.far(from, to)
}

func (a *anneal) move(from, to int) {
	a.at[from]--
	a.at[to]++
	for _, i := range a.used {
		a.sums[i] += a.w.far(i, to) - a.w.far(i, from)
	}
}

func (a *anneal) run() {
	if len(a.used) < 2 {
		return
	}
	const steps = 200_000
	r := a.w.k.Rand()
	best, at := a.w.mean(a.at), slices.Clone(a.at)
	for heat, step := best*10, 0; step < steps; step++ {
		heat *= 1 - 10.0/steps
		from, to := a.used[r.IntN(len(a.used))], a.used[r.IntN(len(a.used))]
		if from == to || a.at[from] == 0 || a.at[to] == a.room[to] {
			continue
		}
		if g := a.gain(from, to); g >= 0 || r.Float64() < math.Exp(g/heat) {
			a.move(from, to)
		}
		if step%1000 == 0 {
			if m := a.w.mean(a.at); m < best {
				best = m
				copy(at, a.at)
			}
		}
	}
	if a.w.mean(a.at) > best {
		*a = *newAnneal(a.w, a.used, a.room, at)
	}
	for {
		from, to, most := -1, -1, 1e-9
		for _, i := range a.used {
			for _, j := range a.used {
				if i != j && a.at[i] > 0 && a.at[j] < a.room[j] {
					if g := a.gain(i, j); g > most {
						from, to, most = i, j, g
					}
				}
			}
		}
		if from < 0 {
			return
		}
		a.move(from, to)
	}
}
