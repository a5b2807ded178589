package sim

import (
	"encoding/binary"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// sign is a keyed hash in place of a signature.
func (n *node) sign(signed []byte) []byte {
	b := make([]byte, wire.SignatureSize)
	binary.BigEndian.PutUint64(b, keyed(n.key, signed))
	return b
}

// verifier knows all keys, and all members.
type verifier struct{ w *world }

func (v verifier) Verify(c *wire.Card, signed []byte) bool {
	n := v.w.byID[c.ID]
	return n != nil && n.spot.role == c.Role && n.spot.site.name == c.Site &&
		binary.BigEndian.Uint64(c.Signature) == keyed(n.key, signed)
}

// keyed is a hash under a key, eight bytes at a time.
func keyed(key uint64, b []byte) uint64 {
	h := key ^ uint64(len(b))
	for ; len(b) >= 8; b = b[8:] {
		h = (h ^ binary.LittleEndian.Uint64(b)) * 0xbf58476d1ce4e5b9
		h ^= h >> 29
	}
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x94d049bb133111eb
		h ^= h >> 29
	}
	return h
}
