package hub

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Times of the agreement on a substitute.
const (
	Bereft = 2 * time.Second        // without a hub, before another pilot is asked to relay
	ask    = 600 * time.Millisecond // between requests to the same one, and renewals
	give   = 3 * time.Second        // to answer, a link to it included, before the next one is asked
	round  = 5 * time.Second        // before the first one is asked again, when all have been
	idle   = 10 * time.Second       // without a request, before a follower is let go
)

// Limits of the agreement.
const (
	maxKnown     = 64  // pilots of the site that are remembered
	maxFollowers = 256 // that one pilot relays for
	warm         = 2   // deputies that a pilot holds links to while all is well
)

// Deputies returns those pilots of a site that can take the place of its hub,
// in the order in which they are asked: of all that can be, by a hash of the
// site, the hub and themselves, those with a way out of their own first. Whoever knows
// the same pilots gets the same order.
func Deputies(site string, hub wire.NodeID, pilots []wire.NodeID, wayOut func(wire.NodeID) bool) []wire.NodeID {
	type ranked struct {
		id   wire.NodeID
		out  bool
		rank [sha256.Size]byte
	}
	var list []ranked // the best ones so far, best first
	for _, id := range pilots {
		b := append([]byte("zorilla substitute 1\x00"), hub[:]...)
		b = append(b, id[:]...)
		r := ranked{id, wayOut != nil && wayOut(id), sha256.Sum256(append(b, site...))}
		i := len(list)
		for i > 0 && (r.out && !list[i-1].out || r.out == list[i-1].out && bytes.Compare(r.rank[:], list[i-1].rank[:]) < 0) {
			i--
		}
		if i < wire.MaxDeputies {
			list = slices.Insert(list[:min(len(list), wire.MaxDeputies-1)], i, r)
		}
	}
	var ids []wire.NodeID
	for _, r := range list {
		ids = append(ids, r.id)
	}
	return ids
}

// SubstituteEffects are what a Substitute wants done, and told.
type SubstituteEffects struct {
	Sends []Send
	Dials []wire.NodeID // pilots of the site to which a direct link is wanted; they may be unreachable
	// Changed says that Hub or Serves is not what it was.
	Changed bool
	Hub     wire.NodeID // the pilot that relays for this one; zero: none
	Serves  bool        // this pilot relays for others
}

// Substitute is a pilot's part in the agreement on who relays when the hub is
// gone. Pilots that have a way out of their own, over a second hub, need nobody; the others
// ask the deputies that their hub has named while it lived, in that order,
// until one relays for them.
//
// The one rule to know: a deputy relays for whoever asks if it has a way out,
// whatever it thinks of the hub. So a pilot that has lost only its own link is
// helped too, and a wrong belief costs a detour, nothing else. All pilots have the same
// list and ask in the same order, so they come to the same deputy; when it stops
// answering, the term grows by one and all move on to the next. Two that
// relay at the same time, after lists that differed, do no harm.
//
// Its methods must be called by one goroutine at a time, with a now that never
// decreases.
type Substitute struct {
	self wire.NodeID
	site string
	fx   SubstituteEffects
	next time.Duration

	hub       wire.NodeID // the last one
	lostAt    time.Duration
	lost      bool
	out       bool
	term      uint32
	named     []wire.NodeID // by the hub
	known     []wire.NodeID // otherwise
	deputies  []wire.NodeID // in the order in which they are asked, this pilot not among them
	links     []wire.NodeID // to pilots
	since     time.Duration // the term began, or the last answer came
	askAt     time.Duration
	chosen    wire.NodeID // zero: it has not answered yet
	followers map[wire.NodeID]time.Duration
}

// NewSubstitute returns the machine of a pilot that has its hub.
func NewSubstitute(self wire.NodeID, site string) *Substitute {
	return &Substitute{self: self, site: site}
}

// Advised takes the deputies that the hub has named, and keeps the slice.
func (s *Substitute) Advised(deputies []wire.NodeID) {
	s.named = deputies[:min(len(deputies), wire.MaxDeputies)]
	if s.othersNamed() {
		s.known = nil
	}
}

// othersNamed reports whether the hub has named anybody but this pilot.
func (s *Substitute) othersNamed() bool {
	return slices.ContainsFunc(s.named, func(id wire.NodeID) bool { return id != s.self })
}

// Known takes pilots of the site, known from elsewhere: they are asked when
// the hub has named nobody. The first ones are kept when there are too many.
func (s *Substitute) Known(pilots ...wire.NodeID) {
	if s.othersNamed() {
		return
	}
	for _, id := range pilots {
		if id != s.self && len(s.known) < maxKnown && !slices.Contains(s.known, id) {
			s.known = append(s.known, id)
		}
	}
}

// Wants returns the deputies to which a link is worth having while the hub
// can still introduce them.
func (s *Substitute) Wants() []wire.NodeID {
	list := slices.DeleteFunc(slices.Clone(s.named), func(id wire.NodeID) bool { return id == s.self })
	return list[:min(len(list), warm)]
}

// HubDown tells that the pilot has no working link to its hub any more.
func (s *Substitute) HubDown(now time.Duration, hub wire.NodeID) {
	if !s.lost || s.hub != hub {
		s.hub, s.lost, s.lostAt = hub, true, now
		s.term, s.chosen = 0, wire.NodeID{}
	}
	s.settle(now)
}

// HubUp tells that the pilot has a working link to a hub of its site again.
func (s *Substitute) HubUp(now time.Duration) {
	s.lost = false
	s.choose(wire.NodeID{})
	s.settle(now)
}

// WayOut tells whether the pilot has a link to any hub or launcher.
func (s *Substitute) WayOut(now time.Duration, out bool) {
	s.out = out
	if out {
		s.choose(wire.NodeID{})
	} else {
		s.term, s.lostAt = 0, now
	}
	s.settle(now)
}

// LinkUp tells of a link to another pilot.
func (s *Substitute) LinkUp(now time.Duration, id wire.NodeID) {
	if !s.linked(id) {
		s.links = append(s.links, id)
	}
	if s.asked() == id {
		s.askAt = now
	}
	s.settle(now)
}

// LinkDown tells that it has ended.
func (s *Substitute) LinkDown(now time.Duration, id wire.NodeID) {
	s.links = slices.DeleteFunc(s.links, func(x wire.NodeID) bool { return x == id })
	if s.followers[id] != 0 {
		s.unfollow(id)
	}
	if s.asked() == id && s.chosen == id {
		s.after(now)
	}
	s.settle(now)
}

func (s *Substitute) linked(id wire.NodeID) bool { return slices.Contains(s.links, id) }

// asked returns the deputy of the present term; zero when none is asked.
func (s *Substitute) asked() wire.NodeID {
	if s.term == 0 || len(s.deputies) == 0 {
		return wire.NodeID{}
	}
	return s.deputies[int(s.term-1)%len(s.deputies)]
}

// Receive takes a message from another pilot of the site. It reports false for messages
// that are another's.
func (s *Substitute) Receive(now time.Duration, from wire.NodeID, m wire.Message) bool {
	x, ok := m.(*wire.Serve)
	if !ok {
		return false
	}
	switch {
	case !x.Answer:
		s.serve(now, from, x)
	case from != s.asked() || x.Hub != s.hub:
	case x.Serves:
		s.since = now
		s.choose(from)
	default:
		s.after(now)
	}
	s.settle(now)
	return true
}

// serve answers a request.
func (s *Substitute) serve(now time.Duration, from wire.NodeID, x *wire.Serve) {
	_, old := s.followers[from]
	yes := s.out && (old || len(s.followers) < maxFollowers)
	s.fx.Sends = append(s.fx.Sends, Send{from, &wire.Serve{Hub: x.Hub, Term: x.Term, Answer: true, Serves: yes}})
	if !yes {
		s.unfollow(from)
		return
	}
	if len(s.followers) == 0 {
		s.followers = make(map[wire.NodeID]time.Duration)
		s.fx.Changed = true
	}
	s.followers[from] = max(now, 1)
}

func (s *Substitute) unfollow(id wire.NodeID) {
	if _, found := s.followers[id]; found {
		delete(s.followers, id)
		s.fx.Changed = s.fx.Changed || len(s.followers) == 0
	}
}

func (s *Substitute) choose(id wire.NodeID) {
	if s.chosen != id {
		s.chosen = id
		s.fx.Changed = true
	}
}

// after begins the next term.
func (s *Substitute) after(now time.Duration) {
	s.choose(wire.NodeID{})
	s.begin(now, s.term+1)
	if int(s.term-1)%len(s.deputies) == 0 {
		s.since, s.askAt = now+round, now+round
	}
}

func (s *Substitute) begin(now time.Duration, term uint32) {
	if term == 1 {
		s.deputies = slices.DeleteFunc(slices.Clone(s.named), func(id wire.NodeID) bool { return id == s.self })
		if len(s.deputies) == 0 {
			s.deputies = Deputies(s.site, s.hub, s.known, nil)
		}
	}
	s.term, s.since, s.askAt = term, now, now
	if id := s.asked(); !id.IsZero() && !s.linked(id) {
		s.fx.Dials = append(s.fx.Dials, id)
	}
}

// Tick lets time pass. It is wanted at [Substitute.Next], and allowed at any time.
func (s *Substitute) Tick(now time.Duration) { s.settle(now) }

// Next returns the time at which Tick is wanted.
func (s *Substitute) Next() time.Duration { return s.next }

// Ready returns what is to be done since the last call of Ready.
func (s *Substitute) Ready() SubstituteEffects {
	fx := s.fx
	fx.Hub, fx.Serves = s.chosen, len(s.followers) > 0
	s.fx = SubstituteEffects{}
	return fx
}

func (s *Substitute) settle(now time.Duration) {
	s.next = now + wire.MaxTime
	if len(s.followers) > 0 {
		var gone []wire.NodeID
		for id, heard := range s.followers {
			if now-heard >= idle {
				gone = append(gone, id)
			} else {
				s.next = min(s.next, heard+idle)
			}
		}
		for _, id := range gone {
			s.unfollow(id)
		}
	}
	if !s.lost || s.out {
		s.term = 0
		return
	}
	if s.term == 0 {
		if now < s.lostAt+Bereft {
			s.next = min(s.next, s.lostAt+Bereft)
			return
		}
		s.begin(now, 1)
	}
	if len(s.deputies) == 0 {
		s.term = 0
		s.lostAt = now // perhaps some are known later
		s.next = min(s.next, now+Bereft)
		return
	}
	if now-s.since >= give {
		s.after(now)
	}
	id := s.asked()
	if s.linked(id) && now >= s.askAt {
		s.fx.Sends = append(s.fx.Sends, Send{id, &wire.Serve{Hub: s.hub, Term: s.term}})
		s.askAt = now + ask
	}
	s.next = min(s.next, s.since+give)
	if s.linked(id) {
		s.next = min(s.next, s.askAt)
	}
	s.next = max(s.next, now+1)
}
