// Package wire holds every message that crosses a link and the identities in
// them, one file per protocol: overlay, job, stream, join, staging.
//
// The one rule: a decoded message is within its limits. [Decode] bounds every
// length, count and number before anybody else sees the message, never panics
// on hostile bytes, and refuses what it does not know.
//
// On a link a message is a frame: a big-endian uint32 length of the rest, one
// byte [Kind], and a CBOR (RFC 8949) map with small integer keys. Encoding is
// deterministic (core deterministic order), so that golden bytes can be held
// by tests and the bytes of a [Manifest] can be hashed.
//
// The package is pure, and the only one that imports a CBOR library.
package wire
