package core

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

const (
	collectPatience = 30 * time.Second // for what ended workers left to be collected
	killPatience    = 10 * time.Second // for processes to end once they were killed
	retirePatience  = 10 * time.Second // of a hub, for the nodes of its site
)

// LeaseOver is why a node leaves that is alone.
const LeaseOver = "nothing was heard of the session for its lease"

// leaving is how far a node is with leaving.
type leaving struct {
	reason string        // empty: it stays
	killAt time.Duration // when the workers are ended; 0: they are
	until  time.Duration // when what they left is given up
	waitTo time.Duration // a hub lets the nodes of its site go first, until then
	giveUp time.Duration // when processes are no longer waited for
	by     wire.NodeID   // who asked for it; not waited for
	done   bool
}

// Drain lets this node take no new work and leave. Its workers have grace to
// end by themselves before they are killed; what they left can be collected
// for a while after. Jobs of which this node is the primary are interrupted.
func (n *Node) Drain(now time.Duration, reason string, grace time.Duration) {
	n.drain(now, reason, max(grace, 0), collectPatience)
	n.settle(now)
}

// Abandon ends this node's work and leaves: those it worked for are known to be
// gone, so that nobody will collect anything.
func (n *Node) Abandon(now time.Duration, reason string) {
	n.drain(now, reason, 0, 0)
	n.settle(now)
}

func (n *Node) drain(now time.Duration, reason string, grace, patience time.Duration) {
	x := &n.exit
	if x.done {
		return
	}
	if x.reason == "" {
		x.reason = clip(reason)
		if x.reason == "" {
			x.reason = "drained"
		}
		x.killAt, x.until = now+grace+1, now+grace+patience
		if n.slots != nil {
			for _, c := range slices.Clone(n.slots.Claims()) {
				n.giveBack(c, x.reason)
			}
		}
		for _, p := range slices.Clone(n.primaries) {
			p.Cancel(now, job.Interrupted, false, n.doing())
			n.absorbJob(now, p)
		}
	} else {
		if x.killAt != 0 {
			x.killAt = min(x.killAt, now+grace+1)
		}
		x.until = min(x.until, now+grace+patience)
	}
	x.giveUp = x.until + killPatience
}

// rest follows the lease and, for pilots, idleness.
func (n *Node) rest(now time.Duration) {
	if n.cfg.Role != wire.RoleLauncher && n.exit.reason == "" && n.quiet(now) >= n.cfg.Lease {
		n.drain(now, LeaseOver, 0, 0)
	}
	idle := n.cfg.Role == wire.RolePilot && n.cfg.Idle >= 0 && n.hadJob &&
		n.board.Len() == 0 && len(n.crews) == 0 && len(n.primaries) == 0
	switch {
	case !idle:
		n.idleAt = 0
	case n.idleAt == 0:
		n.idleAt = max(now+n.cfg.Idle, 1)
	}
	if n.idleAt != 0 && now >= n.idleAt && n.exit.reason == "" {
		n.drain(now, "there is no work", 0, 0)
	}
	if n.exit.reason != "" {
		n.tickLeaving(now)
	}
}

// tickLeaving leaves as soon as everything is in order.
func (n *Node) tickLeaving(now time.Duration) {
	x := &n.exit
	if x.reason == "" || x.done {
		return
	}
	over := now >= x.until
	for _, c := range slices.Clone(n.crews) {
		switch {
		case c.Closing():
		case over:
			c.Close(now, wire.ExitDrained, n.doing())
		case c.Empty():
			c.Close(now, wire.ExitDrained, n.doing())
		case x.killAt != 0 && now >= x.killAt-1:
			c.Drain(now, x.reason, n.doing())
		}
		n.absorb(now)
	}
	if x.killAt != 0 && now >= x.killAt-1 {
		x.killAt = 0
	}
	if len(n.crews) > 0 && now < x.giveUp {
		return
	}
	if now < x.waitTo && slices.ContainsFunc(n.order, n.waited) {
		return
	}
	for _, l := range n.order {
		n.send(l.peer.ID, &wire.Leave{Reason: x.reason})
	}
	x.done = true
	n.fx.Leave = &Leave{x.reason}
}

// nextLeaving returns when tickLeaving is wanted.
func (n *Node) nextLeaving(now time.Duration) time.Duration {
	x := &n.exit
	if x.reason == "" {
		if n.cfg.Role == wire.RoleLauncher {
			return now + time.Hour
		}
		return n.life + n.cfg.Lease
	}
	next := now + time.Hour
	for _, t := range []time.Duration{x.killAt, x.until, x.waitTo, x.giveUp} {
		if t > now {
			next = min(next, t)
		}
	}
	return next
}
