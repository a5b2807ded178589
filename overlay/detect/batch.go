package detect

import (
	"slices"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

const (
	maxDoubtful = 4096
	maxReasons  = 3 // in one batch
)

// batches gathers deaths that belong together.
type batches struct {
	dead    []wire.NodeID
	reasons []string
	since   time.Duration
	unsure  map[wire.NodeID]time.Duration // suspects that somebody has announced, and when
}

// decide declares members dead that are this node's to declare, or that
// enough hubs have accused.
func (d *Detector) decide(dead, by []wire.NodeID, reason string) {
	for part := range slices.Chunk(dead, wire.MaxSubjects) {
		d.publish()
		d.announce(func(n *wire.Notice) {
			n.Dead, n.Reason = part, reason
			n.By = by[:min(len(by), wire.MaxSubjects)]
		})
		d.publish()
	}
	d.bury(dead, reason)
}

// told takes decisions of others.
func (d *Detector) told(n *wire.Notice) {
	var dead []wire.NodeID
	origin := d.member(n.Origin)
	for _, id := range n.Dead {
		m := d.member(id)
		switch {
		case id == d.cfg.ID:
			d.fx.Condemned = true
		case d.gone.has(id):
		case m == nil:
			dead = append(dead, id) // a pilot of others
		case m.Role == wire.RoleLauncher || d.decides(m):
		case m.Role == wire.RoleHub:
			if len(n.By) > 0 {
				dead = append(dead, id)
			}
		case m.Home == n.Origin || origin != nil && origin.Site == m.Site || m.orphan != 0:
			dead = append(dead, id)
		}
	}
	d.bury(dead, n.Reason)
}

// bury removes the dead and tells of them, all at once.
func (d *Detector) bury(dead []wire.NodeID, reason string) {
	if len(dead) == 0 {
		return
	}
	b := &d.batch
	if len(b.dead) == 0 {
		b.since = d.time
	}
	for _, id := range dead {
		d.remove(id)
	}
	b.dead = append(b.dead, dead...)
	if len(b.reasons) < maxReasons && !slices.Contains(b.reasons, reason) {
		b.reasons = append(b.reasons, reason)
	}
	d.tell()
}

// tell tells of the dead, unless there are others about whom more will be known in a moment.
func (d *Detector) tell() {
	b := &d.batch
	if len(b.dead) == 0 || d.time < b.due() {
		return
	}
	slices.SortFunc(b.dead, wire.NodeID.Compare)
	d.stats.Batches++
	d.fx.Deaths = append(d.fx.Deaths, Batch{Nodes: b.dead, Reason: strings.Join(b.reasons, "; ")})
	b.dead, b.reasons = nil, nil
}

// due returns when there is something to tell; 0: there is nothing.
func (b *batches) due() time.Duration {
	switch {
	case len(b.dead) == 0:
		return 0
	case len(b.unsure) == 0:
		return b.since
	}
	return b.since + mergeWait
}

// doubtful notes that somebody suspects a node.
func (b *batches) doubtful(id wire.NodeID, now time.Duration) {
	if b.unsure == nil {
		b.unsure = make(map[wire.NodeID]time.Duration)
	}
	if len(b.unsure) < maxDoubtful {
		b.unsure[id] = now
	}
}

// settled notes that it is known what became of it.
func (b *batches) settled(id wire.NodeID) { delete(b.unsure, id) }

// forget drops suspects of whom nothing was heard for long.
func (b *batches) forget(before time.Duration) {
	for id, at := range b.unsure {
		if at < before {
			delete(b.unsure, id)
		}
	}
}
