package gossip

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits against peers that flood or forge.
const (
	// Gap is the least time between two exchanges that one peer may begin.
	Gap = Period / 2
	// Answers is how many exchanges of others are answered in a Period.
	Answers = 128
	// Takes is how many entries of one exchange may enter the moving half: a
	// quarter of it when it is of the default size, and the same on both
	// sides, so that what one side gives up for room the other has taken.
	Takes = 4
	// Crowd is how many exchanges of others in a Period are too many to be
	// true, since every node begins one on average; from then on one entry
	// of all that nobody asked for may enter the moving half in a Period.
	Crowd = 2
	// Budget is how many cards that nobody asked for are verified in a Period.
	Budget = 32
	// Shun is how long a peer is not listened to after it passed on a card
	// that is not its subject's word.
	Shun = 5 * time.Minute

	maxShunned = 64
	maxBuried  = 256
)

// guard holds the limits of one node.
type guard struct {
	takes, verifications int     // left in this round, for what nobody asked for
	served               int     // exchanges of others in this round
	crowd                float64 // and on average in the latest eight or so
	callers              []stamp
	shunned              []stamp
	graves               []stamp
	known                known
}

// stamp is a peer and a time.
type stamp struct {
	id wire.NodeID
	at time.Duration
}

// put adds a stamp, the oldest one making room.
func put(list []stamp, s stamp, most int) []stamp {
	if i := slices.IndexFunc(list, func(x stamp) bool { return x.id == s.id }); i >= 0 {
		list = slices.Delete(list, i, i+1)
	} else if len(list) >= most {
		list = slices.Delete(list, 0, 1)
	}
	return append(list, s)
}

// has reports whether a peer has a stamp whose time is yet to come.
func has(list []stamp, now time.Duration, id wire.NodeID) bool {
	for i := range list {
		if list[i].id == id {
			return now < list[i].at
		}
	}
	return false
}

// round gives everybody new quotas.
func (g *guard) round(now time.Duration) {
	g.crowd += (float64(g.served) - g.crowd) / 8
	g.takes, g.verifications, g.served = Takes, Budget, 0
	if g.crowd > Crowd {
		g.takes = 1
	}
	past := func(s stamp) bool { return now >= s.at }
	g.callers = slices.DeleteFunc(g.callers, past)
	g.shunned = slices.DeleteFunc(g.shunned, past)
	g.graves = slices.DeleteFunc(g.graves, past)
}

// admit reports whether an exchange of a peer is to be answered.
func (g *guard) admit(now time.Duration, id wire.NodeID) bool {
	if has(g.callers, now, id) || len(g.callers) >= Answers {
		return false
	}
	g.served++
	g.callers = put(g.callers, stamp{id, now + Gap}, Answers)
	return true
}

func (g *guard) shuns(now time.Duration, id wire.NodeID) bool { return has(g.shunned, now, id) }

func (g *guard) shun(now time.Duration, id wire.NodeID) {
	g.shunned = put(g.shunned, stamp{id, now + Shun}, maxShunned)
}

func (g *guard) bury(now time.Duration, id wire.NodeID) {
	g.graves = put(g.graves, stamp{id, now + Expire}, maxBuried)
}

func (g *guard) buried(now time.Duration, id wire.NodeID) bool { return has(g.graves, now, id) }

// verify returns when a card was signed, and whether it is its subject's word.
// It shuns a peer that passes on what is not.
func (s *Sampler) verify(now time.Duration, from wire.NodeID, e wire.Entry, budget *int) (time.Duration, bool) {
	signed := e.Card.AppendSigned(make([]byte, 0, 512))
	sum := sha256.Sum256(append(signed, e.Card.Signature...))
	if issued, ok := s.guard.known.get(cardDigest(sum[:])); ok {
		return issued, true
	}
	if *budget <= 0 {
		return 0, false
	}
	*budget--
	s.stats.Verified++
	if !s.cfg.Verify.Verify(e.Card, signed) {
		s.stats.Forged++
		s.guard.shun(now, from)
		return 0, false
	}
	s.guard.known.put(cardDigest(sum[:]), now-e.Age)
	return now - e.Age, true
}

// known remembers cards that were verified, by their digests, in sets of four of
// which the one that was not asked for longest makes room.
type known struct {
	sets *[32][4]knownCard
}

type knownCard struct {
	digest cardDigest
	issued int32 // in hundredths of a second, by this node's clock
}

// cardDigest is the part of a card's digest that is remembered. Who would have
// a forged card pass for one that was verified must find a second preimage of
// it within the minutes that the card is about.
type cardDigest [12]byte

const issuedGrain = 10 * time.Millisecond

func (k *known) set(digest cardDigest) *[4]knownCard {
	if k.sets == nil {
		k.sets = new([32][4]knownCard)
	}
	return &k.sets[binary.BigEndian.Uint16(digest[:])%32]
}

func (k *known) get(digest cardDigest) (time.Duration, bool) {
	set := k.set(digest)
	for i, c := range set {
		if c.digest == digest {
			copy(set[1:], set[:i])
			set[0] = c
			return time.Duration(c.issued) * issuedGrain, true
		}
	}
	return 0, false
}

func (k *known) put(digest cardDigest, issued time.Duration) {
	set := k.set(digest)
	copy(set[1:], set[:])
	set[0] = knownCard{digest, int32(issued / issuedGrain)}
}
