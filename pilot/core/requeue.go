package core

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// oustedReason is what a pilot is told whose job was started again.
const oustedReason = "its scheduler runs its job elsewhere"

// oust takes a pilot of the same scheduler's job as a new one for gone: a
// scheduler that starts a job again has given up the host it ran on, and knows
// best. Only a pilot of the same site can say so, for it is the site's
// scheduler that gives the names.
func (n *Node) oust(now time.Duration, p *wire.Peer) {
	if p.Job == "" || p.Role != wire.RolePilot {
		return
	}
	var old []wire.NodeID
	for id, q := range n.peers {
		if q.Job == p.Job && q.Part == p.Part && q.Site == p.Site && q.Role == p.Role && id != p.ID {
			old = append(old, id)
		}
	}
	if len(old) == 0 {
		return
	}
	slices.SortFunc(old, wire.NodeID.Compare)
	for _, id := range old {
		n.ousted.add(id)
		if n.link(id) != nil {
			n.send(id, &wire.Retire{Reason: oustedReason})
		}
	}
	n.detector.Leave(now, old...)
	n.down(now, old, n.cfg.ID, "its scheduler has started its job "+p.Job+" again", true)
}

// wasOusted reports whether a pilot's job runs again under another identity.
func (n *Node) wasOusted(id wire.NodeID) bool { return n.relayed != nil && n.ousted.has(id) }

// replaced reports whether a pilot that says Hello was ousted. It is told to
// leave, and is nobody.
func (n *Node) replaced(l *link) bool {
	if !n.wasOusted(l.peer.ID) {
		return false
	}
	n.send(l.peer.ID, &wire.Retire{Reason: oustedReason})
	return true
}
