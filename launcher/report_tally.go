package launcher

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Status is how a run does, in numbers.
type Status struct {
	Run     string    `json:"run"`
	App     string    `json:"app,omitempty"`
	Out     string    `json:"out,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`

	Workers  int `json:"workers"`  // wanted
	Starting int `json:"starting"` // granted a slot, not running yet
	Running  int `json:"running"`  // outputs on their way home included
	Done     int `json:"done"`     // ended with status 0
	Failed   int `json:"failed"`   // ended otherwise
	Lost     int `json:"lost"`     // lost or stopped, and not started again so far

	Sites []SiteStatus `json:"sites,omitempty"`

	Outcome Outcome `json:"outcome,omitempty"` // empty while it goes on
	Exit    int     `json:"exit"`
	Error   string  `json:"error,omitempty"`
}

// SiteStatus is how one site of a run does.
type SiteStatus struct {
	SiteChanged
	Running int   `json:"running"` // workers there
	Done    int   `json:"done"`    // workers that ended there, whatever their status
	Sent    int64 `json:"sent"`    // bytes to the site
	Got     int64 `json:"got"`     // bytes from the site
}

// Detached returns the names of the sites whose login broke while work goes on
// there.
func (s Status) Detached() []string {
	var names []string
	for _, site := range s.Sites {
		if site.State == "detached" {
			names = append(names, site.Site)
		}
	}
	return names
}

// Tally follows the events of one run and knows at any time how it does. The
// zero value is ready. It is not safe for concurrent use.
type Tally struct {
	run     RunStarted
	name    string
	started time.Time
	ended   time.Time
	end     *RunEnded
	order   []string // of the sites
	sites   map[string]*SiteStatus
	workers map[int]*WorkerReport // by rank
}

// Add takes the next event.
func (t *Tally) Add(e Event) {
	if t.sites == nil {
		t.sites = make(map[string]*SiteStatus)
		t.workers = make(map[int]*WorkerReport)
	}
	if t.name == "" {
		t.name = e.Run
	}
	switch d := e.Data.(type) {
	case RunStarted:
		t.run, t.started = d, e.Time
		for _, s := range d.Sites {
			t.site(s)
		}
	case SiteChanged:
		t.site(d.Site).SiteChanged = d
	case Transferred:
		s := t.site(d.Site)
		s.Sent, s.Got = d.Up, d.Down
	case WorkerChanged:
		t.worker(e.Time, d)
	case RunEnded:
		t.end, t.ended = &d, e.Time
	}
}

func (t *Tally) site(name string) *SiteStatus {
	s := t.sites[name]
	if s == nil {
		s = &SiteStatus{SiteChanged: SiteChanged{Site: name}}
		t.sites[name] = s
		t.order = append(t.order, name)
	}
	return s
}

func (t *Tally) worker(at time.Time, d WorkerChanged) {
	w := t.workers[d.Rank]
	if w == nil {
		w = &WorkerReport{Rank: d.Rank, Attempt: d.Attempt}
		t.workers[d.Rank] = w
	}
	if d.Attempt < w.Attempt {
		return // an older attempt counts no more
	}
	if d.Attempt > w.Attempt {
		*w = WorkerReport{Rank: d.Rank, Attempt: d.Attempt}
	}
	w.State = d.State
	w.Site, w.Node, w.Host = cmp.Or(d.Site, w.Site), cmp.Or(d.Node, w.Node), cmp.Or(d.Host, w.Host)
	w.Signal, w.Reason = cmp.Or(d.Signal, w.Signal), cmp.Or(d.Reason, w.Reason)
	if d.Exit != nil {
		w.Exit = d.Exit
	}
	switch d.State {
	case "running":
		w.Started = at
	case "exited", "done", "lost", "stopped":
		if w.Ended.IsZero() {
			w.Ended = at
		}
	}
}

// failed tells that a worker that is done failed by itself.
func (w *WorkerReport) failed() bool {
	return w.Signal != "" || w.Exit != nil && *w.Exit != 0
}

// Status returns how the run does.
func (t *Tally) Status() Status {
	s := Status{Run: t.name, App: t.run.App, Out: t.run.Out, Started: t.started, Ended: t.ended, Workers: t.run.Workers}
	if t.end != nil {
		s.Outcome, s.Exit, s.Error = t.end.Outcome, t.end.Exit, t.end.Error
		s.Out = cmp.Or(t.end.Out, s.Out)
	}
	sites := make(map[string]*SiteStatus)
	for _, name := range t.order {
		site := *t.sites[name]
		sites[name] = &site
	}
	for _, w := range t.workers {
		site := sites[w.Site]
		if site == nil {
			site = new(SiteStatus)
		}
		switch w.State {
		case "granted", "staging":
			s.Starting++
		case "running", "exited":
			s.Running++
			site.Running++
		case "done":
			site.Done++
			if w.failed() {
				s.Failed++
			} else {
				s.Done++
			}
		case "lost", "stopped":
			s.Lost++
		}
	}
	for _, name := range t.order {
		s.Sites = append(s.Sites, *sites[name])
	}
	return s
}

// Report returns the run's report as far as events tell it.
//
// Its efficiency is the part of the workers' time that was spent running the
// attempts that counted: their running time, divided by the number of wanted
// workers times the time from the first start of a worker to the last end.
func (t *Tally) Report() Report {
	s := t.Status()
	r := Report{V: 1, Run: t.name, App: t.run.App, Outcome: s.Outcome, Exit: s.Exit, Error: s.Error, Started: t.started,
		Workers: []WorkerReport{}, Sites: []SiteReport{}, Leftovers: []Leftover{}}
	if t.end != nil {
		r.Wall, r.Idle = t.end.Wall, t.end.Idle
	}
	var first, last time.Time
	var busy time.Duration
	for _, rank := range slices.Sorted(maps.Keys(t.workers)) {
		w := *t.workers[rank]
		if !w.Started.IsZero() && !w.Ended.IsZero() {
			w.Wall = w.Ended.Sub(w.Started).Seconds()
			if w.State == "done" {
				busy += w.Ended.Sub(w.Started)
			}
			if first.IsZero() || w.Started.Before(first) {
				first = w.Started
			}
			if w.Ended.After(last) {
				last = w.Ended
			}
		}
		r.Workers = append(r.Workers, w)
	}
	if span := last.Sub(first); span > 0 && t.run.Workers > 0 {
		r.Efficiency = min(1, busy.Seconds()/(span.Seconds()*float64(t.run.Workers)))
	}
	for _, site := range s.Sites {
		r.Sites = append(r.Sites, SiteReport{Site: site.Site, State: site.State, Platform: site.Platform, Pilots: site.Submitted,
			Workers: site.Done, Sent: site.Sent, Got: site.Got, CoreHours: site.CoreHours, Error: site.Error})
	}
	return r
}
