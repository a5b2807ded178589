package wire

// Kinds of the stream protocol.
const (
	KindOpen     Kind = 0x20
	KindAccepted Kind = 0x21
)

// StreamKind says what a stream is for.
type StreamKind uint8

// The kinds of streams.
const (
	StreamLink   StreamKind = 1 // a link between two nodes: control messages
	StreamJoin   StreamKind = 2 // admission of a node without a certificate
	StreamFetch  StreamKind = 3 // chunks of files, asked for by the opener
	StreamOutput StreamKind = 4 // a worker's output, from the pilot to the primary
	StreamDial   StreamKind = 5 // bytes to host:port seen from the acceptor; launchers only
	StreamLog    StreamKind = 6 // the acceptor's own log, newest part
	StreamAdmit  StreamKind = 7 // admission the other way round: the opener is the signer
	StreamBulk   StreamKind = 8 // marks a further carrier to a peer as one for bulk; carries nothing
	StreamListen StreamKind = 9 // asks a hub to listen for its site; launchers only
)

// MaxHops is the largest number of hubs a stream may cross.
const MaxHops = 8

// Open is the first frame of every stream. A node that is not the destination
// passes the stream on towards it and takes one from Hops.
type Open struct {
	Dst    NodeID     `cbor:"1,keyasint"`           // destination; zero means the other end of the carrier
	Src    NodeID     `cbor:"2,keyasint"`           // claimed origin: a hint for routing, proven by TLS inside
	Stream StreamKind `cbor:"3,keyasint"`           // what for
	Hops   uint8      `cbor:"4,keyasint,omitempty"` // hubs it may still cross
}

// Kind implements [Message].
func (*Open) Kind() Kind { return KindOpen }

// Validate implements [Message].
func (m *Open) Validate() error {
	if m.Stream < StreamLink || m.Stream > StreamListen {
		return invalidf("stream kind %d", m.Stream)
	}
	if m.Hops > MaxHops {
		return invalidf("%d hops", m.Hops)
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
