package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// Outcome is what came of a scenario.
type Outcome struct {
	Scenario string `json:"scenario"`
	Result
	Deaths     int        `json:"deaths"` // told by any node of others that had not left
	Recoveries []Recovery `json:"recoveries"`
	Report     []string   `json:"report"` // each expectation, and whether it held
}

// Recovery is how the jobs fared after nodes were killed. Times are in virtual
// seconds after that; -1 is never.
type Recovery struct {
	At        float64 `json:"at"`
	Nodes     int     `json:"nodes"`      // killed at once
	Workers   int     `json:"workers"`    // on them
	FirstSeen float64 `json:"first_seen"` // that a worker was lost
	Seen      float64 `json:"seen"`       // that the last one was
	Replaced  float64 `json:"replaced"`   // until all of them run elsewhere
	Adverts   int     `json:"adverts"`    // of the jobs, until then

	at    time.Duration
	nodes []wire.NodeID
	lost  map[wire.Key]time.Duration
	again map[wire.Key]time.Duration // by the key that was lost
}

// Play runs a scenario. Log and trace may be nil.
func (s *Scenario) Play(log func(now time.Duration, text string), trace func(Message)) Outcome {
	cfg := s.world
	cfg.Log, cfg.Trace = log, trace
	w := newWorld(cfg)
	r := &recoveries{w: w}
	w.onEvent = r.event
	w.onSend = r.sent
	w.build(5 * time.Second)
	var jobs []*jobState
	for _, p := range s.jobs {
		p.spec.ID = w.jobID()
		j := newJobState(p.spec, p.runs)
		j.steady = true
		jobs = append(jobs, j)
		w.k.At(p.at, func() {
			if by := w.place(p.by).node; by != nil && by.alive {
				w.jobs = append(w.jobs, j)
				w.jobOf[p.spec.ID] = j
				w.lead(by, j)
			}
		})
	}
	for _, e := range s.events {
		w.k.At(e.at, func() { s.happen(w, e, r, jobs) })
	}
	w.watch()
	w.k.Run(s.end)
	w.noise = 0
	for end := s.end + endBound; w.k.Now() < end && w.openJobs() > 0 && len(w.violations) == 0; {
		w.k.Run(w.k.Now() + time.Second)
	}
	w.checkEnded()
	out := Outcome{Scenario: s.name, Recoveries: r.result()}
	s.judge(w, &out, jobs)
	picture := w.picture()
	kinds := w.traffic.byKind()
	w.finish()
	out.Result, out.Deaths = w.result(), w.deaths
	out.Overlay, out.Kinds = picture, kinds
	return out
}

// happen lets a planned event happen.
func (s *Scenario) happen(w *world, e plannedEvent, r *recoveries, jobs []*jobState) {
	w.faults++
	switch e.what {
	case "cancel":
		w.faults--
		if j := jobs[s.job(e.place)]; j.primary != nil {
			w.input(j.primary, func(n *node) { n.core.Cancel(w.local(n), j.spec.ID, job.Interrupted, true) })
		}
		return
	case "noise":
		w.noise = e.noise
		return
	case "apart":
		groups := make([]int, len(w.sites))
		for _, name := range strings.Split(e.place, ",") {
			groups[w.siteNamed(name).index] = 1
		}
		w.partition(groups, e.last)
		return
	case "cut":
		if at := w.siteNamed(e.place); at != nil {
			w.cutSite(at, e.last)
			return
		}
	}
	places, _ := w.places(e.place) // it was found when the scenario was read
	if e.what == "kill" {
		r.killed(live(places))
	}
	for _, p := range places {
		if e.what == "boot" {
			w.boot(p)
			continue
		}
		if p.node == nil || !p.node.alive {
			continue
		}
		switch e.what {
		case "kill":
			w.crash(p.node, e.machine)
		case "cut":
			w.cutSpot(p, e.last)
		case "slow":
			w.slow(p, e.last)
		case "starve":
			w.starve(p, e.most, w.k.Now()+e.last)
		case "break":
			if len(p.node.order) > 0 {
				w.breakLink(p.node.order[0])
			}
		}
	}
}

// judge compares what came of a scenario with what was expected.
func (s *Scenario) judge(w *world, out *Outcome, jobs []*jobState) {
	out.Report = []string{}
	for _, e := range s.expect {
		wrong := ""
		var j *jobState
		if e.job != "" {
			j = jobs[s.job(e.job)]
		}
		switch e.what {
		case "job":
			got := "orphaned"
			if j.ended {
				got = j.end.Outcome.String()
			}
			if took := j.endedAt - j.submitted; got != e.word || e.within != 0 && took > e.within {
				wrong = fmt.Sprintf("%s after %v", got, took.Round(time.Millisecond))
			}
		case "lost":
			if j.lost != e.count {
				wrong = strconv.Itoa(j.lost)
			}
		case "seen", "replaced":
			for _, r := range out.Recoveries {
				took := r.Seen
				if e.what == "replaced" {
					took = r.Replaced
				}
				if took < 0 || took > e.within.Seconds() {
					wrong = fmt.Sprintf("after %.2f s, of what was killed at %v", took, r.at)
				}
			}
		case "deaths":
			if w.deaths != e.count {
				wrong = strconv.Itoa(w.deaths)
			}
		}
		if wrong != "" {
			w.violate("line %d: %s: %s", e.line, e.text, wrong)
			out.Report = append(out.Report, fmt.Sprintf("%s: no: %s", e.text, wrong))
		} else {
			out.Report = append(out.Report, e.text+": yes")
		}
	}
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x6c61796f7574)) }

func (w *world) siteNamed(name string) *siteState {
	for _, s := range w.sites[:len(w.sites)-1] {
		if s.name == name {
			return s
		}
	}
	return nil
}

// place returns the one spot of a place.
func (w *world) place(name string) *spot {
	list, _ := w.places(name) // it was found when the scenario was read
	return list[0]
}

// places returns the spots that a place names, in their order.
func (w *world) places(name string) ([]*spot, error) {
	if name == "launcher" {
		return w.spots[:1], nil
	}
	if name == "*" {
		return w.spots[1+w.hubs:], nil
	}
	siteName, rest, _ := strings.Cut(name, ".")
	at := w.siteNamed(siteName)
	lo, hi, hubs := 0, MaxNodes, false
	var ok bool
	switch {
	case rest == "*":
		ok = true
	case rest == "hubs":
		hubs, ok = true, true
	case strings.HasPrefix(rest, "hub"):
		lo, hi, ok = span(rest[3:])
		hubs = true
	default:
		lo, hi, ok = span(rest)
	}
	var list []*spot
	for _, s := range w.spots[1:] {
		if s.site == at && (s.role == wire.RoleHub) == hubs && s.number >= lo && s.number <= hi {
			list = append(list, s)
		}
	}
	if at == nil || !ok || len(list) == 0 || hi < MaxNodes && !slices.ContainsFunc(list, func(s *spot) bool { return s.number == hi }) {
		return nil, fmt.Errorf("no place %q", name)
	}
	return list, nil
}

// span reads a number, or two with a dash between.
func span(text string) (lo, hi int, ok bool) {
	a, b, two := strings.Cut(text, "-")
	lo, err := strconv.Atoi(a)
	if hi = lo; two && err == nil {
		hi, err = strconv.Atoi(b)
	}
	return lo, hi, err == nil && lo >= 0 && hi >= lo && hi < MaxNodes
}

// checkPlaces reports an event that happens to nothing that there is.
func (w *world) checkPlaces(e plannedEvent) error {
	switch e.what {
	case "cancel", "noise":
		return nil
	case "apart":
		for _, name := range strings.Split(e.place, ",") {
			if w.siteNamed(name) == nil {
				return fmt.Errorf("no site %q", name)
			}
		}
		return nil
	case "cut":
		if w.siteNamed(e.place) != nil {
			return nil
		}
	}
	_, err := w.places(e.place)
	return err
}
