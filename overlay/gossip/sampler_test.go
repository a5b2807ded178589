package gossip_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/gossip"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// signer is a node with a key, whose proof of membership is the key itself.
type signer struct {
	id   wire.NodeID
	pkix []byte
	key  ed25519.PrivateKey
	seq  uint64
}

func newSigner(t *testing.T, n byte) *signer {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
	pkix, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &signer{id: wire.NodeIDOf(pkix), pkix: pkix, key: key}
}

func newSigners(t *testing.T, first, count int) (list []*signer) {
	for i := range count {
		list = append(list, newSigner(t, byte(first+i)))
	}
	return list
}

func (s *signer) sign(signed []byte) []byte { return ed25519.Sign(s.key, signed) }

func (s *signer) about() wire.Card {
	return wire.Card{ID: s.id, Role: wire.RolePilot, Site: "das5", Proof: s.pkix}
}

// card returns a new card, newer than those before.
func (s *signer) card() *wire.Card {
	s.seq++
	c := s.about()
	c.Seq = s.seq
	c.Signature = s.sign(c.AppendSigned(nil))
	return &c
}

// checker verifies cards and counts.
type checker struct{ calls int }

func (v *checker) Verify(c *wire.Card, signed []byte) bool {
	v.calls++
	key, err := x509.ParsePKIXPublicKey(c.Proof)
	pub, ok := key.(ed25519.PublicKey)
	return err == nil && ok && wire.NodeIDOf(c.Proof) == c.ID && ed25519.Verify(pub, signed, c.Signature)
}

// desk is a Sampler under test.
type desk struct {
	*gossip.Sampler
	*signer
	checker
	now  time.Duration
	path map[wire.NodeID]gossip.Path // routed when missing
	view int
}

func newDesk(t *testing.T, view int) *desk {
	t.Helper()
	d := &desk{signer: newSigner(t, 1), path: make(map[wire.NodeID]gossip.Path), now: time.Hour, view: view}
	d.Sampler = gossip.New(gossip.Config{Card: d.about(), Sign: d.sign, Verify: &d.checker, View: view, Seed: 7,
		Reach: func(c *wire.Card) gossip.Path {
			if p, ok := d.path[c.ID]; ok {
				return p
			}
			return gossip.Routed
		}}, d.now)
	return d
}

// push lets a peer begin an exchange and returns the answer.
func (d *desk) push(from *signer, entries ...wire.Entry) *wire.ExchangeReply {
	sends := d.Receive(d.now, from.id, &wire.Exchange{Seq: 99, Entries: entries})
	if len(sends) == 0 {
		return nil
	}
	return sends[0].Msg.(*wire.ExchangeReply)
}

// tick lets time pass until the node sends something, at most for a minute.
func (d *desk) tick(t *testing.T) gossip.Send {
	t.Helper()
	for end := d.now + time.Minute; d.now < end; {
		d.now = max(d.now+1, d.Next())
		if sends := d.Tick(d.now); len(sends) > 0 {
			return sends[0]
		}
	}
	t.Fatal("nothing is sent for a minute")
	return gossip.Send{}
}

func entries(list []*signer) (all []wire.Entry) {
	for _, s := range list {
		all = append(all, wire.Entry{Card: s.card()})
	}
	return all
}

func (d *desk) has(s *signer) bool {
	return slices.ContainsFunc(d.Peers(d.now), func(e wire.Entry) bool { return e.Card.ID == s.id })
}

func TestAnswer(t *testing.T) {
	d := newDesk(t, 8)
	a, b := newSigner(t, 2), newSigner(t, 3)
	reply := d.push(a, wire.Entry{Card: a.card()}, wire.Entry{Card: b.card(), Age: time.Minute})
	if reply == nil || reply.Seq != 99 || len(reply.Entries) != 1 || reply.Entries[0].Card.ID != d.id {
		t.Fatalf("answer %+v, want one with the own card only: what was just told is not told back", reply)
	}
	if c := reply.Entries[0].Card; !new(checker).Verify(c, c.AppendSigned(nil)) {
		t.Error("the own card is not signed")
	}
	if !d.has(a) || !d.has(b) || d.Len() != 2 {
		t.Errorf("view %v, want both", d.Peers(d.now))
	}
	d.now += 30 * time.Second
	reply = d.push(a, wire.Entry{Card: a.card()})
	if len(reply.Entries) != 2 || reply.Entries[1].Card.ID != b.id || reply.Entries[1].Age != 90*time.Second {
		t.Errorf("answer %+v, want the own card and b's, 90 s old", reply.Entries)
	}
	if err := reply.Validate(); err != nil {
		t.Error(err)
	}
}

// The view takes one entry for a subject, the newest, and none of the node itself.
func TestOneEntryPerSubject(t *testing.T) {
	d := newDesk(t, 8)
	a, b := newSigner(t, 2), newSigner(t, 3)
	old, newer := b.card(), b.card()
	d.push(a, wire.Entry{Card: d.card()}, wire.Entry{Card: newer, Age: time.Minute})
	d.now += gossip.Period
	d.push(a, wire.Entry{Card: old})
	d.now += gossip.Period
	d.push(a, wire.Entry{Card: newer}) // as if it were new
	list := d.Peers(d.now)
	if len(list) != 1 || list[0].Card.Seq != newer.Seq || list[0].Age != time.Minute+2*gossip.Period {
		t.Errorf("view %+v, want one entry with number %d, 70 s old", list, newer.Seq)
	}
	d.now += gossip.Expire - list[0].Age
	if len(d.Peers(d.now)) != 0 {
		t.Errorf("view %+v after the entry's time", d.Peers(d.now))
	}
	d.push(a, wire.Entry{Card: newer})
	if d.has(b) {
		t.Error("a card that has expired comes back when it is told anew")
	}
}

func TestForgedCard(t *testing.T) {
	d := newDesk(t, 8)
	a, b, c := newSigner(t, 2), newSigner(t, 3), newSigner(t, 4)
	forged := *b.card()
	forged.Site = "elsewhere"
	d.push(a, wire.Entry{Card: a.card()}, wire.Entry{Card: &forged}, wire.Entry{Card: c.card()})
	if d.has(b) || d.has(c) {
		t.Errorf("view %+v, want nothing from the forged card on", d.Peers(d.now))
	}
	for at := d.now; d.now < at+gossip.Shun-gossip.Gap; {
		d.now += gossip.Gap
		d.Tick(d.now)
		if d.push(a, wire.Entry{Card: a.card()}) != nil {
			t.Fatalf("who passed on a forged card is answered %v later", d.now-at)
		}
	}
	d.now += gossip.Gap
	if d.push(a, wire.Entry{Card: a.card()}) == nil {
		t.Error("who passed on a forged card is never heard again")
	}
	if s := d.Stats(); s.Forged != 1 {
		t.Errorf("%d forged cards, want 1", s.Forged)
	}
}

func TestVerifiedOnce(t *testing.T) {
	d := newDesk(t, 8)
	a, b := newSigner(t, 2), newSigner(t, 3)
	ca, cb := a.card(), b.card()
	for range 10 {
		d.push(a, wire.Entry{Card: ca}, wire.Entry{Card: cb})
		d.now += gossip.Gap
	}
	if d.calls != 2 {
		t.Errorf("2 cards are verified %d times", d.calls)
	}
}

// A peer that floods is answered at its rate, takes a bounded part of the
// view, and costs a bounded number of verifications.
func TestFloodingPeer(t *testing.T) {
	const view = 64
	d := newDesk(t, view)
	a := newSigner(t, 2)
	for range 40 {
		d.push(a, entries(newSigners(t, 10, 30))...)
		d.now += gossip.Gap / 50
	}
	if s := d.Stats(); s.Served != 1 || s.Limited != 39 {
		t.Errorf("%d exchanges of 40 are answered and %d refused, want 1 and 39", s.Served, s.Limited)
	}
	if d.Len() > view/2 {
		t.Errorf("one peer has %d entries in a view of %d", d.Len(), view)
	}
	d = newDesk(t, view)
	for _, from := range newSigners(t, 100, 20) {
		d.push(from, entries(newSigners(t, 10, 30))...)
	}
	if d.calls > gossip.Budget {
		t.Errorf("%d cards are verified for strangers within one period, want at most %d", d.calls, gossip.Budget)
	}
}

// Only the partner that was asked answers, and once.
func TestUnaskedReply(t *testing.T) {
	d := newDesk(t, 8)
	a, b, c := newSigner(t, 2), newSigner(t, 3), newSigner(t, 4)
	d.push(a, wire.Entry{Card: a.card()})
	send := d.tick(t)
	seq := send.Msg.(*wire.Exchange).Seq
	reply := func(s *signer, seq uint64, about *signer) {
		d.Receive(d.now, s.id, &wire.ExchangeReply{Seq: seq, Entries: []wire.Entry{{Card: s.card()}, {Card: about.card()}}})
	}
	reply(b, seq, c)
	reply(a, seq+1, c)
	if send.To != a.id || d.has(c) || d.has(b) {
		t.Errorf("sent to %s, view %+v; an answer of somebody else, or to something else, counts", send.To.Short(), d.Peers(d.now))
	}
	reply(a, seq, b)
	reply(a, seq, c)
	if !d.has(b) || d.has(c) {
		t.Errorf("view %+v, want what was answered first", d.Peers(d.now))
	}
}

// When a partner does not answer, one that did is tried, and the first stays in view.
func TestFallback(t *testing.T) {
	d := newDesk(t, 8)
	a, b := newSigner(t, 2), newSigner(t, 3)
	d.push(a, wire.Entry{Card: a.card()})
	send := d.tick(t)
	d.Receive(d.now, a.id, &wire.ExchangeReply{Seq: send.Msg.(*wire.Exchange).Seq, Entries: []wire.Entry{{Card: a.card()}, {Card: b.card(), Age: time.Minute}}})
	send = d.tick(t) // b's card is the older one
	if send.To != b.id {
		t.Fatalf("partner %s, want b, who was not heard of for longer", send.To.Short())
	}
	began := d.now
	send = d.tick(t)
	if send.To != a.id || d.now != began+gossip.Wait {
		t.Errorf("after %v: %s, want a after %v", d.now-began, send.To.Short(), gossip.Wait)
	}
	if s := d.Stats(); s.Retried != 1 || !d.has(b) {
		t.Errorf("%+v, b in view: %v; want one retry, and b", s, d.has(b))
	}
}

// Partners are those that can be reached, over links or through their hubs.
func TestPaths(t *testing.T) {
	d := newDesk(t, 8)
	hub := newSigner(t, 9)
	gone, linked := newSigner(t, 2), newSigner(t, 3)
	s := newSigner(t, 4)
	routed := s.about()
	routed.Hubs, routed.Seq = []wire.NodeID{hub.id}, 1
	routed.Signature = s.sign(routed.AppendSigned(nil))
	d.path[gone.id], d.path[linked.id] = gossip.Nowhere, gossip.Linked
	d.push(hub, wire.Entry{Card: gone.card()}, wire.Entry{Card: linked.card()}, wire.Entry{Card: &routed})
	seen := make(map[wire.NodeID]bool)
	for range 20 {
		send := d.tick(t)
		seen[send.To] = true
		if want := send.To == s.id; want != slices.Equal(send.Via, []wire.NodeID{hub.id}) || want == (send.Via == nil) {
			t.Errorf("to %s through %v", send.To.Short(), send.Via)
		}
	}
	if seen[gone.id] || !seen[linked.id] || !seen[s.id] {
		t.Errorf("partners %v, want those that can be reached", seen)
	}
}

// A new link is gossiped over at once.
func TestNewLink(t *testing.T) {
	d := newDesk(t, 8)
	hub := newSigner(t, 2)
	began := d.now
	d.LinkUp(d.now, hub.id)
	if send := d.tick(t); send.To != hub.id || send.Via != nil || d.now-began > time.Second {
		t.Errorf("to %s through %v after %v, want the link within a second", send.To.Short(), send.Via, d.now-began)
	}
	d.LinkDown(hub.id)
	for d.now < began+time.Minute {
		d.now = d.Next()
		if sends := d.Tick(d.now); len(sends) > 0 {
			t.Fatalf("a message to %s, with nobody known and no link", sends[0].To.Short())
		}
	}
}

// A removed peer does not come back by hearsay.
func TestRemove(t *testing.T) {
	d := newDesk(t, 8)
	a, b := newSigner(t, 2), newSigner(t, 3)
	d.push(a, wire.Entry{Card: a.card()}, wire.Entry{Card: b.card()})
	d.Remove(d.now, b.id)
	for at := d.now; d.now < at+gossip.Expire; d.now += gossip.Period {
		if d.has(b) {
			t.Fatalf("b is back after %v", d.now-at)
		}
		d.Tick(d.now)
		d.push(a, wire.Entry{Card: b.card()})
	}
}

// The own card is signed every half minute, sooner when it changes, and not
// for every message.
func TestResign(t *testing.T) {
	d := newDesk(t, 8)
	a := newSigner(t, 2)
	ask := func(after time.Duration) wire.Entry {
		d.now += after
		return d.push(a, wire.Entry{Card: a.card()}).Entries[0]
	}
	for i, step := range []struct {
		after time.Duration
		free  uint32
		seq   uint64
		age   time.Duration
	}{
		{0, 0, 1, 0},
		{10 * time.Second, 0, 1, 10 * time.Second},
		{20 * time.Second, 0, 2, 0},
		{gossip.Gap, 3, 2, gossip.Gap}, // too soon to tell
		{gossip.Gap, 3, 3, 0},
		{gossip.Gap, 3, 3, gossip.Gap},
	} {
		if step.free > 0 && step.seq == 2 {
			about := d.about()
			about.Offer.Slots, about.Free = 4, step.free
			d.Describe(about)
		}
		e := ask(step.after)
		if e.Card.Seq != step.seq || e.Age != step.age || step.seq == 3 && e.Card.Free != step.free {
			t.Errorf("step %d: number %d, %v old, %d free; want %d, %v", i, e.Card.Seq, e.Age, e.Card.Free, step.seq, step.age)
		}
		if !new(checker).Verify(e.Card, e.Card.AppendSigned(nil)) {
			t.Errorf("step %d: not signed", i)
		}
	}
}

// Whatever comes, the view is within its size, without the node itself and
// without duplicates, and messages are valid.
func TestViewInvariants(t *testing.T) {
	for _, view := range []int{4, 7, 32} {
		d := newDesk(t, view)
		all := newSigners(t, 2, 60)
		for i := range 400 {
			from := all[i*7%60]
			var list []wire.Entry
			for j := range 5 {
				list = append(list, wire.Entry{Card: all[(i*i+j*11)%60].card(), Age: time.Duration(i*j%200) * time.Second})
			}
			if list[0].Card.ID == list[1].Card.ID {
				t.Fatal("the test repeats a subject")
			}
			if reply := d.push(from, list...); reply != nil && reply.Validate() != nil {
				t.Fatalf("answer %d: %v", i, reply.Validate())
			}
			d.now += time.Second
			for _, s := range d.Tick(d.now) {
				if err := s.Msg.Validate(); err != nil {
					t.Fatalf("message %d: %v", i, err)
				}
			}
			seen := make(map[wire.NodeID]bool)
			for _, e := range d.Peers(d.now) {
				if e.Card.ID == d.id || seen[e.Card.ID] || e.Age < 0 || e.Age >= gossip.Expire {
					t.Fatalf("view of %d after %d exchanges holds %s twice, itself, or too long (%v)", view, i, e.Card.ID.Short(), e.Age)
				}
				seen[e.Card.ID] = true
			}
			if len(seen) > view || len(d.Sample(d.now, 3)) > 3 || len(d.Sample(d.now, view+1)) != len(seen) {
				t.Fatalf("%d entries in a view of %d, samples of %d", len(seen), view, len(d.Sample(d.now, view+1)))
			}
		}
	}
}
