//go:build linux

package pilot

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/policy"
)

// under has the agents of a world obey a policy.
func (w *world) under(text string) {
	w.t.Helper()
	w.policy = filepath.Join(w.t.TempDir(), "policy.toml")
	if err := os.WriteFile(w.policy, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// alone is for processes in a session of their own.
func alone() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// TestDenied has hubs and pilots started where they may not run: they say so at
// once, in one line, and leave nothing.
func TestDenied(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		policy, want string
		hubRuns      bool
	}{
		"deny":         {"deny = true\nmessage = \"maintenance until Monday\"\nmax_pilots = 3\n", "maintenance until Monday", false},
		"no message":   {"deny = true", "deny = true in /etc/zorilla/policy.toml", false},
		"malformed":    {"deny = perhaps", "policy.toml: line 1: deny is perhaps; write deny = true or deny = false; nothing runs there until that is mended", false},
		"unknown key":  {"max_cpus = 4", `unknown key "max_cpus"; known are`, false},
		"cap of 0":     {`max_cpu = "0%"`, "less than the 1% of a core", false},
		"no pilots":    {"max_pilots = 0\nmessage = \"use cn01 to cn64\"", "no pilot may run there (max_pilots = 0); use cn01 to cn64", true},
		"half a core":  {`max_cpu = "50%"`, "no pilot may run there (max_cpu is less than a core)", true},
		"no text":      {"\x00\x01", "control characters", false},
		"giant number": {"max_pilots = 99999999999999999999", "write a whole number", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.under(c.policy)
			roles := []wire.Role{wire.RolePilot, wire.RoleHub}
			if c.hubRuns {
				roles = roles[:1]
			}
			for _, role := range roles {
				b := w.boot(role)
				if role == wire.RoleHub {
					b.Socket = "hub.sock"
				}
				p := w.start(b)
				said := p.end(patience)
				if exit, ok := errors.AsType[*exec.ExitError](p.err); !ok || exit.ExitCode() != ExitDenied {
					t.Errorf("the %v ended with %v, want exit status %d", role, p.err, ExitDenied)
				}
				d, ok := DenialIn("setup chatters\n" + said)
				if !ok || d.Host != "there" || !strings.Contains(d.Message, c.want) || strings.Count(said, "\n") != 1 {
					t.Errorf("the %v said %q, want one line with %q", role, said, c.want)
				}
				if d != nil && !strings.Contains(d.Error(), "the administrator of there denies: ") {
					t.Errorf("the denial reads %q", d)
				}
			}
			if _, err := os.Stat(w.base); err == nil {
				t.Error("something was made")
			}
			if c.hubRuns {
				p, _ := w.hub()
				w.call(func(now time.Duration, n *core.Node) error { n.Retire(now, "", "all is done"); return nil })
				w.clean(p)
			}
		})
	}
}

func TestDenialIn(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "they say the administrator of x denies: y", "zorilla-pilot: the administrator of x", "zorilla-pilot: boot record"} {
		if d, ok := DenialIn(text); ok {
			t.Errorf("%q is taken for %v", text, d)
		}
	}
	if d, ok := DenialIn((&Denial{"x", "y"}).Error()); !ok || *d != (Denial{"x", "y"}) {
		t.Errorf("a denial is taken for %v", d)
	}
}

// TestHerald has a pilot of a queueing system's job denied: nobody may read what the
// job says, so the session hears of it from a member that leaves at once.
func TestHerald(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, hub := w.hub()
	w.under("deny = true\nmessage = \"nodes are for MPI\"\n")
	w.env = []string{"GAT_JOB=17"}
	token := wire.Token{Name: "pilots", Secret: []byte("0123456789abcdef"), Role: wire.RolePilot, Joins: 1, TTL: time.Hour}
	w.call(func(now time.Duration, n *core.Node) error { n.Admit(now, "site", []wire.Token{token}); return nil })
	b := w.boot(wire.RolePilot)
	b.Hubs, b.Token, b.Secret = []string{"tcp:" + w.listen(hub, "127.0.0.1").Address}, token.Name, fmt.Sprintf("%x", token.Secret)
	began := time.Now()
	p := w.start(b)
	up := wait(w, func(e core.PeerUp) bool { return e.Peer.Role == wire.RolePilot })
	if up.Peer.Offer != (wire.Offer{}) || up.Peer.Job != "17" || up.Peer.Name != "there" {
		t.Errorf("a pilot that may not be is %+v", up.Peer)
	}
	down := wait(w, func(e core.PeersDown) bool { return e.Peers[0].ID == up.Peer.ID })
	if d, ok := DenialIn(down.Reason); !ok || *d != (Denial{"there", "nodes are for MPI"}) {
		t.Errorf("it left because %q", down.Reason)
	}
	t.Log(time.Since(began))
	p.end(patience)
	if exit, ok := errors.AsType[*exec.ExitError](p.err); !ok || exit.ExitCode() != ExitDenied {
		t.Errorf("it ended with %v, want exit status %d", p.err, ExitDenied)
	}
}

// TestFewPilots has more pilots started than one user may have on a host, and one
// more when there is room again.
func TestFewPilots(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.under("max_pilots = 2\n")
	const many = 4
	ends := make(chan *process, many)
	live := make(map[*process]bool)
	for range many {
		p := w.start(w.boot(wire.RolePilot))
		live[p] = true
		go func() { <-p.ended; ends <- p }()
	}
	for range 2 {
		wait(w, func(e core.PeerUp) bool { return e.Peer.Role == wire.RolePilot })
	}
	for range many - 2 {
		p := <-ends
		delete(live, p)
		const want = "the administrator of there allows the pilots of one user no more than max_pilots = 2, which is in use"
		if said := p.end(patience); !strings.Contains(said, want) {
			t.Errorf("a pilot too many said %q, want %q", said, want)
		}
	}
	for p := range live {
		p.cmd.Process.Kill()
		<-p.ended
		break
	}
	p := w.start(w.boot(wire.RolePilot))
	wait(w, func(e core.PeerUp) bool { return e.Peer.Role == wire.RolePilot })
	w.call(func(now time.Duration, n *core.Node) error { n.Retire(now, "", "all is done"); return nil })
	if said := p.end(patience); p.err != nil {
		t.Errorf("the pilot in the place of a killed one ended with %v: %s", p.err, said)
	}
}

// TestFewCores has pilots share the cores that one user's may have, however many
// they ask for: that is what they offer, and what their workers are kept to.
func TestFewCores(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.under(`max_cpu = "199%"`)
	b := w.boot(wire.RolePilot)
	b.Cores, b.Slots = 8, 16
	w.start(b)
	if up := wait(w, func(e core.PeerUp) bool { return e.Peer.Role == wire.RolePilot }); up.Peer.Offer.Cores != 1 || up.Peer.Offer.Slots != 1 {
		t.Errorf("a pilot offers %+v where one core is allowed", up.Peer.Offer)
	}
	late := w.start(w.boot(wire.RolePilot))
	const want = "allows the pilots of one user no more than max_cpu = 199%, which is in use"
	if said := late.end(patience); !strings.Contains(said, want) {
		t.Errorf("a second pilot said %q, want %q", said, want)
	}
	w.submit(1, `nproc; ps -o ni= -p $$`)
	wait(w, func(core.JobEnded) bool { return true })
	if got := strings.Fields(w.read("worker-0/stdout")); len(got) != 2 || got[0] != "1" || got[1] != "19" {
		t.Errorf("a worker sees %q, want 1 core and priority 19", got)
	}
}

// TestShortLife has a policy bound an agent's life, beside what else does.
func TestShortLife(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		walltime, lifetime, want time.Duration
		why                      string
	}{
		{0, 0, 0, walltime},
		{time.Hour, 0, time.Hour, walltime},
		{0, time.Minute, time.Minute, Ended},
		{time.Hour, time.Minute, time.Minute, Ended},
		{time.Minute, time.Hour, time.Minute, walltime},
	} {
		r := &resident{boot: &Boot{Walltime: Duration(c.walltime)}, permit: &permit{Policy: policy.Policy{Lifetime: c.lifetime}}}
		if d, why := r.limit(); d != c.want || d > 0 && why != c.why {
			t.Errorf("wall time %v and a policy of %v: it lives %v and says %q, want %v and %q", c.walltime, c.lifetime, d, why, c.want, c.why)
		}
	}
}

// TestStayPermitted has a policy written while an agent lives: it leaves within a
// minute, and not for what makes no sense.
func TestStayPermitted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.toml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r := &resident{boot: new(Boot), permit: &permit{host: "there"}, agent: NewAgent(nil, nil), log: slog.New(slog.DiscardHandler)}
		left := make(chan struct{})
		go func() { defer close(left); r.stayPermitted(t.Context(), path) }()
		for _, text := range []string{"", "max_pilots = 0", "deny = perhaps"} {
			write(text)
			time.Sleep(2 * policyEvery)
			synctest.Wait()
			if len(r.agent.calls) > 0 {
				t.Fatalf("it leaves because of %q", text)
			}
		}
		write("deny = true")
		began := time.Now()
		<-left
		if took := time.Since(began); took > policyEvery || len(r.agent.calls) != 1 {
			t.Errorf("after %v: %d wishes to leave", took, len(r.agent.calls))
		}
	})
}

// nices are the priorities of the threads of a process.
func nices(t *testing.T, pid int) map[int]int {
	t.Helper()
	found := make(map[int]int)
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(stats) == 0 {
		t.Fatalf("no threads of process %d: %v", pid, err)
	}
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // a thread that has ended
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		n, err := strconv.Atoi(fields[16])
		if err != nil {
			t.Fatal(err)
		}
		found[n]++
	}
	return found
}

// TestNice looks that a hub has the lowest priority in all its threads, and a low one
// as a session, and that a bridge to it has, too.
func TestNice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.brief = func(b *Boot) { b.Nice = leastPriority }
	p, _ := w.hub()
	if got := nices(t, p.cmd.Process.Pid); len(got) != 1 || got[leastPriority] == 0 {
		t.Errorf("the threads of a hub by priority: %v", got)
	}
	if group, err := os.ReadFile(fmt.Sprintf("/proc/%d/autogroup", p.cmd.Process.Pid)); err == nil && len(group) > 0 && !strings.HasSuffix(strings.TrimSpace(string(group)), "nice 10") {
		t.Errorf("the session of a hub is %s", group)
	}
	bridge := exec.Command(os.Args[0], "attach", filepath.Join(w.base, SessionDirName(session), "hub.sock"))
	bridge.SysProcAttr = alone()
	in, err := bridge.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := bridge.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := bridge.Start(); err != nil {
		t.Fatal(err)
	}
	defer bridge.Wait()
	defer in.Close()
	in.Write([]byte("no carrier begins like this"))
	deadline := time.Now().Add(patience)
	for got := nices(t, bridge.Process.Pid); len(got) != 1 || got[leastPriority] == 0; got = nices(t, bridge.Process.Pid) {
		if time.Now().After(deadline) {
			t.Errorf("the threads of a bridge by priority: %v", got)
			break
		}
		<-time.After(time.Millisecond)
	}
	in.Close()
	io.Copy(io.Discard, out)
}
