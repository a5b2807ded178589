package flood

import (
	"cmp"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// OfferTime is how long slots stay offered without an answer.
const OfferTime = 5 * time.Second

// State is what a slot is doing.
type State uint8

// The states of a slot.
const (
	Free      State = iota // nobody's
	Offered                // a claim for it is on its way
	Held                   // a primary gathers a gang with it
	Committed              // a worker has it
	Withheld               // its owner keeps it
)

func (s State) String() string {
	names := [...]string{"free", "offered", "held", "committed", "withheld"}
	return names[min(int(s), len(names)-1)]
}

// Claim is a set of slots on offer to, or held for, a job.
type Claim struct {
	Job     wire.JobID
	Epoch   uint32
	Order   uint64 // the job's age
	Primary wire.NodeID
	Seq     uint64
	State   State // Offered or Held
	Expires time.Duration
	Wounded bool // its primary is asked to give it up for an older job
	slots   []int
	per     int
}

// Workers returns how many workers the claim's slots hold.
func (c *Claim) Workers() int { return len(c.slots) / c.per }

// Slots are the slots of one pilot.
type Slots struct {
	offer  wire.Offer
	states []State
	claims []*Claim // by Seq
	last   uint64   // Seq of the latest claim
	keep   int      // how many the owner wants to keep
}

// NewSlots returns the slots of an offer, all free.
func NewSlots(offer wire.Offer) *Slots {
	return &Slots{offer: offer, states: make([]State, offer.Slots)}
}

// PerWorker is [PerWorker] of the slots' offer.
func (s *Slots) PerWorker(needs *wire.Requirements) (int, bool) { return PerWorker(&s.offer, needs) }

// Count returns how many slots are in a state.
func (s *Slots) Count(state State) int {
	n := 0
	for _, st := range s.states {
		if st == state {
			n++
		}
	}
	return n
}

// Offer puts free slots for up to workers workers, per slots each, on offer. It
// returns nil when there are not enough for one.
func (s *Slots) Offer(now time.Duration, ad *wire.Advert, per, workers int) *Claim {
	workers = min(workers, s.Count(Free)/per)
	if workers <= 0 {
		return nil
	}
	s.last++
	c := &Claim{Job: ad.Job, Epoch: ad.Epoch, Order: ad.Order, Primary: ad.Primary,
		Seq: s.last, State: Offered, Expires: now + OfferTime, per: per}
	for i, st := range s.states {
		if st == Free && len(c.slots) < workers*per {
			s.states[i] = Offered
			c.slots = append(c.slots, i)
		}
	}
	s.claims = append(s.claims, c)
	return c
}

// Find returns a claim, or nil.
func (s *Slots) Find(job wire.JobID, seq uint64) *Claim {
	for _, c := range s.claims {
		if c.Seq == seq && c.Job == job {
			return c
		}
	}
	return nil
}

// Claims returns the claims on offer or held, in the order they were made. The
// caller must not change the slice.
func (s *Slots) Claims() []*Claim { return s.claims }

// Last returns the number of the latest claim.
func (s *Slots) Last() uint64 { return s.last }

// Hold keeps a claim's slots for workers workers until now+ttl, and frees the
// others.
func (s *Slots) Hold(now time.Duration, c *Claim, workers int, ttl time.Duration) {
	c.slots = s.cut(c, workers)
	for _, i := range c.slots {
		s.states[i] = Held
	}
	c.State = Held
	if !c.Wounded {
		c.Expires = now + ttl
	}
}

// Wound notes that the primary of a claim is asked to give it up. It expires soon
// if there is no answer.
func (s *Slots) Wound(now time.Duration, c *Claim) {
	c.Wounded = true
	c.Expires = min(c.Expires, now+OfferTime)
}

// Renew extends the lease of what is held for a job.
func (s *Slots) Renew(now time.Duration, job wire.JobID, ttl time.Duration) {
	for _, c := range s.claims {
		if c.Job == job && c.State == Held && !c.Wounded {
			c.Expires = max(c.Expires, now+ttl)
		}
	}
}

// Commit ends a claim and gives its slots to workers workers: it returns the
// numbers of the slots of each. Slots that are left over are free.
func (s *Slots) Commit(c *Claim, workers int) [][]int {
	keep := s.cut(c, workers)
	for _, i := range keep {
		s.states[i] = Committed
	}
	c.slots = nil
	s.Drop(c)
	return slices.Collect(slices.Chunk(keep, c.per))
}

// cut frees the slots of a claim that workers workers do not need and returns the others.
func (s *Slots) cut(c *Claim, workers int) []int {
	n := min(max(workers, 0)*c.per, len(c.slots))
	for _, i := range c.slots[n:] {
		s.release(i)
	}
	return c.slots[:n:n]
}

// Drop ends a claim and frees its slots.
func (s *Slots) Drop(c *Claim) {
	for _, i := range c.slots {
		s.release(i)
	}
	c.slots = nil
	s.claims = slices.DeleteFunc(s.claims, func(x *Claim) bool { return x == c })
}

// Free returns a worker's slots.
func (s *Slots) Free(slots []int) {
	for _, i := range slots {
		if s.states[i] != Committed {
			panic("flood: slot freed twice")
		}
		s.release(i)
	}
}

// release makes a slot free, or the owner's if they want to keep more.
func (s *Slots) release(i int) {
	s.states[i] = Free
	if s.Count(Withheld) < s.keep {
		s.states[i] = Withheld
	}
}

// Withhold keeps slots slots for their owner from now on: free ones at once,
// others as they become free. What was promised or given to a job stays so.
func (s *Slots) Withhold(slots int) {
	s.keep = min(max(slots, 0), len(s.states))
	have := s.Count(Withheld)
	for i, st := range s.states {
		switch {
		case st == Withheld && have > s.keep:
			s.states[i] = Free
			have--
		case st == Free && have < s.keep:
			s.states[i] = Withheld
			have++
		}
	}
}

// Expired returns the claims whose time is over.
func (s *Slots) Expired(now time.Duration) []*Claim {
	var list []*Claim
	for _, c := range s.claims {
		if c.Expires <= now {
			list = append(list, c)
		}
	}
	return list
}

// ToWound returns the claims held for younger jobs that must go so that the
// job of an advert gets up to workers workers of per slots, the youngest
// job's first; nil when not even one would fit. Those that are about to go
// already count as gone.
func (s *Slots) ToWound(ad *wire.Advert, per, workers int) []*Claim {
	free := s.Count(Free)
	var list []*Claim
	for _, c := range s.claims {
		switch {
		case c.Wounded:
			free += len(c.slots)
		case c.State == Held && olderThan(ad, c):
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b *Claim) int {
		return cmp.Or(cmp.Compare(b.Order, a.Order), b.Job.Compare(a.Job))
	})
	n := 0
	for n < len(list) && free/per < workers {
		free += len(list[n].slots)
		n++
	}
	if free < per {
		return nil
	}
	return list[:n]
}

func olderThan(ad *wire.Advert, c *Claim) bool {
	return ad.Order < c.Order || (ad.Order == c.Order && ad.Job.Compare(c.Job) < 0)
}

// Next returns when the first claim expires; false means never.
func (s *Slots) Next() (time.Duration, bool) {
	if len(s.claims) == 0 {
		return 0, false
	}
	next := s.claims[0].Expires
	for _, c := range s.claims[1:] {
		next = min(next, c.Expires)
	}
	return next, true
}
