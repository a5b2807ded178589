package core

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Admit sets the join tokens of a site; this node, a launcher, sends them to the
// site's hubs, now and whenever one connects.
func (n *Node) Admit(now time.Duration, site string, tokens []wire.Token) {
	if n.tokens == nil {
		n.tokens = make(map[string][]wire.Token)
	}
	n.tokens[site] = slices.Clone(tokens)
	for _, l := range n.order {
		if l.peer.Role == wire.RoleHub {
			if l.peer.Site == site {
				n.sendTokens(l.peer.ID, site)
			}
		}
	}
	n.settle(now)
}

func (n *Node) sendTokens(hub wire.NodeID, site string) {
	if t, ok := n.tokens[site]; ok && n.cfg.Role == wire.RoleLauncher {
		n.send(hub, &wire.Tokens{Tokens: t})
	}
}

// Retire asks all hubs and pilots of a site to leave, now and whenever one
// connects. Site "" means all sites. Only a launcher may.
func (n *Node) Retire(now time.Duration, site, reason string) {
	if n.cfg.Role != wire.RoleLauncher {
		return
	}
	if n.retired == nil {
		n.retired = make(map[string]string)
	}
	n.retired[site] = clip(reason)
	n.sendRetire(now)
	n.settle(now)
}

func (n *Node) toRetire(site string) bool {
	_, one := n.retired[site]
	_, all := n.retired[""]
	return one || all
}

// sendRetire asks the hubs that are to go, which pass it on, and the pilots
// that no hub of their own site serves.
func (n *Node) sendRetire(now time.Duration) {
	n.retireAt = 0
	for _, p := range n.Peers() {
		if !n.toRetire(p.Site) || p.Role == wire.RoleLauncher || p.Role == wire.RolePilot && n.servedAtHome(p) {
			continue
		}
		reason, ok := n.retired[p.Site]
		if !ok {
			reason = n.retired[""]
		}
		if l := n.link(p.ID); l != nil && l.routed {
			n.try(now, l)
		}
		n.send(p.ID, &wire.Retire{Reason: reason})
		n.retireAt = now + retireEvery
	}
}

// try finds out whether a link through hubs still leads anywhere: the one that
// it crosses may be gone, with its whole machine, long before the transport
// sees that. The link of a node that does not answer is given up, for the way
// that is known now.
func (n *Node) try(now time.Duration, l *link) {
	switch {
	case now-l.tried < retireEvery:
		return
	case l.tried == 0 || l.heard > l.tried:
		n.send(l.peer.ID, n.hello())
	default:
		n.fx.Silent = append(n.fx.Silent, l.peer.ID)
	}
	l.tried = now
}

// servedAtHome reports whether a hub of its own site serves a pilot.
func (n *Node) servedAtHome(p wire.Peer) bool {
	x := n.peers[p.ID]
	if x == nil || x.via.IsZero() {
		return false
	}
	via := n.peers[x.via]
	return via != nil && via.Role == wire.RoleHub && via.Site == p.Site && via.lostAt == 0
}

// retire follows a Retire; a hub passes it on and lets its site go first.
func (n *Node) retire(now time.Duration, from wire.NodeID, reason string) {
	if n.cfg.Role == wire.RoleLauncher {
		return
	}
	if n.cfg.Role == wire.RoleHub {
		for _, l := range n.order {
			if l.peer.ID != from && n.mate(l) {
				n.send(l.peer.ID, &wire.Retire{Reason: reason})
			}
		}
		if n.exit.waitTo == 0 {
			n.exit.waitTo, n.exit.by = now+retirePatience, from
		}
	}
	if reason == "" {
		reason = "retired"
	}
	n.drain(now, reason, 0, 0)
}

// mate reports whether a link's node is of this hub's site and retires with it.
func (n *Node) mate(l *link) bool {
	return l.peer.Site == n.cfg.Site && l.peer.Role != wire.RoleLauncher
}

// waited reports whether a hub that retires lets a link's node go first: its
// site's, and those that may be reached through this one only, which are hubs
// and the pilots of other sites that it serves.
func (n *Node) waited(l *link) bool {
	return l.peer.ID != n.exit.by && (n.mate(l) || l.peer.Role == wire.RoleHub || n.home(l))
}
