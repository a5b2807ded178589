package launcher_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// cutEnv says how long [TestDetached] keeps the network cut.
const cutEnv = "ZORILLA_CUT"

// A typist types codes and counts the questions.
type typist struct {
	code string
	err  error // instead of a code, if set

	mu    sync.Mutex
	asked []string
}

func (u *typist) ask(_ context.Context, site, question string, secret bool) (string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked = append(u.asked, site+": "+question)
	if !secret {
		return "", errors.New("a code is shown while it is typed")
	}
	return u.code, u.err
}

func (u *typist) questions() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.asked
}

// guarded is a bench with a host called "head", which wants a code besides a key.
func guarded(t *testing.T, f testbed.Factor) (*bench, *testbed.Host) {
	t.Helper()
	testbed.Require(t)
	t.Parallel()
	f.Code = "123456"
	net := testbed.OddHosts(t, f.Oddity("head"), testbed.Oddity{Name: "plain"})
	return newBenchIn(t, net.Net), net.Host("head")
}

// attachTo logs in again as zorilla attach does.
func (b *bench) attachTo(x *live, u *typist) error { return b.attachFor(b.t.Context(), x, u) }

func (b *bench) attachFor(ctx context.Context, x *live, u *typist) error {
	b.t.Helper()
	state, err := launcher.OpenState(b.options("[site.none]\nurl = \"local:\"\n").State)
	if err != nil {
		b.t.Fatal(err)
	}
	control, err := state.Control(x.name)
	if err != nil {
		b.t.Fatal(err)
	}
	return control.Redial(ctx, u.ask)
}

func (b *bench) wantLogins(h *testbed.Host, logins, codes int) {
	b.t.Helper()
	n, err := h.CodeCount(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	if l := b.logins(h); l != logins || n != codes {
		b.t.Errorf("%d logins and %d codes at %s, want %d and %d", l, n, h.Name, logins, codes)
	}
}

// detach cuts the head off the network until its site is detached.
func (b *bench) detach(x *live, h *testbed.Host) {
	b.t.Helper()
	b.cut(h)
	s := x.await("site head: detached, with the cure", time.Minute, func(e launcher.Event) bool {
		s, ok := e.Data.(launcher.SiteChanged)
		return ok && s.Site == "head" && s.State == "detached" && strings.Contains(s.Error, "zorilla attach "+x.name)
	}).Data.(launcher.SiteChanged)
	b.t.Logf("site head: detached: %s", s.Error)
}

// TestDetached cuts the network to a host whose login takes a code, for ten minutes
// with ZORILLA_CUT=10m. The job there finishes meanwhile. Nobody is asked and nothing
// is dialled until somebody attaches, who types one code; then all output comes home.
func TestDetached(t *testing.T) {
	b, h := guarded(t, testbed.Factor{})
	length := 3 * time.Second
	if text := os.Getenv(cutEnv); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	u := &typist{code: "123456"}
	x := b.start(launcher.Job{App: b.script(counting), Workers: 2}, fmt.Sprintf("[site.head]\nurl = %q\nslots = 2\n", b.url(h)),
		func(o *launcher.Options) {
			impatient(length + 2*time.Minute)(o)
			o.Ask = u.ask
		})
	x.running(2)
	b.wantLogins(h, 1, 1)
	cut := time.Now()
	b.detach(x, h)
	b.openGates(h) // the workers end while nobody can reach them
	early := &typist{code: "123456"}
	impatience, enough := context.WithTimeout(t.Context(), time.Second)
	defer enough()
	if err := b.attachFor(impatience, x, early); !errors.Is(err, context.DeadlineExceeded) || len(early.questions()) != 0 {
		t.Errorf("attached to a host that is cut off: %v, asked %q", err, early.questions())
	}
	<-time.After(time.Until(cut.Add(length)))
	b.restore(h)
	<-time.After(3 * time.Second) // time enough to dial silently
	b.wantLogins(h, 1, 1)
	if n := len(u.questions()); n != 1 {
		t.Errorf("asked %q before anybody attached, want one question", u.questions())
	}

	t.Logf("cut for %v", time.Since(cut))
	at := &typist{code: "123456"}
	began := time.Now()
	if err := b.attachTo(x, at); err != nil {
		t.Fatalf("attach: %v", err)
	}
	r := x.end(30 * time.Second)
	t.Logf("over %v after attach", time.Since(began))
	wantOK(t, r)
	b.wantCounted(r, 2)
	if n := x.again(); n != 0 {
		t.Errorf("%d attempts beyond the first, want none", n)
	}
	if len(u.questions()) != 1 || len(at.questions()) != 1 || !strings.Contains(at.questions()[0], "head: (alice@") {
		t.Errorf("asked %q at first and %q at the attach, want one question each", u.questions(), at.questions())
	}
	b.wantLogins(h, 2, 2)
	b.clean(x.name)
}

// cutWay ends the logins to a host and lets no others in; its other connections stay.
func (b *bench) cutWay(h *testbed.Host) {
	b.t.Helper()
	onHost(b.t, h, `nft add table inet cut && nft 'add chain inet cut in { type filter hook input priority 0; }' && nft add rule inet cut in tcp dport 22 drop`)
	b.exec(h, "pkill", "-KILL", "-f", "^sshd: alice")
}

func (b *bench) restoreWay(h *testbed.Host) {
	b.t.Helper()
	onHost(b.t, h, "nft delete table inet cut")
}

// TestDetachedCluster loses the login to a cluster with a queueing system. Nobody asks
// its scheduler meanwhile; the jobs in its queue are not given up.
func TestDetachedCluster(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	c := testbed.Clusters(t, testbed.Spec{Name: "tulip", System: testbed.Slurm, Nodes: 2}).Clusters[0]
	if err := (testbed.Factor{Code: "123456"}).Install(t.Context(), c.Head); err != nil {
		t.Fatal(err)
	}
	b := newBenchIn(t, c.Net)
	u := &typist{code: "123456"}
	x := b.start(launcher.Job{App: b.script(counting), Workers: 2}, siteOf(c, ""), func(o *launcher.Options) {
		often(o)
		o.Lease = 2 * time.Minute
		o.Ask = u.ask
	})
	x.running(2)
	b.cutWay(c.Head)
	x.site("tulip", "detached", time.Minute)
	b.openGates()
	<-time.After(4 * time.Second) // the workers end while nobody can reach them; some polls would come
	b.restoreWay(c.Head)
	b.wantLogins(c.Head, 1, 1)
	at := time.Now()
	if err := b.attachTo(x, u); err != nil {
		t.Fatalf("attach: %v", err)
	}
	r := x.end(time.Minute)
	t.Logf("over %v after attach", time.Since(at))
	wantOK(t, r)
	b.wantCounted(r, 2)
	if n := x.again(); n != 0 {
		t.Errorf("%d attempts beyond the first, want none", n)
	}
	b.wantLogins(c.Head, 2, 2)
	b.closeGates()
	c.NoLeftovers(t)
	nothingHere(t, r.Run)
}

// TestDetachedHeadDies kills the hub on the head of a cluster that is detached: the way
// to it is cut, the network behind it is not. The pilots behind work on, whoever attaches
// gets another hub, and they find it.
func TestDetachedHeadDies(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	head := farm.Bastion
	if err := (testbed.Factor{Code: "123456"}).Install(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, farm)
	u := &typist{code: "123456"}
	x := b.start(launcher.Job{App: b.script(counting), Workers: 2}, fmt.Sprintf("[site.head]\nurl = %q\nhosts = [\"inner[1-2]\"]\nslots = 1\n", b.url(head)),
		func(o *launcher.Options) {
			impatient(2 * time.Minute)(o)
			o.Ask = u.ask
		})
	x.running(2)
	b.cutWay(head)
	x.site("head", "detached", time.Minute)
	b.exec(head, append([]string{"kill", "-KILL"}, b.agents(head, x.name, "hub")...)...)
	<-time.After(5 * time.Second) // the pilots miss it
	for _, h := range []*testbed.Host{farm.Inner1, farm.Inner2} {
		if len(b.agents(h, x.name, "pilot")) == 0 {
			t.Errorf("no pilot works on at %s", h.Name)
		}
	}
	b.restoreWay(head)
	at := time.Now()
	if err := b.attachTo(x, u); err != nil {
		t.Fatalf("attach: %v", err)
	}
	x.beyond(2, at, 60*time.Second)
	t.Logf("output comes again %v after attach", time.Since(at))
	b.openGates()
	r := x.end(30 * time.Second)
	wantOK(t, r)
	b.wantCounted(r, 2)
	if n := x.again(); n != 0 {
		t.Errorf("%d attempts beyond the first, want none", n)
	}
	if n := len(u.questions()); n != 2 {
		t.Errorf("asked %q, want one question at the start and one at the attach", u.questions())
	}
	b.wantLogins(head, 2, 2)
	b.clean(x.name)
}

// TestDetachedAtTheEnd ends a run whose site is detached. It names what brings order
// there, which asks for one code, however many hosts the site has.
func TestDetachedAtTheEnd(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	head := farm.Bastion
	if err := (testbed.Factor{Code: "123456"}).Install(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, farm)
	u := &typist{code: "123456"}
	x := b.start(launcher.Job{App: b.script(counting), Workers: 2}, fmt.Sprintf("[site.head]\nurl = %q\nhosts = [\"inner[1-2]\"]\nslots = 1\n", b.url(head)),
		func(o *launcher.Options) {
			impatient(2 * time.Minute)(o)
			o.Ask = u.ask
		})
	x.running(2)
	b.cutWay(head)
	x.site("head", "detached", time.Minute)
	close(x.now)
	r := x.end(40 * time.Second)
	if r.Outcome != launcher.OutcomeInterrupted {
		t.Errorf("outcome %q, error %v; want interrupted", r.Outcome, r.Err)
	}
	b.wantUnclean(x, r, "head")
	if n := len(u.questions()); n != 1 {
		t.Errorf("asked %q, want no question at the end", u.questions())
	}
	b.restoreWay(head)
	o := b.options("[site.none]\nurl = \"local:\"\n")
	report, err := launcher.GC(t.Context(), launcher.GCOptions{Runs: []string{r.Run}, State: o.State, Backends: o.Backends, Dial: o.Dial, Home: o.Home, Ask: u.ask})
	if err != nil || len(report.Runs) != 1 || len(report.Runs[0].Left) > 0 {
		t.Errorf("gc: %+v, %v", report, err)
	}
	if n := len(u.questions()); n != 2 {
		t.Errorf("asked %q, want one question of gc", u.questions())
	}
	b.wantLogins(head, 2, 2)
	b.clean(x.name)
}

// TestFactorRefused is what can go wrong with a code.
func TestFactorRefused(t *testing.T) {
	b, h := guarded(t, testbed.Factor{})
	for name, c := range map[string]struct {
		u     *typist
		asked int
		says  []string
	}{
		"wrong":          {&typist{code: "0"}, 6, []string{"permission denied: 6 answers were not accepted", "some servers lock an account"}},
		"no terminal":    {&typist{err: errors.New("there is no terminal to ask on")}, 1, []string{"there is no terminal to ask on", "openssh://", "ControlMaster", "type the command in a terminal"}},
		"nobody answers": {&typist{}, 0, []string{"nobody answered within 2s", "start again"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBenchIn(t, b.net)
			b.fails(bad{site: badURL(b.url(h)), says: c.says, change: func(o *launcher.Options) {
				o.Ask = c.u.ask
				if c.asked == 0 {
					o.AskTimeout = 2 * time.Second
					o.Ask = func(ctx context.Context, _, _ string, _ bool) (string, error) {
						<-ctx.Done()
						return "", ctx.Err()
					}
				}
			}})
			if n := len(c.u.questions()); n != c.asked {
				t.Errorf("asked %q, want %d questions", c.u.questions(), c.asked)
			}
			h.NoLeftovers(t)
		})
	}
	t.Run("nobody is there", func(t *testing.T) {
		b := newBenchIn(t, b.net)
		b.fails(bad{site: badURL(b.url(h)), says: []string{"nobody can be asked", "openssh://"}})
	})
}

func TestFactorExpired(t *testing.T) {
	b, h := guarded(t, testbed.Factor{Expired: true})
	u := &typist{code: "123456"}
	b.fails(bad{site: badURL(b.url(h)), says: []string{"the password has expired: the server asks for a new one", "log in with ssh in a terminal"},
		change: func(o *launcher.Options) { o.Ask = u.ask }})
	if n := len(u.questions()); n != 1 {
		t.Errorf("asked %q, want the code only", u.questions())
	}
}

// TestUnansweredHoldsNobodyUp: while a question waits, other sites work and the job ends.
func TestUnansweredHoldsNobodyUp(t *testing.T) {
	b, h := guarded(t, testbed.Factor{})
	var mu sync.Mutex
	var withdrawn []error
	began := time.Now()
	r, _ := b.run(launcher.Job{App: b.script("uname -n\n"), Workers: 1},
		fmt.Sprintf("[site.head]\nurl = %q\n[site.plain]\nurl = %q\nslots = 1\n", b.url(h), b.url(b.host("plain"))),
		func(o *launcher.Options) {
			o.Ask = func(ctx context.Context, _, _ string, _ bool) (string, error) {
				<-ctx.Done()
				mu.Lock()
				defer mu.Unlock()
				withdrawn = append(withdrawn, ctx.Err())
				return "", ctx.Err()
			}
		})
	wantOK(t, r)
	if got := b.stdout(r, 0); got != "plain\n" {
		t.Errorf("ran on %q, want plain", got)
	}
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("the run took %v", d)
	}
	if len(withdrawn) != 1 {
		t.Errorf("%d questions were withdrawn at the end, want one", len(withdrawn))
	}
	b.wantLogins(h, 0, 0)
	b.net.NoLeftovers(t)
}

// TestInterruptedQuestion ends a run, as Ctrl-C does, while it asks.
func TestInterruptedQuestion(t *testing.T) {
	b, h := guarded(t, testbed.Factor{})
	asked, withdrawn := make(chan struct{}), make(chan struct{})
	x := b.start(launcher.Job{App: b.script("echo never\n"), Workers: 1}, fmt.Sprintf("[site.head]\nurl = %q\n", b.url(h)),
		func(o *launcher.Options) {
			o.Ask = func(ctx context.Context, _, _ string, _ bool) (string, error) {
				close(asked)
				<-ctx.Done()
				close(withdrawn)
				return "", ctx.Err()
			}
		})
	<-asked
	at := time.Now()
	close(x.graceful)
	r := x.end(20 * time.Second)
	<-withdrawn
	t.Logf("over %v after the interrupt", time.Since(at))
	if r.Outcome != launcher.OutcomeInterrupted || r.Exit != launcher.ExitInterrupted {
		t.Errorf("outcome %q, exit %d, error %v; want interrupted", r.Outcome, r.Exit, r.Err)
	}
	b.wantLogins(h, 0, 0)
	b.clean(x.name)
}
