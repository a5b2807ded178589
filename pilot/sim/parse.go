package sim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// parser reads the lines of a scenario.
type parser struct {
	file  string
	line  int
	words []string // of the line, that are left
	s     *Scenario
	wans  []wan
}

type wan struct {
	line int
	a, b string
	rtt  time.Duration
}

const maxLast = 24 * time.Hour

func (p *parser) statement(text string) error {
	var err error
	switch word := p.word(); word {
	case "site":
		err = p.site()
	case "pilots":
		err = p.pilots()
	case "grid":
		p.s.grid, err = p.number("nodes", MinNodes, MaxNodes)
	case "wan":
		x := wan{line: p.line, a: p.word(), b: p.word()}
		x.rtt, err = p.time("round trip", time.Microsecond, time.Minute)
		p.wans = append(p.wans, x)
	case "seed":
		word := p.word()
		if p.s.world.Seed, err = strconv.ParseUint(word, 10, 64); err != nil {
			err = fmt.Errorf("seed %q is no number", word)
		}
	case "clocks":
		p.s.world.Skew, err = p.choice("exact", "skewed")
	case "noise":
		p.s.world.Noise, err = p.percent()
		p.s.calm = p.s.calm && p.s.world.Noise == 0
	case "job":
		err = p.job()
	case "at":
		err = p.event()
	case "end":
		p.s.end, err = p.time("end", time.Second, maxLast)
	case "expect":
		err = p.expectation(text)
	default:
		return fmt.Errorf("%q: want site, pilots, grid, wan, seed, clocks, noise, job, at, end or expect", word)
	}
	if err == nil && len(p.words) > 0 {
		err = fmt.Errorf("%q is too much", p.words[0])
	}
	return err
}

// word takes the next word; "" when there is none.
func (p *parser) word() string {
	if len(p.words) == 0 {
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

func (p *parser) number(what string, lo, hi int) (int, error) {
	w := p.word()
	n, err := strconv.Atoi(w)
	if err != nil || n < lo || n > hi {
		return 0, fmt.Errorf("%s %q: want %d to %d", what, w, lo, hi)
	}
	return n, nil
}

func (p *parser) time(what string, lo, hi time.Duration) (time.Duration, error) {
	w := p.word()
	d, err := time.ParseDuration(w)
	if err != nil || d < lo || d > hi {
		return 0, fmt.Errorf("%s %q: want a time from %v to %v", what, w, lo, hi)
	}
	return d, nil
}

func (p *parser) percent() (float64, error) {
	w := p.word()
	f, err := strconv.ParseFloat(strings.TrimSuffix(w, "%"), 64)
	if err != nil || !strings.HasSuffix(w, "%") || !(f >= 0 && f <= 90) {
		return 0, fmt.Errorf("%q: want 0%% to 90%%", w)
	}
	return f / 100, nil
}

// choice reports whether the word is the second of two.
func (p *parser) choice(no, yes string) (bool, error) {
	w := p.word()
	if w != no && w != yes {
		return false, fmt.Errorf("%q: want %s or %s", w, no, yes)
	}
	return w == yes, nil
}

func (p *parser) reach() (reach, error) {
	w := p.word()
	i := slices.Index(reachNames, w)
	if i < 0 {
		return 0, fmt.Errorf("reach %q: want %s", w, strings.Join(reachNames, ", "))
	}
	return reach(i), nil
}

// options takes the rest of the line: words with what follows them, none twice.
func (p *parser) options(take map[string]func() error) error {
	var seen []string
	for len(p.words) > 0 {
		key := p.word()
		f := take[key]
		if f == nil || slices.Contains(seen, key) {
			return fmt.Errorf("%q is unknown here, or there twice", key)
		}
		seen = append(seen, key)
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) siteNamed(name string) (int, error) {
	i := slices.IndexFunc(p.s.world.Layout.Sites, func(s site) bool { return s.Name == name })
	if i < 0 {
		return 0, fmt.Errorf("no site %q above", name)
	}
	return i, nil
}

func (p *parser) site() error {
	l := &p.s.world.Layout
	s := site{Name: p.word(), Hubs: 1, Behind: -1, LAN: 200 * time.Microsecond}
	if s.Name == "" || strings.ContainsAny(s.Name, ".,*") || s.Name == "home" || s.Name == "launcher" {
		return fmt.Errorf("%q is no name for a site", s.Name)
	}
	if _, err := p.siteNamed(s.Name); err == nil {
		return fmt.Errorf("site %s is there twice", s.Name)
	}
	home := 20 * time.Millisecond
	err := p.options(map[string]func() error{
		"hubs":   func() (err error) { s.Hubs, err = p.number("hubs", 1, 8); return },
		"reach":  func() (err error) { s.Reach, err = p.reach(); return },
		"behind": func() (err error) { s.Behind, err = p.siteNamed(p.word()); return },
		"lan":    func() (err error) { s.LAN, err = p.time("lan", time.Microsecond, time.Second); return },
		"home":   func() (err error) { home, err = p.time("home", time.Microsecond, time.Minute); return },
	})
	l.Sites, l.Home = append(l.Sites, s), append(l.Home, home)
	return err
}

func (p *parser) pilots() error {
	at, err := p.siteNamed(p.word())
	if err != nil {
		return err
	}
	g := group{}
	if g.Count, err = p.number("pilots", 1, MaxNodes); err != nil {
		return err
	}
	slots := 1
	err = p.options(map[string]func() error{
		"slots": func() (err error) { slots, err = p.number("slots", 1, wire.MaxSlots); return },
		"reach": func() (err error) { g.Reach, err = p.reach(); return },
	})
	g.Offer = offer(uint32(slots))
	s := &p.s.world.Layout.Sites[at]
	s.Groups = append(s.Groups, g)
	return err
}

func (p *parser) job() error {
	j := plannedJob{name: p.word(), line: p.line, runs: 30 * time.Second, at: 10 * time.Second, by: "launcher"}
	if j.name == "" || p.s.job(j.name) >= 0 {
		return fmt.Errorf("job %q has no name, or that of another", j.name)
	}
	j.spec = job.Spec{Want: 1, Lease: 30 * time.Second, GangWait: time.Minute,
		Program: wire.Program{Argv: []string{"app"}, KillGrace: time.Second, Root: wire.Digest{1, byte(len(p.s.jobs))}}}
	err := p.options(map[string]func() error{
		"workers":    func() (err error) { j.spec.Want, err = p.number("workers", 1, wire.MaxRanks); return },
		"min":        func() (err error) { j.spec.Min, err = p.number("min", 1, wire.MaxRanks); return },
		"runs":       func() (err error) { j.runs, err = p.time("runs", time.Millisecond, maxLast); return },
		"at":         func() (err error) { j.at, err = p.time("at", 0, maxLast); return },
		"by":         func() error { j.by = p.word(); return nil },
		"lease":      func() (err error) { j.spec.Lease, err = p.time("lease", time.Second, maxLast); return },
		"gang-wait":  func() (err error) { j.spec.GangWait, err = p.time("gang-wait", 0, maxLast); return },
		"retries":    func() (err error) { j.spec.Retries, err = p.number("retries", 0, job.MaxRetries); return },
		"on-failure": func() (err error) { j.spec.OnFailure, err = job.ParsePolicy(p.word()); return },
		"bare":       func() error { j.spec.Program.Root = wire.Digest{}; return nil },
	})
	if err == nil && j.spec.Min > j.spec.Want {
		err = fmt.Errorf("at least %d of %d workers", j.spec.Min, j.spec.Want)
	}
	p.s.jobs = append(p.s.jobs, j)
	return err
}

func (p *parser) event() error {
	e := plannedEvent{line: p.line}
	var err error
	if e.at, err = p.time("at", 0, maxLast); err != nil {
		return err
	}
	e.what = p.word()
	if e.what != "noise" {
		if e.place = p.word(); e.place == "" {
			return fmt.Errorf("%s whom?", e.what)
		}
	}
	p.s.calm = p.s.calm && e.what == "cancel"
	last := func() error {
		if w := p.word(); w != "for" {
			return fmt.Errorf("%q: want for, and a time", w)
		}
		e.last, err = p.time("time", time.Millisecond, maxLast)
		return err
	}
	switch e.what {
	case "kill":
		if e.machine = len(p.words) > 0; e.machine {
			_, err = p.choice("machine", "machine")
		}
	case "boot", "break":
	case "cancel":
		if p.s.job(e.place) < 0 {
			err = fmt.Errorf("no job %q above", e.place)
		}
	case "cut", "apart", "slow":
		err = last()
	case "starve":
		if e.most, err = p.time("pause", time.Millisecond, time.Minute); err == nil {
			err = last()
		}
	case "noise":
		e.noise, err = p.percent()
	default:
		err = fmt.Errorf("%q: want kill, boot, cut, apart, slow, starve, break, noise or cancel", e.what)
	}
	p.s.events = append(p.s.events, e)
	return err
}

func (p *parser) expectation(text string) error {
	e := expectation{line: p.line, text: text, what: p.word()}
	var err error
	within := func(must bool) error {
		if len(p.words) == 0 && !must {
			return nil
		}
		if w := p.word(); w != "within" {
			return fmt.Errorf("%q: want within, and a time", w)
		}
		e.within, err = p.time("time", time.Millisecond, maxLast)
		return err
	}
	switch e.what {
	case "job", "lost":
		if e.job = p.word(); p.s.job(e.job) < 0 {
			return fmt.Errorf("no job %q above", e.job)
		}
		if e.what == "lost" {
			e.count, err = p.number("attempts", 0, wire.MaxRanks)
			break
		}
		e.word = p.word()
		if !slices.Contains([]string{"ok", "app", "sites", "limit", "interrupted", "orphaned"}, e.word) {
			return fmt.Errorf("outcome %q: want ok, app, sites, limit, interrupted or orphaned", e.word)
		}
		err = within(false)
	case "seen", "replaced":
		err = within(true)
	case "deaths":
		e.count, err = p.number("deaths", 0, MaxNodes)
	default:
		err = fmt.Errorf("%q: want job, lost, seen, replaced or deaths", e.what)
	}
	p.s.expect = append(p.s.expect, e)
	return err
}

// finish checks what only the whole shows.
func (p *parser) finish() error {
	s, l := p.s, &p.s.world.Layout
	s.world.Calm = s.calm
	if s.end == 0 {
		return errors.New("no end")
	}
	if s.grid != 0 {
		if len(l.Sites) > 0 || len(p.wans) > 0 {
			return errors.New("a grid has sites of its own")
		}
		*l = gridLayout(newRand(1), s.grid, nil)
	}
	l.WAN = append([][]time.Duration(nil), l.WAN...)
	for len(l.WAN) < len(l.Sites) {
		l.WAN = append(l.WAN, make([]time.Duration, len(l.Sites)))
	}
	for _, x := range p.wans {
		a, err := p.siteNamed(x.a)
		b, err2 := p.siteNamed(x.b)
		if err = errors.Join(err, err2); err != nil || a == b {
			return fmt.Errorf("line %d: no way between %q and %q", x.line, x.a, x.b)
		}
		l.WAN[a][b], l.WAN[b][a] = x.rtt, x.rtt
	}
	if err := l.validate(); err != nil {
		return err
	}
	w := newWorld(s.world) // to look for places
	for _, j := range s.jobs {
		if list, err := w.places(j.by); err != nil || len(list) != 1 {
			return fmt.Errorf("line %d: job by %q: want one place", j.line, j.by)
		}
	}
	for _, e := range s.events {
		if err := w.checkPlaces(e); err != nil {
			return fmt.Errorf("line %d: %w", e.line, err)
		}
		if e.at > s.end {
			return fmt.Errorf("line %d: at %v, after the end", e.line, e.at)
		}
	}
	return nil
}
