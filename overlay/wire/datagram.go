package wire

// KindDatagram is the kind of [Datagram].
const KindDatagram Kind = 0x54

// MaxBody bounds the message in a datagram, in bytes: the largest exchange of
// cards fits.
const MaxBody = 32 << 10

// Datagram carries one small message between two nodes that need no link for
// it, over as many hubs as it takes. It may be lost, and nobody is told.
//
// Who wrote it is not proven: the node at the other end of a link vouches for
// nothing but having passed it on. Hence only kinds that prove themselves, or
// can do no harm, travel this way; see [Carried]. Hubs pass it on without
// looking into it.
type Datagram struct {
	Src     NodeID   `cbor:"1,keyasint"`
	SrcHubs []NodeID `cbor:"2,keyasint,omitempty"` // those that relay to Src, for the answer
	Dst     NodeID   `cbor:"3,keyasint"`
	Hubs    []NodeID `cbor:"4,keyasint,omitempty"` // those that relay to Dst, as Src knows them
	Route   []NodeID `cbor:"5,keyasint,omitempty"` // hubs still to cross, next first; the first hub fills it in
	Hops    uint8    `cbor:"6,keyasint,omitempty"` // hubs that it may still cross
	Body    Body     `cbor:"7,keyasint"`
}

// Kind implements [Message].
func (*Datagram) Kind() Kind { return KindDatagram }

// Validate implements [Message]. What is in the body is not looked at.
func (m *Datagram) Validate() error {
	switch {
	case m.Src.IsZero() || m.Dst.IsZero() || m.Src == m.Dst:
		return invalidf("datagram from %s to %s", m.Src.Short(), m.Dst.Short())
	case m.Hops > MaxHops:
		return invalidf("%d hops", m.Hops)
	}
	return firstError(checkHubs(m.Src, m.SrcHubs), checkHubs(m.Dst, m.Hubs), CheckRoute(m.Route), m.Body.validate())
}

// CheckRoute bounds a list of hubs to cross: at most [MaxHops], none of them
// twice.
func CheckRoute(route []NodeID) error {
	if len(route) > MaxHops {
		return invalidf("route over %d hubs", len(route))
	}
	for i, h := range route {
		if h.IsZero() {
			return invalidf("route over nobody")
		}
		for _, other := range route[:i] {
			if other == h {
				return invalidf("route over %s twice", h.Short())
			}
		}
	}
	return nil
}

// Carried reports whether messages of a kind may travel in a datagram: they
// are signed by whom they concern, or nothing is believed because of them.
func Carried(k Kind) bool {
	switch k {
	case KindExchange, KindExchangeReply, KindProbe, KindProbeReply, KindPlaced, KindBeat:
		return true
	}
	return false
}

// Body is the message in a datagram. It is encoded when the datagram is, and
// decoded only by whoever asks for it. A Body must not be changed.
type Body struct {
	msg Message // of the author
	raw []byte  // of everybody else
}

// BodyOf returns the body that holds a message, of a kind that is [Carried].
func BodyOf(m Message) Body { return Body{msg: m} }

// Message returns the message in the body. Errors match [ErrInvalid]: it is no
// message, or not one that may travel so.
func (b Body) Message() (Message, error) {
	if b.msg != nil {
		return b.msg, nil
	}
	if len(b.raw) == 0 || !Carried(Kind(b.raw[0])) {
		return nil, invalidf("body that is no message for a datagram")
	}
	return Decode(b.raw)
}

// Equal reports whether two bodies have the same bytes.
func (b Body) Equal(other Body) bool { return string(b.bytes()) == string(other.bytes()) }

// MarshalCBOR makes a byte string of the encoded message.
func (b Body) MarshalCBOR() ([]byte, error) { return messages.enc.Marshal(b.bytes()) }

// UnmarshalCBOR takes a byte string, whatever is in it.
func (b *Body) UnmarshalCBOR(in []byte) error {
	*b = Body{}
	return messages.dec.Unmarshal(in, &b.raw)
}

func (b Body) bytes() []byte {
	if b.msg != nil {
		return Encode(b.msg)
	}
	return b.raw
}

func (b Body) validate() error {
	switch {
	case b.msg == nil && (len(b.raw) == 0 || len(b.raw) > MaxBody):
		return invalidf("body of %d bytes", len(b.raw))
	case b.msg != nil && !Carried(b.msg.Kind()):
		return invalidf("body that is a %v", b.msg.Kind())
	}
	return nil
}
