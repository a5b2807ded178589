package vivaldi

import (
	"math"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// spot is a coordinate as a node remembers it, in half the room: to a sixteenth
// of a millisecond, which is far less than any coordinate is worth. It is no
// coarser for being told on and remembered again.
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
