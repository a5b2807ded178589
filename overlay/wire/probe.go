package wire

import "time"

// Kinds of the measurements between nodes, spoken on links and in datagrams.
// Each message makes the one before it a measurement:
//
//	asker  Probe ──────>  asked
//	      <── ProbeReply         the asker has measured
//	       Placed ─────>         so has the other
const (
	KindProbe      Kind = 0x55
	KindProbeReply Kind = 0x56
	KindPlaced     Kind = 0x57
)

// MaxHints is the largest number of hints in one message.
const MaxHints = 16

// Hint tells of a third node where it is. Nothing is believed because of it
// but that the node may be worth a probe.
type Hint struct {
	ID         NodeID        `cbor:"1,keyasint"`
	At         *Locality     `cbor:"2,keyasint,omitempty"`
	Coordinate Coordinate    `cbor:"3,keyasint"`
	Age        time.Duration `cbor:"4,keyasint,omitempty"` // of the coordinate
	RTT        time.Duration `cbor:"5,keyasint,omitempty"` // as the sender measured it; 0: not at all
}

// Probe is to be answered at once with [ProbeReply]: the time between is
// measured. Its sender says where it is itself.
type Probe struct {
	Seq        uint64     `cbor:"1,keyasint"`           // hard to guess: the answer carries it
	At         *Locality  `cbor:"2,keyasint,omitempty"` // of the sender
	Coordinate Coordinate `cbor:"3,keyasint"`
	Hints      []Hint     `cbor:"4,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Probe) Kind() Kind { return KindProbe }

// Validate implements [Message].
func (m *Probe) Validate() error { return checkPlace(m.At, &m.Coordinate, m.Hints) }

// ProbeReply answers a Probe.
type ProbeReply struct {
	Seq        uint64     `cbor:"1,keyasint"` // that of the Probe
	Again      uint64     `cbor:"2,keyasint"` // as Seq, for the sender's own measurement; 0: it wants none
	At         *Locality  `cbor:"3,keyasint,omitempty"`
	Coordinate Coordinate `cbor:"4,keyasint"`
	Hints      []Hint     `cbor:"5,keyasint,omitempty"`
}

// Kind implements [Message].
func (*ProbeReply) Kind() Kind { return KindProbeReply }

// Validate implements [Message].
func (m *ProbeReply) Validate() error { return checkPlace(m.At, &m.Coordinate, m.Hints) }

// Placed says where its sender is now: to end a measurement, or because it has
// moved.
type Placed struct {
	Seq        uint64     `cbor:"1,keyasint,omitempty"` // Again of a ProbeReply; 0: nothing is measured
	At         *Locality  `cbor:"2,keyasint,omitempty"` // of the sender
	Coordinate Coordinate `cbor:"3,keyasint"`
}

// Kind implements [Message].
func (*Placed) Kind() Kind { return KindPlaced }

// Validate implements [Message].
func (m *Placed) Validate() error { return checkPlace(m.At, &m.Coordinate, nil) }

func checkPlace(at *Locality, c *Coordinate, hints []Hint) error {
	if len(hints) > MaxHints {
		return invalidf("%d hints", len(hints))
	}
	for i := range hints {
		h := &hints[i]
		if h.ID.IsZero() {
			return invalidf("hint about nobody")
		}
		if err := firstError(h.At.validate(h.ID), h.Coordinate.Validate(),
			checkTime("age", h.Age), checkTime("round-trip time", h.RTT)); err != nil {
			return err
		}
	}
	return firstError(at.validate(NodeID{}), c.Validate())
}
