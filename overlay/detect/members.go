package detect

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Join tells of a node that is there, or that it has another Home than before.
// Hubs and launchers must be told of all hubs and launchers, and of the pilots
// that they serve; launchers may be told of others' pilots. A pilot must be
// told of those that serve it. A node that was declared dead lives again.
func (d *Detector) Join(now time.Duration, x Member) {
	d.enter(now)
	d.join(x)
	d.settle()
}

func (d *Detector) findMember(id wire.NodeID) (int, bool) {
	return slices.BinarySearchFunc(d.members, id, func(m *member, id wire.NodeID) int { return m.ID.Compare(id) })
}

// member returns what is known of a node; nil when it is no member.
func (d *Detector) member(id wire.NodeID) *member {
	if d.index != nil {
		return d.index[id]
	}
	if i, found := d.findMember(id); found {
		return d.members[i]
	}
	return nil
}

// fewMembers are so many that one of them is found by search.
const fewMembers = 16

// indexMember keeps a hub from searching among all members at every message.
func (d *Detector) indexMember(m *member) {
	switch {
	case d.index != nil:
		d.index[m.ID] = m
	case len(d.members) > fewMembers:
		d.index = make(map[wire.NodeID]*member, len(d.members))
		for _, x := range d.members {
			d.index[x.ID] = x
		}
	}
}

func (d *Detector) join(x Member) {
	if x.ID == d.cfg.ID || x.ID.IsZero() {
		return
	}
	d.gone.remove(x.ID)
	m := d.member(x.ID)
	if m == nil {
		if len(d.members) >= MaxMembers {
			return
		}
		m = &member{Member: x, linked: d.links.role(x.ID) != 0, heard: d.time, spoken: d.time}
		m.beatAt = d.time + time.Duration(mix(x.ID, d.cfg.Seed)%uint64(d.cfg.Period))
		i, _ := d.findMember(x.ID)
		d.members = slices.Insert(d.members, i, m)
		d.indexMember(m)
	} else if m.Member == x && m.orphan == 0 {
		return
	}
	if m.Home != x.Home {
		m.heard, m.spoken, m.downAt = d.time, d.time, 0
		d.clear(m)
	}
	m.Member, m.orphan = x, 0
	if x.Role == wire.RolePilot && x.Home != d.cfg.ID && !x.Home.IsZero() {
		if home := d.member(x.Home); home == nil && d.gone.has(x.Home) || home != nil && home.unheard {
			d.orphaned(m, d.time+d.cfg.Lease)
		}
	}
	if d.hubs.join(x.ID, x.Role) {
		d.rewatchHubs()
	}
	d.rewatch(m)
}

// Leave tells of nodes that are known to have ended, or have said so.
func (d *Detector) Leave(now time.Duration, ids ...wire.NodeID) {
	d.enter(now)
	for _, id := range ids {
		d.remove(id)
	}
	d.settle()
}

// remove forgets a node that is gone for good; if it was a hub, its pilots
// have their lease to come back.
func (d *Detector) remove(id wire.NodeID) {
	d.gone.add(id)
	d.batch.settled(id)
	m := d.member(id)
	if m == nil {
		return
	}
	i, _ := d.findMember(id)
	d.members = slices.Delete(d.members, i, i+1)
	delete(d.index, id)
	d.unwatch(m)
	if d.hubs.leave(id) {
		d.rewatchHubs()
	}
	if m.Role != wire.RolePilot {
		d.bereave(id, true)
	}
}

// Reachable tells whether there is a route to a hub, or none any more; at
// first there is. While there is none its pilots, too, have their lease to come back.
func (d *Detector) Reachable(now time.Duration, hub wire.NodeID, yes bool) {
	d.enter(now)
	if m := d.member(hub); m != nil && m.unheard == yes {
		m.unheard = !yes
		d.bereave(hub, !yes)
	}
	d.settle()
}

// bereave begins or ends the lease of a hub's pilots.
func (d *Detector) bereave(hub wire.NodeID, lost bool) {
	for _, m := range d.members {
		switch {
		case m.Home != hub || m.Role != wire.RolePilot:
		case !lost:
			m.orphan = 0
		case m.orphan == 0:
			d.orphaned(m, d.time+d.cfg.Lease)
		}
	}
}

// orphaned gives a pilot until a time.
func (d *Detector) orphaned(m *member, until time.Duration) {
	m.orphan = max(until, 1)
	if d.orphanAt == 0 || m.orphan < d.orphanAt {
		d.orphanAt = m.orphan
	}
}

// Expect tells that those pilots of a site whose hub is gone would have come
// back by now, or within a time, if they were alive.
func (d *Detector) Expect(now time.Duration, site string, within time.Duration) {
	d.enter(now)
	for _, m := range d.members {
		if m.Site == site && m.orphan != 0 {
			d.orphaned(m, min(m.orphan, d.time+max(within, 0)))
		}
	}
	d.settle()
}
