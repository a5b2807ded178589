package launcher

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

//go:embed check_deep.sh
var checkDeepScript string

// ProbeCheck is what one small worker saw where it ran.
type ProbeCheck struct {
	Waited   float64     `json:"waited_s"`           // from the start of the run to the first pilot that joined
	Host     string      `json:"host,omitempty"`     // the name of the node
	Platform string      `json:"platform,omitempty"` // as uname has it
	Slots    int         `json:"slots,omitempty"`    // that the pilot there offered
	Cores    int         `json:"cores,omitempty"`    // that a process there may use
	Memory   int64       `json:"memory,omitempty"`   // bytes, of the whole node
	Scratch  string      `json:"scratch,omitempty"`  // directory of the worker
	Free     int64       `json:"free,omitempty"`     // bytes there
	Java     []JavaCheck `json:"java,omitempty"`
	Link     string      `json:"link,omitempty"` // how the pilot was connected: direct, ssh, routed...; see [OverlayLink]
	Hub      bool        `json:"hub,omitempty"`  // that link leads to a hub
	Error    string      `json:"error,omitempty"`
}

// Bounds of a probe.
const (
	probeWall   = 3 * time.Minute        // wall time asked of a queueing system
	probeRun    = time.Minute            // from the first pilot that joins to the end
	probeAsk    = 150 * time.Millisecond // between questions about its pilot's link
	probeAsks   = 40
	maxProbeOut = 64 << 10 // bytes of its answer that are read
)

// ProbeSite runs a job of one worker on one pilot of a site and returns what the
// worker saw. It waits at most that long for a pilot to join. Opts are those of
// [Run]; Sites, Out and Events are not used. It is a run like others: "zorilla
// gc" knows of it, should anything stay behind.
func ProbeSite(ctx context.Context, site *Site, wait time.Duration, opts Options) ProbeCheck {
	p := &probe{ctx: ctx, stop: make(chan struct{}), began: time.Now()}
	dir, err := os.MkdirTemp("", "zorilla-probe-")
	if err != nil {
		return ProbeCheck{Error: err.Error()}
	}
	defer os.RemoveAll(dir)
	app := filepath.Join(dir, "probe.sh")
	if err := os.WriteFile(app, []byte(checkDeepScript+checkJavaScript), 0o700); err != nil {
		return ProbeCheck{Error: err.Error()}
	}
	opts.Sites = []*Site{probed(site)}
	opts.Out = filepath.Join(dir, "out")
	opts.Events = p.event
	p.late = time.AfterFunc(wait, p.give)
	p.overlay = func(run string) (Overlay, error) {
		state, err := OpenState(opts.State)
		if err != nil {
			return Overlay{}, err
		}
		control, err := state.Control(run)
		if err != nil {
			return Overlay{}, err
		}
		ctx, cancel := context.WithTimeout(ctx, controlPatience)
		defer cancel()
		return control.Overlay(ctx)
	}
	result := Run(ctx, Job{App: app, Workers: 1}, opts, Stopper{Graceful: p.stop, Now: p.stop})
	p.late.Stop()
	p.asking.Wait()
	return p.conclude(result, wait)
}

// probed is a site with one pilot, for a few minutes.
func probed(site *Site) *Site {
	one := *site
	one.Pilots, one.After = 1, 0
	if len(one.Hosts) > 1 {
		one.Hosts = one.Hosts[:1]
	}
	if one.Batch() && (one.Walltime == 0 || one.Walltime > probeWall) {
		one.Walltime = probeWall
	}
	if one.Shape == ShapeMulti {
		one.Shape = ShapeSingle
	}
	return &one
}

// A probe is a run that only looks.
type probe struct {
	ctx     context.Context
	began   time.Time
	stop    chan struct{} // closed when it takes too long
	late    *time.Timer
	overlay func(run string) (Overlay, error)
	asking  sync.WaitGroup

	mu    sync.Mutex
	check ProbeCheck
	out   bytes.Buffer
	site  SiteChanged // as it was when it was given up
	gave  bool        // it was stopped because it took too long
}

// give ends a probe that takes too long.
func (p *probe) give() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gave {
		p.gave = true
		close(p.stop)
	}
}

func (p *probe) event(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch d := e.Data.(type) {
	case SiteChanged:
		if !p.gave {
			p.site = d
		}
	case PilotChanged:
		if d.Role == "pilot" && d.State == "up" && p.check.Waited == 0 {
			p.check.Waited = e.Time.Sub(p.began).Seconds()
			p.check.Slots = d.Slots
			p.late.Reset(probeRun)
			p.asking.Go(func() { p.ask(p.ctx, e.Run, d.Node) })
		}
	case OutputWritten:
		if p.out.Len() < maxProbeOut && d.Stream == "stdout" {
			p.out.Write(d.Data)
		}
	}
}

// ask asks how a pilot is connected, for as long as its worker sleeps: at first
// its hub knows no more than that it came.
func (p *probe) ask(ctx context.Context, run, node string) {
	tick := time.NewTicker(probeAsk)
	defer tick.Stop()
	for range probeAsks {
		o, err := p.overlay(run)
		if err != nil {
			return // it is over
		}
		link, hub := linkOf(o, node)
		p.mu.Lock()
		p.check.Link, p.check.Hub = link, hub
		p.mu.Unlock()
		if link != "" && link != wire.PathRouted.String() {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// linkOf returns the path of a node's link, to a hub if it has one.
func linkOf(o Overlay, node string) (path string, toHub bool) {
	hubs := make(map[string]bool)
	for _, n := range o.Nodes {
		hubs[n.ID] = n.Role == wire.RoleHub.String()
	}
	for _, l := range o.Links {
		if hub := hubs[l.A] || hubs[l.B]; (l.A == node || l.B == node) && (hub || path == "") {
			path, toHub = l.Path, hub
		}
	}
	return path, toHub
}

// conclude reads what the worker wrote.
func (p *probe) conclude(r Result, wait time.Duration) ProbeCheck {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.check
	for line := range strings.Lines(p.out.String()) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "host":
			c.Host = value
		case "platform":
			c.Platform = value
		case "cores":
			c.Cores, _ = strconv.Atoi(value)
		case "memory":
			kib, _ := strconv.ParseInt(value, 10, 64)
			c.Memory = kib << 10
		case "free":
			kib, _ := strconv.ParseInt(value, 10, 64)
			c.Free = kib << 10
		case "scratch":
			c.Scratch, _, _ = strings.Cut(value, "/s-"+r.Run) // the user's own directory there
		case "java":
			version, path, _ := strings.Cut(value, " ")
			c.Java = append(c.Java, JavaCheck{version, path})
		}
	}
	switch {
	case p.gave && c.Waited == 0:
		c.Error = fmt.Sprintf("no pilot joined within %v; the site is %s", wait, p.site.State)
		if p.site.Reason != "" {
			c.Error += ": " + p.site.Reason
		}
	case p.gave:
		c.Error = fmt.Sprintf("the worker took more than %v", probeRun)
	case r.Err != nil:
		c.Error = oneLine(r.Err)
	case r.Outcome != OutcomeOK:
		c.Error = fmt.Sprintf("the worker ended with status %d", r.Exit)
	case len(r.Report.Leftovers) > 0:
		c.Error = fmt.Sprintf("%d things may be left behind; remove them with: zorilla gc %s", len(r.Report.Leftovers), r.Run)
	}
	return c
}
