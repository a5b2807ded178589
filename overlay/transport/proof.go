package transport

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// A proof of membership says in few bytes what a certificate says in many, so
// that a card can carry it:
//
//	key (32) expires (8) signature (64)                 by the session's CA
//	key (32) expires (8) signature (64)                 by a hub for its site,
//	  then of the hub's signer: key (32) expires (8) signature (64) by the CA
//
// Times are seconds since 1970 in the CA's time, big-endian. The signatures
// are over [memberBytes] and [warrantBytes]; identity, role and site are those
// of the card.
const (
	warrantSize = ed25519.PublicKeySize + 8 + ed25519.SignatureSize
	memberSize  = warrantSize
)

// Domains keep these signatures from being good for anything else, and a
// member's from being a signer's.
const (
	memberDomain  = "zorilla member 1\x00"
	warrantDomain = "zorilla signer 1\x00"
)

// pkixPrefix is what comes before an Ed25519 key in its PKIX form (RFC 8410).
var pkixPrefix = [...]byte{0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00}

func nodeIDOfKey(pub []byte) wire.NodeID {
	var b [len(pkixPrefix) + ed25519.PublicKeySize]byte
	copy(b[copy(b[:], pkixPrefix[:]):], pub)
	return wire.NodeIDOf(b[:])
}

// memberBytes are what a member's proof is a signature of.
func memberBytes(session wire.SessionID, role wire.Role, site string, expires uint64, key []byte) []byte {
	b := append(make([]byte, 0, 160), memberDomain...)
	b = append(b, byte(role))
	return appendProven(b, session, site, expires, key)
}

// warrantBytes are what a hub's warrant to admit pilots to its site is a
// signature of.
func warrantBytes(session wire.SessionID, site string, expires uint64, key []byte) []byte {
	return appendProven(append(make([]byte, 0, 160), warrantDomain...), session, site, expires, key)
}

func appendProven(b []byte, session wire.SessionID, site string, expires uint64, key []byte) []byte {
	b = append(b, byte(len(session)))
	b = append(b, session...)
	b = append(b, byte(len(site)))
	b = append(b, site...)
	b = binary.BigEndian.AppendUint64(b, expires)
	return append(b, key...)
}

// prove makes the proof of a node that the issuer certifies.
func (i issuer) prove(pub ed25519.PublicKey, role wire.Role, site string, session wire.SessionID) []byte {
	end := uint64(i.cert.NotAfter.Unix())
	p := appendProof(nil, pub, end, ed25519.Sign(i.key, memberBytes(session, role, site, end, pub)))
	return append(p, i.warrant...)
}

// warrantFor makes a hub's signer known to those who verify proofs by it.
func (i issuer) warrantFor(pub ed25519.PublicKey, site string, session wire.SessionID, until time.Time) []byte {
	end := uint64(until.Unix())
	return appendProof(nil, pub, end, ed25519.Sign(i.key, warrantBytes(session, site, end, pub)))
}

func appendProof(b []byte, pub ed25519.PublicKey, end uint64, signature []byte) []byte {
	b = append(b, pub...)
	b = binary.BigEndian.AppendUint64(b, end)
	return append(b, signature...)
}

// Proof returns the node's proof of membership, for its cards. It must not be
// changed. A renewed identity has another one.
func (id *Identity) Proof() []byte { return id.proof }

// VerifyCard reports whether a card's subject is a member of the session in
// the card's role and site now, by the CA's time, and has signed these bytes,
// which are the card's [wire.Card.AppendSigned]. A pilot may have been
// admitted by a hub of its own site, all others only by the CA. It takes at
// most three verifications of a signature, whatever the card. Errors match
// [ErrUntrusted].
func (id *Identity) VerifyCard(c *wire.Card, signed []byte) error {
	key, _, err := id.verifyProof(c)
	if err != nil {
		return err
	}
	return verifySigned(key, c, signed)
}

func verifySigned(key ed25519.PublicKey, c *wire.Card, signed []byte) error {
	if !ed25519.Verify(key, signed, c.Signature) {
		return fmt.Errorf("%w: %s has not signed its card", ErrUntrusted, c.ID.Short())
	}
	return nil
}

// verifyProof returns the key that a card's proof ties to its identity, role
// and site, and until when it does.
func (id *Identity) verifyProof(c *wire.Card) (ed25519.PublicKey, uint64, error) {
	refuse := func(why string) (ed25519.PublicKey, uint64, error) {
		return nil, 0, fmt.Errorf("%w: proof of %s: %s", ErrUntrusted, c.ID.Short(), why)
	}
	authority, ok := id.ca.PublicKey.(ed25519.PublicKey)
	if !ok {
		return refuse("the session's CA has no Ed25519 key")
	}
	if len(c.Site) > wire.MaxName || c.Role < wire.RolePilot || c.Role > wire.RoleLauncher {
		return refuse("no such role or site")
	}
	now := uint64(max(id.Now().Unix(), 0))
	by, until := authority, uint64(1<<63)
	switch len(c.Proof) {
	case memberSize:
	case memberSize + warrantSize:
		if c.Role != wire.RolePilot {
			return refuse("a hub cannot make a " + c.Role.String())
		}
		key, end, signature := splitProof(c.Proof[memberSize:])
		if end < now {
			return refuse("its hub could admit nobody any more")
		}
		if !ed25519.Verify(authority, warrantBytes(id.Session, c.Site, end, key), signature) {
			return refuse("its hub is no signer of its site")
		}
		by, until = key, end
	default:
		return refuse(fmt.Sprintf("%d bytes", len(c.Proof)))
	}
	key, end, signature := splitProof(c.Proof)
	switch {
	case nodeIDOfKey(key) != c.ID:
		return refuse("it is another node's")
	case end < now:
		return refuse("it has expired")
	case !ed25519.Verify(by, memberBytes(id.Session, c.Role, c.Site, end, key), signature):
		return refuse("nobody of this session has signed it")
	}
	return key, min(end, until), nil
}

func splitProof(b []byte) (key ed25519.PublicKey, end uint64, signature []byte) {
	const k = ed25519.PublicKeySize
	return b[:k:k], binary.BigEndian.Uint64(b[k:]), b[k+8 : warrantSize]
}

// checkProof reports whether a proof is the identity's own.
func (id *Identity) checkProof() error {
	_, _, err := id.verifyProof(&wire.Card{ID: id.ID, Role: id.Role, Site: id.Site, Proof: id.proof})
	return err
}

// maxProven bounds each of the two generations of proofs that a Verifier
// remembers.
const maxProven = 256

// A Verifier verifies cards as [Identity.VerifyCard] does, and remembers whose
// proofs were good: nodes sign new cards all the time, with the same proof. It
// is for one goroutine at a time, as gossip is.
type Verifier struct {
	id       *Identity
	now, old map[proven]provenKey
}

// proven is a digest of a proof and what it is a proof of.
type proven [sha256.Size]byte

type provenKey struct {
	key [ed25519.PublicKeySize]byte
	end uint64 // in the CA's time
}

// Verifier returns a verifier of cards of the identity's session.
func (id *Identity) Verifier() *Verifier {
	return &Verifier{id: id, now: make(map[proven]provenKey)}
}

// Verify reports whether the card is its subject's word; see
// [Identity.VerifyCard].
func (v *Verifier) Verify(c *wire.Card, signed []byte) bool {
	name := proofName(c)
	known, ok := v.now[name]
	if !ok {
		if known, ok = v.old[name]; ok {
			v.keep(name, known)
		}
	}
	if !ok || known.end < uint64(max(v.id.Now().Unix(), 0)) {
		key, end, err := v.id.verifyProof(c)
		if err != nil {
			return false
		}
		known = provenKey{[ed25519.PublicKeySize]byte(key), end}
		v.keep(name, known)
	}
	return verifySigned(known.key[:], c, signed) == nil
}

// keep remembers a good proof. When a generation is full, the one before it is
// forgotten.
func (v *Verifier) keep(name proven, known provenKey) {
	if len(v.now) >= maxProven {
		v.now, v.old = make(map[proven]provenKey), v.now
	}
	v.now[name] = known
}

func proofName(c *wire.Card) proven {
	b := make([]byte, 0, wire.MaxProof+64)
	b = append(b, c.ID[:]...)
	b = append(b, byte(c.Role), byte(len(c.Site)))
	b = append(b, c.Site...)
	return sha256.Sum256(append(b, c.Proof...))
}

// checkWarrant reports whether a warrant is the CA's, for the hub's own signer.
func (id *Identity) checkWarrant(warrant []byte, pub ed25519.PublicKey) error {
	authority, _ := id.ca.PublicKey.(ed25519.PublicKey)
	if len(warrant) != warrantSize || len(authority) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: warrant of %d bytes", ErrUntrusted, len(warrant))
	}
	key, end, signature := splitProof(warrant)
	if !bytes.Equal(key, pub) || !ed25519.Verify(authority, warrantBytes(id.Session, id.Site, end, key), signature) {
		return fmt.Errorf("%w: the warrant is not for this hub's signer", ErrUntrusted)
	}
	return nil
}
