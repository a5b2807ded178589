package wire

import (
	"encoding/binary"
	"time"
)

// Kinds of the link-state protocol, spoken on links between nodes that relay,
// and of what a hub and its pilots say to each other about losing it.
const (
	KindLinkStates Kind = 0x58
	KindLinksHeld  Kind = 0x59
	KindAdvice     Kind = 0x5a
	KindServe      Kind = 0x5b
)

// Limits of the link-state protocol.
const (
	MaxLinks    = 256 // links that one node declares
	MaxStates   = 16  // statements in one message
	MaxHeld     = 512 // statements named in one message
	MaxAdvised  = 8   // hubs in one Advice
	MaxDeputies = 8   // pilots in one Advice
)

// maxSeq leaves whoever is impersonated room for a greater number.
const maxSeq = 1 << 62

// LinkState is what a node that relays says of itself: its links to others
// that do. A newer one has a greater Seq and says all of it again. It does not
// change once it is signed, so that it can be shared.
type LinkState struct {
	Origin    NodeID    `cbor:"1,keyasint"`
	Role      Role      `cbor:"2,keyasint"`
	Site      string    `cbor:"3,keyasint,omitempty"`
	Seq       uint64    `cbor:"4,keyasint"`           // from 1 on
	Links     []HubLink `cbor:"5,keyasint,omitempty"` // by identity, ascending
	Proof     []byte    `cbor:"6,keyasint,omitempty"` // ties Origin, Role and Site to the session for whoever verifies; opaque here
	Signature []byte    `cbor:"7,keyasint,omitempty"` // over [LinkState.AppendSigned]; empty when statements are not signed
}

// HubLink is one end's word on a link.
type HubLink struct {
	ID  NodeID `cbor:"1,keyasint"`           // of the other end
	RTT uint32 `cbor:"2,keyasint,omitempty"` // microseconds; 0 is unknown
}

// linkDomain keeps a statement's signature from being good for anything else.
const linkDomain = "zorilla links 1\x00"

// AppendSigned appends the bytes that a statement's signature covers: every
// field but the signature, each variable one after its length. Two statements
// that differ have different bytes. The statement must be valid.
func (m *LinkState) AppendSigned(b []byte) []byte {
	b = append(b, linkDomain...)
	b = append(b, m.Origin[:]...)
	b = append(b, byte(m.Role), byte(len(m.Site)))
	b = append(b, m.Site...)
	b = binary.BigEndian.AppendUint64(b, m.Seq)
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Links)))
	for i := range m.Links {
		b = append(b, m.Links[i].ID[:]...)
		b = binary.BigEndian.AppendUint32(b, m.Links[i].RTT)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Proof)))
	return append(b, m.Proof...)
}

// Validate reports the first field that is out of its limits. It verifies no
// signature.
func (m *LinkState) Validate() error {
	switch {
	case m.Origin.IsZero():
		return invalidf("links of nobody")
	case m.Role < RolePilot || m.Role > RoleLauncher:
		return invalidf("role %d", m.Role)
	case m.Seq == 0 || m.Seq > maxSeq:
		return invalidf("sequence number %d", m.Seq)
	case len(m.Links) > MaxLinks:
		return invalidf("%d links", len(m.Links))
	case len(m.Proof) > MaxProof:
		return invalidf("proof of %d bytes", len(m.Proof))
	case len(m.Signature) != 0 && len(m.Signature) != SignatureSize:
		return invalidf("signature of %d bytes", len(m.Signature))
	}
	var last NodeID
	for i := range m.Links {
		l := &m.Links[i]
		if l.ID == m.Origin || l.ID.Compare(last) <= 0 {
			return invalidf("link %d of %s to %s", i, m.Origin.Short(), l.ID.Short())
		}
		if l.RTT > MaxRTT*1000 {
			return invalidf("round trip of %d microseconds", l.RTT)
		}
		last = l.ID
	}
	return checkText("site", m.Site, MaxName)
}

// LinkStates passes statements on. Each is answered in a [LinksHeld].
type LinkStates struct {
	States []*LinkState `cbor:"1,keyasint"`
}

// Kind implements [Message].
func (*LinkStates) Kind() Kind { return KindLinkStates }

// Validate implements [Message].
func (m *LinkStates) Validate() error {
	if len(m.States) == 0 || len(m.States) > MaxStates {
		return invalidf("%d statements", len(m.States))
	}
	for _, s := range m.States {
		if s == nil {
			return invalidf("empty statement")
		}
		if err := s.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Held names the newest statement of a node that somebody has.
type Held struct {
	Origin NodeID `cbor:"1,keyasint"`
	Seq    uint64 `cbor:"2,keyasint"`
}

// LinksHeld says which statements the sender has, of some nodes or of all.
type LinksHeld struct {
	Held []Held `cbor:"1,keyasint,omitempty"`
	// More says that others follow; the last part, without it, ends the list
	// of a node that was just met: what it has not named by then it lacks.
	More bool `cbor:"2,keyasint,omitempty"`
}

// Kind implements [Message].
func (*LinksHeld) Kind() Kind { return KindLinksHeld }

// Validate implements [Message].
func (m *LinksHeld) Validate() error {
	if len(m.Held) > MaxHeld {
		return invalidf("%d statements", len(m.Held))
	}
	for i := range m.Held {
		if m.Held[i].Origin.IsZero() || m.Held[i].Seq == 0 || m.Held[i].Seq > maxSeq {
			return invalidf("statement %d of %s", m.Held[i].Seq, m.Held[i].Origin.Short())
		}
	}
	return nil
}

// HubHint describes a hub to a pilot that may want a link to it.
type HubHint struct {
	ID   NodeID        `cbor:"1,keyasint"`
	Site string        `cbor:"2,keyasint,omitempty"`
	RTT  time.Duration `cbor:"3,keyasint,omitempty"` // over the hubs, from the sender
	// Cuts are hubs without which it would be cut off from most others, itself
	// not among them.
	Cuts []NodeID `cbor:"4,keyasint,omitempty"`
}

// Advice is what a hub tells its pilots for the day it is gone.
type Advice struct {
	Hubs     []HubHint `cbor:"1,keyasint,omitempty"` // others, best first
	Deputies []NodeID  `cbor:"2,keyasint,omitempty"` // pilots of the site that can take its place, in this order
}

// Kind implements [Message].
func (*Advice) Kind() Kind { return KindAdvice }

// Validate implements [Message].
func (m *Advice) Validate() error {
	if len(m.Hubs) > MaxAdvised || len(m.Deputies) > MaxDeputies {
		return invalidf("advice of %d hubs and %d deputies", len(m.Hubs), len(m.Deputies))
	}
	for i := range m.Hubs {
		h := &m.Hubs[i]
		if h.ID.IsZero() || len(h.Cuts) > MaxHops {
			return invalidf("hub %s behind %d others", h.ID.Short(), len(h.Cuts))
		}
		if err := firstError(checkText("site", h.Site, MaxName), checkTime("round trip", h.RTT)); err != nil {
			return err
		}
	}
	return nil
}

// Serve is said between the pilots of a site that has lost its hub. One that
// has no way out asks another to relay for it, again and again for as long as
// it needs it; the answer says whether it does.
type Serve struct {
	Hub    NodeID `cbor:"1,keyasint"`           // the one that is gone
	Term   uint32 `cbor:"2,keyasint"`           // from 1 on; one more for each that did not answer
	Answer bool   `cbor:"3,keyasint,omitempty"` // to a Serve that asked
	Serves bool   `cbor:"4,keyasint,omitempty"` // of an answer: the sender relays
}

// Kind implements [Message].
func (*Serve) Kind() Kind { return KindServe }

// Validate implements [Message].
func (m *Serve) Validate() error {
	if m.Hub.IsZero() || m.Term == 0 || m.Serves && !m.Answer {
		return invalidf("term %d in the place of %s", m.Term, m.Hub.Short())
	}
	return nil
}
