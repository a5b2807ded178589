package flood_test

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

func jobID(n int) (id wire.JobID) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

func advert(n int, seq uint64) *wire.Advert {
	return &wire.Advert{Job: jobID(n), Epoch: 1, Seq: seq, Order: uint64(n), Open: 1, Primary: wire.NodeID{1}, Lease: time.Minute}
}

func TestBoard(t *testing.T) {
	var b flood.Board
	post := func(ad *wire.Advert, want bool) {
		t.Helper()
		if got := b.Post(0, ad); got != want {
			t.Errorf("advert of job %x, seq %d: news %v, want %v", ad.Job[7], ad.Seq, got, want)
		}
	}
	post(advert(2, 5), true)
	post(advert(2, 5), false) // again
	post(advert(2, 4), false) // overtaken
	post(advert(2, 6), true)
	newer := advert(2, 1)
	newer.Epoch = 2
	post(newer, true) // another primary
	post(advert(1, 1), true)
	satisfied := advert(3, 1)
	satisfied.Open = 0
	post(satisfied, true)

	if open := b.Open(10); len(open) != 2 || open[0].Job != jobID(1) || open[1] != newer {
		t.Errorf("open: %v, want jobs 1 and 2, the older first", open)
	}
	if open := b.Open(1); len(open) != 1 || b.Len() != 3 {
		t.Errorf("at most one open: %d of %d", len(open), b.Len())
	}
	if o := b.NextOrder(); o != 4 {
		t.Errorf("order of a new job %d, want 4: later than all", o)
	}
	if !b.Close(jobID(2), 2) || b.Close(jobID(2), 2) || !b.Closed(jobID(2)) || b.Advert(jobID(2)) != nil {
		t.Error("closing a job is news once, and leaves a tombstone")
	}
	post(advert(2, 99), false)

	if next, ok := b.Next(); !ok || next != time.Minute {
		t.Errorf("expiry at %v, want the lease", next)
	}
	b.Post(30*time.Second, advert(1, 2))
	if gone := b.Expire(time.Minute); len(gone) != 1 || gone[0] != satisfied || b.Advert(jobID(1)) == nil {
		t.Errorf("expired: %v, want the one that was not renewed", gone)
	}
}

func TestBoardBounds(t *testing.T) {
	var b flood.Board
	for i := range flood.MaxOwn + 1 {
		if news := b.Post(0, advert(i, 1)); news != (i < flood.MaxOwn) {
			t.Fatalf("advert %d of one primary is news: %v", i, news)
		}
	}
	for i := range flood.MaxOpen {
		ad := advert(i+1000, 1)
		ad.Primary = wire.NodeID{2, byte(i), byte(i >> 8)}
		b.Post(0, ad)
	}
	if b.Len() != flood.MaxOpen {
		t.Errorf("%d adverts, want at most %d", b.Len(), flood.MaxOpen)
	}
	for i := range flood.MaxClosed + 1 {
		b.Close(jobID(i), 1)
	}
	if b.Closed(jobID(0)) || !b.Closed(jobID(1)) || !b.Closed(jobID(flood.MaxClosed)) {
		t.Error("the oldest tombstone, and only that, should have given way")
	}
}

func TestPerWorker(t *testing.T) {
	full := wire.Offer{Slots: 8, Cores: 16, Memory: 32 << 30, Disk: 80 << 30, GPUs: 2}
	for name, tt := range map[string]struct {
		offer wire.Offer
		needs wire.Requirements
		per   int
		ok    bool
	}{
		"nothing":            {full, wire.Requirements{}, 1, true},
		"one slot's cores":   {full, wire.Requirements{Cores: 2}, 1, true},
		"a core more":        {full, wire.Requirements{Cores: 3}, 2, true},
		"memory decides":     {full, wire.Requirements{Cores: 1, Memory: 9 << 30}, 3, true},
		"disk decides":       {full, wire.Requirements{Disk: 41 << 30}, 5, true},
		"a GPU is four":      {full, wire.Requirements{GPUs: 1}, 4, true},
		"everything":         {full, wire.Requirements{Cores: 16}, 8, true},
		"too many cores":     {full, wire.Requirements{Cores: 17}, 0, false},
		"too much memory":    {full, wire.Requirements{Memory: 33 << 30}, 0, false},
		"too many GPUs":      {full, wire.Requirements{GPUs: 3}, 0, false},
		"no slots":           {wire.Offer{Cores: 4}, wire.Requirements{}, 0, false},
		"unknown memory":     {wire.Offer{Slots: 2}, wire.Requirements{Memory: 1 << 40}, 1, true},
		"a core a slot":      {wire.Offer{Slots: 4}, wire.Requirements{Cores: 3}, 3, true},
		"largest quantities": {wire.Offer{Slots: wire.MaxSlots, Memory: wire.MaxBytes}, wire.Requirements{Memory: wire.MaxBytes}, wire.MaxSlots, true},
	} {
		per, ok := flood.NewSlots(tt.offer).PerWorker(&tt.needs)
		if ok != tt.ok || ok && per != tt.per {
			t.Errorf("%s: %d slots, %v; want %d, %v", name, per, ok, tt.per, tt.ok)
		}
	}
}

// TestClaim follows slots through a claim's whole life.
func TestClaim(t *testing.T) {
	s := flood.NewSlots(wire.Offer{Slots: 7})
	counts := func(name string, want ...int) {
		t.Helper()
		var got []int
		for st := flood.Free; st <= flood.Committed; st++ {
			got = append(got, s.Count(st))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: free, offered, held, committed %v, want %v", name, got, want)
		}
	}
	c := s.Offer(0, advert(1, 1), 2, 99)
	counts("offered as many as fit", 1, 6, 0, 0)
	if c.Workers() != 3 || s.Offer(0, advert(2, 1), 2, 1) != nil {
		t.Errorf("claim for %d workers, want 3 and no other", c.Workers())
	}
	s.Hold(time.Second, c, 2, time.Minute)
	counts("held for two", 3, 0, 4, 0)
	if len(s.Expired(time.Minute)) != 0 || len(s.Expired(61*time.Second)) != 1 {
		t.Error("a held claim lasts for its lease")
	}
	s.Renew(time.Minute, jobID(1), time.Minute)
	if next, _ := s.Next(); next != 2*time.Minute {
		t.Errorf("renewed until %v, want 2m", next)
	}
	slots := s.Commit(c, 1)
	counts("one is granted", 5, 0, 0, 2)
	if len(slots) != 1 || len(slots[0]) != 2 || s.Find(jobID(1), c.Seq) != nil {
		t.Errorf("committed %v", slots)
	}
	s.Free(slots[0])
	counts("and ends", 7, 0, 0, 0)
	c = s.Offer(0, advert(1, 1), 1, 1)
	if got := s.Expired(flood.OfferTime - 1); len(got) != 0 {
		t.Error("an offer expires too early")
	}
	if got := s.Expired(flood.OfferTime); len(got) != 1 || got[0] != c {
		t.Error("an offer does not expire")
	}
	s.Drop(c)
	counts("dropped", 7, 0, 0, 0)
}

func TestWounded(t *testing.T) {
	s := flood.NewSlots(wire.Offer{Slots: 4})
	hold := func(job int) *flood.Claim {
		c := s.Offer(0, advert(job, 1), 1, 1)
		s.Hold(0, c, 1, time.Hour)
		return c
	}
	five, three, offered := hold(5), hold(3), s.Offer(0, advert(9, 1), 1, 1)
	committed := s.Offer(0, advert(8, 1), 1, 1)
	s.Commit(committed, 1)
	for name, tt := range map[string]struct {
		job, per, workers int
		want              []*flood.Claim
	}{
		"the youngest first":      {1, 1, 1, []*flood.Claim{five}},
		"as many as are wanted":   {1, 1, 2, []*flood.Claim{five, three}},
		"only younger ones":       {4, 1, 9, []*flood.Claim{five}},
		"none when it is in vain": {1, 3, 1, nil},
		"none for the youngest":   {7, 1, 1, nil},
	} {
		if got := s.ToWound(advert(tt.job, 1), tt.per, tt.workers); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
	if offered.State != flood.Offered {
		t.Error("an offer is not to be wounded")
	}
}

// TestSlotsAddUp does everything at random and counts.
func TestSlotsAddUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := flood.NewSlots(wire.Offer{Slots: 16})
	var running [][]int
	owner := make(map[int]bool)
	for step := range 20000 {
		now := time.Duration(step) * 100 * time.Millisecond
		var c *flood.Claim
		if n := len(s.Claims()); n > 0 {
			c = s.Claims()[r.IntN(n)]
		}
		switch r.IntN(6) {
		case 0, 1:
			s.Offer(now, advert(r.IntN(9), 1), 1+r.IntN(3), 1+r.IntN(4))
		case 2:
			if c != nil {
				s.Hold(now, c, 1+r.IntN(4), time.Minute)
			}
		case 3:
			if c != nil {
				for _, slots := range s.Commit(c, 1+r.IntN(4)) {
					for _, i := range slots {
						if owner[i] {
							t.Fatalf("step %d: slot %d is granted twice", step, i)
						}
						owner[i] = true
					}
					running = append(running, slots)
				}
			}
		case 4:
			if len(running) > 0 {
				for _, i := range running[0] {
					delete(owner, i)
				}
				s.Free(running[0])
				running = running[1:]
			}
		case 5:
			for _, c := range s.Expired(now) {
				s.Drop(c)
			}
		}
		claimed := 0
		for _, c := range s.Claims() {
			if c.Workers() == 0 {
				t.Fatalf("step %d: a claim without slots", step)
			}
		}
		claimed = s.Count(flood.Offered) + s.Count(flood.Held)
		if s.Count(flood.Free)+claimed+len(owner) != 16 || s.Count(flood.Committed) != len(owner) {
			t.Fatalf("step %d: %d free, %d claimed, %d committed, %d owned", step, s.Count(flood.Free), claimed, s.Count(flood.Committed), len(owner))
		}
	}
}
