package launcher_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// reboot does to a host what a reboot does: nothing runs, and scratch is empty.
func (b *bench) reboot(h *testbed.Host) {
	b.t.Helper()
	// Some end by themselves when the first are gone.
	b.exec(h, "sh", "-c", `kill -KILL $(pgrep -u alice -f "zorilla-pilot (agent|guard)|app-") 2>/dev/null; rm -rf /tmp/zorilla-*`)
}

// warned waits for a warning.
func (x *live) warned(text string, within time.Duration) string {
	x.b.t.Helper()
	return x.await("a warning: "+text, within, func(e launcher.Event) bool {
		w, ok := e.Data.(launcher.Warned)
		return ok && strings.Contains(w.Text, text)
	}).Data.(launcher.Warned).Text
}

// TestScratchWiped has a head, with and without a hub, lose all that was put there: it is
// prepared again, and the job goes on.
func TestScratchWiped(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	for _, hub := range []string{"", "hub = \"none\"\n"} {
		t.Run(strings.TrimSpace("hub "+hub), func(t *testing.T) {
			t.Parallel()
			farm := testbed.SSH(t)
			b := newBench(t, farm)
			x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, fmt.Sprintf("[site.plain]\nurl = %q\nslots = 2\n%s", b.url(farm.Plain), hub), nil)
			x.running(2)
			at := time.Now()
			b.reboot(farm.Plain)
			_, running := x.worker(1, 2, "running", time.Minute)
			t.Logf("replaced after %v", running.Sub(at))
			x.warned("preparing it again", time.Second)
			b.openGates()
			b.wantFinished(x.end(30*time.Second), 2)
			b.clean(x.name)
		})
	}
}

// TestScratchWipedTwice has the same happen again: the site is given up, and says why.
func TestScratchWipedTwice(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	x := b.start(launcher.Job{App: b.script(waiting), Workers: 1}, fmt.Sprintf("[site.plain]\nurl = %q\n", b.url(farm.Plain)), nil)
	x.running(1)
	b.reboot(farm.Plain)
	x.worker(0, 2, "running", time.Minute)
	b.reboot(farm.Plain)
	r := x.end(time.Minute)
	if r.Outcome != launcher.OutcomeSites || r.Err == nil || !strings.Contains(r.Err.Error(), "is gone again") {
		t.Errorf("the run ended with %s, %v; want %s and why", r.Outcome, r.Err, launcher.OutcomeSites)
	}
	b.clean(x.name)
}

// TestVerboseKeepsLog loses a pilot while the user wants to know more.
func TestVerboseKeepsLog(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	x := b.start(launcher.Job{App: b.script(waiting), Workers: 1}, fmt.Sprintf("[site.plain]\nurl = %q\n", b.url(farm.Plain)),
		func(o *launcher.Options) { o.Verbose = true })
	x.running(1)
	b.kill(farm.Plain, b.agents(farm.Plain, x.name, "pilot")...)
	text := x.warned("the log of the hub on plain is in ", 30*time.Second)
	_, path, _ := strings.Cut(text, " is in ")
	x.worker(0, 2, "running", 30*time.Second)
	b.openGates()
	b.wantFinished(x.end(30*time.Second), 1)
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"role=hub", "level=DEBUG"} {
		if !strings.Contains(string(log), want) {
			t.Errorf("the log that was kept has no %q:\n%s", want, log)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || info.Size() > 64<<10 {
		t.Errorf("%s: %v, %v", path, info, err)
	}
	b.clean(x.name)
}

// TestVerboseKeepsLogOfFailure has a site come up as far as its hub.
func TestVerboseKeepsLogOfFailure(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	sites := fmt.Sprintf("[site.cluster]\nurl = %q\nhosts = [\"inner[1-2]\"]\nsetup = ['[ \"$(uname -n)\" = bastion ]']\n", b.url(farm.Bastion))
	r, events := b.run(launcher.Job{App: b.script("echo never\n"), Workers: 1}, sites, func(o *launcher.Options) { o.Verbose = true })
	if r.Outcome != launcher.OutcomeSites {
		t.Errorf("the run ended with %s, %v", r.Outcome, r.Err)
	}
	for _, e := range events {
		if w, ok := e.Data.(launcher.Warned); ok && strings.Contains(w.Text, "the log of the hub on bastion is in ") {
			_, path, _ := strings.Cut(w.Text, " is in ")
			if log, err := os.ReadFile(path); err != nil || !strings.Contains(string(log), "role=hub") {
				t.Errorf("the log that was kept is %q, %v", log, err)
			}
			return
		}
	}
	t.Error("no log was kept")
}
