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

// kill ends processes of a host for good, as somebody else would.
func (b *bench) kill(h *testbed.Host, pids ...string) {
	b.t.Helper()
	if len(pids) == 0 {
		b.t.Fatalf("%s: nothing to kill", h.Name)
	}
	b.exec(h, append([]string{"kill", "-9"}, pids...)...)
}

// waiting is a worker that says who it is and waits for the gate.
const waiting = "echo rank $ZORILLA_RANK attempt $ZORILLA_ATTEMPT pid $$ on $(uname -n)\n" + gateScript + "echo done\n"

// pairOf is a sites file with two hosts of two slots each.
func (b *bench) pairOf(first, second *testbed.Host) string {
	return fmt.Sprintf("[defaults]\nslots = 2\n[site.%s]\nurl = %q\n[site.%s]\nurl = %q\n",
		first.Name, b.url(first), second.Name, b.url(second))
}

// wantFinished checks that all workers said what they had to.
func (b *bench) wantFinished(r launcher.Result, workers int) {
	b.t.Helper()
	wantOK(b.t, r)
	for rank := range workers {
		if got := b.stdout(r, rank); !strings.HasPrefix(got, fmt.Sprintf("rank %d attempt ", rank)) || !strings.HasSuffix(got, "\ndone\n") || strings.Count(got, "\n") != 2 {
			b.t.Errorf("rank %d printed %q", rank, got)
		}
	}
}

func TestPilotKilledSpareSlots(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, b.pairOf(farm.Plain, farm.NoForward), nil)
	x.running(2)
	for _, name := range []string{"plain", "noforward"} {
		x.site(name, "up", 20*time.Second)
	}
	eventuallyUp(x, 2)
	first, _ := x.worker(0, 1, "running", 10*time.Second)
	victim := b.host(first.Host)
	killed := time.Now()
	b.kill(victim, b.agents(victim, x.name, "pilot")...)
	_, lost := x.worker(0, 1, "lost", 20*time.Second)
	again, at := x.worker(0, 2, "running", 20*time.Second)
	t.Logf("loss seen after %v, replaced on %s after another %v", lost.Sub(killed), again.Host, at.Sub(lost))
	if bound := 10 * time.Second; lost.Sub(killed) > bound {
		t.Errorf("the loss was seen after %v, want within %v", lost.Sub(killed), bound)
	}
	if bound := 2 * time.Second; at.Sub(lost) > bound {
		t.Errorf("the worker was replaced after another %v, want within %v", at.Sub(lost), bound)
	}
	b.openGates()
	b.wantFinished(x.end(30*time.Second), 2)
	b.clean(x.name)
}

// eventuallyUp waits until n pilots are up.
func eventuallyUp(x *live, n int) {
	x.b.t.Helper()
	up := make(map[string]bool)
	x.await(fmt.Sprintf("%d pilots up", n), 30*time.Second, func(e launcher.Event) bool {
		if p, ok := e.Data.(launcher.PilotChanged); ok && p.Role == "pilot" {
			if p.State == "up" {
				up[p.Node] = true
			} else {
				delete(up, p.Node)
			}
		}
		return len(up) >= n
	})
}

func TestPilotKilledAlone(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, fmt.Sprintf("[site.plain]\nurl = %q\nslots = 2\n", b.url(farm.Plain)), nil)
	x.running(2)
	before := strings.Fields(b.exec(farm.Plain, "pgrep", "-u", "alice", "-f", "app-"))
	killed := time.Now()
	b.kill(farm.Plain, b.agents(farm.Plain, x.name, "pilot")...)
	eventually(t, "the workers of the killed pilot are dead", 5*time.Second, func() bool {
		return b.exec(farm.Plain, "sh", "-c", "kill -0 "+strings.Join(before, " ")+" 2>/dev/null && echo alive || :") == ""
	})
	t.Logf("workers dead after %v", time.Since(killed))
	_, lost := x.worker(1, 1, "lost", 20*time.Second)
	_, at := x.worker(1, 2, "running", 20*time.Second)
	t.Logf("loss seen after %v, replaced after another %v", lost.Sub(killed), at.Sub(lost))
	b.openGates()
	b.wantFinished(x.end(30*time.Second), 2)
	b.clean(x.name)
}

func TestGuardKilled(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, fmt.Sprintf("[site.plain]\nurl = %q\nslots = 2\n", b.url(farm.Plain)), nil)
	x.running(2)
	killed := time.Now()
	b.kill(farm.Plain, strings.Fields(b.exec(farm.Plain, "pgrep", "-u", "alice", "-f", "pilot guard"))...)
	for rank := range 2 {
		_, lost := x.worker(rank, 1, "lost", 10*time.Second)
		_, at := x.worker(rank, 2, "running", 10*time.Second)
		t.Logf("rank %d: loss seen after %v, replaced after another %v", rank, lost.Sub(killed), at.Sub(lost))
		if bound := 2 * time.Second; lost.Sub(killed) > bound {
			t.Errorf("the loss was seen after %v, want within %v", lost.Sub(killed), bound)
		}
	}
	b.openGates()
	b.wantFinished(x.end(30*time.Second), 2)
	if n := x.again(); n != 2 {
		t.Errorf("%d attempts beyond the first, want 2", n)
	}
	b.clean(x.name)
}

func TestWorkerKilled(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, fmt.Sprintf("[site.plain]\nurl = %q\nslots = 2\n", b.url(farm.Plain)), nil)
	x.running(2)
	var pid string
	e := x.await("rank 1's line", 10*time.Second, func(e launcher.Event) bool {
		o, ok := e.Data.(launcher.OutputWritten)
		return ok && o.Rank == 1
	})
	fmt.Sscanf(string(e.Data.(launcher.OutputWritten).Data), "rank 1 attempt 1 pid %s on", &pid)
	b.kill(farm.Plain, pid)
	w, _ := x.worker(1, 1, "done", 10*time.Second)
	if w.Signal != "SIGKILL" || w.Exit == nil || *w.Exit != 137 {
		t.Errorf("worker 1 ended with %+v, want SIGKILL and 137", w)
	}
	b.openGates()
	r := x.end(30 * time.Second)
	if r.Outcome != launcher.OutcomeApp || r.Exit != 137 {
		t.Errorf("outcome %q, exit %d, error %v; want app, 137", r.Outcome, r.Exit, r.Err)
	}
	if got := b.stdout(r, 0); !strings.HasSuffix(got, "done\n") {
		t.Errorf("rank 0 printed %q", got)
	}
	if n := x.again(); n != 0 {
		t.Errorf("%d attempts beyond the first, want none", n)
	}
	b.clean(x.name)
}

func TestHubKilled(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	sites := fmt.Sprintf("[defaults]\nslots = 1\n[site.plain]\nurl = %q\n[site.cluster]\nurl = %q\nhosts = [\"inner[1-2]\"]\n", b.url(farm.Plain), b.url(farm.Bastion))
	x := b.start(launcher.Job{App: b.script(counting), Workers: 3}, sites, nil)
	x.running(3)
	killed := time.Now()
	for _, h := range []*testbed.Host{farm.Plain, farm.Bastion} {
		b.kill(h, b.agents(h, x.name, "hub")...)
	}
	again := make(map[string]int)
	e := x.await("two more hubs", 30*time.Second, func(e launcher.Event) bool {
		if p, ok := e.Data.(launcher.PilotChanged); ok && p.Role == "hub" && p.State == "up" {
			again[p.Site]++
		}
		return again["plain"] == 2 && again["cluster"] == 2
	})
	t.Logf("hubs up again after %v", e.Time.Sub(killed))
	if bound := 10 * time.Second; e.Time.Sub(killed) > bound {
		t.Errorf("hubs up again after %v, want within %v", e.Time.Sub(killed), bound)
	}
	x.beyond(3, e.Time, 20*time.Second)
	b.openGates()
	r := x.end(30 * time.Second)
	wantOK(t, r)
	b.wantCounted(r, 3)
	if n := x.again(); n != 0 {
		t.Errorf("%d attempts beyond the first, want none: no worker was lost", n)
	}
	b.clean(x.name)
}

// counting is a worker that prints a numbered line every 100 ms until the gate opens.
const counting = "i=0\nwhile [ ! -e " + gate + " ]; do i=$((i+1)); echo line $i; sleep 0.1; done\necho end $i\n"

// beyond waits until each of n workers has had output come home after a time.
func (x *live) beyond(n int, at time.Time, within time.Duration) {
	x.b.t.Helper()
	talked := make(map[int]bool)
	x.await(fmt.Sprintf("output of %d workers after %v", n, at), within, func(e launcher.Event) bool {
		if o, ok := e.Data.(launcher.OutputWritten); ok && e.Time.After(at) {
			talked[o.Rank] = true
		}
		return len(talked) >= n
	})
}

// wantCounted checks that every line of workers that count is there exactly once, in order.
func (b *bench) wantCounted(r launcher.Result, workers int) {
	b.t.Helper()
	for rank := range workers {
		lines := strings.Split(strings.TrimSuffix(b.stdout(r, rank), "\n"), "\n")
		for i, line := range lines[:len(lines)-1] {
			if line != fmt.Sprintf("line %d", i+1) {
				b.t.Errorf("rank %d: line %d is %q", rank, i+1, line)
				break
			}
		}
		if got, want := lines[len(lines)-1], fmt.Sprintf("end %d", len(lines)-1); got != want {
			b.t.Errorf("rank %d: the last line is %q, want %q", rank, got, want)
		}
	}
}

// TestAllAgentsKilled ends everything of a host but the workers, at once: those that come
// after sweep them.
func TestAllAgentsKilled(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, fmt.Sprintf("[site.plain]\nurl = %q\nslots = 2\n", b.url(farm.Plain)), nil)
	x.running(2)
	workers := strings.Fields(b.exec(farm.Plain, "pgrep", "-u", "alice", "-f", "app-"))
	at := time.Now()
	// Guards first: they leave by themselves when their pilot is gone.
	b.kill(farm.Plain, strings.Fields(b.exec(farm.Plain, "sh", "-c", `pgrep -u alice -f "zorilla-pilot guard"; pgrep -u alice -f "zorilla-pilot agent"`))...)
	_, running := x.worker(1, 2, "running", 40*time.Second)
	t.Logf("replaced after %v", running.Sub(at))
	if got := b.exec(farm.Plain, "sh", "-c", "kill -0 "+strings.Join(workers, " ")+" 2>/dev/null && echo alive || :"); got != "" {
		t.Errorf("workers of the killed pilot live when their successors start")
	}
	b.openGates()
	b.wantFinished(x.end(30*time.Second), 2)
	b.clean(x.name)
}

// TestPilotKilledNoHub ends a pilot that is called over the login.
func TestPilotKilledNoHub(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	x := b.start(launcher.Job{App: b.script(waiting), Workers: 2}, fmt.Sprintf("[site.plain]\nurl = %q\nslots = 2\nhub = \"none\"\n", b.url(farm.Plain)), nil)
	x.running(2)
	at := time.Now()
	b.kill(farm.Plain, b.agents(farm.Plain, x.name, "pilot")...)
	_, lost := x.worker(0, 1, "lost", 20*time.Second)
	_, running := x.worker(0, 2, "running", 20*time.Second)
	t.Logf("loss seen after %v, replaced after another %v", lost.Sub(at), running.Sub(lost))
	if bound := 10 * time.Second; lost.Sub(at) > bound {
		t.Errorf("the loss was seen after %v, want within %v", lost.Sub(at), bound)
	}
	b.openGates()
	b.wantFinished(x.end(30*time.Second), 2)
	b.clean(x.name)
}

// TestLocalPilotKilled ends the pilot of this machine.
func TestLocalPilotKilled(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	here := filepath.Join(b.dir, "gate")
	body := strings.ReplaceAll(waiting, gate, here)
	x := b.start(launcher.Job{App: b.script(body), Workers: 2}, "[site.here]\nurl = \"local:\"\nslots = 2\n", nil)
	x.running(2)
	at := time.Now()
	killed := 0
	for _, p := range processesHere(x.name) {
		if strings.Contains(p.args, "agent "+x.name) {
			agent, err := os.FindProcess(p.pid)
			if err != nil {
				t.Fatal(err)
			}
			if err := agent.Kill(); err != nil {
				t.Fatal(err)
			}
			killed++
		}
	}
	if killed != 1 {
		t.Fatalf("%d pilots here, want one", killed)
	}
	_, lost := x.worker(0, 1, "lost", 20*time.Second)
	_, running := x.worker(0, 2, "running", 20*time.Second)
	t.Logf("loss seen after %v, replaced after another %v", lost.Sub(at), running.Sub(lost))
	if bound := 10 * time.Second; lost.Sub(at) > bound {
		t.Errorf("the loss was seen after %v, want within %v", lost.Sub(at), bound)
	}
	if err := os.WriteFile(here, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.wantFinished(x.end(30*time.Second), 2)
	b.clean(x.name)
}
