package wire

import (
	"encoding/binary"
	"time"
)

// Kinds of the gossip protocol, spoken on links and through hubs.
const (
	KindExchange      Kind = 0x50
	KindExchangeReply Kind = 0x51
)

// Limits of the gossip protocol.
const (
	MaxEntries    = 32  // entries in one message
	MaxHubs       = 2   // hubs of one node
	MaxCoordinate = 64  // bytes of a network coordinate
	MaxProof      = 256 // bytes of a proof of membership
	SignatureSize = 64  // bytes of a card's signature
)

// Card is what a node says of itself to those that have no link to it, signed
// by itself. A card does not change once it is signed, so that it can be
// shared; a newer one of the same node has a greater Seq.
type Card struct {
	ID         NodeID   `cbor:"1,keyasint"`
	Site       string   `cbor:"3,keyasint,omitempty"`
	Hubs       []NodeID `cbor:"4,keyasint,omitempty"` // those that relay to it, best first
	Offer      Offer    `cbor:"5,keyasint"`
	Role       Role     `cbor:"2,keyasint"`
	Free       uint32   `cbor:"6,keyasint,omitempty"` // slots of the offer that were free when it was signed
	Coordinate []byte   `cbor:"7,keyasint,omitempty"` // its place in the network; opaque here
	Seq        uint64   `cbor:"8,keyasint"`           // from 1 on
	Proof      []byte   `cbor:"9,keyasint,omitempty"` // ties ID and Role to the session for whoever verifies; opaque here
	Signature  []byte   `cbor:"10,keyasint"`          // over [Card.AppendSigned]
}

// cardDomain keeps a card's signature from being good for anything else.
const cardDomain = "zorilla card 1\x00"

// AppendSigned appends the bytes that a card's signature covers: every field
// but the signature, each variable one after its length. Two cards that differ
// have different bytes. The card must be valid.
func (c *Card) AppendSigned(b []byte) []byte {
	b = append(b, cardDomain...)
	b = append(b, c.ID[:]...)
	b = append(b, byte(c.Role), byte(len(c.Site)))
	b = append(b, c.Site...)
	b = append(b, byte(len(c.Hubs)))
	for i := range c.Hubs {
		b = append(b, c.Hubs[i][:]...)
	}
	for _, v := range [...]uint64{uint64(c.Offer.Slots), uint64(c.Offer.Cores), uint64(c.Offer.Memory), uint64(c.Offer.Disk),
		uint64(c.Offer.GPUs), uint64(c.Free), c.Seq} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = append(b, byte(len(c.Coordinate)))
	b = append(b, c.Coordinate...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.Proof)))
	return append(b, c.Proof...)
}

// Validate reports the first field that is out of its limits. It verifies
// no signature.
func (c *Card) Validate() error {
	switch {
	case c.ID.IsZero():
		return invalidf("card without identity")
	case c.Role < RolePilot || c.Role > RoleLauncher:
		return invalidf("role %d", c.Role)
	case c.Free > c.Offer.Slots:
		return invalidf("%d of %d slots free", c.Free, c.Offer.Slots)
	case len(c.Coordinate) > MaxCoordinate || len(c.Proof) > MaxProof:
		return invalidf("coordinate of %d bytes, proof of %d", len(c.Coordinate), len(c.Proof))
	case c.Seq == 0:
		return invalidf("card without sequence number")
	case len(c.Signature) != SignatureSize:
		return invalidf("signature of %d bytes", len(c.Signature))
	}
	return firstError(checkHubs(c.ID, c.Hubs), checkText("site", c.Site, MaxName), c.Offer.Validate())
}

// Entry is a card on its way, with the time since it was signed: clocks of
// different hosts need not agree. The age is not signed.
type Entry struct {
	Card *Card         `cbor:"1,keyasint"`
	Age  time.Duration `cbor:"2,keyasint"`
}

// Exchange gives a peer some entries of the sender's view, its own card first,
// and asks for some of the peer's.
type Exchange struct {
	Seq     uint64  `cbor:"1,keyasint"` // the answer carries it
	Entries []Entry `cbor:"2,keyasint"`
}

// Kind implements [Message].
func (*Exchange) Kind() Kind { return KindExchange }

// Validate implements [Message].
func (m *Exchange) Validate() error { return checkEntries(m.Entries) }

// ExchangeReply answers an Exchange, the sender's own card first.
type ExchangeReply struct {
	Seq     uint64  `cbor:"1,keyasint"` // that of the Exchange
	Entries []Entry `cbor:"2,keyasint"`
}

// Kind implements [Message].
func (*ExchangeReply) Kind() Kind { return KindExchangeReply }

// Validate implements [Message].
func (m *ExchangeReply) Validate() error { return checkEntries(m.Entries) }

// checkEntries bounds a list of entries: no subject twice.
func checkEntries(list []Entry) error {
	if len(list) == 0 || len(list) > MaxEntries {
		return invalidf("%d entries", len(list))
	}
	for i := range list {
		c := list[i].Card
		if c == nil {
			return invalidf("empty entry")
		}
		if err := firstError(c.Validate(), checkTime("age", list[i].Age)); err != nil {
			return err
		}
		for j := range i {
			if list[j].Card.ID == c.ID {
				return invalidf("%s twice", c.ID.Short())
			}
		}
	}
	return nil
}
