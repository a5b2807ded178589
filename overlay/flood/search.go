package flood

import (
	"slices"
	"sort"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Rhythms and sizes of a Search.
const (
	RingFirst = 8 // hubs of the first ring; a session of no more is searched at once

	maxRounds = 3                       // of asking where slots are known, before the search opens
	askTime   = 1500 * time.Millisecond // of a round, beside the longest round trip
	ringTime  = 500 * time.Millisecond  // of a ring, beside the longest round trip
	findTime  = time.Second             // for a pilot's hub to say where slots are
	overAsk   = 16                      // one more than needed is asked for each so many
)

// Search is one job's way to its slots, as its primary takes it.
//
// It asks where slots are known to be free, exactly those hubs whose pilots
// are close together, for a few more than are needed. What then is still
// missing is searched for: in rings that grow around the primary, the nearest
// hubs first, as in the original's iterative flooding (Drost et al., Zorilla,
// section 3.3), but each ring extends the last one, so that no hub is searched
// twice; or everywhere at once, when the tables say that there is not enough,
// so that the job has its place in every pilot's queue.
type Search struct {
	rounds int
	asks   []asked
	until  time.Duration // of the round, the ring or the question under way

	found   bool // by a pilot: its hub has answered
	finding bool
	opened  []wire.NodeID // the frontier: hubs where the advert is open, as they were reached
	got     int           // workers claimed since the search opened
	all     bool          // it is open everywhere
}

type asked struct {
	hub     wire.NodeID
	site    string
	workers int
	got     int
}

// View is what a search knows of the world.
type View struct {
	Tables *Tables
	Blind  bool // do not look at free slots: search in rings
	Needs  *wire.Requirements
	There  []Place                              // where the job has workers or claims already
	Links  func(hub wire.NodeID) []wire.HubLink // measured links of a hub, by identity; nil: none are known
	From   Place                                // the primary
	Asks   bool                                 // the tables are at its hub, which is asked: Step.Find
}

// Step is what to do next.
type Step struct {
	To    []wire.Ask    // send the advert to these
	Flood bool          // or to everybody
	Find  bool          // ask the node's hub for tables, and call Found
	Spare int           // claims to be taken beyond the workers wanted
	Until time.Duration // then the next step is wanted, with a new advert; 0: when the job says so
	Liars []wire.NodeID // hubs that are distrusted from now on, for the first time
}

// Open reports whether the advert is open anywhere, so that those who have it
// are to be told of changes.
func (s *Search) Open() bool { return s.all || len(s.opened) > 0 }

// Next returns the next step of a job that wants workers. It is to be called
// with every new state of its advert.
func (s *Search) Next(now time.Duration, want int, v View) Step {
	var step Step
	if want == 0 {
		for _, a := range s.asks {
			if a.got >= a.workers {
				v.Tables.Trust(a.hub)
			}
		}
		step.To, step.Flood = s.frontier(), s.all
		*s = Search{}
		return step
	}
	if s.all {
		step.Flood = true
		return step
	}
	if now < s.until {
		return Step{Until: s.until}
	}
	if v.Asks && !s.found {
		if !s.finding {
			s.finding, s.until = true, now+findTime
			return Step{Find: true, Until: s.until}
		}
	}
	if len(s.opened) > 0 {
		return s.ring(now, want, v)
	}
	step.Liars = s.judge(now, v)
	if !v.Blind && s.rounds < maxRounds {
		if s.ask(now, want, v, &step) {
			return step
		}
	}
	liars := step.Liars
	if !v.Blind || v.Tables.Len() <= RingFirst {
		s.all = true
		step = Step{Flood: true}
	} else {
		step = s.ring(now, want, v)
	}
	step.Liars = liars
	return step
}

// Found tells that the hub has answered.
func (s *Search) Found() {
	if s.finding {
		s.found, s.finding, s.until = true, false, 0
	}
}

// Claimed tells that workers were claimed at a place.
func (s *Search) Claimed(hub wire.NodeID, workers int) {
	s.got += workers
	for i := range s.asks {
		if s.asks[i].hub == hub {
			s.asks[i].got += workers
		}
	}
}

// judge ends a round. Who gave less than half of what was asked, and still says
// to have it, is not believed for a while.
func (s *Search) judge(now time.Duration, v View) []wire.NodeID {
	var liars []wire.NodeID
	for _, a := range s.asks {
		t := v.Tables.Get(a.hub)
		switch {
		case a.got >= a.workers:
			v.Tables.Trust(a.hub)
		case 2*a.got < a.workers && t != nil && Fit(t, v.Needs) >= a.workers-a.got:
			if v.Tables.Distrust(now, a.hub) {
				liars = append(liars, a.hub)
			}
		}
	}
	s.asks = nil
	return liars
}

// ask asks for the set of free slots that is close together; false means that
// there are not enough.
func (s *Search) ask(now time.Duration, want int, v View, step *Step) bool {
	places := v.Tables.Places(now, v.Needs)
	room := 0
	for i := range places {
		if v.Links != nil {
			places[i].Links = v.Links(places[i].Hub)
		}
		room += places[i].Workers
	}
	if room < want {
		return false
	}
	spare := min(room-want, (want+overAsk-1)/overAsk)
	if want < overAsk/2 {
		spare = 0 // one that does not come costs a round, and no gang waits long for it
	}
	counts := Choose(places, v.There, want+spare)
	if counts == nil {
		return false
	}
	s.rounds++
	far := time.Duration(0)
	for i, n := range counts {
		if n > 0 {
			s.asks = append(s.asks, asked{hub: places[i].Hub, site: places[i].Site, workers: n})
			step.To = append(step.To, wire.Ask{Node: places[i].Hub, Workers: uint32(n)})
			far = max(far, Between(&v.From, &places[i]))
		}
	}
	s.until = now + askTime + min(2*far, 2*Unknown)
	step.Spare, step.Until = spare, s.until
	return true
}

// ring extends the frontier by the nearest hubs that are not in it: by as many
// as should be enough, going by what came of it so far, but at most twofold.
func (s *Search) ring(now time.Duration, want int, v View) Step {
	places := v.Tables.Places(now, v.Needs)
	places = slices.DeleteFunc(places, func(p Place) bool { return slices.Contains(s.opened, p.Hub) })
	sort.SliceStable(places, func(i, j int) bool {
		return Between(&v.From, &places[i]) < Between(&v.From, &places[j])
	})
	n := max(RingFirst, len(s.opened))
	if s.got > 0 {
		n = min(n, max(1, (want*len(s.opened)+s.got-1)/s.got))
	}
	if n >= len(places) {
		s.all = true
		return Step{Flood: true}
	}
	var step Step
	far := time.Duration(0)
	for _, p := range places[:n] {
		s.opened = append(s.opened, p.Hub)
		step.To = append(step.To, wire.Ask{Node: p.Hub})
		far = max(far, Between(&v.From, &p))
	}
	s.until = now + ringTime + min(2*far, 2*Unknown)
	step.Until = s.until
	return step
}

// frontier returns where the advert is open.
func (s *Search) frontier() []wire.Ask {
	if s.all {
		return nil
	}
	var to []wire.Ask
	for _, id := range s.opened {
		to = append(to, wire.Ask{Node: id})
	}
	return to
}
