package sim

import (
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// planFaults plans misfortunes over the whole time of jobs.
func (w *world) planFaults() {
	for at := 5 * time.Second; at < time.Duration(w.cfg.Seconds)*time.Second; at += w.k.Between(time.Second, 8*time.Second) {
		w.k.At(at, w.fault)
	}
}

// fault lets something go wrong.
func (w *world) fault() {
	k := w.k
	w.faults++
	switch k.Rand().IntN(7) {
	case 0, 1: // a pilot's process or host dies; often the queue starts another one
		if s := w.anyPilot(); s != nil {
			w.logf("pilot %s dies", s.node.id.Short())
			w.crash(s.node, k.Chance(0.5))
			if k.Chance(0.7) {
				k.After(k.Between(2*time.Second, 60*time.Second), func() { w.boot(s) })
			}
		}
	case 2: // a hub dies; the launcher starts another one
		s := w.spots[1+k.Rand().IntN(w.hubs)]
		if s.node != nil && s.node.alive {
			old := s.node
			w.logf("hub %s dies", old.id.Short())
			w.crash(old, k.Chance(0.5))
			if k.Chance(0.5) {
				k.After(k.Between(0, time.Second), func() {
					w.input(w.spots[0].node, func(n *node) { n.core.Gone(k.Now(), old.id, "its login session ended") })
				})
			}
			k.After(k.Between(time.Second, 20*time.Second), func() { w.boot(s) })
		}
	case 3: // a site is cut off, shorter or longer than the lease
		w.cut(w.spots[1+k.Rand().IntN(w.hubs)], k.Between(time.Second, 2*nodeLease))
	case 4: // a pilot is
		if s := w.anyPilot(); s != nil {
			w.cut(s, k.Between(500*time.Millisecond, nodeLease))
		}
	case 5: // a machine is slow for a while
		if s := w.anyPilot(); s != nil {
			w.logf("pilot %s is slow", s.node.id.Short())
			s.slow = true
			k.After(k.Between(5*time.Second, 60*time.Second), func() { s.slow = false })
		}
	case 6: // a pilot's wall time is over
		if s := w.anyPilot(); s != nil && w.leads(s.node) == nil {
			w.logf("pilot %s drains", s.node.id.Short())
			w.input(s.node, func(n *node) { n.core.Drain(k.Now(), "wall time", k.Between(0, 10*time.Second)) })
			k.After(k.Between(50*time.Second, 80*time.Second), func() { w.boot(s) })
		}
	}
}

func (w *world) cut(s *spot, d time.Duration) {
	if s.cut {
		return
	}
	w.logf("spot %d is cut off for %v", s.index, d)
	s.cut = true
	w.recheck(5 * time.Second)
	w.k.After(d, func() { s.cut = false })
}

// anyPilot returns a spot with a live pilot.
func (w *world) anyPilot() *spot {
	for range 20 {
		s := w.spots[1+w.hubs+w.k.Rand().IntN(len(w.spots)-1-w.hubs)]
		if s.node != nil && s.node.alive {
			return s
		}
	}
	return nil
}

// leads returns the open job of which a node is the primary, or nil.
func (w *world) leads(n *node) *jobState {
	for _, j := range w.jobs {
		if j.primary == n && !j.ended && j.submitted > 0 {
			return j
		}
	}
	return nil
}

// crash ends a process and everything of it. When its whole machine is gone
// nobody says goodbye: the others see it late.
func (w *world) crash(n *node, machine bool) {
	if !n.alive {
		return
	}
	for _, j := range w.jobs {
		if j.primary == n && !j.ended {
			j.orphaned = w.k.Now()
		}
	}
	n.alive = false
	n.processes, n.sandboxes = map[wire.Key]*process{}, map[wire.Key]bool{}
	seen := 100 * time.Millisecond
	if machine {
		seen = 15 * time.Second
	}
	for _, id := range sortedIDs(n.links) {
		w.unlink(w.byID[id], n, seen)
	}
	w.recheck(seen)
	n.links = map[wire.NodeID]uint64{}
}

// calmDown ends all faults.
func (w *world) calmDown() {
	w.noise = 0
	w.logf("faults end")
	for _, s := range w.spots {
		s.cut, s.slow = false, false
	}
	w.mend()
}

// mend starts again what is dead, as a launcher does whose jobs need it, until the
// session ends.
func (w *world) mend() {
	if w.over {
		return
	}
	for _, s := range w.spots {
		if s.node == nil || !s.node.alive {
			w.k.After(w.k.Between(0, 4*time.Second), func() {
				if !w.over {
					w.boot(s)
				}
			})
		}
	}
	w.k.After(5*time.Second, w.mend)
}
