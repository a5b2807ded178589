package pilot

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// Member is the part of a core's configuration that comes with an identity:
// who the node is, and how it signs for itself and verifies what others sign.
func Member(id *transport.Identity) core.Config {
	var seed [8]byte
	rand.Read(seed[:])
	return core.Config{
		ID:     id.ID,
		Role:   id.Role,
		Site:   id.Site,
		Sign:   id.Sign,
		Verify: id.Verifier(),
		Proof:  id.Proof(),
		Seed:   binary.LittleEndian.Uint64(seed[:]),
	}
}

// readmitted tells the endpoint and the core of a renewed identity.
func (a *Agent) readmitted(ep *transport.Endpoint, id *transport.Identity) error {
	if err := ep.Admit(id, nil); err != nil {
		return err
	}
	a.Do(func(now time.Duration, n *core.Node) { n.Prove(now, id.Proof()) })
	return nil
}

// tally counts messages by their kinds.
type tally [256]uint64

func (t *tally) count(m wire.Message) { t[m.Kind()]++ }

// String returns the counts by the names of the kinds, as JSON.
func (t *tally) String() string {
	counts := make(map[string]uint64)
	for kind, n := range t {
		if n > 0 {
			counts[wire.Kind(kind).String()] = n
		}
	}
	b, err := json.Marshal(counts)
	if err != nil {
		return err.Error() // cannot be: names and numbers
	}
	return string(b)
}

// misbehaved logs what a peer was caught at. The core tells it once for each
// link; here it is once for each peer and reason, as often as it links.
func (a *Agent) misbehaved(e core.Misbehaved) {
	key := e.Peer.ID.String() + e.Reason
	if slices.Contains(a.blamed, key) {
		return
	}
	if len(a.blamed) >= maxBlamed {
		a.blamed = slices.Delete(a.blamed, 0, 1)
	}
	a.blamed = append(a.blamed, key)
	a.log.Warn("a peer misbehaves", "peer", e.Peer.ID.Short(), "role", e.Peer.Role, "site", e.Peer.Site, "reason", e.Reason)
}

// maxBlamed bounds what is remembered of who was named in the log.
const maxBlamed = 256
