package launcher

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Receipt says what a run did at its sites, for whoever answers for the machines there.
type Receipt struct {
	V       int       `json:"v"` // 1
	Run     string    `json:"run"`
	State   string    `json:"state"` // "running", "dead" (its launcher ended without recording an end) or the outcome
	User    string    `json:"user,omitempty"`
	Machine string    `json:"machine,omitempty"` // from where
	Command []string  `json:"command,omitempty"`
	Dir     string    `json:"dir,omitempty"` // working directory of the command
	Version string    `json:"version,omitempty"`
	App     string    `json:"app,omitempty"`
	Workers int       `json:"workers,omitempty"` // wanted
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Written time.Time `json:"written"`
	Exit    int       `json:"exit"`
	Error   string    `json:"error,omitempty"`

	Sites []SiteReceipt `json:"sites"`
	Total Usage         `json:"total"`

	// HeldIdle is for how many core-seconds slots were held for workers that had to
	// wait for others; known once the run has ended.
	HeldIdle float64 `json:"held_idle_core_s"`

	// Unread says which parts of the run's state could not be read: what they tell is
	// missing here.
	Unread []string `json:"unread,omitempty"`
}

// Usage is what was used, at one site or at all.
type Usage struct {
	Logins   int   `json:"logins"`   // made
	Refused  int   `json:"refused"`  // logins that failed
	Commands int   `json:"commands"` // run at hosts, those that ask queueing systems included
	Jobs     int   `json:"jobs"`     // submitted to queueing systems
	Up       int64 `json:"up"`       // bytes of content to the sites
	Down     int64 `json:"down"`     // bytes of content from there

	// Core-seconds: for how long pilots had cores, for how long workers ran on
	// them, and the rest. Hubs, which have no cores of their own, do not count.
	Taken float64 `json:"taken_core_s"`
	Used  float64 `json:"used_core_s"`
	Idle  float64 `json:"idle_core_s"`
}

// SiteReceipt is what a run did at one site.
type SiteReceipt struct {
	Site  string   `json:"site"`
	URLs  []string `json:"urls,omitempty"`
	State string   `json:"state,omitempty"` // see [SiteChanged]
	Error string   `json:"error,omitempty"`
	Usage

	// CoreHours is what its pilots took as the queueing system's jobs tell; 0 without one.
	CoreHours float64 `json:"core_hours,omitempty"`

	Operations []OperationCount `json:"operations,omitempty"` // in order
	Things     []ThingReceipt   `json:"things,omitempty"`     // made there, in order

	// Check is what is known of what stayed behind: "running", "nothing made",
	// "clean", "left" or "unknown".
	Check   string    `json:"check"`
	Checked time.Time `json:"checked,omitzero"` // when the last thing was seen to be gone
}

// ThingReceipt is one thing that a run made.
type ThingReceipt struct {
	Host  string    `json:"host,omitempty"` // behind the site's own
	Kind  Kind      `json:"kind"`
	Path  string    `json:"path,omitempty"`
	IDs   []string  `json:"ids,omitempty"`  // of jobs; of processes as the login names them
	Name  string    `json:"name,omitempty"` // of jobs
	Made  time.Time `json:"made,omitzero"`
	Sure  bool      `json:"sure"` // it was made; otherwise it may have been
	Gone  time.Time `json:"gone,omitzero"`
	How   string    `json:"how,omitempty"`  // it was seen to be gone
	Kept  bool      `json:"kept,omitempty"` // stays on purpose
	Left  bool      `json:"left,omitempty"` // should be gone and may not be
	Local bool      `json:"local,omitempty"`
}

// Receipt returns the receipt of a run as of now, also of one that goes on or that
// was killed. The error matches [ErrNoRun] when there is no such run; parts of its
// state that cannot be read are no error, see Receipt.Unread.
func (s *State) Receipt(name string) (Receipt, error) {
	path, err := s.path(name)
	if err != nil {
		return Receipt{}, err
	}
	if err := checkPrivate(path); err != nil {
		return Receipt{}, fmt.Errorf("run %s: state directory %w", name, err)
	}
	// The lock first: a run that ends while we read is then seen as running.
	held, err := lockHeld(filepath.Join(path, lockName))
	r := readReceipt(name, path, held)
	if err != nil {
		r.Unread = append(r.Unread, err.Error())
	}
	return r, nil
}

// maxEvents is how many bytes of events are read for a receipt.
const maxEvents = 512 << 20

// readReceipt reads what a run's directory tells.
func readReceipt(name, dir string, running bool) Receipt {
	r := Receipt{V: 1, Run: name, Written: time.Now().UTC(), Sites: []SiteReceipt{}}
	unread := func(what string, damaged int, err error) {
		if damaged > 0 {
			r.Unread = append(r.Unread, fmt.Sprintf("%d damaged %s of %s", damaged, plural(damaged, "line"), what))
		}
		if err != nil {
			r.Unread = append(r.Unread, err.Error())
		}
	}
	ledger, damaged, err := salvageLedger(filepath.Join(dir, ledgerName))
	unread(ledgerName, damaged, err)
	var use cores
	damaged, err = salvageEvents(filepath.Join(dir, eventsName), use.add)
	unread(eventsName, damaged, err)
	done, damaged, err := readOperations(filepath.Join(dir, operationsName))
	unread(operationsName, damaged, err)

	begun, st := ledger.Begun(), use.tally.Status()
	r.User, r.Machine, r.Command, r.Dir, r.Version = begun.User, begun.Machine, maskEnv(begun.Command), begun.Dir, begun.Version
	r.App, r.Workers, r.Ended, r.Exit, r.Error = st.App, st.Workers, st.Ended.UTC(), st.Exit, st.Error
	r.Started, r.HeldIdle = begun.Time.UTC(), use.tally.Report().Idle
	switch {
	case st.Outcome != "":
		r.State = string(st.Outcome)
	case running:
		r.State = "running"
	default:
		r.State = "dead"
	}
	r.sites(ledger.All(), st, done, use.seconds(r.now()))
	for i := range r.Sites {
		r.Total.add(r.Sites[i].Usage)
	}
	return r
}

// now is the time up to which what goes on is counted.
func (r *Receipt) now() time.Time {
	if r.State == "running" {
		return r.Written
	}
	return time.Time{}
}

// salvageEvents reads what it can of the events.
func salvageEvents(path string, take func(Event)) (damaged int, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read events: %w", err)
	}
	defer f.Close()
	damaged, err = eachLine(f, maxEvents, maxEvent, func(line []byte) bool {
		e, err := DecodeEvent(line)
		if err == nil {
			take(e)
		}
		return err == nil || errors.Is(err, errUnknownEvent)
	})
	if err != nil {
		err = fmt.Errorf("read events %s: %w", path, err)
	}
	return damaged, err
}

// sites puts together what belongs to each site.
func (r *Receipt) sites(made []Made, st Status, done []OperationCount, used map[string]Usage) {
	var order []string
	byName := make(map[string]*SiteReceipt)
	at := func(name string) *SiteReceipt {
		s := byName[name]
		if s == nil {
			s = &SiteReceipt{Site: name}
			byName[name], order = s, append(order, name)
		}
		return s
	}
	for _, site := range st.Sites {
		s := at(site.Site)
		s.State, s.Error, s.CoreHours = site.State, site.Error, site.CoreHours
	}
	unknown := 0
	for _, m := range made {
		switch {
		case m.Kind == "":
			unknown++
		case m.Kind == KindLogin:
			at(m.Site).URLs = m.What.URLs
		default:
			s := at(m.Site)
			s.Things = append(s.Things, thingOf(m))
			if m.Kind == KindJob {
				s.Jobs += len(m.What.Jobs)
			}
		}
	}
	if unknown > 0 {
		r.Unread = append(r.Unread, fmt.Sprintf("what %d lost %s of the ledger told: what was made may be left", unknown, plural(unknown, "line")))
	}
	for _, op := range done {
		s := at(op.Site)
		s.Operations = append(s.Operations, op)
		s.count(op)
	}
	for _, name := range order {
		s := byName[name]
		u := used[name]
		s.Taken, s.Used, s.Idle = u.Taken, u.Used, u.Idle
		s.judge(r.State == "running", unknown > 0)
		r.Sites = append(r.Sites, *s)
	}
}

func thingOf(m Made) ThingReceipt {
	t := ThingReceipt{Host: m.Host, Kind: m.Kind, Path: m.What.Path, Name: m.What.Name, Made: m.Time.UTC(), Sure: m.Confirmed, Gone: m.RemovedAt, How: m.How,
		Kept: m.What.Keep && !m.Removed, Left: m.Leftover(), Local: m.Local, IDs: m.What.Jobs}
	if m.Kind == KindJob && m.What.Name == "" {
		t.Name = m.Name()
	}
	if m.What.Job != "" {
		t.IDs = append(slices.Clone(t.IDs), m.What.Job)
	}
	if m.What.PID != 0 {
		t.IDs = append(slices.Clone(t.IDs), fmt.Sprint(m.What.PID))
	}
	return t
}

// count adds an operation to what was used.
func (u *Usage) count(op OperationCount) {
	switch op.Op {
	case "log in":
		u.Logins += op.Count - op.Failed
		u.Refused += op.Failed
	case "run", "run inside", "command":
		u.Commands += op.Count
	}
	if op.Op != "command" { // its bytes are those of the operation it was run for
		u.Up, u.Down = u.Up+op.Up, u.Down+op.Down
	}
}

func (u *Usage) add(v Usage) {
	u.Logins, u.Refused, u.Commands, u.Jobs = u.Logins+v.Logins, u.Refused+v.Refused, u.Commands+v.Commands, u.Jobs+v.Jobs
	u.Up, u.Down = u.Up+v.Up, u.Down+v.Down
	u.Taken, u.Used, u.Idle = u.Taken+v.Taken, u.Used+v.Used, u.Idle+v.Idle
}

// judge says what is known of what stayed behind.
func (s *SiteReceipt) judge(running, unknown bool) {
	left := 0
	for _, t := range s.Things {
		if t.Left {
			left++
		}
		s.Checked = later(s.Checked, t.Gone)
	}
	switch {
	case running:
		s.Check = "running"
	case left > 0:
		s.Check = "left"
	case unknown:
		s.Check = "unknown"
	case len(s.Things) == 0:
		s.Check = "nothing made"
	default:
		s.Check = "clean"
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// cores follows the events of a run and knows for how long cores were taken and used.
// The zero value is ready.
type cores struct {
	tally   Tally
	each    int // cores of each worker; 0: a slot's
	pilots  map[string]*pilotSpan
	workers map[attemptID]*workerSpan
	ends    map[string]time.Time // of sites
	last    time.Time            // event
}

type attemptID struct{ rank, attempt int }

type pilotSpan struct {
	site         string
	cores, slots int
	from, to     time.Time
}

type workerSpan struct {
	site, node string
	from, to   time.Time
}

func (c *cores) add(e Event) {
	if c.pilots == nil {
		c.pilots, c.workers, c.ends = make(map[string]*pilotSpan), make(map[attemptID]*workerSpan), make(map[string]time.Time)
	}
	c.tally.Add(e)
	c.last = later(c.last, e.Time)
	switch d := e.Data.(type) {
	case RunStarted:
		c.each = d.Cores
	case SiteChanged:
		if d.State == "clean" || d.State == "unclean" || d.State == "failed" {
			c.ends[d.Site] = e.Time
		}
	case PilotChanged:
		p := c.pilots[d.Node]
		switch {
		case d.State == "up" && p == nil && d.Role == "pilot":
			c.pilots[d.Node] = &pilotSpan{site: d.Site, cores: cmp.Or(d.Cores, d.Slots), slots: max(1, d.Slots), from: e.Time}
		case d.State == "gone" && p != nil && p.to.IsZero():
			p.to = e.Time
		}
	case WorkerChanged:
		id := attemptID{d.Rank, d.Attempt}
		w := c.workers[id]
		switch d.State {
		case "running":
			if w == nil {
				c.workers[id] = &workerSpan{site: d.Site, node: d.Node, from: e.Time}
			}
		case "exited", "done", "lost", "stopped":
			if w != nil && w.to.IsZero() {
				w.to = e.Time
			}
		}
	}
}

// seconds returns the core-seconds of each site. What goes on is counted up to
// now, or, when that is zero, up to the site's end or the last that is known.
func (c *cores) seconds(now time.Time) map[string]Usage {
	end := func(site string, to time.Time) time.Time {
		switch {
		case !to.IsZero():
			return to
		case !now.IsZero():
			return now
		case !c.ends[site].IsZero():
			return c.ends[site]
		}
		return c.last
	}
	used := make(map[string]Usage)
	add := func(site string, taken, busy float64) {
		u := used[site]
		u.Taken, u.Used = u.Taken+max(0, taken), u.Used+max(0, busy)
		used[site] = u
	}
	for _, p := range c.pilots {
		add(p.site, end(p.site, p.to).Sub(p.from).Seconds()*float64(p.cores), 0)
	}
	for _, w := range c.workers {
		cores := float64(max(1, c.each))
		if p := c.pilots[w.node]; p != nil && c.each == 0 {
			cores = float64(p.cores) / float64(p.slots)
		}
		add(w.site, 0, end(w.site, w.to).Sub(w.from).Seconds()*cores)
	}
	for _, site := range slices.Collect(maps.Keys(used)) {
		u := used[site]
		u.Taken = max(u.Taken, u.Used) // a worker's end is heard of a moment after its pilot's
		u.Idle = u.Taken - u.Used
		used[site] = u
	}
	return used
}

// maskEnv returns a command line without the values that --env gives variables:
// they may be secrets.
func maskEnv(command []string) []string {
	masked := slices.Clone(command)
	for i, arg := range masked {
		if name, value, ok := strings.Cut(strings.TrimLeft(arg, "-"), "="); ok && strings.HasPrefix(arg, "-") && name == "env" {
			masked[i] = arg[:len(arg)-len(value)] + maskValue(value)
		} else if i > 0 && (masked[i-1] == "--env" || masked[i-1] == "-env") {
			masked[i] = maskValue(arg)
		}
	}
	return masked
}

func maskValue(kv string) string {
	if name, _, ok := strings.Cut(kv, "="); ok {
		return name + "=..."
	}
	return kv
}

// userName and machineName say who runs this program, and where.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return cmp.Or(os.Getenv("USER"), os.Getenv("USERNAME"))
}

func machineName() string {
	name, _ := os.Hostname()
	return name
}
