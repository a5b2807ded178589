package core_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// met makes a node with links to peers that have said hello.
func met(t *testing.T, cfg core.Config, peers ...wire.Peer) *core.Node {
	t.Helper()
	n := core.New(cfg, time.Second)
	for _, p := range peers {
		n.LinkUp(time.Second, p)
		n.Receive(time.Second, p.ID, &wire.Hello{Version: wire.ProtocolVersion, Offer: p.Offer, Platform: "linux/amd64"})
		n.Receive(time.Second, p.ID, &wire.Welcome{})
	}
	n.Ready()
	return n
}

func jobNumber(i int) (id wire.JobID) {
	binary.BigEndian.PutUint64(id[:], uint64(i+1))
	return id
}

func blames(fx core.Effects) (n int) {
	for _, e := range fx.Events {
		if _, ok := e.(core.Misbehaved); ok {
			n++
		}
	}
	return n
}

func adverts(fx core.Effects, to string) (n int) {
	for _, s := range fx.Sends {
		if _, ok := s.Msg.(*wire.Advert); ok && s.To == nodeID(to) {
			n++
		}
	}
	return n
}

var (
	hubH   = wire.Peer{ID: nodeID("H"), Role: wire.RoleHub, Site: "s"}
	hubI   = wire.Peer{ID: nodeID("I"), Role: wire.RoleHub, Site: "t"}
	pilotA = wire.Peer{ID: nodeID("A"), Role: wire.RolePilot, Site: "s", Offer: wire.Offer{Slots: 2, Cores: 2}}
	pilotB = wire.Peer{ID: nodeID("B"), Role: wire.RolePilot, Site: "s", Offer: wire.Offer{Slots: 2, Cores: 2}}
)

// TestAdvertFlood: a pilot that floods adverts is bounded and told of once; the
// adverts of others still pass, and none is passed on twice.
func TestAdvertFlood(t *testing.T) {
	h := met(t, core.Config{ID: hubH.ID, Role: wire.RoleHub, Site: "s"}, hubI, pilotA, pilotB)
	now := 2 * time.Second
	for i := range 20_000 {
		h.Receive(now, pilotA.ID, &wire.Advert{Job: jobNumber(i), Epoch: 1, Seq: 1, Primary: pilotA.ID, Open: 1, Lease: time.Minute})
	}
	fx := h.Ready()
	if n := adverts(fx, "I"); n == 0 || n > 1000 {
		t.Errorf("%d adverts of 20,000 are passed on", n)
	}
	if n := blames(fx); n != 1 {
		t.Errorf("it is told of %d times, want once", n)
	}
	if st := h.Stats(now); st.Jobs > 256 {
		t.Errorf("%d jobs of one primary are kept", st.Jobs)
	}
	good := &wire.Advert{Job: jobNumber(50_000), Epoch: 1, Seq: 1, Primary: pilotB.ID, Open: 1, Lease: time.Minute}
	for range 5 {
		h.Receive(now, pilotB.ID, good)
		h.Receive(now, hubI.ID, good)
	}
	fx = h.Ready()
	if i, a := adverts(fx, "I"), adverts(fx, "A"); i != 1 || a != 1 {
		t.Errorf("another pilot's advert goes to the other hub %d times, to the other pilot %d times; want once each", i, a)
	}
}

// TestForgedAdvert: a pilot cannot advertise in another node's name.
func TestForgedAdvert(t *testing.T) {
	h := met(t, core.Config{ID: hubH.ID, Role: wire.RoleHub, Site: "s"}, hubI, pilotA, pilotB)
	for i := range 10 {
		h.Receive(2*time.Second, pilotA.ID, &wire.Advert{Job: jobNumber(i), Epoch: 9, Seq: 9, Primary: pilotB.ID, Open: 1, Lease: time.Minute})
	}
	fx := h.Ready()
	if adverts(fx, "I") != 0 || blames(fx) != 1 || h.Stats(2*time.Second).Jobs != 0 {
		t.Errorf("%d passed on, told of %d times, %d kept; want none, once, none", adverts(fx, "I"), blames(fx), h.Stats(2*time.Second).Jobs)
	}
}

// TestLyingHub: a hub that says to have slots which are not to be had costs a
// round, is told of once, and the job then finds others.
func TestLyingHub(t *testing.T) {
	l := met(t, core.Config{ID: nodeID("L"), Role: wire.RoleLauncher}, hubH, hubI)
	say := func(now time.Duration, hub wire.Peer, seq uint64, free uint32) {
		l.Receive(now, hub.ID, &wire.Tables{Rows: []wire.Row{{Table: &wire.Table{Hub: hub.ID, Site: hub.Site, Seq: seq, Pilots: free,
			Classes: []wire.Class{{Offer: wire.Offer{Slots: 1, Cores: 1}, Platform: "linux/amd64", Pilots: free, Slots: free}}}}}})
	}
	now := 2 * time.Second
	say(now, hubH, 1, 60_000)
	say(now, hubI, 1, 2)
	if err := l.Submit(now, job.Spec{ID: jobID("J"), Want: 4, Program: wire.Program{Argv: []string{"app"}}}); err != nil {
		t.Fatal(err)
	}
	fx := l.Ready()
	if adverts(fx, "H") != 1 || adverts(fx, "I") != 0 {
		t.Fatalf("asked: H %d times, I %d times; want H, which says to have it all", adverts(fx, "H"), adverts(fx, "I"))
	}
	blamed, open := 0, 0
	for now < 20*time.Second {
		now = max(l.Next(), now+1)
		l.Tick(now)
		fx := l.Ready()
		blamed += blames(fx)
		for _, s := range fx.Sends {
			if m, ok := s.Msg.(*wire.Advert); ok && s.To == hubI.ID && len(m.To) == 0 && m.Open == 4 {
				open++
			}
		}
	}
	if blamed != 1 || open == 0 {
		t.Errorf("told of the liar %d times, opened to the other hub %d times; want once, and at least once", blamed, open)
	}
	for i := range 3000 { // and it cannot fill the table either
		say(now, wire.Peer{ID: wire.NodeID{0xee, byte(i >> 8), byte(i)}, Site: "x"}, uint64(i+1), 1)
	}
	if l.Submit(now, job.Spec{ID: jobID("K"), Want: 1, Program: wire.Program{Argv: []string{"app"}}}) != nil {
		t.Error("the session does not go on")
	}
}

// TestFreeLies: what a pilot says to have free counts only as far as its offer goes.
func TestFreeLies(t *testing.T) {
	h := met(t, core.Config{ID: hubH.ID, Role: wire.RoleHub, Site: "s"}, hubI, pilotA)
	h.Receive(2*time.Second, pilotA.ID, &wire.Free{Seq: 1, Slots: wire.MaxSlots})
	h.Receive(2*time.Second, pilotA.ID, &wire.Tables{Rows: []wire.Row{{Table: &wire.Table{Hub: hubI.ID, Seq: 99, Pilots: 9}}}})
	var told uint32
	for now := 2 * time.Second; now < 6*time.Second; now = max(h.Next(), now+1) {
		h.Tick(now)
		for _, s := range h.Ready().Sends {
			if m, ok := s.Msg.(*wire.Tables); ok {
				for _, r := range m.Rows {
					if r.Table.Hub != hubH.ID {
						t.Error("it passes on a table that a pilot made up")
					}
					for _, c := range r.Table.Classes {
						told = max(told, c.Slots)
					}
				}
			}
		}
	}
	if told != 2 {
		t.Errorf("%d slots are told to be free, want the 2 that are offered", told)
	}
}

// TestStrayAdvert: an advert for others that cannot be brought there ends here.
func TestStrayAdvert(t *testing.T) {
	h := met(t, core.Config{ID: hubH.ID, Role: wire.RoleHub, Site: "s"}, hubI, pilotA)
	ad := &wire.Advert{Job: jobNumber(1), Epoch: 1, Seq: 1, Primary: nodeID("X"), Open: 1, Lease: time.Minute,
		To: []wire.Ask{{Node: nodeID("Z"), Workers: 1}, {Node: hubI.ID, Workers: 1}}, Hops: 3}
	h.Receive(2*time.Second, hubI.ID, ad) // back to where it came from, too
	ad = &wire.Advert{Job: jobNumber(2), Epoch: 1, Seq: 1, Primary: nodeID("X"), Open: 1, Lease: time.Minute, To: []wire.Ask{{Node: hubI.ID, Workers: 1}}}
	h.Receive(2*time.Second, pilotA.ID, ad)
	if n := len(h.Ready().Sends); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// TestLyingPilot: a pilot that claims slots which it does not offer gets as many
// as it offers, and as many again at most, however often it claims, and is told
// of once; the rest of the job goes to others.
func TestLyingPilot(t *testing.T) {
	l := met(t, core.Config{ID: nodeID("L"), Role: wire.RoleLauncher}, pilotA, pilotB)
	now := 2 * time.Second
	if err := l.Submit(now, job.Spec{ID: jobID("J"), Want: 8, Min: 1, Program: wire.Program{Argv: []string{"app"}}}); err != nil {
		t.Fatal(err)
	}
	l.Ready()
	blamed, granted := 0, make(map[wire.NodeID]map[uint32]bool)
	claim := func(p wire.Peer, seq uint64, workers uint32) {
		now += 100 * time.Millisecond
		l.Receive(now, p.ID, &wire.Claim{Job: jobID("J"), Epoch: 1, Seq: seq, Workers: workers})
		fx := l.Ready()
		blamed += blames(fx)
		for _, s := range fx.Sends {
			if g, ok := s.Msg.(*wire.Grant); ok {
				if granted[s.To] == nil {
					granted[s.To] = make(map[uint32]bool)
				}
				for _, w := range g.Workers {
					granted[s.To][w.Rank] = true
				}
			}
		}
	}
	for seq := range uint64(20) {
		claim(pilotA, seq+1, 4000)
	}
	claim(pilotB, 1, 1)
	claim(pilotB, 2, 1)
	if a, b := len(granted[pilotA.ID]), len(granted[pilotB.ID]); a > 4 || b != 2 {
		t.Errorf("granted %d to the liar and %d to the other one, want 4 at most, and 2", a, b)
	}
	if blamed != 1 {
		t.Errorf("told of %d times, want once", blamed)
	}
	if c, ok := l.Job(jobID("J")); !ok || c.Live < 4 || c.Live > 6 {
		t.Errorf("the job goes on with %+v, want no more than 6 workers", c)
	}
}
