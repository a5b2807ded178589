package launcher

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
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

// glanceScript is all that a look at a host runs there, as one command. Arguments: the
// sites file's scratch directory, the directory that is said to be shared, the lines of
// setup; each may be empty.
func glanceScript() string {
	part := func(name, args, text string) string {
		return "echo '== " + name + "'\n(\nset -- " + args + "\n" + text + "\n)\n"
	}
	return "# Looks at a host for zorilla sites check; leaves nothing.\n" +
		part("around", `"$2"`, checkScript) + part("host", `- "$1"`, probeScript) + part("java", `"$3"`, checkJavaScript)
}

// Bounds on looking at sites.
const (
	checkSites   = 64               // at a time; their logins are made maxLogins at a time
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
	By       string  `json:"login_by,omitempty"` // by what right, such as "key ~/.ssh/id_ed25519"; see [gat.Described]
	Login    float64 `json:"login_s,omitempty"`  // how long that took, without the wait for others
	Host     string  `json:"host,omitempty"`     // the name it gives itself
	Platform string  `json:"platform,omitempty"` // such as "linux/amd64"
	Cores    int     `json:"cores,omitempty"`
	Memory   int64   `json:"memory,omitempty"`  // bytes
	Scratch  string  `json:"scratch,omitempty"` // directory that a run would use
	Free     int64   `json:"free,omitempty"`    // bytes there
	Kind     string  `json:"kind,omitempty"`    // type of the file system there, such as "ext4", "tmpfs" or "nfs4"

	// ClockOffset is how far its clock is ahead of ours, to a few tenths of a second
	// and what a round trip takes.
	ClockOffset float64 `json:"clock_offset_s"`

	// Forwarding is "yes" or "no": whether the server opens connections for us. It is
	// empty where that is not known.
	Forwarding string `json:"forwarding,omitempty"`

	// Outbound is "route" where the host has a route to everywhere and "none" where it has
	// not. Nothing is sent to find out, so a firewall may still drop what leaves.
	Outbound string `json:"outbound,omitempty"`

	// Policy is what the host's administrator allows, in words; empty: everything.
	Policy string `json:"policy,omitempty"`

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
func (o *CheckOptions) siteOf(site *Site, took *atomic.Int64) (*gat.Site, error) {
	cfg := gat.SiteConfig{Name: site.Name, URLs: site.URLs, Backends: o.Backends, Dial: o.Dial, Home: o.Home, Logger: o.Log,
		Retries: -1, LoginTimeout: checkLogin, Gate: o.gate, Turn: o.turn, Ask: o.Ask,
		Observe: func(op gat.Operation) {
			if op.Op == "log in" && op.Site == site.Name {
				took.Store(int64(op.Took))
			}
		}}
	return gat.NewSite(cfg)
}

func checkSite(ctx context.Context, site *Site, o CheckOptions) (c SiteCheck) {
	c = SiteCheck{Site: site.Name, Usable: true}
	if site.Local() && runtime.GOOS == "windows" { // no shell to ask
		c.URL, c.Platform, c.Cores = site.URLs[0].String(), runtime.GOOS+"/"+runtime.GOARCH, runtime.NumCPU()
		return c
	}
	var took atomic.Int64
	g, err := o.siteOf(site, &took)
	if err != nil {
		c.wrong("%v", err)
		return c
	}
	defer g.Close()
	if err := g.Login(ctx); err != nil {
		c.wrong("%s", strings.TrimPrefix(err.Error(), "site "+site.Name+": "))
		return c
	}
	c.URL, c.By = g.Via(), g.How()
	c.Login = time.Duration(took.Load()).Seconds()

	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	head := &host{name: site.Name, gat: g, scratch: site.Scratch}
	var saw glance
	var info gat.QueueInfo
	var sawErr, queueErr error
	var wg sync.WaitGroup
	wg.Go(func() { saw, sawErr = head.glance(ctx, site) })
	if site.Batch() {
		wg.Go(func() { info, queueErr = g.Describe(ctx) })
	}
	if !site.Local() {
		wg.Go(func() { c.Forwarding = forwarding(ctx, g) })
	}
	wg.Go(func() { c.Behind = checkBehind(ctx, g, site) })
	wg.Wait()

	c.facts(site, saw.facts, cmp.Or(sawErr, saw.factsErr))
	c.surroundings(saw.around)
	if c.Forwarding == "no" {
		c.note("the server does not forward connections; what is behind it is reached through a hub or a command there")
	}
	c.Java, c.JavaModules = saw.javas, saw.modules
	if sawErr == nil {
		c.java(site, saw.javaErr)
	}
	c.behind()
	if site.Batch() {
		c.queue(site, info, queueErr, saw.facts, saw.around)
	}
	return c
}

// forwarding finds out whether a server opens connections for us.
func forwarding(ctx context.Context, g *gat.Site) string {
	conn, err := g.Forward(ctx, "tcp", nobody)
	switch {
	case err == nil:
		conn.Close()
		return "yes"
	case errors.Is(err, gat.ErrForwarding):
		return "no"
	case errors.Is(err, gat.ErrCannot), ctx.Err() != nil:
		return ""
	}
	select {
	case <-g.Broken():
		return ""
	default:
		return "yes" // it tried, and nobody listens there
	}
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
	if f.Platform != "" {
		hub, pilots := !site.NoHub && !site.Local(), !site.Batch() && len(site.Hosts) == 0
		if d := f.denial(hub, pilots); d != nil {
			c.Policy = "denied"
			c.wrong("%v", d)
		} else if c.Policy = f.Policy.Bounds(); c.Policy != "" {
			c.note("its administrator allows %s", c.Policy)
		}
	}
	if err != nil {
		text := strings.TrimPrefix(err.Error(), "site "+site.Name+": ")
		if site.Batch() { // the pilots run, and look for scratch, elsewhere
			c.note("on its own host: %s", text)
			return
		}
		c.wrong("%s", text)
		return
	}
	c.Scratch, c.Free, c.Kind = f.Base, f.Free, f.FS
	if !site.Local() && f.Platform != "linux/amd64" && f.Platform != "linux/arm64" {
		c.wrong("it is %s; pilots run on linux/amd64 and linux/arm64: name hosts of these in hosts = [...], or leave the site out", f.Platform)
	}
	for _, r := range f.Refused {
		c.note("scratch %s", r)
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
