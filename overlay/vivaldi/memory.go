package vivaldi

import (
	"math"
	"slices"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// What a node remembers of others takes little room, because a machine may
// simulate ten thousand nodes that each remember a hundred. All of it is finer
// than what it holds is worth: a node says where it is to within [Settled],
// and no two measurements of one path are the same.

// spot is a coordinate: its position to a sixteenth of a millisecond, its
// height to a 64th, its error to a 40000th. It is no coarser for being told on
// and remembered again.
type spot struct {
	position      [wire.Dimensions]int16
	height, error uint16
}

// How many parts a millisecond has, and an error of one. All valid coordinates
// fit, and stay valid.
const (
	positionParts = 16
	heightParts   = 64
	errorParts    = 40000
)

func spotOf(c *wire.Coordinate) (s spot) {
	for k, x := range c.Position {
		s.position[k] = int16(math.RoundToEven(float64(x) * positionParts))
	}
	s.height = uint16(math.RoundToEven(float64(c.Height) * heightParts))
	s.error = uint16(math.RoundToEven(float64(c.Error) * errorParts))
	return s
}

// coordinate is valid if the one that the spot was made of was.
func (s *spot) coordinate() (c wire.Coordinate) {
	for k, x := range s.position {
		c.Position[k] = float32(x) / positionParts
	}
	c.Height = float32(s.height) / heightParts
	c.Error = float32(s.error) / errorParts
	return c
}

// span is a round trip: a floating point number of eleven bits after the
// point, so that it is true to 0.025 %, from 15 nanoseconds to a minute. Zero
// is none at all. Spans are ordered as numbers are.
type span uint16

const (
	spanShift = 23 - 11          // bits of a float32's fraction that it lacks
	spanFirst = (127 - 16) << 11 // the upper bits of the float32 that is zero here
	never     = math.MaxUint16   // a span longer than any round trip
)

// spanOf rounds a number of milliseconds that is not negative.
func spanOf(ms float64) span {
	const half = 1 << (spanShift - 1) // to round, not to cut
	bits := int(math.Float32bits(float32(ms))+half) >> spanShift
	return span(min(max(bits-spanFirst, 1), never))
}

func (s span) milliseconds() float64 {
	if s == 0 {
		return 0
	}
	return float64(math.Float32frombits((spanFirst + uint32(s)) << spanShift))
}

// localities are where peers are found, each once: most peers of a site have
// the same hubs. A peer has the number of its locality; 0 is one that is not
// known.
type localities []*wire.Locality

func (l localities) get(number uint16) *wire.Locality {
	if number == 0 {
		return nil
	}
	return l[number-1]
}

// number returns the number of a locality, which must be kept from then on or
// may be given to another one.
func (n *Node) number(at *wire.Locality) uint16 {
	if at == nil {
		return 0
	}
	l := n.localities
	i := slices.Index(l, at)
	if i < 0 {
		i = slices.IndexFunc(l, func(x *wire.Locality) bool {
			return x != nil && x.Site == at.Site && slices.Equal(x.Hubs, at.Hubs)
		})
	}
	if i < 0 && len(l) == cap(l) {
		n.sweep()
	}
	if i < 0 {
		i = slices.Index(l, nil)
	}
	if i < 0 {
		i = len(l)
		n.localities = append(room(l, math.MaxUint16), nil)
	}
	n.localities[i] = at
	return uint16(i + 1)
}

// sweep forgets the localities of which no peer is remembered.
func (n *Node) sweep() {
	used := make([]bool, len(n.localities)+1)
	for i := range n.samples {
		used[n.samples[i].at] = true
	}
	for i := range n.others {
		used[n.others[i].at] = true
	}
	for i := range n.localities {
		if !used[i+1] {
			n.localities[i] = nil
		}
	}
}

// room returns a list with room for one more: it grows by a few at a time, and
// never beyond the limit.
func room[T any](list []T, limit int) []T {
	if len(list) < cap(list) {
		return list
	}
	return append(make([]T, 0, min(len(list)+8, limit)), list...)
}
