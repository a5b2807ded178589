package launcher_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/launcher"
)

// impatient makes a run see sooner that a connection is dead.
func impatient(lease time.Duration) func(*launcher.Options) {
	return func(o *launcher.Options) {
		o.Backends = []gat.Backend{local.Backend{}, ssh.Backend{Timeout: 2 * time.Second, KeepAlive: time.Second}}
		o.Lease = lease
	}
}

// cut takes hosts off the network and ends the connections that they serve, so that
// these do not go on when the network is back.
func (b *bench) cut(hosts ...*testbed.Host) {
	b.t.Helper()
	for _, h := range hosts {
		if err := h.Cut(); err != nil {
			b.t.Fatal(err)
		}
		b.exec(h, "pkill", "-KILL", "-f", "^sshd: alice")
	}
}

func (b *bench) restore(hosts ...*testbed.Host) {
	b.t.Helper()
	for _, h := range hosts {
		if err := h.Restore(); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) logins(h *testbed.Host) int {
	b.t.Helper()
	n, err := h.LoginCount(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

// TestHiccup is a network that is away for a moment: connections bear it.
func TestHiccup(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	x := b.start(launcher.Job{App: b.script(counting), Workers: 2}, fmt.Sprintf("[site.plain]\nurl = %q\nslots = 2\n", b.url(farm.Plain)), nil)
	x.running(2)
	before := b.logins(farm.Plain)
	if err := farm.Plain.Cut(); err != nil {
		t.Fatal(err)
	}
	<-time.After(3 * time.Second)
	b.restore(farm.Plain)
	x.beyond(2, time.Now(), 20*time.Second)
	b.openGates()
	r := x.end(30 * time.Second)
	wantOK(t, r)
	b.wantCounted(r, 2)
	if n := x.again(); n != 0 {
		t.Errorf("%d attempts beyond the first, want none", n)
	}
	if n := b.logins(farm.Plain); n != before {
		t.Errorf("%d logins, want the %d there were", n, before)
	}
	b.clean(x.name)
}

func TestCutWithinLease(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	sites := fmt.Sprintf("[site.plain]\nurl = %q\nslots = 2\n[site.cluster]\nurl = %q\nhosts = [\"inner1\"]\nslots = 1\n", b.url(farm.Plain), b.url(farm.Bastion))
	x := b.start(launcher.Job{App: b.script(counting), Workers: 3}, sites, impatient(time.Minute))
	x.running(3)
	before := b.logins(farm.Plain)
	at := time.Now()
	b.cut(farm.Plain, farm.Bastion)
	for _, site := range []string{"plain", "cluster"} {
		x.site(site, "detached", 20*time.Second)
	}
	t.Logf("detached after %v", time.Since(at))
	<-time.After(3 * time.Second)
	b.restore(farm.Plain, farm.Bastion)
	at = time.Now()
	x.beyond(3, at, 30*time.Second)
	t.Logf("output comes again %v after the network", time.Since(at))
	b.openGates()
	r := x.end(30 * time.Second)
	wantOK(t, r)
	b.wantCounted(r, 3)
	if n := x.again(); n != 0 {
		t.Errorf("%d attempts beyond the first, want none: no worker was lost", n)
	}
	if n := b.logins(farm.Plain); n <= before {
		t.Errorf("%d logins, want more than the %d before the cut", n, before)
	}
	b.clean(x.name)
}

// leftAlone waits until nothing of a session is left on a host that nobody can reach.
func (b *bench) leftAlone(h *testbed.Host, within time.Duration) {
	b.t.Helper()
	var left []string
	defer func() {
		if b.t.Failed() {
			b.t.Logf("left on %s: %q", h.Name, left)
		}
	}()
	eventually(b.t, h.Name+" is clean", within, func() bool {
		var err error
		if left, err = h.Leftovers(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
		return len(left) == 0
	})
}

func TestCutBeyondLease(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	const lease = 6 * time.Second
	x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, b.pairOf(farm.Plain, farm.NoForward), impatient(lease))
	x.running(2)
	eventuallyUp(x, 2)
	first, _ := x.worker(0, 1, "running", 10*time.Second)
	victim := b.host(first.Host)
	at := time.Now()
	b.cut(victim)
	_, lost := x.worker(0, 1, "lost", 3*lease)
	again, replaced := x.worker(0, 2, "running", 10*time.Second)
	t.Logf("loss seen after %v, replaced after another %v", lost.Sub(at), replaced.Sub(lost))
	if again.Host == first.Host {
		t.Errorf("replaced on %s, which is cut off", again.Host)
	}
	b.leftAlone(victim, 2*lease)
	t.Logf("the host is clean %v after the cut", time.Since(at))
	b.openGates(slices.DeleteFunc(farm.Hosts(), func(h *testbed.Host) bool { return h == victim })...)
	done, _ := x.worker(0, 2, "done", 10*time.Second)
	over := time.Now()
	r := x.end(30 * time.Second)
	t.Logf("ended %v after worker %d", time.Since(over), done.Rank)
	if r.Outcome != launcher.OutcomeOK || r.Exit != 0 {
		t.Errorf("outcome %q, exit %d, error %v; want ok", r.Outcome, r.Exit, r.Err)
	}
	if bound := 12 * time.Second; time.Since(over) > bound {
		t.Errorf("the end took %v, want within %v", time.Since(over), bound)
	}
	b.wantUnclean(x, r, victim.Name)
	b.gcFinds(r.Run, victim.Name)
	b.restore(victim)
	b.gcFinishes(r.Run)
	b.clean(x.name)
}

// wantUnclean checks that a run names the site it could not clean, and the way to finish.
func (b *bench) wantUnclean(x *live, r launcher.Result, site string) {
	b.t.Helper()
	if len(r.Report.Leftovers) == 0 {
		b.t.Errorf("nothing is reported as left, though %s could not be reached", site)
	}
	for _, l := range r.Report.Leftovers {
		if l.Site != site {
			b.t.Errorf("%+v is reported as left, though only %s could not be reached", l, site)
		}
	}
	n := x.count(func(e launcher.Event) bool {
		w, ok := e.Data.(launcher.Warned)
		return ok && w.Site == site && strings.Contains(w.Text, "zorilla gc "+r.Run)
	})
	if n != 1 {
		b.t.Errorf("%d warnings name zorilla gc %s, want one", n, r.Run)
	}
}

// gc cleans up after a run.
func (b *bench) gc(run string) launcher.GCRun {
	b.t.Helper()
	o := b.options("[site.none]\nurl = \"local:\"\n")
	impatient(0)(&o)
	report, err := launcher.GC(b.t.Context(), launcher.GCOptions{Runs: []string{run}, State: o.State, Backends: o.Backends, Dial: o.Dial, Home: o.Home})
	if err != nil || len(report.Runs) != 1 {
		b.t.Fatalf("gc: %+v, error %v", report, err)
	}
	return report.Runs[0]
}

// gcFinds checks that gc names the site that it cannot reach, with a reason.
func (b *bench) gcFinds(run, site string) {
	b.t.Helper()
	report := b.gc(run)
	if len(report.Left) == 0 {
		b.t.Errorf("gc leaves nothing, though %s cannot be reached", site)
	}
	for _, l := range report.Left {
		if l.Site != site || l.Reason == "" {
			b.t.Errorf("gc leaves %+v, want something of %s, with a reason", l, site)
		}
	}
}

// gcFinishes checks that gc leaves nothing.
func (b *bench) gcFinishes(run string) {
	b.t.Helper()
	if report := b.gc(run); len(report.Left) > 0 {
		b.t.Errorf("gc leaves %+v", report.Left)
	}
}

func TestCutNoRoom(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	const lease = 6 * time.Second
	x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, fmt.Sprintf("[site.plain]\nurl = %q\nslots = 2\n", b.url(farm.Plain)), impatient(lease))
	x.running(2)
	at := time.Now()
	b.cut(farm.Plain)
	r := x.end(time.Minute)
	t.Logf("ended %v after the cut: %v", time.Since(at), r.Err)
	if r.Outcome != launcher.OutcomeSites || r.Exit != launcher.ExitSites || r.Err == nil {
		t.Errorf("outcome %q, exit %d, error %v; want sites, 3 and a reason", r.Outcome, r.Exit, r.Err)
	}
	if bound := 40 * time.Second; time.Since(at) > bound {
		t.Errorf("ended %v after the cut, want within %v", time.Since(at), bound)
	}
	b.wantUnclean(x, r, "plain")
	b.leftAlone(farm.Plain, 2*lease)
	b.restore(farm.Plain)
	b.gcFinishes(r.Run)
	b.clean(x.name)
}

// TestInnerHostDies loses power at a host behind another one: its hub notices.
func TestInnerHostDies(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	sites := fmt.Sprintf("[site.cluster]\nurl = %q\nhosts = [\"inner[1-2]\"]\nslots = 2\n", b.url(farm.Bastion))
	x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, sites, nil)
	x.running(2)
	eventuallyUp(x, 2)
	first, _ := x.worker(0, 1, "running", 10*time.Second)
	at := time.Now()
	if err := b.host(first.Host).Kill(); err != nil {
		t.Fatal(err)
	}
	_, lost := x.worker(0, 1, "lost", 60*time.Second)
	again, replaced := x.worker(0, 2, "running", 10*time.Second)
	t.Logf("loss seen after %v, replaced on %s after another %v", lost.Sub(at), again.Host, replaced.Sub(lost))
	if bound := 35 * time.Second; lost.Sub(at) > bound {
		t.Errorf("the loss was seen after %v, want within %v", lost.Sub(at), bound)
	}
	b.openGates(farm.Bastion, b.host(again.Host))
	over := time.Now()
	r := x.end(30 * time.Second)
	t.Logf("ended after another %v", time.Since(over))
	if r.Outcome != launcher.OutcomeOK || r.Exit != 0 {
		t.Errorf("outcome %q, exit %d, error %v; want ok", r.Outcome, r.Exit, r.Err)
	}
	b.wantUnclean(x, r, "cluster")
	nothingHere(t, x.name)
	for _, h := range []*testbed.Host{farm.Bastion, b.host(again.Host)} {
		b.exec(h, "rm", "-f", gate)
		h.NoLeftovers(t)
	}
}
