package gossip

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// held is an entry of the view.
type held struct {
	card   *wire.Card
	issued moment // as far as this node knows
	tried  moment // when this node last began an exchange with it; at first as issued
}

// view holds each subject once: in its steady half those of least rank of all
// that were heard of, in its moving half what came last.
type view struct {
	salt   [2]uint64
	half   int // capacity of each half
	steady []held
	moving []held
}

func (v *view) len() int { return len(v.steady) + len(v.moving) }

// at returns an entry by its number, the steady half first.
func (v *view) at(i int) *held {
	if i < len(v.steady) {
		return &v.steady[i]
	}
	return &v.moving[i-len(v.steady)]
}

func (v *view) find(id wire.NodeID) *held {
	for i := range v.len() {
		if h := v.at(i); h.card.ID == id {
			return h
		}
	}
	return nil
}

func (v *view) remove(id wire.NodeID) {
	is := func(h held) bool { return h.card.ID == id }
	v.steady = slices.DeleteFunc(v.steady, is)
	v.moving = slices.DeleteFunc(v.moving, is)
	v.promote()
}

// expire drops what is too old.
func (v *view) expire(now time.Duration) {
	old := func(h held) bool { return h.issued.age(now) >= Expire }
	v.steady = slices.DeleteFunc(v.steady, old)
	v.moving = slices.DeleteFunc(v.moving, old)
	v.promote()
}

// promote fills the steady half from the moving one.
func (v *view) promote() {
	for len(v.steady) < v.half && len(v.moving) > 0 {
		best := 0
		for i := range v.moving {
			if v.rank(v.moving[i].card.ID) < v.rank(v.moving[best].card.ID) {
				best = i
			}
		}
		v.steady = append(v.steady, v.moving[best])
		v.moving = swapDelete(v.moving, best)
	}
}

// rank orders subjects by chance, in an order that nobody else knows. It needs
// to be no cryptographic hash: an identity is the digest of a key that was
// admitted to the session, so that there are few to choose from.
func (v *view) rank(id wire.NodeID) uint64 {
	h := mix(v.salt[0] ^ binary.BigEndian.Uint64(id[:]))
	return mix(h + v.salt[1] ^ binary.BigEndian.Uint64(id[8:]))
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// worst returns the entry of the steady half of greatest rank and that rank; -1
// and the greatest of all while there is room.
func (v *view) worst() (worst int, rank uint64) {
	if len(v.steady) < v.half {
		return -1, math.MaxUint64
	}
	for i := range v.steady {
		if r := v.rank(v.steady[i].card.ID); r >= rank {
			worst, rank = i, r
		}
	}
	return worst, rank
}

func swapDelete(list []held, i int) []held {
	last := len(list) - 1
	list[i] = list[last]
	list[last] = held{}
	return list[:last]
}

// merge takes entries that a peer sent. Quota is how many may yet enter the
// moving half, budget how many cards may yet be verified; given are the
// subjects that the peer was told of, which make room first.
func (s *Sampler) merge(now time.Duration, from wire.NodeID, entries []wire.Entry, given []wire.NodeID, quota, budget *int) {
	v := &s.view
	for _, e := range entries {
		c := e.Card
		if c.ID == s.self || e.Age >= Expire || s.guard.buried(now, c.ID) {
			continue
		}
		h := v.find(c.ID)
		if h != nil && h.card.Seq >= c.Seq {
			continue // of one card the first age counts
		}
		worst, rank := v.worst()
		steady := h == nil && v.rank(c.ID) < rank
		if h == nil && !steady && (*quota <= 0 || slices.Contains(s.links, c.ID)) {
			continue // who has a link is known by it
		}
		issued, ok := s.verify(now, from, e, budget)
		if s.guard.shuns(now, from) {
			return
		}
		if !ok || issued.age(now) >= Expire {
			continue
		}
		fresh := held{card: c, issued: issued, tried: issued}
		switch {
		case h != nil:
			h.card, h.issued = c, issued
		case !steady:
			*quota--
			s.move(fresh, given)
		case worst < 0:
			v.steady = append(v.steady, fresh)
		default:
			out := v.steady[worst]
			v.steady[worst] = fresh
			if len(v.moving) < v.half {
				v.moving = append(v.moving, out)
			}
		}
	}
}

// move puts an entry into the moving half.
func (s *Sampler) move(h held, given []wire.NodeID) {
	v := &s.view
	if len(v.moving) < v.half {
		v.moving = append(v.moving, h)
		return
	}
	out := -1
	for _, id := range given {
		if out = slices.IndexFunc(v.moving, func(h held) bool { return h.card.ID == id }); out >= 0 {
			break
		}
	}
	if out < 0 {
		out = s.rand.IntN(len(v.moving))
	}
	v.moving[out] = h
}

// partner chooses whom to exchange with: the other end of a new link, and now
// and then of any, else the one of the steady half that was not heard of for
// longest, so that it is heard of again before it expires. With none that can
// be reached it is any of the moving half, a partner of before, or a link's.
func (s *Sampler) partner(now time.Duration) (wire.NodeID, []wire.NodeID, bool) {
	if len(s.met) > 0 {
		id := s.met[0]
		if s.met = slices.Delete(s.met, 0, 1); len(s.met) == 0 {
			s.met = nil
		}
		return id, nil, true
	}
	if len(s.links) > 0 && s.rounds%linkRound == linkRound-1 {
		return s.links[s.rand.IntN(len(s.links))], nil, true
	}
	h := s.stalest(now)
	if h == nil {
		h = s.random(now)
	}
	if h != nil {
		h.tried = momentOf(now)
		return h.card.ID, s.via(h.card), true
	}
	if id, via, ok := s.fallbackPartner(now, wire.NodeID{}); ok {
		return id, via, true
	}
	if len(s.links) > 0 {
		return s.links[s.rand.IntN(len(s.links))], nil, true
	}
	return wire.NodeID{}, nil, false
}

// stalest returns the reachable one of the steady half that was longest not
// heard of and not tried, or nil.
func (s *Sampler) stalest(now time.Duration) *held {
	var best *held
	oldest := time.Duration(-1)
	for i := range s.view.steady {
		h := &s.view.steady[i]
		age := min(h.issued.age(now), h.tried.age(now))
		if age > oldest && s.open(now, h.card) {
			best, oldest = h, age
		}
	}
	return best
}

// random returns any reachable one of the moving half, or nil.
func (s *Sampler) random(now time.Duration) *held {
	list := s.view.moving
	for _, i := range s.rand.Perm(len(list)) {
		if s.open(now, list[i].card) {
			return &list[i]
		}
	}
	return nil
}

// open reports whether an exchange with a card's subject makes sense now.
func (s *Sampler) open(now time.Duration, c *wire.Card) bool {
	return s.reach(c) != Nowhere && !s.guard.shuns(now, c.ID)
}

// fallbackPartner returns one of the latest partners that answered.
func (s *Sampler) fallbackPartner(now time.Duration, not wire.NodeID) (wire.NodeID, []wire.NodeID, bool) {
	var best *wire.Card
	n := 0
	for _, c := range s.fallback {
		if c.ID == not || !s.open(now, c) {
			continue
		}
		if n++; s.rand.IntN(n) == 0 {
			best = c
		}
	}
	if best == nil {
		return wire.NodeID{}, nil, false
	}
	return best.ID, s.via(best), true
}

// via returns the hubs that a message to a card's subject has to go through.
func (s *Sampler) via(c *wire.Card) []wire.NodeID {
	if s.reach(c) == Linked {
		return nil
	}
	return c.Hubs
}
