package launcher_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
	"github.com/zorilla-grid/zorilla/pilot"
)

// The tests of bad input run each job twice where that makes sense: with a good
// site beside the bad one, where the run must do well and say what is wrong,
// and with the bad site alone, where it must end soon and say what to try.

// here is a site on this machine.
const here = `
[site.here]
url = "local:"
slots = 1
`

// attempt runs a job and makes sure that it leaves nothing, here or on the farm.
func (b *bench) attempt(job launcher.Job, sites string, change func(*launcher.Options)) (launcher.Result, []launcher.Event) {
	b.t.Helper()
	r, events := b.run(job, sites, change)
	b.nothingHere(r.Run)
	b.farm.NoLeftovers(b.t)
	return r, events
}

// nothingHere fails the test when a run left something on this machine.
func (b *bench) nothingHere(run string) {
	b.t.Helper()
	for _, parent := range []string{os.TempDir(), "/var/tmp", "/dev/shm"} {
		dir := filepath.Join(parent, pilot.BaseName(os.Getuid()), "s-"+run)
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			b.t.Errorf("run %s left %s", run, dir)
		}
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range lines {
		if text, err := os.ReadFile(name); err == nil && run != "" && strings.Contains(string(text), run) {
			b.t.Errorf("run %s left the process %s: %q", run, name, text)
		}
	}
}

// patient is an application that waits until a site is in a state: that it has failed,
// so that a run that does well without it has heard of it.
func (b *bench) patient(site, state string) (app string, see func(launcher.Event)) {
	b.t.Helper()
	gate := filepath.Join(b.t.TempDir(), "gate")
	app = b.script(fmt.Sprintf("i=0; while [ ! -e '%s' ] && [ $i -lt 900 ]; do sleep 0.05; i=$((i+1)); done\necho done\n", gate))
	return app, func(e launcher.Event) {
		if c, ok := e.Data.(launcher.SiteChanged); ok && c.Site == site && c.State == state {
			if err := os.WriteFile(gate, nil, 0o600); err != nil {
				b.t.Error(err)
			}
		}
	}
}

// bad is a site that cannot work, and what its error says.
type bad struct {
	site   string   // its table in the sites file is called "bad"
	says   []string // parts of the error
	within time.Duration
	change func(*launcher.Options)
	job    launcher.Job // what is to run there alone; by default something small
}

// failsAlone runs a job on the bad site only, and nothing is left.
func (b *bench) failsAlone(c bad) {
	b.t.Helper()
	b.fails(c)
	b.farm.NoLeftovers(b.t)
}

// fails is failsAlone for a farm that the test itself has put something on.
func (b *bench) fails(c bad) {
	b.t.Helper()
	if c.job.App == "" {
		c.job = launcher.Job{App: b.script("echo never\n"), Workers: 1}
	}
	began := time.Now()
	r, events := b.run(c.job, c.site, c.change)
	took := time.Since(began)
	b.nothingHere(r.Run)
	if r.Outcome != launcher.OutcomeSites || r.Exit != launcher.ExitSites {
		b.t.Errorf("outcome %q, exit %d; want sites, 3", r.Outcome, r.Exit)
	}
	wantError(b.t, r.Err, append([]string{"site bad"}, c.says...)...)
	if !strings.Contains(siteError(events, "bad"), c.says[0]) {
		b.t.Errorf("the site's events say %q; want %q", siteError(events, "bad"), c.says[0])
	}
	limit := c.within
	if limit == 0 {
		limit = 40 * time.Second // hosts and tests share few cores
	}
	if took > limit {
		b.t.Errorf("the run took %v to fail, want less than %v", took, limit)
	}
}

// othersSuffice runs a job on the bad site and on this machine.
func (b *bench) othersSuffice(c bad) {
	b.t.Helper()
	app, see := b.patient("bad", "failed")
	r, events := b.run(launcher.Job{App: app, Workers: 1}, here+c.site, func(o *launcher.Options) {
		if c.change != nil {
			c.change(o)
		}
		also(o, see)
	})
	wantOK(b.t, r)
	b.nothingHere(r.Run)
	text := siteError(events, "bad")
	for _, want := range c.says {
		if !strings.Contains(text, want) {
			b.t.Errorf("the site's events say %q; want %q", text, want)
		}
	}
	for _, s := range r.Report.Sites {
		if s.Site == "bad" && !strings.Contains(s.Error, c.says[0]) {
			b.t.Errorf("the report says %q of the bad site; want %q", s.Error, c.says[0])
		}
	}
}

// also has the events told to one more.
func also(o *launcher.Options, see func(launcher.Event)) {
	first := o.Events
	o.Events = func(e launcher.Event) { first(e); see(e) }
}

// siteError is the last error told of a site, its warnings included.
func siteError(events []launcher.Event, site string) string {
	var texts []string
	for _, e := range events {
		switch d := e.Data.(type) {
		case launcher.SiteChanged:
			if d.Site == site && d.Error != "" {
				texts = append(texts, d.Error)
			}
		case launcher.Warned:
			if d.Site == site {
				texts = append(texts, d.Text)
			}
		case launcher.WorkerChanged:
			if d.Site == site && d.Reason != "" {
				texts = append(texts, d.Reason)
			}
		}
	}
	return strings.Join(texts, "\n")
}

// wantError fails the test unless the error has all the parts.
func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error; want one with %q", parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q; want %q in it", err, p)
		}
	}
}

// onHost runs a shell line as root on a host of the farm.
func onHost(t testing.TB, h *testbed.Host, script string, args ...string) string {
	t.Helper()
	return onHostAs(t, h, "root", script, args...)
}

// onHostAs runs a shell line as a user on a host of the farm.
func onHostAs(t testing.TB, h *testbed.Host, user, script string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := h.ExecAs(ctx, user, append([]string{"/bin/sh", "-c", script, "sh"}, args...)...)
	if err != nil {
		t.Fatalf("%s on %s: %v", script, h.Name, err)
	}
	return string(out)
}
