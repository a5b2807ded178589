package vivaldi

import (
	"math"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// SiteDistance is how far apart two nodes of one site are taken to be.
const SiteDistance = 100 * time.Microsecond

// Peer is a node as others speak of it.
type Peer struct {
	ID         wire.NodeID
	Site       string // "" is a node without a site
	Coordinate wire.Coordinate
	// At, when it is known, names the site in the place of Site, and how the
	// peer is reached. It is kept with the peer, shared, and part of what
	// others are told of it.
	At *wire.Locality
}

func (p *Peer) site() string {
	if p.At != nil {
		return p.At.Site
	}
	return p.Site
}

func peerAt(id wire.NodeID, at *wire.Locality, c wire.Coordinate) Peer {
	p := Peer{ID: id, Coordinate: c, At: at}
	p.Site = p.site()
	return p
}

// Between estimates the round-trip time between two peers. Inside a site the
// label decides, not the coordinates.
func Between(a, b Peer) time.Duration {
	switch {
	case a.ID == b.ID:
		return 0
	case a.site() != "" && a.site() == b.site():
		return SiteDistance
	}
	return Distance(a.Coordinate, b.Coordinate)
}

// Distance estimates the round-trip time between two nodes from their
// coordinates alone. It is never negative; of coordinates that are not valid
// it is meaningless.
func Distance(a, b wire.Coordinate) time.Duration {
	return time.Duration(distance(&a, &b) * float64(time.Millisecond))
}

// distance is Distance in milliseconds.
func distance(a, b *wire.Coordinate) float64 {
	sum := 0.0
	for k := range a.Position {
		d := float64(a.Position[k]) - float64(b.Position[k])
		sum += d * d
	}
	return math.Sqrt(sum) + float64(a.Height) + float64(b.Height)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
