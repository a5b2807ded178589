package wire

import (
	"encoding/binary"
	"math"
)

// Limits of a coordinate. A round-trip time has at most MaxRTT milliseconds;
// the space is only as large as such times need.
const (
	Dimensions  = 4    // of a coordinate's position
	MaxPosition = 2000 // milliseconds from the origin, along each axis
	MaxHeight   = 1000 // milliseconds
	MaxRTT      = 3000 // milliseconds
	MinError    = 0.01 // nobody is surer than this
	MaxError    = 1.5  // a node that knows nothing yet
)

// Coordinate says where a node is in the space of round-trip times: two nodes
// are as far apart as their positions, plus both heights. It is part of other
// messages. The zero Coordinate is not valid: it stands for an unknown place.
type Coordinate struct {
	Position Position `cbor:"1,keyasint"` // milliseconds
	Height   float32  `cbor:"2,keyasint"` // milliseconds that every path from the node has in common
	Error    float32  `cbor:"3,keyasint"` // the node's own guess of its relative error
}

// Position is a point, in milliseconds along each axis.
type Position [Dimensions]float32

// UnmarshalCBOR refuses points of another space, which the library would fit
// into this one.
func (p *Position) UnmarshalCBOR(b []byte) error {
	var list []float32
	if err := messages.dec.Unmarshal(b, &list); err != nil {
		return err
	}
	if len(list) != Dimensions {
		return invalidf("position of %d dimensions", len(list))
	}
	*p = Position(list)
	return nil
}

// Validate reports the first number that is not finite or out of its limits.
func (c *Coordinate) Validate() error {
	for _, x := range c.Position {
		if !between(x, -MaxPosition, MaxPosition) {
			return invalidf("coordinate at %g ms", x)
		}
	}
	if !between(c.Height, 0, MaxHeight) {
		return invalidf("coordinate with height %g ms", c.Height)
	}
	if !between(c.Error, MinError, MaxError) {
		return invalidf("coordinate with error %g", c.Error)
	}
	return nil
}

// coordinateSize is how many bytes a coordinate takes on a card.
const coordinateSize = 4 * (Dimensions + 2)

// Bytes returns the coordinate as cards carry it: its numbers one after the
// other, each a big-endian IEEE 754 single.
func (c *Coordinate) Bytes() []byte {
	b := make([]byte, 0, coordinateSize)
	for _, x := range append(c.Position[:], c.Height, c.Error) {
		b = binary.BigEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// ParseCoordinate is the inverse of [Coordinate.Bytes] for bytes from
// anywhere. Its errors match [ErrInvalid].
func ParseCoordinate(b []byte) (c Coordinate, err error) {
	if len(b) != coordinateSize {
		return Coordinate{}, invalidf("coordinate of %d bytes", len(b))
	}
	var list [Dimensions + 2]float32
	for i := range list {
		list[i] = math.Float32frombits(binary.BigEndian.Uint32(b[4*i:]))
	}
	copy(c.Position[:], list[:])
	c.Height, c.Error = list[Dimensions], list[Dimensions+1]
	if err := c.Validate(); err != nil {
		return Coordinate{}, err
	}
	return c, nil
}

// between is false for what is not a number.
func between(x, low, high float32) bool {
	return x >= low && x <= high
}
