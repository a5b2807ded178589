package testbed

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestLineRate(t *testing.T) {
	l := lineState{Line: Line{Delay: 10 * time.Millisecond, Rate: 8e6, Queue: 10000}} // 1 byte per microsecond
	chance := rand.New(rand.NewPCG(1, 1))
	now := time.Second // it has saved up 1000 bytes
	var last time.Duration
	passed := 0
	for range 20 {
		at, ok := l.pass(now, 1000, chance)
		if !ok {
			continue
		}
		passed++
		if at < last {
			t.Errorf("a packet arrives %v before the one sent earlier", last-at)
		}
		last = at
	}
	if passed != 11 || l.overflowed != 9 {
		t.Errorf("%d packets passed and %d did not, want what was saved up and a full queue, 11, and the other 9", passed, l.overflowed)
	}
	if want := now + 20*time.Millisecond; last != want {
		t.Errorf("the last arrives at %v, want %v", last, want)
	}
	if at, ok := l.pass(now+time.Second, 1000, chance); !ok || at != now+time.Second+10*time.Millisecond {
		t.Errorf("a packet on an idle line arrives at %v, %t", at, ok)
	}
}

func TestLineLoss(t *testing.T) {
	l := lineState{Line: Line{Delay: time.Second, Jitter: 100 * time.Millisecond, Loss: 0.1}}
	chance := rand.New(rand.NewPCG(2, 2))
	var last, least, most time.Duration
	least = time.Hour
	const n = 100000
	for i := range n {
		now := time.Duration(i) * time.Second
		at, ok := l.pass(now, 100, chance)
		if !ok {
			continue
		}
		if at < last {
			t.Fatalf("packet %d overtook another", i)
		}
		last, least, most = at, min(least, at-now), max(most, at-now)
	}
	if l.lost < 0.095*n || l.lost > 0.105*n || l.passed+l.lost != n {
		t.Errorf("%d of %d lost, want 10%%", l.lost, n)
	}
	if least < 900*time.Millisecond || least > 901*time.Millisecond || most > 1100*time.Millisecond || most < 1099*time.Millisecond {
		t.Errorf("packets took %v to %v, want 900 ms to 1.1 s", least, most)
	}
	l.cut = true
	if _, ok := l.pass(n*time.Second, 100, chance); ok {
		t.Error("a packet passed a line that is cut")
	}
}

// packetOf makes an IPv4 packet of n bytes.
func packetOf(r *router, from, to int, n int) *packet {
	p := r.get()
	p.data[0], p.size = 4<<4|5, n
	src, dst := publicAddr(from, 2).As4(), publicAddr(to, 2).As4()
	copy(p.data[sourceAt:], src[:])
	copy(p.data[destinationAt:], dst[:])
	return p
}

// Packets of two sites share the line of a third.
func TestRouterSharesLine(t *testing.T) {
	r := newRouter(3, 1)
	r.down[2].Line = Line{Rate: 8e6, Queue: 1 << 20}
	r.path[0][2].Delay, r.path[1][2].Delay = 50*time.Millisecond, 20*time.Millisecond
	for i := range 10 {
		r.send(time.Second, i%2, packetOf(r, i%2, 2, 1000))
	}
	var from []int
	var last time.Duration
	for now := time.Second; ; {
		p, next := r.due(now)
		if p == nil {
			if next < 0 {
				break
			}
			now = next
			continue
		}
		from, last = append(from, p.from), now
		r.put(p)
	}
	for i, f := range from {
		if want := 1 - i/5; f != want {
			t.Fatalf("packets came from %v, want the nearer site's first", from)
		}
	}
	if want := time.Second + 54*time.Millisecond; len(from) != 10 || last != want {
		t.Errorf("%d packets came, the last at %v; want 10, the last at %v", len(from), last, want)
	}
}

func TestRouterDrops(t *testing.T) {
	r := newRouter(2, 1)
	for what, p := range map[string]*packet{
		"of another site":    packetOf(r, 1, 0, 100),
		"for its own site":   packetOf(r, 0, 0, 100),
		"for no site":        packetOf(r, 0, 2, 100),
		"with half a header": packetOf(r, 0, 1, 10),
		"with no header":     packetOf(r, 0, 1, 0),
	} {
		r.send(0, 0, p)
		if p, next := r.due(time.Hour); p != nil || next >= 0 {
			t.Errorf("a packet %s was passed on", what)
		}
	}
	if r.dropped != 5 {
		t.Errorf("%d packets were counted as dropped, want 5", r.dropped)
	}
	if r.send(0, 0, packetOf(r, 0, 1, 100)); r.path[0][1].traffic() != (Traffic{Packets: 1, Bytes: 100}) {
		t.Errorf("traffic is %+v", r.path[0][1].traffic())
	}
}
