package launcher_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// polite is a worker that says good-bye when it is asked to end.
const polite = "trap 'echo bye; echo last words $ZORILLA_RANK > words.txt; exit 0' TERM\necho hello\nwhile :; do sleep 0.05; done\n"

// stubborn is a worker that does not end when it is asked to.
const stubborn = "trap '' TERM INT HUP\necho hello\nwhile :; do sleep 0.05; done\n"

func (b *bench) interruptSites() string {
	return fmt.Sprintf("[defaults]\nslots = 1\n[site.here]\nurl = \"local:\"\n[site.plain]\nurl = %q\n[site.cluster]\nurl = %q\nhosts = [\"inner1\"]\n", b.url(b.farm.Plain), b.url(b.farm.Bastion))
}

func wantInterrupted(t *testing.T, r launcher.Result, leftovers bool) {
	t.Helper()
	if r.Outcome != launcher.OutcomeInterrupted || r.Exit != launcher.ExitInterrupted {
		t.Errorf("outcome %q, exit %d, error %v; want interrupted, 130", r.Outcome, r.Exit, r.Err)
	}
	if got := len(r.Report.Leftovers) > 0; got != leftovers {
		t.Errorf("leftovers %+v", r.Report.Leftovers)
	}
}

func TestInterruptedOnce(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	x := b.start(launcher.Job{App: b.script(polite), Workers: 3, Outputs: []string{"words.txt"}}, b.interruptSites(), nil)
	x.running(3)
	at := time.Now()
	close(x.graceful)
	r := x.end(30 * time.Second)
	t.Logf("ended after %v", time.Since(at))
	wantInterrupted(t, r, false)
	for rank := range 3 {
		if got := b.stdout(r, rank); got != "hello\nbye\n" {
			t.Errorf("rank %d printed %q", rank, got)
		}
		got, err := os.ReadFile(filepath.Join(r.Out, launcher.WorkerName(rank), "words.txt"))
		if want := fmt.Sprintf("last words %d\n", rank); err != nil || string(got) != want {
			t.Errorf("rank %d left %q, error %v; want %q", rank, got, err, want)
		}
	}
	b.clean(x.name)
}

func TestInterruptedTwice(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	x := b.start(launcher.Job{App: b.script(stubborn), Workers: 3}, b.interruptSites(), nil)
	x.running(3)
	at := time.Now()
	close(x.graceful)
	close(x.now)
	r := x.end(30 * time.Second)
	t.Logf("ended after %v", time.Since(at))
	wantInterrupted(t, r, false)
	if bound := 12 * time.Second; time.Since(at) > bound {
		t.Errorf("ended after %v, want within %v", time.Since(at), bound)
	}
	b.clean(x.name)
}

// TestInterruptedCutOff ends a run while a site cannot be reached: the rest is cleaned, the
// site is named, and nobody waits long.
func TestInterruptedCutOff(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	x := b.start(launcher.Job{App: b.script(stubborn), Workers: 3}, b.interruptSites(), impatient(10*time.Second))
	x.running(3)
	if err := farm.Plain.Cut(); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	close(x.now)
	r := x.end(30 * time.Second)
	t.Logf("ended after %v", time.Since(at))
	wantInterrupted(t, r, true)
	if bound := 13 * time.Second; time.Since(at) > bound {
		t.Errorf("ended after %v, want within %v", time.Since(at), bound)
	}
	b.wantUnclean(x, r, "plain")
	nothingHere(t, x.name)
	for _, h := range []*testbed.Host{farm.Bastion, farm.Inner1} {
		h.NoLeftovers(t)
	}
	b.leftAlone(farm.Plain, 30*time.Second) // its lease ends
	b.restore(farm.Plain)
	b.gcFinishes(r.Run)
	b.clean(x.name)
}

// TestCancelledEarly ends runs before their sites are up.
func TestCancelledEarly(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	for _, state := range []string{"connecting", "probing", "uploading", "starting"} {
		x := b.start(launcher.Job{App: b.script(polite), Workers: 1}, fmt.Sprintf("[site.plain]\nurl = %q\n", b.url(farm.Plain)), nil)
		x.site("plain", state, 20*time.Second)
		at := time.Now()
		close(x.now)
		r := x.end(30 * time.Second)
		t.Logf("%s: ended after %v", state, time.Since(at))
		wantInterrupted(t, r, false)
		nothingHere(t, x.name)
	}
	farm.NoLeftovers(t)
}

// TestFenced stops a pilot, as a machine that sleeps would, until its worker was given to
// another one: when it wakes up, what the old worker prints is refused and the worker ends.
func TestFenced(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	body := "trap '' TERM\ni=0\nwhile [ ! -e " + gate + " ]; do i=$((i+1)); echo attempt $ZORILLA_ATTEMPT pid $$ line $i; sleep 0.05; done\necho end\n"
	x := b.start(launcher.Job{App: b.script(body), Workers: 1}, b.pairOf(farm.Plain, farm.NoForward), impatient(6*time.Second))
	x.running(1)
	eventuallyUp(x, 2)
	first, _ := x.worker(0, 1, "running", 10*time.Second)
	victim := b.host(first.Host)
	pid := strings.Fields(string(x.await("its first line", 10*time.Second, func(e launcher.Event) bool {
		_, ok := e.Data.(launcher.OutputWritten)
		return ok
	}).Data.(launcher.OutputWritten).Data))[3]
	at := time.Now()
	agents := b.agents(victim, x.name, "pilot")
	b.exec(victim, append([]string{"kill", "-STOP"}, agents...)...)
	_, lost := x.worker(0, 1, "lost", 30*time.Second)
	again, running := x.worker(0, 2, "running", 30*time.Second)
	t.Logf("loss seen after %v, replaced after another %v", lost.Sub(at), running.Sub(lost))
	if again.Host == first.Host {
		t.Fatalf("replaced on %s, whose pilot sleeps", again.Host)
	}
	if b.exec(victim, "sh", "-c", "kill -0 "+pid+" && echo alive") != "alive" {
		t.Errorf("the worker of the sleeping pilot is dead already: nothing is fenced")
	}
	b.exec(victim, append([]string{"kill", "-CONT"}, agents...)...)
	eventually(t, "the old worker is dead", 5*time.Second, func() bool {
		return b.exec(victim, "sh", "-c", "kill -0 "+pid+" 2>/dev/null && echo alive || :") == ""
	})
	x.beyond(1, time.Now(), 10*time.Second)
	b.openGates()
	r := x.end(30 * time.Second)
	wantOK(t, r)
	lines := strings.Split(strings.TrimSuffix(b.stdout(r, 0), "\n"), "\n")
	for i, line := range lines[:len(lines)-1] {
		if !strings.HasPrefix(line, "attempt 2 ") || !strings.HasSuffix(line, fmt.Sprintf(" line %d", i+1)) {
			t.Errorf("line %d is %q, want one of attempt 2", i+1, line)
			break
		}
	}
	b.clean(x.name)
}
