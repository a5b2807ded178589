package detect_test

import (
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/detect"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

func id(n int) (id wire.NodeID) {
	id[0], id[1], id[2], id[15] = byte(n*67), byte(n>>8), byte(n), 1
	return id
}

// alone returns a hub with a launcher, another hub and some pilots on links,
// and drives it for a while.
func alone(pilots int) *detect.Detector {
	d := detect.New(detect.Config{ID: id(1), Role: wire.RoleHub, Site: "a"}, 0)
	d.Join(0, detect.Member{ID: id(2), Role: wire.RoleHub, Site: "b"})
	d.LinkUp(0, id(2), wire.RoleHub)
	for i := range pilots {
		d.Join(0, detect.Member{ID: id(10 + i), Role: wire.RolePilot, Site: "a", Home: id(1)})
		d.LinkUp(0, id(10+i), wire.RolePilot)
	}
	d.Ready()
	return d
}

// drive lets time pass, with ticks in time, while some nodes are heard. It
// returns all effects.
func drive(d *detect.Detector, now *time.Duration, until time.Duration, heard ...wire.NodeID) (all detect.Effects) {
	for {
		next := d.Next()
		if next > until {
			*now = until
			return all
		}
		*now = next
		d.Tick(next)
		for _, h := range heard {
			d.Heard(next, h)
		}
		fx := d.Ready()
		all.Sends = append(all.Sends, fx.Sends...)
		all.Suspected = append(all.Suspected, fx.Suspected...)
		all.Refuted = append(all.Refuted, fx.Refuted...)
		all.Deaths = append(all.Deaths, fx.Deaths...)
		all.Condemned = all.Condemned || fx.Condemned
	}
}

// TestOwnLateness holds that a node which did not run blames nobody for it,
// and thinks less of itself.
func TestOwnLateness(t *testing.T) {
	t.Parallel()
	for _, messagesFirst := range []bool{false, true} {
		d := alone(10)
		var now time.Duration
		drive(d, &now, 5*time.Second, id(2), id(10), id(11), id(12), id(13), id(14), id(15), id(16), id(17), id(18), id(19))
		before := d.Stats()
		for _, pause := range []time.Duration{9 * time.Second, time.Minute, 5 * time.Hour} {
			now += pause
			if messagesFirst {
				d.Heard(now, id(10))
			}
			d.Tick(now)
			if fx := d.Ready(); len(fx.Suspected)+len(fx.Deaths) > 0 {
				t.Errorf("after %v in which it did not run it suspects %d, and buries %d", pause, len(fx.Suspected), len(fx.Deaths))
			}
		}
		if d.Stats().Late != before.Late+3 || d.Health() == 0 {
			t.Errorf("it was late %d times, health %d; want 3, and not 0", d.Stats().Late-before.Late, d.Health())
		}
		// It gets well, and sees again who is silent.
		fx := drive(d, &now, now+40*time.Second, id(2), id(10))
		if d.Health() != 0 {
			t.Errorf("health %d after 40 seconds without a fault", d.Health())
		}
		if len(fx.Deaths) != 1 || len(fx.Deaths[0].Nodes) != 9 {
			t.Errorf("deaths %v, want one batch of the 9 that are silent", fx.Deaths)
		}
	}
}

// TestHealthSlows holds that the worse a node's health, the longer it takes to suspect.
func TestHealthSlows(t *testing.T) {
	t.Parallel()
	took := func(late int) time.Duration {
		d := alone(1)
		var now time.Duration
		for range late {
			now = d.Next() + 300*time.Millisecond
			d.Tick(now)
		}
		d.Heard(now, id(10))
		from := now
		for len(drive(d, &now, now+100*time.Millisecond, id(2)).Suspected) == 0 {
		}
		return now - from
	}
	if well, ill := took(0), took(8); ill < well+time.Second {
		t.Errorf("a node that is well suspects after %v, one that is not after %v", well, ill)
	}
}

// TestRefute holds what clears a suspicion, and what does not.
func TestRefute(t *testing.T) {
	t.Parallel()
	suspected := func() (*detect.Detector, *time.Duration) {
		d := alone(2)
		now := new(time.Duration)
		d.LinkDown(0, id(10))
		fx := drive(d, now, 500*time.Millisecond, id(2), id(11))
		if len(fx.Suspected) != 1 {
			t.Fatalf("a link has ended, %v are suspected", fx.Suspected)
		}
		return d, now
	}
	for name, tt := range map[string]struct {
		do   func(d *detect.Detector, now time.Duration)
		dies bool
	}{
		"nothing":    {func(*detect.Detector, time.Duration) {}, true},
		"a new link": {func(d *detect.Detector, now time.Duration) { d.LinkUp(now, id(10), wire.RolePilot) }, false},
		"a beat that answers nothing": {func(d *detect.Detector, now time.Duration) {
			d.Receive(now, id(10), &wire.Beat{})
		}, true},
		"a wrong answer": {func(d *detect.Detector, now time.Duration) {
			d.Receive(now, id(10), &wire.Beat{Answer: 12345})
		}, true},
		"its own greater incarnation": {func(d *detect.Detector, now time.Duration) {
			d.Receive(now, id(10), &wire.Beat{Incarnation: 1})
		}, false},
		"a hub's word for it": {func(d *detect.Detector, now time.Duration) {
			d.Receive(now, id(2), &wire.Notices{List: []*wire.Notice{{Origin: id(2), Seq: 1, Clears: []wire.Subject{{ID: id(10), Incarnation: 1}}}}})
		}, false},
		"a hub's old word for it": {func(d *detect.Detector, now time.Duration) {
			d.Receive(now, id(2), &wire.Notices{List: []*wire.Notice{{Origin: id(2), Seq: 1, Clears: []wire.Subject{{ID: id(10)}}}}})
		}, true},
		"a pilot's notice": {func(d *detect.Detector, now time.Duration) {
			d.Receive(now, id(11), &wire.Notices{List: []*wire.Notice{{Origin: id(2), Seq: 1, Clears: []wire.Subject{{ID: id(10), Incarnation: 1}}}}})
		}, true},
		"a finding that was not asked for": {func(d *detect.Detector, now time.Duration) {
			d.Receive(now, id(11), &wire.Finding{Seq: 4711, Alive: []wire.Subject{{ID: id(10), Incarnation: 1}}})
		}, true},
	} {
		d, now := suspected()
		tt.do(d, *now)
		fx := drive(d, now, *now+4*time.Second, id(2), id(11))
		if dies := len(fx.Deaths) > 0; dies != tt.dies {
			t.Errorf("%s: dead %t, want %t", name, dies, tt.dies)
		}
	}
}

// TestForeignDeaths holds whose word on deaths is taken.
func TestForeignDeaths(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		from   wire.NodeID
		notice wire.Notice
		want   int
	}{
		"a pilot of another hub":         {id(2), wire.Notice{Origin: id(2), Dead: []wire.NodeID{id(30)}}, 1},
		"one that nobody knows":          {id(2), wire.Notice{Origin: id(2), Dead: []wire.NodeID{id(99)}}, 1},
		"a pilot of a third hub":         {id(2), wire.Notice{Origin: id(2), Dead: []wire.NodeID{id(31)}}, 0},
		"this hub's own pilot":           {id(2), wire.Notice{Origin: id(2), Dead: []wire.NodeID{id(10)}}, 0},
		"a hub that nobody accused":      {id(2), wire.Notice{Origin: id(2), Dead: []wire.NodeID{id(3)}}, 0},
		"a hub that others accused":      {id(2), wire.Notice{Origin: id(2), Dead: []wire.NodeID{id(3)}, By: []wire.NodeID{id(2), id(4)}}, 1},
		"of a node that nobody knows":    {id(2), wire.Notice{Origin: id(77), Dead: []wire.NodeID{id(30)}}, 0},
		"told by a pilot":                {id(10), wire.Notice{Origin: id(2), Dead: []wire.NodeID{id(30)}}, 0},
		"told by one without a link":     {id(3), wire.Notice{Origin: id(2), Dead: []wire.NodeID{id(30)}}, 0},
		"a launcher, who cannot be dead": {id(2), wire.Notice{Origin: id(2), Dead: []wire.NodeID{id(5)}, By: []wire.NodeID{id(2)}}, 0},
	} {
		d := alone(1)
		d.Join(0, detect.Member{ID: id(3), Role: wire.RoleHub, Site: "c"})
		d.Join(0, detect.Member{ID: id(4), Role: wire.RoleHub, Site: "d"})
		d.Join(0, detect.Member{ID: id(5), Role: wire.RoleLauncher})
		d.Join(0, detect.Member{ID: id(30), Role: wire.RolePilot, Site: "b", Home: id(2)})
		d.Join(0, detect.Member{ID: id(31), Role: wire.RolePilot, Site: "c", Home: id(3)})
		tt.notice.Seq, tt.notice.Reason = 1, "so I say"
		for range 3 {
			d.Receive(10, tt.from, &wire.Notices{List: []*wire.Notice{&tt.notice}})
		}
		got := 0
		for _, b := range d.Ready().Deaths {
			got += len(b.Nodes)
		}
		if got != tt.want {
			t.Errorf("%s: %d dead, want %d", name, got, tt.want)
		}
	}
}

// TestCondemned holds that a node which others declared dead is told, by those who are asked to
// hear it only.
func TestCondemned(t *testing.T) {
	t.Parallel()
	hub := alone(1)
	var now time.Duration
	hub.LinkDown(0, id(10))
	if fx := drive(hub, &now, 6*time.Second, id(2)); len(fx.Deaths) != 1 {
		t.Fatalf("deaths: %v", fx.Deaths)
	}
	hub.LinkUp(now, id(10), wire.RolePilot)
	told := false
	for _, s := range hub.Ready().Sends {
		b, ok := s.Msg.(*wire.Beat)
		told = told || ok && b.Dead && s.To == id(10)
	}
	if !told {
		t.Error("a dead node that links again is not told")
	}

	p := detect.New(detect.Config{ID: id(10), Role: wire.RolePilot, Site: "a"}, 0)
	p.Join(0, detect.Member{ID: id(1), Role: wire.RoleHub, Site: "a"})
	p.LinkUp(0, id(11), wire.RolePilot)
	p.Receive(0, id(11), &wire.Beat{Dead: true})
	p.Receive(0, id(1), &wire.Beat{Dead: true}) // not over a link
	if p.Ready().Condemned {
		t.Error("anybody can condemn a pilot")
	}
	p.LinkUp(0, id(1), wire.RoleHub)
	p.Receive(0, id(1), &wire.Beat{Dead: true})
	if !p.Ready().Condemned {
		t.Error("a pilot's hub cannot condemn it")
	}

	hub.Join(now, detect.Member{ID: id(10), Role: wire.RolePilot, Site: "a", Home: id(1)})
	hub.Ready()
	hub.LinkUp(now, id(10), wire.RolePilot)
	for _, s := range hub.Ready().Sends {
		if b, ok := s.Msg.(*wire.Beat); ok && b.Dead {
			t.Error("one that has joined again is still told that it is dead")
		}
	}
}

// TestHostile holds that numbers and amounts that make no sense are survived
// and bounded.
func TestHostile(t *testing.T) {
	t.Parallel()
	d := alone(3)
	var now time.Duration
	d.Receive(0, id(2), &wire.Beat{Suspected: math.MaxUint32, Ask: math.MaxUint64})
	d.Receive(0, id(2), &wire.Notices{List: []*wire.Notice{{Origin: id(2), Seq: 1 << 62, Suspects: []wire.Subject{{ID: id(1), Incarnation: math.MaxUint32}}}}})
	d.Receive(0, id(10), &wire.Beat{Incarnation: math.MaxUint32, Answer: math.MaxUint64})
	for _, s := range d.Ready().Sends {
		if b, ok := s.Msg.(*wire.Beat); ok && b.Incarnation > 10_000 {
			t.Errorf("incarnation %d after one lie", b.Incarnation)
		}
	}
	var many []wire.Subject
	for i := range wire.MaxSubjects {
		many = append(many, wire.Subject{ID: id(1000 + i)})
	}
	for i := range 2000 {
		d.Receive(now, id(2), &wire.Notices{List: []*wire.Notice{{Origin: id(2), Seq: uint64(i + 1), Suspects: many}}})
		d.Receive(now, id(2), &wire.Inquiry{Seq: uint64(i), Subjects: many[:wire.MaxInquired]})
		if sends := len(d.Ready().Sends); sends > wire.MaxInquired+8 {
			t.Fatalf("%d messages come of one", sends)
		}
	}
	fx := drive(d, &now, 10*time.Second, id(2), id(10), id(11), id(12))
	if len(fx.Deaths) > 0 {
		t.Errorf("deaths out of nothing: %v", fx.Deaths)
	}
	for _, s := range fx.Sends {
		if _, err := wire.Decode(wire.Encode(s.Msg)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSmall holds what a node's part costs in memory.
func TestSmall(t *testing.T) {
	var before, after runtime.MemStats
	const nodes, each = 200, 50
	keep := make([]*detect.Detector, nodes)
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range keep {
		keep[i] = detect.New(detect.Config{ID: id(10), Role: wire.RolePilot, Site: "a"}, 0)
		for h := range 2 {
			keep[i].Join(0, detect.Member{ID: id(h), Role: wire.RoleHub, Site: "a"})
			keep[i].LinkUp(0, id(h), wire.RoleHub)
		}
		var now time.Duration
		drive(keep[i], &now, 5*time.Second, id(0), id(1))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	pilot := (after.HeapAlloc - before.HeapAlloc) / nodes
	before = after
	for i := range keep {
		keep[i] = alone(each)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	hub := (int64(after.HeapAlloc) - int64(before.HeapAlloc) + int64(pilot)*nodes) / nodes / each
	t.Logf("a pilot: %d bytes; a hub: %d bytes for each of its %d pilots", pilot, hub, each)
	if pilot > 2<<10 || hub > 1<<10 {
		t.Error("want at most 2 KiB for a pilot, and 1 KiB for each pilot of a hub")
	}
	runtime.KeepAlive(keep)
}

// BenchmarkIdlePilot is one second of a pilot's life: beats to two hubs and
// from them, and 48 links to other pilots.
func BenchmarkIdlePilot(b *testing.B) {
	d := detect.New(detect.Config{ID: id(1000), Role: wire.RolePilot, Site: "a"}, 0)
	for i := range 50 {
		role := wire.RolePilot
		if i < 2 {
			role = wire.RoleHub
			d.Join(0, detect.Member{ID: id(i), Role: role, Site: "a"})
		}
		d.LinkUp(0, id(i), role)
	}
	var now time.Duration
	for b.Loop() {
		drive(d, &now, now+time.Second, id(0), id(1))
	}
}

// BenchmarkHub is one second of a hub's with 500 pilots that all beat.
func BenchmarkHub(b *testing.B) {
	d := alone(500)
	beat := new(wire.Beat)
	var now time.Duration
	for b.Loop() {
		end := now + time.Second
		for now < end {
			drive(d, &now, min(now+400*time.Millisecond, end), id(2))
			for i := range 500 {
				d.Receive(now, id(10+i), beat)
			}
			d.Ready()
		}
	}
}

// TestUsedToPauses holds that a node which was silent for long before it came
// back gets more time when its connection ends.
func TestUsedToPauses(t *testing.T) {
	t.Parallel()
	took := func(pause time.Duration) time.Duration {
		d := alone(2)
		var now time.Duration
		drive(d, &now, 5*time.Second, id(2), id(10), id(11))
		drive(d, &now, now+pause, id(2), id(11))
		d.Heard(now, id(10))
		from := now
		d.LinkDown(now, id(10))
		for len(drive(d, &now, now+100*time.Millisecond, id(2), id(11)).Deaths) == 0 {
		}
		return now - from
	}
	if steady, pausing := took(0), took(7*time.Second); steady > 4500*time.Millisecond || pausing < 8*time.Second || pausing > 10*time.Second {
		t.Errorf("a node that was never silent is given %v, one that was for 7 s %v", steady, pausing)
	}
}

// TestSaysThatItLives holds that a pilot that was away for long says so more
// than once.
func TestSaysThatItLives(t *testing.T) {
	t.Parallel()
	d := detect.New(detect.Config{ID: id(10), Role: wire.RolePilot, Site: "a"}, 0)
	d.Join(0, detect.Member{ID: id(1), Role: wire.RoleHub, Site: "a"})
	d.LinkUp(0, id(1), wire.RoleHub)
	var now time.Duration
	drive(d, &now, 5*time.Second, id(1))
	now += 8 * time.Second
	d.Tick(now)
	beats := len(d.Ready().Sends) + len(drive(d, &now, now+250*time.Millisecond, id(1)).Sends)
	if beats < 3 {
		t.Errorf("%d beats in 250 ms after 8 s of silence, want 3", beats)
	}
}

// TestOneChange holds that what dies within a moment is decided at once, and
// not what dies later.
func TestOneChange(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		apart   time.Duration
		batches int
	}{{0, 1}, {300 * time.Millisecond, 1}, {3 * time.Second, 2}} {
		d := alone(4)
		var now time.Duration
		d.LinkDown(0, id(10))
		drive(d, &now, tt.apart, id(2), id(11), id(12), id(13))
		d.LinkDown(now, id(11))
		fx := drive(d, &now, now+8*time.Second, id(2), id(12), id(13))
		if len(fx.Deaths) != tt.batches {
			t.Errorf("two nodes that die %v apart are %d changes, want %d", tt.apart, len(fx.Deaths), tt.batches)
		}
		decisions := make(map[uint64]bool) // notices are sent until they are acknowledged
		for _, s := range fx.Sends {
			if m, ok := s.Msg.(*wire.Notices); ok {
				for _, n := range m.List {
					if len(n.Dead) > 0 {
						decisions[n.Seq] = true
					}
				}
			}
		}
		if len(decisions) != tt.batches {
			t.Errorf("two nodes that die %v apart are %d decisions, want %d", tt.apart, len(decisions), tt.batches)
		}
	}
}

// FuzzReceive holds that no message makes a detector panic, declare its own
// pilots dead, or say what cannot be encoded.
func FuzzReceive(f *testing.F) {
	for _, m := range []wire.Message{
		&wire.Beat{Incarnation: 3, Ask: 4, Answer: 5, Suspected: 6, Dead: true, Health: 7},
		&wire.Inquiry{Seq: 1, Subjects: []wire.Subject{{ID: id(1)}, {ID: id(11)}, {ID: id(12), Incarnation: 9}}},
		&wire.Finding{Seq: 1, Alive: []wire.Subject{{ID: id(10), Incarnation: 2}}, Silent: []wire.NodeID{id(11)}},
		&wire.Notices{List: []*wire.Notice{{Origin: id(2), Seq: 3, Suspects: []wire.Subject{{ID: id(1)}, {ID: id(10)}},
			Accuses: []wire.NodeID{id(2)}, Dead: []wire.NodeID{id(2), id(10), id(1)}, By: []wire.NodeID{id(2)}}}},
	} {
		f.Add(wire.Encode(m), uint8(0), uint8(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, from, seconds uint8) {
		m, err := wire.Decode(b)
		if err != nil {
			return
		}
		d := alone(3)
		var now time.Duration
		sender := id(2)
		if from%2 == 1 {
			sender = id(11)
		}
		d.LinkDown(0, id(10))
		d.LinkUp(0, id(10), wire.RolePilot)
		for range 3 {
			d.Receive(now, sender, m)
			fx := drive(d, &now, now+time.Duration(seconds%4)*time.Second, id(2), id(10), id(11), id(12))
			for _, s := range fx.Sends {
				wire.Encode(s.Msg)
			}
			for _, dead := range fx.Deaths {
				for _, own := range []int{10, 11, 12} {
					if slices.Contains(dead.Nodes, id(own)) {
						t.Fatalf("%v is declared dead", own)
					}
				}
			}
		}
	})
}
