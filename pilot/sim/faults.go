package sim

import (
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// planFaults plans misfortunes over the whole time of jobs.
func (w *world) planFaults(until time.Duration) {
	for at := 5 * time.Second; at < until; at += w.k.Between(time.Second, 8*time.Second) {
		w.k.At(at, w.fault)
	}
}

// fault lets something go wrong.
func (w *world) fault() {
	k := w.k
	w.faults++
	switch k.Rand().IntN(10) {
	case 0, 1: // a pilot's process or host dies; often the queue starts another one
		if s := w.anyPilot(); s != nil {
			w.crash(s.node, k.Chance(0.5))
			if k.Chance(0.7) {
				k.After(k.Between(2*time.Second, 60*time.Second), func() { w.boot(s) })
			}
		}
	case 2: // a hub dies; the launcher starts another one
		s := w.spots[1+k.Rand().IntN(w.hubs)]
		if s.node != nil && s.node.alive {
			old := s.node
			w.crash(old, k.Chance(0.5))
			if k.Chance(0.5) {
				k.After(k.Between(0, time.Second), func() { w.told(old) })
			}
			k.After(k.Between(time.Second, 20*time.Second), func() { w.boot(s) })
		}
	case 3: // a site is cut off, shorter or longer than the lease
		w.cutSite(w.sites[k.Rand().IntN(len(w.sites)-1)], k.Between(time.Second, 2*nodeLease))
	case 4: // a pilot is
		if s := w.anyPilot(); s != nil {
			w.cutSpot(s, k.Between(500*time.Millisecond, nodeLease))
		}
	case 5: // a machine is slow for a while
		if s := w.anyPilot(); s != nil {
			w.slow(s, k.Between(5*time.Second, 60*time.Second))
		}
	case 6: // a pilot's wall time is over
		if s := w.anyPilot(); s != nil && w.leads(s.node) == nil {
			w.logf("%s drains", s.name())
			w.input(s.node, func(n *node) { n.core.Drain(w.local(n), "wall time", k.Between(0, 10*time.Second)) })
			k.After(k.Between(50*time.Second, 80*time.Second), func() { w.boot(s) })
		}
	case 7: // a machine stands still now and then
		if s := w.anyPilot(); s != nil {
			w.starve(s, 2*time.Second, w.k.Now()+k.Between(5*time.Second, 60*time.Second))
		}
	case 8: // a connection breaks, with all that is on its way
		if s := w.anyPilot(); s != nil && len(s.node.order) > 0 {
			w.logf("a connection of %s breaks", s.name())
			w.breakLink(s.node.order[0])
		}
	case 9: // several pilots of a site die at once
		at := w.sites[k.Rand().IntN(len(w.sites)-1)]
		machines := k.Chance(0.5)
		left := 2 + k.Rand().IntN(10)
		for _, n := range w.pilots() {
			if n.spot.site == at && left > 0 && w.leads(n) == nil {
				left--
				w.crash(n, machines)
				k.After(k.Between(2*time.Second, 60*time.Second), func() { w.boot(n.spot) })
			}
		}
	}
}

// told lets the launcher know that the process of a hub has ended: its login
// session did.
func (w *world) told(hub *node) {
	w.input(w.home(), func(n *node) { n.core.Gone(w.local(n), hub.id, "its login session ended") })
}

// cutSite lets nothing into a site or out of it for a time.
func (w *world) cutSite(s *siteState, d time.Duration) {
	if s.cut {
		return
	}
	w.logf("%s is cut off for %v", s.name, d)
	s.cut = true
	w.troubleAt(s)
	w.recheck()
	w.k.After(d, func() {
		w.troubleAt(s)
		s.cut = false
	})
}

// cutSpot lets nothing into a machine or out of it for a time.
func (w *world) cutSpot(s *spot, d time.Duration) {
	if s.cut {
		return
	}
	w.logf("%s is cut off for %v", s.name(), d)
	s.cut, s.trouble = true, w.k.Now()
	w.recheck()
	w.k.After(d, func() { s.cut, s.trouble = false, w.k.Now() })
}

// partition lets sites reach only those of the same group, for a time.
func (w *world) partition(groups []int, d time.Duration) {
	w.logf("the sites are apart for %v: %v", d, groups)
	set := func(group func(i int) int) {
		for i, s := range w.sites {
			if g := group(i); g != s.group {
				s.group = g
			}
			w.troubleAt(s)
		}
	}
	set(func(i int) int { return groups[i] })
	w.recheck()
	w.k.After(d, func() { set(func(int) int { return 0 }) })
}

// slow lets a machine do everything late for a time.
func (w *world) slow(s *spot, d time.Duration) {
	if s.slow {
		return
	}
	w.logf("%s is slow for %v", s.name(), d)
	s.slow, s.trouble = true, w.k.Now()
	w.k.After(d, func() { s.slow, s.trouble = false, w.k.Now() })
}

// starve takes the processor from a machine again and again, each time for up
// to so long, with short times to work in between. That is no trouble: nobody
// may take its node for dead.
func (w *world) starve(s *spot, most, until time.Duration) {
	if s.paused > w.k.Now() || w.k.Now() >= until {
		return
	}
	s.paused = w.k.Now() + w.k.Between(most/20, most)
	w.k.At(s.paused+w.k.Between(10*time.Millisecond, time.Second), func() { w.starve(s, most, until) })
}

// breakLink ends a link and loses what is on its way.
func (w *world) breakLink(l *link) {
	l.dead = true
	w.sever(l, resetTime)
}

// troubleAt notes a reason to be hard to reach for all of a site.
func (w *world) troubleAt(s *siteState) {
	for _, h := range s.hubs {
		h.trouble = w.k.Now()
	}
}

// anyPilot returns a spot with a live pilot, or nil when chance finds none.
func (w *world) anyPilot() *spot {
	for range 20 {
		if s := w.spots[1+w.hubs+w.k.Rand().IntN(len(w.spots)-1-w.hubs)]; s.node != nil && s.node.alive {
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
	if !n.leaves {
		w.logf("%s dies (machine: %v)", n.spot.name(), machine)
	}
	for _, j := range w.jobs {
		if j.primary == n && !j.ended {
			j.orphaned = w.k.Now()
		}
	}
	n.alive = false
	n.spot.trouble = w.k.Now()
	n.processes, n.sandboxes = nil, nil
	seen := resetTime
	if machine {
		seen = deadAfter
	}
	for _, l := range n.order {
		w.sever(l, seen)
	}
	clear(n.links)
	n.order = nil
}

// calmDown ends all faults.
func (w *world) calmDown() {
	w.noise = 0
	w.logf("faults end")
	for _, s := range w.sites {
		if s.cut || s.group != 0 {
			w.troubleAt(s)
		}
		s.cut, s.group = false, 0
	}
	for _, s := range w.spots {
		if s.cut || s.slow {
			s.trouble = w.k.Now()
		}
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

// troubled reports whether there is, or was not long ago, a reason to take a
// node for dead that is not: its machine or the way to it was cut.
func (w *world) troubled(n *node) bool {
	bad := func(s *spot) bool {
		return s.cut || s.slow || s.node == nil || !s.node.alive || s.site.cut || s.site.group != 0 ||
			s.trouble != 0 && w.k.Now() < s.trouble+nodeLease+deadAfter
	}
	for {
		if bad(n.spot) {
			return true
		}
		if len(n.spot.parents) == 0 {
			return false
		}
		for _, p := range n.spot.parents[1:] {
			if bad(p) {
				return true
			}
		}
		up := n.spot.parents[0].node
		if up == nil {
			return true
		}
		n = up
	}
}

// checkDeath holds that nobody who is alive and can be reached is taken for dead.
func (w *world) checkDeath(n *node, p wire.Peer, reason string) {
	o := w.byID[p.ID]
	if o != nil && !o.leaves {
		w.deaths++
	}
	if o == nil || !o.alive || o.leaves || o.core.Stats(w.local(o)).Leaving || w.troubled(n) || w.troubled(o) {
		return
	}
	w.violate("%s takes %s for dead, which lives: %s", n.spot.name(), o.spot.name(), reason)
}
