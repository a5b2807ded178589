package launcher

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// The scripts run at a host by /bin/sh; their arguments are data.
var (
	//go:embed check.sh
	checkScript string
	//go:embed check_java.sh
	checkJavaScript string
)

// Bounds on looking at sites.
const (
	checkSites   = 16               // at a time
	checkProbes  = 32               // probes at a time, which may wait in queues
	checkHosts   = 10               // hosts behind a site's own, at a time
	checkLogin   = 20 * time.Second // for one login
	checkTimeout = 60 * time.Second // for a site with all that is behind it
)

// SiteCheck is what a look at a site told, without leaving anything there.
type SiteCheck struct {
	Site   string   `json:"site"`
	Usable bool     `json:"usable"`
	Wrong  []string `json:"wrong,omitempty"` // why it is not usable
	Notes  []string `json:"notes,omitempty"` // what else the user should know, a sentence each

	URL      string  `json:"url,omitempty"`      // the one that led there
	Login    float64 `json:"login_s,omitempty"`  // how long that took
	Host     string  `json:"host,omitempty"`     // the name it gives itself
	Platform string  `json:"platform,omitempty"` // such as "linux/amd64"
	Cores    int     `json:"cores,omitempty"`
	Memory   int64   `json:"memory,omitempty"`  // bytes
	Scratch  string  `json:"scratch,omitempty"` // directory that a run would use
	Free     int64   `json:"free,omitempty"`    // bytes there

	ClockOffset float64 `json:"clock_offset_s,omitempty"` // how far its clock is ahead of ours, if that is much

	Java        []JavaCheck `json:"java,omitempty"`
	JavaModules []string    `json:"java_modules,omitempty"` // that bring Java

	Behind []HostCheck `json:"hosts,omitempty"` // hosts behind the site's own
	Queue  *QueueCheck `json:"queue,omitempty"` // of a site with a queueing system
	Probe  *ProbeCheck `json:"probe,omitempty"` // what a worker saw there, if one was sent
}

// JavaCheck is one Java runtime.
type JavaCheck struct {
	Version string `json:"version"` // as it calls itself, such as "17.0.15"
	Path    string `json:"path"`
}

// HostCheck is what a look at a host behind the site's own told.
type HostCheck struct {
	Host     string `json:"host"`
	Platform string `json:"platform,omitempty"`
	Cores    int    `json:"cores,omitempty"`
	Scratch  string `json:"scratch,omitempty"`
	Free     int64  `json:"free,omitempty"`
	Error    string `json:"error,omitempty"`
}

// QueueCheck describes a queueing system.
type QueueCheck struct {
	Scheduler     string       `json:"scheduler"`
	Version       string       `json:"version,omitempty"`
	Queues        []QueueLimit `json:"queues,omitempty"`
	AccountNeeded bool         `json:"account_needed"`
	Accounts      []string     `json:"accounts,omitempty"` // that the user may charge, where they can be told
	Shared        string       `json:"shared,omitempty"`   // a directory that head node and compute nodes are taken to share
}

// QueueLimit is one queue of a queueing system. Numbers that are not known are 0.
type QueueLimit struct {
	Name     string  `json:"name"`
	Default  bool    `json:"default,omitempty"`
	Walltime float64 `json:"max_walltime_s,omitempty"`
	Nodes    int     `json:"nodes,omitempty"`
	Free     int     `json:"free_slots"`
	Slots    int     `json:"slots,omitempty"`
	State    string  `json:"state,omitempty"`
	Usable   bool    `json:"usable"`
	Why      string  `json:"why,omitempty"` // why not
}

// CheckOptions say how to look at sites. The fields mean what they mean in [Options].
type CheckOptions struct {
	Backends []gat.Backend
	Dial     gat.DialFunc
	Home     string
	Log      *slog.Logger
	Ask      AskFunc

	// Probe, if set, is asked for the report of a worker sent to each site that
	// a look finds usable.
	Probe func(ctx context.Context, site *Site) ProbeCheck

	gate gat.Gate
	turn chan struct{} // of who asks the user
}

// CheckSites logs in to the sites, some at a time, and tells what works there, in
// the order of sites. It leaves nothing behind and submits no job, unless
// Probe does. It takes some seconds, and bounded time whatever the sites do.
func CheckSites(ctx context.Context, sites []*Site, o CheckOptions) []SiteCheck {
	checks := make([]SiteCheck, len(sites))
	o.gate, o.turn = gat.NewGate(maxLogins), make(chan struct{}, 1)
	var wg sync.WaitGroup
	slots, probes := make(chan struct{}, checkSites), make(chan struct{}, checkProbes)
	for i, site := range sites {
		wg.Go(func() {
			slots <- struct{}{}
			checks[i] = checkSite(ctx, site, o)
			<-slots
			if checks[i].Usable && o.Probe != nil {
				probes <- struct{}{}
				defer func() { <-probes }()
				p := o.Probe(ctx, site)
				checks[i].Probe = &p
				if p.Error != "" {
					checks[i].wrong("probe: %s", p.Error)
				}
			}
		})
	}
	wg.Wait()
	return checks
}

// wrong notes a reason why a site is not usable.
func (c *SiteCheck) wrong(format string, args ...any) {
	c.Usable = false
	c.Wrong = append(c.Wrong, strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "))
}

func (c *SiteCheck) note(format string, args ...any) {
	c.Notes = append(c.Notes, strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "))
}

// siteOf is a site to look at.
func (o *CheckOptions) siteOf(site *Site) (*gat.Site, error) {
	cfg := gat.SiteConfig{Name: site.Name, URLs: site.URLs, Backends: o.Backends, Dial: o.Dial, Home: o.Home, Logger: o.Log,
		Retries: -1, LoginTimeout: checkLogin, Gate: o.gate, Turn: o.turn, Ask: o.Ask}
	return gat.NewSite(cfg)
}

func checkSite(ctx context.Context, site *Site, o CheckOptions) (c SiteCheck) {
	c = SiteCheck{Site: site.Name, Usable: true}
	if site.Local() && runtime.GOOS == "windows" { // no shell to ask
		c.URL, c.Platform, c.Cores = site.URLs[0].String(), runtime.GOOS+"/"+runtime.GOARCH, runtime.NumCPU()
		return c
	}
	g, err := o.siteOf(site)
	if err != nil {
		c.wrong("%v", err)
		return c
	}
	defer g.Close()
	began := time.Now()
	if err := g.Login(ctx); err != nil {
		c.wrong("%s", strings.TrimPrefix(err.Error(), "site "+site.Name+": "))
		return c
	}
	c.URL, c.Login = g.Via(), time.Since(began).Seconds()

	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	head := &host{name: site.Name, gat: g, scratch: site.Scratch}
	var about surroundings
	var javas []JavaCheck
	var modules []string
	var info gat.QueueInfo
	var lookErr, aboutErr, javaErr, queueErr, forwardErr error
	var wg sync.WaitGroup
	wg.Go(func() { lookErr = head.look(ctx, lookOnly, nil) })
	wg.Go(func() { about, aboutErr = head.surroundings(ctx, site) })
	wg.Go(func() { javas, modules, javaErr = head.javas(ctx, site.Setup) })
	if site.Batch() {
		wg.Go(func() { info, queueErr = g.Describe(ctx) })
	}
	if !site.Local() {
		wg.Go(func() {
			conn, err := g.Forward(ctx, "tcp", nobody)
			if err == nil {
				conn.Close()
			}
			forwardErr = err
		})
	}
	wg.Go(func() { c.Behind = checkBehind(ctx, g, site) })
	wg.Wait()

	c.facts(site, head.facts, lookErr)
	c.Memory = about.memory
	if aboutErr != nil {
		c.note("%v", aboutErr)
	}
	if off := about.offset.Round(time.Second); off.Abs() > clockSlack {
		c.ClockOffset = off.Seconds()
		c.note("its clock is %v off; runs do not mind", off)
	}
	if errors.Is(forwardErr, gat.ErrForwarding) {
		c.note("the server does not forward connections; what is behind it is reached through a hub or a command there")
	}
	c.Java, c.JavaModules = javas, modules
	c.java(site, javaErr)
	c.behind()
	if site.Batch() {
		c.queue(site, info, queueErr, head.facts, about)
	}
	return c
}

// nobody is where nobody listens: a server that forwards connections says so.
const nobody = "127.0.0.1:1"

// clockSlack is how far a clock may be off before it is worth a word.
const clockSlack = time.Minute

// lookOnly is the session for which a look at a host makes nothing.
const lookOnly = "-"

// facts takes over what the look at the site's host told.
func (c *SiteCheck) facts(site *Site, f facts, err error) {
	c.Host, c.Platform, c.Cores = f.Host, f.Platform, f.Cores
	if err != nil {
		text := strings.TrimPrefix(err.Error(), "site "+site.Name+": ")
		if site.Batch() { // the pilots run, and look for scratch, elsewhere
			c.note("on its own host: %s", text)
			return
		}
		c.wrong("%s", text)
		return
	}
	c.Scratch, c.Free = f.Base, f.Free
	if !site.Local() && f.Platform != "linux/amd64" && f.Platform != "linux/arm64" {
		c.wrong("it is %s; pilots run on linux/amd64 and linux/arm64", f.Platform)
	}
	for _, r := range f.Refused {
		c.note("scratch %s", r)
	}
}

// surroundings are what a host has beside scratch.
type surroundings struct {
	memory  int64
	home    string
	homeFS  string        // type of its file system
	missing bool          // the directory that is said to be shared is not there
	locked  bool          // it cannot be written
	offset  time.Duration // how far its clock is ahead of ours, to a second or so
}

func (h *host) surroundings(ctx context.Context, site *Site) (s surroundings, err error) {
	dir := ""
	if site.Shared != "none" {
		dir = site.Shared
	}
	began := time.Now()
	out, err := h.script(ctx, checkScript, nil, dir)
	if err != nil {
		return s, fmt.Errorf("look around: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		switch key {
		case "clock":
			if sec, err := strconv.ParseInt(value, 10, 64); err == nil {
				s.offset = time.Unix(sec, 0).Sub(began.Add(time.Since(began) / 2))
			}
		case "memory":
			kib, _ := strconv.ParseInt(value, 10, 64)
			s.memory = kib << 10
		case "home":
			s.homeFS, s.home, _ = strings.Cut(value, " ")
		case "missing":
			s.missing = true
		case "readonly":
			s.locked = true
		}
	}
	return s, nil
}

// javas looks for Java at the host.
func (h *host) javas(ctx context.Context, setup []string) (found []JavaCheck, modules []string, err error) {
	out, err := h.script(ctx, checkJavaScript, nil, strings.Join(setup, "\n"))
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		switch key {
		case "java":
			version, path, _ := strings.Cut(value, " ")
			found = append(found, JavaCheck{version, path})
		case "module":
			modules = append(modules, value)
		case "setup":
			err = &setupError{cmp.Or(err, errors.New("the shell ended"))}
		}
	}
	return found, modules, err
}

// A setupError says that a line of setup failed.
type setupError struct{ err error }

func (e *setupError) Error() string { return "a line of setup failed: " + e.err.Error() }
func (e *setupError) Unwrap() error { return e.err }

// java says what follows from how the look for Java went.
func (c *SiteCheck) java(site *Site, err error) {
	_, failed := errors.AsType[*setupError](err)
	switch {
	case failed && !site.Batch() && len(site.Hosts) == 0:
		c.wrong("%v", err)
	case failed:
		c.note("%v; where the pilots run it may work", err)
	case err != nil:
		c.note("look for java: %v", err)
	case len(c.Java) > 0:
	case len(c.JavaModules) > 0:
		c.note(`java: none in JAVA_HOME, PATH and /usr/lib/jvm; setup = ["module load %s"] brings it`, c.JavaModules[0])
	default:
		c.note("java: none in JAVA_HOME, PATH and /usr/lib/jvm, and no module that brings it")
	}
}

// checkBehind looks at the hosts behind the site's own.
func checkBehind(ctx context.Context, g *gat.Site, site *Site) []HostCheck {
	checks := make([]HostCheck, len(site.Hosts))
	var wg sync.WaitGroup
	slots := make(chan struct{}, checkHosts)
	for i, name := range site.Hosts {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			checks[i] = lookBehind(ctx, g, site, name)
		})
	}
	wg.Wait()
	return checks
}

// lookBehind looks at one host behind a site's own.
func lookBehind(ctx context.Context, g *gat.Site, site *Site, name string) HostCheck {
	c := HostCheck{Host: name}
	inner, err := g.Inner(ctx, name, nil)
	if errors.Is(err, gat.ErrForwarding) {
		inner, err = g.Inner(ctx, name, relayThrough(g))
	}
	if err != nil {
		c.Error = err.Error()
		return c
	}
	defer inner.Close()
	h := &host{name: inner.Name(), gat: inner, scratch: site.Scratch}
	if err := h.look(ctx, lookOnly, nil); err != nil {
		c.Error = err.Error()
	}
	c.Platform, c.Cores, c.Scratch, c.Free = h.Platform, h.Cores, h.Base, h.Free
	return c
}

// behind says what follows from the hosts behind the site's own.
func (c *SiteCheck) behind() {
	bad := 0
	for i, h := range c.Behind {
		if h.Error == "" {
			continue
		}
		c.Behind[i].Error = strings.Join(strings.Fields(h.Error), " ")
		if bad++; bad <= 3 {
			c.note("host %s: %s", h.Host, h.Error)
		}
	}
	switch {
	case bad > 0 && bad == len(c.Behind):
		c.wrong("none of the %d hosts can be used", bad)
	case bad > 3:
		c.note("%d more hosts cannot be used", bad-3)
	}
}
