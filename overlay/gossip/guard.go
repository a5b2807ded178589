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
	served               int32   // exchanges of others in this round
	crowd                float32 // and on average in the latest eight or so
	callers              stamps  // for Gap
	shunned              stamps  // for Shun
	graves               stamps  // for Expire
	known                known
}

// stamps are peers of which something is true for a time, the latest last.
type stamps []stamp

type stamp struct {
	id wire.NodeID
	at moment
}

// put adds a stamp, the oldest one making room.
func (l *stamps) put(now time.Duration, id wire.NodeID, most int) {
	if i := slices.IndexFunc(*l, func(x stamp) bool { return x.id == id }); i >= 0 {
		*l = slices.Delete(*l, i, i+1)
	} else if len(*l) >= most {
		*l = slices.Delete(*l, 0, 1)
	}
	*l = append(*l, stamp{id, momentOf(now)})
}

// has reports whether a peer has a stamp that is younger than a length of time.
func (l stamps) has(now time.Duration, id wire.NodeID, length time.Duration) bool {
	for i := range l {
		if l[i].id == id {
			return l[i].at.age(now) < length
		}
	}
	return false
}

// expire removes those that are not. Most nodes have none for most of the time.
func (l *stamps) expire(now, length time.Duration) {
	*l = slices.DeleteFunc(*l, func(s stamp) bool { return s.at.age(now) >= length })
	if len(*l) == 0 {
		*l = nil
	}
}

// round gives everybody new quotas.
func (g *guard) round(now time.Duration) {
	g.crowd += (float32(g.served) - g.crowd) / 8
	g.takes, g.verifications, g.served = Takes, Budget, 0
	if g.crowd > Crowd {
		g.takes = 1
	}
	g.callers.expire(now, Gap)
	g.shunned.expire(now, Shun)
	g.graves.expire(now, Expire)
}

// admit reports whether an exchange of a peer is to be answered.
func (g *guard) admit(now time.Duration, id wire.NodeID) bool {
	if g.callers.has(now, id, Gap) || len(g.callers) >= Answers {
		return false
	}
	g.served++
	g.callers.put(now, id, Answers)
	return true
}

func (g *guard) shuns(now time.Duration, id wire.NodeID) bool { return g.shunned.has(now, id, Shun) }

func (g *guard) shun(now time.Duration, id wire.NodeID) { g.shunned.put(now, id, maxShunned) }

func (g *guard) bury(now time.Duration, id wire.NodeID) { g.graves.put(now, id, maxBuried) }

func (g *guard) buried(now time.Duration, id wire.NodeID) bool { return g.graves.has(now, id, Expire) }

// verify returns when a card was signed, and whether it is its subject's word.
// It shuns a peer that passes on what is not.
func (s *Sampler) verify(now time.Duration, from wire.NodeID, e wire.Entry, budget *int) (moment, bool) {
	b := make([]byte, 0, 512)
	for _, x := range s.view.salt {
		b = binary.BigEndian.AppendUint64(b, x)
	}
	salt := len(b)
	b = e.Card.AppendSigned(b)
	signed := b[salt:]
	sum := sha256.Sum256(append(b, e.Card.Signature...))
	digest := cardDigest(sum[:])
	if issued, ok := s.guard.known.get(digest); ok {
		return issued, true
	}
	if *budget <= 0 {
		return 0, false
	}
	*budget--
	s.stats.Verified++
	if !s.verifier.Verify(e.Card, signed) {
		s.stats.Forged++
		s.guard.shun(now, from)
		return 0, false
	}
	issued := momentOf(now - e.Age)
	s.guard.known.put(digest, issued)
	return issued, true
}

// known remembers cards that were verified, by their digests, in sets of four of
// which the one that was not asked for longest makes room. Twice as many sets
// would save one verification of fifty.
type known struct {
	sets *[knownSets][4]knownCard
}

const knownSets = 16

type knownCard struct {
	digest cardDigest
	issued moment
}

// cardDigest is what is remembered of a card: part of the digest of a salt that
// this node alone knows, the card and its signature. Who would have a forged
// card pass for one that was verified can but guess, one chance in 2^62 a
// card, and is shunned for it.
type cardDigest [8]byte

func (k *known) set(digest cardDigest) *[4]knownCard {
	if k.sets == nil {
		k.sets = new([knownSets][4]knownCard)
	}
	return &k.sets[binary.BigEndian.Uint16(digest[:])%knownSets]
}

func (k *known) get(digest cardDigest) (moment, bool) {
	set := k.set(digest)
	for i, c := range set {
		if c.digest == digest {
			copy(set[1:], set[:i])
			set[0] = c
			return c.issued, true
		}
	}
	return 0, false
}

func (k *known) put(digest cardDigest, issued moment) {
	set := k.set(digest)
	copy(set[1:], set[:])
	set[0] = knownCard{digest, issued}
}
