package gossip

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Times of the protocol.
const (
	Period = 5 * time.Second  // between exchanges begun, give or take a tenth
	Wait   = Period / 2       // for an answer, before a fallback partner is tried
	Resign = 30 * time.Second // between signatures of the own card
	Expire = 3 * time.Minute  // age at which an entry leaves
)

// Sizes of the protocol.
const (
	DefaultView     = 32 // entries in a view
	DefaultExchange = 10 // entries in a message, the own card included
	Fallback        = 8  // latest partners that answered
)

// Path says how a peer can be reached without a new link.
type Path uint8

// The paths.
const (
	Nowhere Path = iota // not now
	Routed              // through hubs
	Linked              // over an open link
)

// Verifier tells whose word a card is.
type Verifier interface {
	// Verify reports whether the card's subject is a member of the session in
	// the card's role and site, and has signed these bytes, which are the
	// card's [wire.Card.AppendSigned]. It is called at most once for a card as
	// long as the card is remembered, at most [Budget] times a Period for what
	// was not asked for, and must not keep the slice.
	Verify(c *wire.Card, signed []byte) bool
}

// Config describes a node's part in the gossip.
type Config struct {
	// Card is what the node says of itself at first; Seq and Signature are the
	// Sampler's to fill in.
	Card wire.Card
	// Sign signs bytes as the node, in [wire.SignatureSize] bytes.
	Sign   func(signed []byte) []byte
	Verify Verifier
	// Reach says how the subject of a card can be reached now.
	Reach func(c *wire.Card) Path

	View     int // 0 means DefaultView; at least 4
	Exchange int // 0 means DefaultExchange; from 2 to wire.MaxEntries

	// Seed is all the chance there is. It must be secret: who knows it knows
	// whom the steady half will keep.
	Seed uint64
}

// Send is a message to hand to the transport.
type Send struct {
	To  wire.NodeID
	Msg wire.Message
	// Via are hubs that relay to To, best first, as its card says; empty when
	// a link is open, or when the message answers one and goes the way it came.
	Via []wire.NodeID
}

// Stats count what happened since the start.
type Stats struct {
	Begun    uint64 // exchanges of this node
	Retried  uint64 // of them, with a fallback partner
	Answered uint64 // of them, by the partner
	Served   uint64 // exchanges of others that were answered
	Limited  uint64 // and those that were not, because of a limit
	Verified uint64 // cards verified
	Forged   uint64 // cards that were not their subject's word
	Signed   uint64 // own cards signed
}

// Sampler is one node's view of the session and its part in keeping all
// views fresh. Its methods must be called by one goroutine at a time, with a
// now that never decreases.
type Sampler struct {
	self     wire.NodeID
	sign     func(signed []byte) []byte
	verifier Verifier
	reach    func(c *wire.Card) Path
	exchange int
	rand     rand.Rand
	view     view
	guard    guard
	stats    Stats
	card     *wire.Card // signed, or nil
	signed   time.Duration
	changed  *wire.Card // what the next one is to say; nil: the same

	round    time.Duration // when the next one begins
	rounds   uint64
	pending  []exchange
	fallback []*wire.Card
	links    []wire.NodeID // open ones
	met      []wire.NodeID // those among them not gossiped with yet
}

// exchange is one that was begun and is not answered.
type exchange struct {
	to    wire.NodeID
	seq   uint64
	begun time.Duration
	retry bool          // it is one
	late  bool          // Wait has passed
	sent  []wire.NodeID // whom it told of
}

// Limits of what is remembered.
const (
	maxPending = 4
	maxMet     = 16
)

// linkRound is how often, in rounds, the partner is the other end of an open
// link. Attackers do not choose those, so that a view that was all theirs
// from the start does not stay so.
const linkRound = 8

// New returns a Sampler that knows nobody yet.
func New(cfg Config, now time.Duration) *Sampler {
	about := cfg.Card
	s := &Sampler{self: about.ID, sign: cfg.Sign, verifier: cfg.Verify, reach: cfg.Reach, changed: &about,
		exchange: min(max(2, cmp.Or(cfg.Exchange, DefaultExchange)), wire.MaxEntries),
		rand:     *rand.New(rand.NewPCG(cfg.Seed, binary.BigEndian.Uint64(about.ID[:])))}
	s.view = view{salt: [2]uint64{s.rand.Uint64(), s.rand.Uint64()}, half: max(4, cmp.Or(cfg.View, DefaultView)) / 2}
	s.round = now + time.Duration(s.rand.Int64N(int64(Period)))
	s.guard.round(now)
	return s
}

// Describe changes what the node says of itself: hubs, offer, free slots,
// coordinate and proof. The new card goes out with the next exchange, though
// no card follows another within a Period.
func (s *Sampler) Describe(about wire.Card) {
	now := s.About()
	about.ID, about.Role, about.Site = now.ID, now.Role, now.Site
	s.changed = &about
}

// About returns what the node says of itself, or is about to say. The caller
// must not change it.
func (s *Sampler) About() *wire.Card { return cmp.Or(s.changed, s.card) }

// LinkUp tells of a link that is open now. A new link is gossiped over first:
// it is how a node enters, and how parts of a session that were apart meet.
func (s *Sampler) LinkUp(now time.Duration, id wire.NodeID) {
	if id == s.self || slices.Contains(s.links, id) {
		return
	}
	s.links = append(s.links, id)
	if len(s.met) < maxMet {
		s.met = append(s.met, id)
	}
	if s.view.len() < s.view.half {
		s.round = min(s.round, now+time.Duration(s.rand.Int64N(int64(Period/10))))
	}
}

// LinkDown tells that a link has ended.
func (s *Sampler) LinkDown(id wire.NodeID) {
	is := func(x wire.NodeID) bool { return x == id }
	s.links = slices.DeleteFunc(s.links, is)
	s.met = slices.DeleteFunc(s.met, is)
}

// Remove forgets a peer that is known to be gone for good, and does not let
// others bring it back for as long as entries of it may be about.
func (s *Sampler) Remove(now time.Duration, id wire.NodeID) {
	s.view.remove(id)
	s.fallback = slices.DeleteFunc(s.fallback, func(c *wire.Card) bool { return c.ID == id })
	s.pending = slices.DeleteFunc(s.pending, func(x exchange) bool { return x.to == id })
	s.guard.bury(now, id)
}

// Next returns the time at which Tick is wanted.
func (s *Sampler) Next() time.Duration {
	next := s.round
	for i := range s.pending {
		if x := &s.pending[i]; !x.late {
			next = min(next, x.begun+Wait)
		}
	}
	return next
}

// Tick lets time pass. It is wanted at [Sampler.Next], and allowed at any time.
func (s *Sampler) Tick(now time.Duration) []Send {
	var sends []Send
	s.view.expire(now)
	retry := wire.NodeID{}
	for i := range s.pending {
		if x := &s.pending[i]; !x.late && now >= x.begun+Wait {
			x.late = true
			if !x.retry {
				retry = x.to
			}
		}
	}
	s.pending = slices.DeleteFunc(s.pending, func(x exchange) bool { return now >= x.begun+2*Period })
	if len(s.pending) == 0 {
		s.pending = nil
	}
	if !retry.IsZero() {
		if to, via, ok := s.fallbackPartner(now, retry); ok {
			s.stats.Retried++
			sends = append(sends, s.begin(now, to, via, true))
		}
	}
	if now >= s.round {
		s.round = now + Period*9/10 + time.Duration(s.rand.Int64N(int64(Period/5)))
		s.guard.round(now)
		if to, via, ok := s.partner(now); ok {
			sends = append(sends, s.begin(now, to, via, false))
		}
		s.rounds++
	}
	return sends
}

// begin starts an exchange.
func (s *Sampler) begin(now time.Duration, to wire.NodeID, via []wire.NodeID, retry bool) Send {
	entries := s.subset(now, to)
	x := exchange{to: to, seq: s.rand.Uint64(), begun: now, retry: retry}
	for _, e := range entries[1:] {
		x.sent = append(x.sent, e.Card.ID)
	}
	if len(s.pending) == maxPending {
		s.pending = slices.Delete(s.pending, 0, 1)
	}
	s.pending = append(s.pending, x)
	s.stats.Begun++
	return Send{To: to, Via: via, Msg: &wire.Exchange{Seq: x.seq, Entries: entries}}
}

// Receive takes a message of gossip from the peer that sent it, over a link or
// through hubs. It does nothing for other messages.
func (s *Sampler) Receive(now time.Duration, from wire.NodeID, m wire.Message) []Send {
	if from == s.self || s.guard.shuns(now, from) {
		return nil
	}
	s.view.expire(now)
	switch m := m.(type) {
	case *wire.Exchange:
		if !s.guard.admit(now, from) {
			s.stats.Limited++
			return nil
		}
		s.stats.Served++
		reply := s.subset(now, from)
		given := make([]wire.NodeID, 0, wire.MaxEntries)
		for _, e := range reply[1:] {
			given = append(given, e.Card.ID)
		}
		s.merge(now, from, m.Entries, given, &s.guard.takes, &s.guard.verifications)
		return []Send{{To: from, Msg: &wire.ExchangeReply{Seq: m.Seq, Entries: reply}}}
	case *wire.ExchangeReply:
		i := slices.IndexFunc(s.pending, func(x exchange) bool { return x.to == from && x.seq == m.Seq })
		if i < 0 {
			return nil // nobody asked
		}
		given := s.pending[i].sent
		s.pending = slices.Delete(s.pending, i, i+1)
		s.stats.Answered++
		quota, budget := Takes, len(m.Entries)
		if slices.Contains(s.links, from) {
			// Many have links to one hub: were its view copied to all of
			// them, some subjects would be everywhere.
			quota = s.view.half - len(s.view.moving)
		}
		s.merge(now, from, m.Entries, given, &quota, &budget)
		s.remember(from)
	}
	return nil
}

// remember keeps a partner that answered, in place of any other when there are
// many. A partner whose card the view does not hold is of no use.
func (s *Sampler) remember(id wire.NodeID) {
	s.met = slices.DeleteFunc(s.met, func(x wire.NodeID) bool { return x == id })
	h := s.view.find(id)
	if h == nil {
		return
	}
	i := slices.IndexFunc(s.fallback, func(c *wire.Card) bool { return c.ID == id })
	switch {
	case i >= 0:
		s.fallback[i] = h.card
	case len(s.fallback) < Fallback:
		s.fallback = append(s.fallback, h.card)
	default:
		s.fallback[s.rand.IntN(Fallback)] = h.card
	}
}

// subset returns the own card and a random part of the view for a peer: three
// parts of four from the moving half, whose entries wander, the others from
// the steady half. Over a link it is half of each: a peer whose view has been
// filled by attackers finds out over its links.
func (s *Sampler) subset(now time.Duration, peer wire.NodeID) []wire.Entry {
	list := make([]wire.Entry, 1, s.exchange)
	list[0] = s.own(now)
	parts := 4
	if slices.Contains(s.links, peer) {
		parts = 2
	}
	steady := min((s.exchange-1)/parts, len(s.view.steady))
	moving := min(s.exchange-1-steady, len(s.view.moving))
	steady = min(s.exchange-1-moving, len(s.view.steady))
	list = s.pick(list, now, s.view.moving, moving, peer)
	return s.pick(list, now, s.view.steady, steady, peer)
}

// pick appends n entries of a half, by chance, without the peer's own.
func (s *Sampler) pick(list []wire.Entry, now time.Duration, half []held, n int, peer wire.NodeID) []wire.Entry {
	for _, i := range s.rand.Perm(len(half))[:n] {
		if h := &half[i]; h.card.ID != peer {
			list = append(list, wire.Entry{Card: h.card, Age: h.issued.age(now)})
		}
	}
	return list
}

// own returns the node's own card, signed not too long ago.
func (s *Sampler) own(now time.Duration) wire.Entry {
	if age := now - s.signed; s.card == nil || age >= Resign || s.changed != nil && age >= Period {
		c := *s.About()
		c.Seq = 1
		if s.card != nil {
			c.Seq = s.card.Seq + 1
		}
		c.Signature = s.sign(c.AppendSigned(nil))
		s.card, s.signed, s.changed = &c, now, nil
		s.stats.Signed++
	}
	return wire.Entry{Card: s.card, Age: now - s.signed}
}

// Len returns how many peers the view holds.
func (s *Sampler) Len() int { return s.view.len() }

// Peers returns the view, the steady half first.
func (s *Sampler) Peers(now time.Duration) []wire.Entry {
	s.view.expire(now)
	list := make([]wire.Entry, 0, s.view.len())
	for i := range s.view.len() {
		h := s.view.at(i)
		list = append(list, wire.Entry{Card: h.card, Age: h.issued.age(now)})
	}
	return list
}

// Card returns a peer's card; nil when the view does not hold it.
func (s *Sampler) Card(id wire.NodeID) *wire.Card {
	if h := s.view.find(id); h != nil {
		return h.card
	}
	return nil
}

// Sample returns up to n different peers of the view, by chance.
func (s *Sampler) Sample(now time.Duration, n int) []*wire.Card {
	s.view.expire(now)
	var list []*wire.Card
	for _, i := range s.rand.Perm(s.view.len())[:min(max(n, 0), s.view.len())] {
		list = append(list, s.view.at(i).card)
	}
	return list
}

// Stats returns the counts.
func (s *Sampler) Stats() Stats { return s.stats }
