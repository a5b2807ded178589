package wire

// Kinds of the conversation that gives a stream connections of its own.
const (
	KindLane   Kind = 0x28
	KindStripe Kind = 0x29
)

// Sizes of what tells connections and flows apart, in bytes.
const (
	TicketSize = 32 // of the ticket that a new connection is presented with
	FlowSize   = 16 // of a flow's name
)

// MaxStripes is the largest number of stripes beside the stream that a flow
// began with.
const MaxStripes = 8

// Lane answers an [Open] with a ticket, before the Accepted: the acceptor is
// ready to be connected to, or, where it was asked to call, has connected. The
// stream goes on over the new connection.
type Lane struct{}

// Kind implements [Message].
func (*Lane) Kind() Kind { return KindLane }

// Validate implements [Message].
func (*Lane) Validate() error { return nil }

// Stripe is the first frame of the opener's own on a stripe stream: which flow
// of the two nodes it is for, and its number there. The acceptor answers with
// [Accepted].
type Stripe struct {
	Flow   []byte `cbor:"1,keyasint"`
	Number uint8  `cbor:"2,keyasint"` // 1 to MaxStripes
}

// Kind implements [Message].
func (*Stripe) Kind() Kind { return KindStripe }

// Validate implements [Message].
func (m *Stripe) Validate() error {
	if len(m.Flow) != FlowSize {
		return invalidf("name of a flow of %d bytes", len(m.Flow))
	}
	if m.Number == 0 || m.Number > MaxStripes {
		return invalidf("stripe %d", m.Number)
	}
	return nil
}

// checkLane bounds what an Open says about connections of its own.
func (m *Open) checkLane() error {
	if n := len(m.Flow); n != 0 && n != FlowSize {
		return invalidf("name of a flow of %d bytes", n)
	}
	if n := len(m.Ticket); n != 0 && n != TicketSize {
		return invalidf("ticket of %d bytes", n)
	}
	if m.Call && len(m.Ticket) == 0 {
		return invalidf("call without a ticket")
	}
	return nil
}
