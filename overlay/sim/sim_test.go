package sim_test

import (
	"slices"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/sim"
)

func TestOrder(t *testing.T) {
	k := sim.New(1)
	var got []int
	for i, at := range []time.Duration{30, 10, 20, 10} {
		k.At(at, func() { got = append(got, i) })
	}
	k.At(20, func() { k.At(5, func() { got = append(got, 9) }) }) // the past is now
	k.Run(20)
	if want := []int{1, 3, 2, 9}; !slices.Equal(got, want) || k.Now() != 20 {
		t.Errorf("at %v: %v, want %v", k.Now(), got, want)
	}
	k.Run(100)
	if want := []int{1, 3, 2, 9, 0}; !slices.Equal(got, want) || k.Now() != 100 || k.Events() != 6 {
		t.Errorf("at %v after %d events: %v, want %v", k.Now(), k.Events(), got, want)
	}
}

// TestHeap holds the order of many events against a sort.
func TestHeap(t *testing.T) {
	k := sim.New(2)
	var want, got []time.Duration
	for range 5000 {
		at := k.Between(0, time.Second)
		want = append(want, at)
		k.At(at, func() { got = append(got, k.Now()) })
	}
	slices.Sort(want)
	k.Run(time.Second)
	if !slices.Equal(got, want) {
		t.Error("events happen out of order")
	}
}

// deliver sends n messages from 0 to 1 and returns the order of arrival.
func deliver(seed uint64, n int, p sim.Path) (got []int, net *sim.Network, k *sim.Kernel) {
	k = sim.New(seed)
	net = sim.NewNetwork(k, func(from, to int) sim.Path { return p })
	for i := range n {
		k.At(time.Duration(i)*time.Millisecond, func() {
			net.Send(0, 1, func() { got = append(got, i); k.Trace(uint64(i)) })
		})
	}
	k.Run(time.Hour)
	return got, net, k
}

func TestNetwork(t *testing.T) {
	got, _, _ := deliver(1, 500, sim.Path{Delay: 10 * time.Millisecond, Jitter: 50 * time.Millisecond})
	if len(got) != 500 || !slices.IsSorted(got) {
		t.Errorf("%d of 500 messages, in order: %v; a path without misfortunes keeps both", len(got), slices.IsSorted(got))
	}
	got, net, _ := deliver(1, 2000, sim.Path{Delay: time.Millisecond, Loss: 0.5})
	if len(got) < 900 || len(got) > 1100 || int(net.Lost)+len(got) != 2000 {
		t.Errorf("%d of 2000 messages survive a loss of one half, %d are counted as lost", len(got), net.Lost)
	}
	got, _, _ = deliver(1, 2000, sim.Path{Delay: time.Millisecond, Twice: 0.1})
	if len(got) < 2100 || len(got) > 2300 {
		t.Errorf("2000 messages, a tenth of them twice, are %d", len(got))
	}
	got, _, _ = deliver(1, 2000, sim.Path{Delay: 10 * time.Millisecond, Late: 0.1})
	if len(got) != 2000 || slices.IsSorted(got) {
		t.Errorf("%d of 2000 messages, in order: %v; a tenth should be overtaken", len(got), slices.IsSorted(got))
	}
}

func TestQueue(t *testing.T) {
	const rate = 1000
	var q sim.Queue
	for i, want := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond} {
		if d := q.Add(time.Second, 100, rate); d != want {
			t.Errorf("message %d is out after %v, want %v", i, d, want)
		}
	}
	for at, want := range map[time.Duration]int64{time.Second: 200, 1150 * time.Millisecond: 50, 2 * time.Second: 0} {
		if n := q.Len(at, rate); n != want {
			t.Errorf("%d bytes wait at %v, want %d", n, at, want)
		}
	}
	if d := q.Add(1150*time.Millisecond, 50, rate); d != 100*time.Millisecond {
		t.Errorf("behind 50 bytes, 50 more are out after %v, want 100ms", d)
	}
}

func TestCut(t *testing.T) {
	k := sim.New(1)
	net := sim.NewNetwork(k, func(from, to int) sim.Path { return sim.Path{Delay: 10} })
	arrived := 0
	send := func(from, to int) { net.Send(from, to, func() { arrived++ }) }
	step := func(name string, want int) {
		t.Helper()
		k.Run(k.Now() + 100)
		if arrived != want {
			t.Errorf("%s: %d messages arrive, want %d", name, arrived, want)
		}
		arrived = 0
	}
	send(0, 1)
	k.At(5, func() { net.Cut(1) })
	step("under way when the place is cut", 0)
	send(0, 1)
	send(1, 0)
	send(0, 2)
	step("cut", 1)
	net.Heal(1)
	send(0, 1)
	step("healed", 1)
	net.Partition(func(place int) int { return place % 2 })
	send(0, 1)
	send(0, 2)
	send(1, 3)
	step("partition", 2)
	net.Partition(nil)
	send(0, 1)
	step("whole again", 1)
}

func TestDigest(t *testing.T) {
	p := sim.Path{Delay: 10 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.1, Twice: 0.1, Late: 0.1}
	_, _, a := deliver(5, 1000, p)
	_, _, b := deliver(5, 1000, p)
	_, _, c := deliver(6, 1000, p)
	if a.Digest() != b.Digest() || a.Digest() == c.Digest() {
		t.Errorf("digests of seeds 5, 5 and 6: %x %x %x", a.Digest(), b.Digest(), c.Digest())
	}
}
