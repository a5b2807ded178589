package detect

import (
	"cmp"
	"slices"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// council is the group of all hubs. Each watches some others and is watched by
// some: its neighbours on K rings, on each of which the hubs are ordered by
// another hash.
type council struct {
	ids   []wire.NodeID // by identity, this node too if it is a hub
	rings [][]wire.NodeID

	accusers map[wire.NodeID][]wire.NodeID // by subject
	doubters map[wire.NodeID][]wire.NodeID // hubs that have announced a suspicion, by subject
}

func (c *council) join(id wire.NodeID, role wire.Role) bool {
	if role != wire.RoleHub {
		return false
	}
	i, found := slices.BinarySearchFunc(c.ids, id, wire.NodeID.Compare)
	if !found {
		c.ids = slices.Insert(c.ids, i, id)
		c.rings = nil
	}
	return !found
}

func (c *council) leave(id wire.NodeID) bool {
	i, found := slices.BinarySearchFunc(c.ids, id, wire.NodeID.Compare)
	if found {
		c.ids = slices.Delete(c.ids, i, i+1)
		c.rings = nil
		delete(c.accusers, id)
		delete(c.doubters, id)
		for subject, list := range c.accusers {
			c.accusers[subject] = slices.DeleteFunc(list, func(x wire.NodeID) bool { return x == id })
		}
	}
	return found
}

// majority returns how many hubs decide: more than half of them.
func (c *council) majority() int { return len(c.ids)/2 + 1 }

// observers returns the hubs that watch one, at most [Observers]: all when
// there are no more. The first of them are as good as any.
func (c *council) observers(subject wire.NodeID) []wire.NodeID {
	if len(c.ids) <= Observers+1 {
		return slices.DeleteFunc(slices.Clone(c.ids), func(id wire.NodeID) bool { return id == subject })
	}
	if c.rings == nil {
		c.rings = make([][]wire.NodeID, Observers)
		for r := range c.rings {
			ring := slices.Clone(c.ids)
			slices.SortFunc(ring, func(a, b wire.NodeID) int { return along(uint64(r), a, b) })
			c.rings[r] = ring
		}
	}
	var list []wire.NodeID
	for r, ring := range c.rings {
		i, found := slices.BinarySearchFunc(ring, subject, func(a, b wire.NodeID) int { return along(uint64(r), a, b) })
		if found {
			i++
		}
		if id := ring[i%len(ring)]; id != subject && !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	return list
}

// along orders two hubs on a ring.
func along(ring uint64, a, b wire.NodeID) int {
	return cmp.Or(cmp.Compare(mix(a, ring), mix(b, ring)), a.Compare(b))
}

// observes reports whether a hub is one of those that watch another.
func (c *council) observes(observer, subject wire.NodeID) bool {
	i, found := slices.BinarySearchFunc(c.ids, observer, wire.NodeID.Compare)
	return found && observer != subject && c.ids[i] == observer && slices.Contains(c.observers(subject), observer)
}

// doubted notes that a hub suspects another, and returns how many do.
func (c *council) doubted(by, subject wire.NodeID) int {
	if c.doubters == nil {
		c.doubters = make(map[wire.NodeID][]wire.NodeID)
	}
	if !slices.Contains(c.doubters[subject], by) {
		c.doubters[subject] = append(c.doubters[subject], by)
	}
	return len(c.doubters[subject])
}

// accused notes that a hub holds another for dead.
func (c *council) accused(by, subject wire.NodeID) {
	if c.accusers == nil {
		c.accusers = make(map[wire.NodeID][]wire.NodeID)
	}
	if !slices.Contains(c.accusers[subject], by) {
		c.accusers[subject] = append(c.accusers[subject], by)
	}
}

// accuse says to all that this hub holds others for dead.
func (d *Detector) accuse(subjects []wire.NodeID) {
	if len(subjects) == 0 {
		return
	}
	for _, id := range subjects {
		d.hubs.accused(d.cfg.ID, id)
	}
	d.announce(func(n *wire.Notice) { n.Accuses = append(n.Accuses, subjects...) })
	d.count(subjects)
}

// recant takes an accusation back: the subject was heard. One that counted
// when a decision was made has counted.
func (d *Detector) recant(subject wire.NodeID) {
	d.hubs.recanted(d.cfg.ID, subject)
	d.announce(func(n *wire.Notice) { n.Recants = append(n.Recants, subject) })
}

func (c *council) recanted(by, subject wire.NodeID) {
	if list, found := c.accusers[subject]; found {
		c.accusers[subject] = slices.DeleteFunc(list, func(x wire.NodeID) bool { return x == by })
	}
}

// count looks what accusations have come to: a hub joins when enough of the
// subject's observers have accused and it hears nothing to the contrary, and with a
// majority it is decided.
func (d *Detector) count(subjects []wire.NodeID) {
	var join, dead, by []wire.NodeID
	for _, id := range subjects {
		m := d.member(id)
		list := d.hubs.accusers[id]
		switch {
		case m == nil || m.Role != wire.RoleHub:
		case len(list) >= d.hubs.majority():
			dead = append(dead, id)
			for _, x := range list {
				if !slices.Contains(by, x) {
					by = append(by, x)
				}
			}
		case d.cfg.Role != wire.RoleHub || slices.Contains(list, d.cfg.ID) || d.hears(m):
		default:
			watching := d.hubs.observers(id)
			accusing := 0
			for _, x := range watching {
				if slices.Contains(list, x) {
					accusing++
				}
			}
			// An observer without a link, who asks seldom, believes two that have
			// waited longer than anybody may pause, when it has done so too.
			believes := len(list) >= 2 && slices.Contains(watching, d.cfg.ID) && d.time-m.heard >= d.cfg.Pause
			if accusing*Observers >= enough*len(watching) || believes {
				join = append(join, id)
				if m.suspect != nil {
					m.suspect.accused = true
				}
			}
		}
	}
	if len(dead) > 0 {
		slices.SortFunc(by, wire.NodeID.Compare)
		d.decide(dead, by, "most hubs have not heard it for long")
	}
	d.accuse(join)
}

// hears reports whether this node itself has heard a hub lately.
func (d *Detector) hears(m *member) bool {
	return d.watches(m) && d.time-m.heard < d.begin()+2*routedEvery
}
