package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strings"
)

// NodeID identifies a node: the first 16 bytes of the SHA-256 digest of its
// public key (PKIX form), so that nobody can take another node's identity.
type NodeID [16]byte

// NodeIDOf returns the identity that belongs to a public key in PKIX form.
func NodeIDOf(pkix []byte) NodeID {
	sum := sha256.Sum256(pkix)
	return NodeID(sum[:16])
}

// ParseNodeID is the inverse of String.
func ParseNodeID(s string) (NodeID, error) {
	var id NodeID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("invalid node id %q", s)
	}
	return NodeID(b), nil
}

// String returns the identity as 32 hexadecimal digits.
func (id NodeID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first eight digits, for logs and displays.
func (id NodeID) Short() string { return hex.EncodeToString(id[:4]) }

// IsZero reports whether the identity is unset.
func (id NodeID) IsZero() bool { return id == NodeID{} }

// Compare orders identities. It is called in so many places that copies of it
// would weigh on the pilot.
//
//go:noinline
func (id NodeID) Compare(other NodeID) int { return bytes.Compare(id[:], other[:]) }

// JobID identifies a job within the world: 16 random bytes.
type JobID [16]byte

// ParseJobID is the inverse of String.
func ParseJobID(s string) (JobID, error) {
	var id JobID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("invalid job id %q", s)
	}
	return JobID(b), nil
}

// String returns the identity as 32 hexadecimal digits.
func (id JobID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first eight digits, for logs and displays.
func (id JobID) Short() string { return hex.EncodeToString(id[:4]) }

// Compare orders identities.
func (id JobID) Compare(other JobID) int { return strings.Compare(string(id[:]), string(other[:])) }

// Digest is a BLAKE3-256 digest.
type Digest [32]byte

// String returns the digest as 64 hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// IsZero reports whether the digest is unset.
func (d Digest) IsZero() bool { return d == Digest{} }

// SessionID names a session: eight characters of [a-z2-7], usable as a host
// label, a file name and a run's name.
type SessionID string

var sessionEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// SessionIDOf makes a session name from five random bytes.
func SessionIDOf(random [5]byte) SessionID {
	return SessionID(strings.ToLower(sessionEncoding.EncodeToString(random[:])))
}

// Validate reports whether the name has the form of a session name.
func (s SessionID) Validate() error {
	if len(s) != 8 {
		return fmt.Errorf("invalid session name %q: want eight characters of a-z and 2-7", string(s))
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return fmt.Errorf("invalid session name %q: want eight characters of a-z and 2-7", string(s))
		}
	}
	return nil
}

// Role is what a node may do in a session. It is written in its certificate,
// by whoever admitted it.
type Role uint8

// The roles.
const (
	RolePilot    Role = 1 // offers slots
	RoleHub      Role = 2 // relays for others and admits pilots of its site
	RoleLauncher Role = 3 // holds the user's logins and the session's CA
)

func (r Role) String() string {
	switch r {
	case RolePilot:
		return "pilot"
	case RoleHub:
		return "hub"
	case RoleLauncher:
		return "launcher"
	}
	return "invalid"
}

// ParseRole is the inverse of String.
func ParseRole(s string) (Role, error) {
	for _, r := range []Role{RolePilot, RoleHub, RoleLauncher} {
		if r.String() == s {
			return r, nil
		}
	}
	return 0, fmt.Errorf("invalid role %q", s)
}
