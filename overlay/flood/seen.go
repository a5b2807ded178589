package flood

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of a Seen.
const (
	MaxSeen  = 4096            // adverts; the ones not heard of for the longest time give way
	SeenTime = 2 * time.Minute // longer than any advert is on its way
)

// Query names one state of one job's advert, in 128 bits: whatever way and
// however often it comes, it is one query.
type Query [16]byte

// QueryOf returns the name of an advert.
func QueryOf(ad *wire.Advert) Query {
	var b [28]byte
	copy(b[:], ad.Job[:])
	binary.BigEndian.PutUint32(b[16:], ad.Epoch)
	binary.BigEndian.PutUint64(b[20:], ad.Seq)
	sum := sha256.Sum256(b[:])
	return Query(sum[:16])
}

// Seen is a duplicate filter: it remembers the latest queries, so that a node
// handles each once. The original passed on whatever came, as often as it
// came. The zero Seen is empty.
type Seen struct {
	at   map[Query]time.Duration
	ring []Query // in the order in which they came
	next int     // of the ring, once it is full
}

// First reports whether a query is seen for the first time, and remembers it.
func (s *Seen) First(now time.Duration, q Query) bool {
	if s.at == nil {
		s.at = make(map[Query]time.Duration)
	}
	if t, ok := s.at[q]; ok && now < t+SeenTime {
		return false
	} else if ok {
		s.at[q] = now // its place in the ring is the old one: it gives way early
		return true
	}
	s.at[q] = now
	if len(s.ring) < MaxSeen {
		s.ring = append(s.ring, q)
		return true
	}
	delete(s.at, s.ring[s.next])
	s.ring[s.next] = q
	s.next = (s.next + 1) % MaxSeen
	return true
}

// Len returns how many queries are remembered.
func (s *Seen) Len() int { return len(s.at) }
