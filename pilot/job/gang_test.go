package job_test

import (
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// These tests hold, among others, that what went wrong in the original's
// co-allocation does not here: reservations without end, slots that leak when a
// gang fails, surplus registrants that are kept, a set in hash order, calls of
// nodes taken for dead, recovery after minutes.

func node(i int) wire.NodeID { return wire.NodeID{7, byte(i >> 8), byte(i)} }

// gather makes a gang's primary, which has said that it looks for workers.
func gather(t *testing.T, s job.Spec) (*job.Primary, *job.Effects) {
	t.Helper()
	p, err := job.NewPrimary(0, s, self, 1)
	if err != nil {
		t.Fatal(err)
	}
	fx := new(job.Effects)
	p.Tick(0, fx)
	return p, fx
}

func claim(p *job.Primary, now time.Duration, from int, workers uint32, fx *job.Effects) {
	p.Claim(now, node(from), "site", &wire.Claim{Job: id, Epoch: 1, Seq: 1, Workers: workers, Hubs: []wire.NodeID{hub(from)}}, fx)
}

// hub is where a node is: ten of them at each.
func hub(node int) wire.NodeID { return wire.NodeID{8, byte(node / 10)} }

// sent counts messages by kind.
func sent(fx *job.Effects) map[wire.Kind]int {
	n := make(map[wire.Kind]int)
	for _, s := range fx.Sends {
		n[s.Msg.Kind()]++
	}
	return n
}

// TestGangWait: a gang that does not become complete lets go of everything, in time.
func TestGangWait(t *testing.T) {
	s := spec(8)
	s.GangWait = time.Minute
	p, fx := gather(t, s)
	for i := range 5 {
		claim(p, time.Duration(i)*time.Second, i, 1, fx)
	}
	if n := sent(fx); n[wire.KindHold] != 5 || p.Counts().Held != 5 {
		t.Fatalf("%d held, messages %v", p.Counts().Held, n)
	}
	*fx = job.Effects{}
	for now := 5 * time.Second; now < 61*time.Second; now = max(now+1, p.Next()) {
		p.Tick(now, fx)
	}
	if n := sent(fx); n[wire.KindRefuse] != 5 || p.Counts().Held != 0 {
		t.Errorf("after the longest wait %d are held, messages %v; want all five refused", p.Counts().Held, n)
	}
	if d := fx.Dispersed; d == nil || *d != (job.Dispersed{Held: 5, Missing: 3, Waited: time.Minute, Pause: 15 * time.Second}) {
		t.Errorf("it is told that the gang dispersed: %+v", d)
	}
	if w := p.Wanted(61 * time.Second); w != 0 {
		t.Errorf("it looks for %d again at once; others should have a chance", w)
	}
	if idle := p.Counts().Idle.Round(time.Second); idle != (60+59+58+57+56)*time.Second {
		t.Errorf("slots were idle for %v in all, want 4m50s", idle)
	}
}

// TestIdleCores: what is held idle is counted in cores, as many as a worker
// takes on the pilot that holds them.
func TestIdleCores(t *testing.T) {
	p, fx := gather(t, spec(8))
	p.Weigh(func(n wire.NodeID) int {
		if n == node(1) {
			return 16
		}
		return 2
	})
	claim(p, 0, 1, 2, fx)
	claim(p, 10*time.Second, 2, 1, fx)
	p.PilotDown(20*time.Second, node(1), "gone", fx)
	p.Release(25*time.Second, node(2), &wire.Release{Job: id, Epoch: 1, Seq: 1}, fx)
	p.PilotDown(99*time.Second, node(2), "gone", fx)
	if got, want := p.Counts().Idle, (20*32+15*2)*time.Second; got != time.Duration(want) {
		t.Errorf("cores were idle for %v in all, want %v", got, time.Duration(want))
	}
}

// TestWalltimeShrinks: the later a worker is asked for, the less it may need.
func TestWalltimeShrinks(t *testing.T) {
	s := spec(1)
	s.Needs.Walltime = time.Hour
	p, err := job.NewPrimary(time.Minute, s, self, 1)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Duration]time.Duration{time.Minute: time.Hour, 31 * time.Minute: 30 * time.Minute, 3 * time.Hour: time.Second} {
		fx := new(job.Effects)
		p.Advertise(at, fx)
		if len(fx.Adverts) != 1 || fx.Adverts[0].Needs.Walltime != want {
			t.Errorf("after %v the adverts are %+v, want one for %v", at-time.Minute, fx.Adverts, want)
		}
	}
}

// TestSurplus: of the claims that were invited beyond its size a gang takes those
// that are close together, whoever came first, and refuses the others.
func TestSurplus(t *testing.T) {
	p, fx := gather(t, spec(20))
	p.Locate(func(h wire.NodeID, site string) flood.Place {
		return flood.Place{Hub: h, Coordinate: &wire.Coordinate{Position: wire.Position{float32(h[1]) * 50}, Error: 0.1}}
	})
	p.Invite(2)
	claim(p, 0, 90, 1, fx) // from far away
	claim(p, 0, 91, 1, fx)
	for i := range 20 {
		claim(p, time.Millisecond, i, 1, fx)
	}
	n := sent(fx)
	if n[wire.KindGrant] != 20 || n[wire.KindRefuse] != 2 || n[wire.KindHold] != 0 {
		t.Fatalf("messages %v, want 20 grants, 2 refusals, no hold", n)
	}
	for _, s := range fx.Sends {
		if far := s.To == node(90) || s.To == node(91); far != (s.Msg.Kind() == wire.KindRefuse) {
			t.Errorf("%T to %s", s.Msg, s.To.Short())
		}
	}
	*fx = job.Effects{}
	claim(p, time.Second, 50, 1, fx)
	if n := sent(fx); n[wire.KindRefuse] != 1 {
		t.Errorf("a claim too many is answered with %v, want a refusal", n)
	}
}

// TestInvitedWait: an invited gang that lacks some of what was asked for starts
// with what it needs, and tells those who wait.
func TestInvitedWait(t *testing.T) {
	p, fx := gather(t, spec(10))
	p.Invite(1)
	for i := range 9 {
		claim(p, 0, i, 1, fx)
	}
	if n := sent(fx); len(n) != 0 {
		t.Errorf("a gang that is gathering fast sends %v", n)
	}
	p.Tick(p.Next(), fx)
	if n := sent(fx); n[wire.KindHold] != 9 {
		t.Errorf("after a while it sends %v, want a hold to each", n)
	}
	*fx = job.Effects{}
	now := 600 * time.Millisecond
	claim(p, now, 9, 1, fx)
	if n := sent(fx); n[wire.KindGrant] != 0 {
		t.Errorf("the last one needed comes: %v; want a moment's wait for one that is nearer", n)
	}
	p.Tick(now+time.Second, fx)
	if n := sent(fx); n[wire.KindGrant] != 10 {
		t.Errorf("nobody else comes: %v, want grants", n)
	}
}

// TestWound: a held slot that an older job wants is given up when the primary
// says so; a gang that is complete is not torn apart.
func TestWound(t *testing.T) {
	p, fx := gather(t, spec(3))
	claim(p, 0, 1, 1, fx)
	claim(p, 0, 2, 1, fx)
	*fx = job.Effects{}
	ask := &wire.Release{Job: id, Epoch: 1, Seq: 1, Ask: true}
	p.Release(time.Second, node(1), ask, fx)
	if n := sent(fx); n[wire.KindRefuse] != 1 || p.Counts().Held != 1 {
		t.Errorf("a wounded claim: %v, %d held; want it refused", n, p.Counts().Held)
	}
	if p.Next() < time.Second+900*time.Millisecond && p.Wanted(time.Second) > 0 {
		p.Tick(p.Next(), fx)
		if len(fx.Adverts) > 0 {
			t.Error("a wounded gang looks for other slots at once")
		}
	}
	claim(p, 2*time.Second, 3, 2, fx)
	*fx = job.Effects{}
	p.Release(2*time.Second, node(2), ask, fx)
	if n := sent(fx); len(n) != 0 || p.Counts().Live != 3 {
		t.Errorf("a claim that was granted meanwhile: %v, %d live; want the grant to hold", n, p.Counts().Live)
	}
	p.Release(3*time.Second, node(9), ask, fx) // of nobody we know
}

// TestManyDeaths: many deaths are one change, and one advert, at once, asks for
// all of them.
func TestManyDeaths(t *testing.T) {
	p, fx := gather(t, spec(40))
	for i := range 40 {
		claim(p, time.Second, i, 1, fx)
	}
	p.Tick(2*time.Second, fx)
	*fx = job.Effects{}
	var dead []wire.NodeID
	for i := range 11 {
		dead = append(dead, node(3*i))
	}
	p.PilotsDown(time.Minute, append(dead, node(1000)), "the cluster is gone", fx)
	if c := p.Counts(); c.Live != 29 || c.Open != 11 || len(fx.Updates) != 11 {
		t.Errorf("%+v, %d updates", c, len(fx.Updates))
	}
	if p.Next() > time.Minute+time.Second {
		t.Errorf("the next advert comes at %v", p.Next())
	}
	p.Tick(time.Minute+time.Second, fx)
	if len(fx.Adverts) != 1 || fx.Adverts[0].Open != 11 {
		t.Errorf("adverts %+v, want one for 11 workers", fx.Adverts)
	}
}

// TestDeadCalls: a node that was taken for dead may call again.
func TestDeadCalls(t *testing.T) {
	p, fx := gather(t, spec(2))
	claim(p, 0, 1, 2, fx)
	p.PilotDown(time.Second, node(1), "nothing heard", fx)
	p.PilotDown(time.Second, node(1), "nothing heard", fx)
	*fx = job.Effects{}
	p.Ack(2*time.Second, node(1), &wire.Ack{Job: id, Of: wire.KindRenew, Before: 9}, fx)
	p.Release(2*time.Second, node(1), &wire.Release{Job: id, Seq: 9, All: true}, fx)
	p.Report(2*time.Second, node(1), &wire.Report{Job: id, Seq: 1, Workers: []wire.Status{status(0, 1, wire.Exit{})}}, fx)
	if n := sent(fx); n[wire.KindStop] != 1 {
		t.Errorf("its old worker: %v, want a stop", n)
	}
	p.Claim(3*time.Second, node(1), "site", &wire.Claim{Job: id, Epoch: 1, Seq: 2, Workers: 2}, fx)
	if n := sent(fx); n[wire.KindGrant] != 1 || p.Counts().Live != 2 {
		t.Errorf("its new claim: %v, want a grant", n)
	}
}

// TestDeaf: a pilot that claims slots it lacks, and talks without telling of what
// it was granted, is shunned; the job goes on with others.
func TestDeaf(t *testing.T) {
	p, fx := gather(t, spec(3))
	claim(p, 0, 1, wire.MaxSlots, fx)
	if c := p.Counts(); c.Live != 3 {
		t.Fatalf("%+v", c)
	}
	now := time.Second
	for ; now < 3*time.Minute && len(fx.Shunned) == 0; now += time.Second {
		p.Heard(now, node(1))
		p.Tick(now, fx)
	}
	if len(fx.Shunned) != 1 || p.Counts().Open != 3 {
		t.Fatalf("after %v: shunned %v, %+v", now, fx.Shunned, p.Counts())
	}
	*fx = job.Effects{}
	p.Claim(now, node(1), "site", &wire.Claim{Job: id, Epoch: 1, Seq: 2, Workers: 3}, fx)
	claim(p, now, 2, 3, fx)
	if n := sent(fx); n[wire.KindRefuse] != 1 || p.Counts().Live != 3 {
		t.Errorf("%v, %+v; want it refused and another one granted", n, p.Counts())
	}
}

// TestMalleable: a job starts with its minimum and grows.
func TestMalleable(t *testing.T) {
	s := spec(10)
	s.Min = 4
	p, fx := gather(t, s)
	claim(p, 0, 1, 3, fx)
	if n := sent(fx); n[wire.KindGrant] != 0 || n[wire.KindHold] != 1 {
		t.Errorf("below the minimum: %v", n)
	}
	claim(p, 0, 2, 2, fx)
	if c := p.Counts(); c.Live != 5 || c.Held != 0 {
		t.Errorf("at the minimum: %+v, want five to start", c)
	}
	claim(p, time.Second, 3, 9, fx)
	if c := p.Counts(); c.Live != 10 || c.Open != 0 {
		t.Errorf("later: %+v, want all", c)
	}
}
