package wire

import "slices"

// Kinds of the stream protocol.
const (
	KindOpen     Kind = 0x20
	KindAccepted Kind = 0x21
)

// StreamKind says what a stream is for.
type StreamKind uint8

// The kinds of streams.
const (
	StreamLink   StreamKind = 1  // a link between two nodes: control messages
	StreamJoin   StreamKind = 2  // admission of a node without a certificate
	StreamFetch  StreamKind = 3  // chunks of files, asked for by the opener
	StreamOutput StreamKind = 4  // a worker's output, from the pilot to the primary
	StreamDial   StreamKind = 5  // bytes to host:port seen from the acceptor; launchers only
	StreamLog    StreamKind = 6  // the acceptor's own log, newest part
	StreamAdmit  StreamKind = 7  // admission the other way round: the opener is the signer
	StreamBulk   StreamKind = 8  // marks a further carrier to a peer as one for bulk; carries nothing
	StreamListen StreamKind = 9  // asks a hub to listen for its site; launchers only
	StreamStripe StreamKind = 10 // a further connection for the bytes of a stream that is open
	StreamReach  StreamKind = 11 // how two nodes could be connected without a hub
	StreamGrow   StreamKind = 12 // gives a hub a grow order; launchers only
)

// MaxHops is the largest number of hubs a stream may cross.
const MaxHops = 8

// Open is the first frame of every stream. A node that is not the destination
// passes the stream on and takes one from Hops: to the destination if it has a
// carrier to it, else to the first of Route, which it takes off, else, Route
// being empty, along a route of its own to one of Hubs.
type Open struct {
	Dst    NodeID     `cbor:"1,keyasint"`           // destination; zero means the other end of the carrier
	Src    NodeID     `cbor:"2,keyasint"`           // claimed origin: a hint for routing, proven by TLS inside
	Stream StreamKind `cbor:"3,keyasint"`           // what for
	Hops   uint8      `cbor:"4,keyasint,omitempty"` // hubs it may still cross
	Hubs   []NodeID   `cbor:"5,keyasint,omitempty"` // hubs of the destination, as the opener knows them
	Route  []NodeID   `cbor:"6,keyasint,omitempty"` // hubs still to cross after the one that reads it, next first

	// Flow names the stream, where it may get stripes.
	Flow []byte `cbor:"10,keyasint,omitempty"`
	// Ticket wants the stream's bytes to go over a connection of their own
	// between these two neighbours, which whoever makes it presents with the
	// ticket. It is good once, for 10 seconds, and of this carrier only.
	Ticket []byte `cbor:"11,keyasint,omitempty"`
	// Call asks the acceptor to make that connection.
	Call bool `cbor:"12,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Open) Kind() Kind { return KindOpen }

// Validate implements [Message].
func (m *Open) Validate() error {
	if m.Stream < StreamLink || m.Stream > StreamGrow {
		return invalidf("stream kind %d", m.Stream)
	}
	if m.Hops > MaxHops {
		return invalidf("%d hops", m.Hops)
	}
	if err := checkHubs(m.Dst, m.Hubs); err != nil {
		return err
	}
	if err := m.checkLane(); err != nil {
		return err
	}
	return m.checkRoute()
}

// checkRoute refuses a route that crosses anything twice, ends of the stream
// included, or more hubs than the stream may.
func (m *Open) checkRoute() error {
	if len(m.Route) > int(m.Hops) {
		return invalidf("route over %d hubs where %d are allowed", len(m.Route), m.Hops)
	}
	for i, hub := range m.Route {
		switch {
		case hub.IsZero():
			return invalidf("route over nobody")
		case hub == m.Dst || hub == m.Src:
			return invalidf("route over an end of its stream")
		case slices.Contains(m.Route[:i], hub):
			return invalidf("route over %s twice", hub.Short())
		}
	}
	return nil
}

// Accepted answers an Open: the stream's own bytes follow, or, when Error is
// not empty, nothing does.
type Accepted struct {
	Error string `cbor:"1,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Accepted) Kind() Kind { return KindAccepted }

// Validate implements [Message].
func (m *Accepted) Validate() error { return checkText("error", m.Error, 1024) }
