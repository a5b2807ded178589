package core

import (
	"slices"
	"sort"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/detect"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// forever is when those are given up that others decide about.
const forever = 2 * wire.MaxTime

// suspect notes that those which were reached over a link cannot be reached.
// The detector says when they are dead; those that it does not watch have
// their lease to come back.
func (n *Node) suspect(now time.Duration, l *link) {
	for _, p := range n.peers {
		wait := forever
		switch {
		case p.ID == l.peer.ID && p.via.IsZero():
			if !n.watched(l) {
				wait = n.cfg.Lease
			}
		case p.via != l.peer.ID:
			continue
		}
		if p.lostAt == 0 {
			p.lostAt = now + wait
			n.lostAt = sooner(n.lostAt, p.lostAt)
		}
	}
}

// seen notes a peer with a link to this node. Of one that others serve they
// tell, to whom it matters.
func (n *Node) seen(now time.Duration, l *link) {
	switch {
	case !l.routed:
		n.up(now, l.peer, wire.NodeID{}, l.peer.ID)
	case n.cfg.Role == wire.RoleLauncher && len(l.hubs) > 0:
		n.up(now, l.peer, l.hubs[0], l.peer.ID)
	case n.cfg.Role == wire.RoleLauncher || l.peer.Role != wire.RolePilot:
		n.up(now, l.peer, wire.NodeID{}, l.peer.ID)
	}
}

// Gone tells that a peer's process is known to have ended, for instance
// because this shell started it and saw its end. What it did is lost at once.
func (n *Node) Gone(now time.Duration, id wire.NodeID, reason string) {
	n.detector.Leave(now, id)
	n.down(now, []wire.NodeID{id}, id, reason, true)
	n.settle(now)
}

// Expect tells that those pilots of a site that cannot be reached would be by now, or
// within a time, if they were alive: another hub has taken the place of theirs,
// or none ever will. They do not get their lease to come back.
func (n *Node) Expect(now time.Duration, site string, within time.Duration) {
	n.detector.Expect(now, site, within)
	for _, p := range n.peers {
		if p.Site != site || p.Role != wire.RolePilot || p.lostAt == 0 {
			continue
		}
		p.lostAt = min(p.lostAt, now+max(within, 1))
		n.lostAt = sooner(n.lostAt, p.lostAt)
	}
	n.settle(now)
}

// Peers returns the nodes known to be part of the session, other than this
// one, by identity. A pilot knows those it has links to.
func (n *Node) Peers() []wire.Peer {
	var list []wire.Peer
	for _, p := range n.peers {
		list = append(list, *p.Peer)
	}
	if n.peers == nil {
		for _, l := range n.order {
			list = append(list, *l.peer)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID.Compare(list[j].ID) < 0 })
	return list
}

// describe returns what is known of a node.
func (n *Node) describe(id wire.NodeID) wire.Peer {
	if p := n.peers[id]; p != nil {
		return *p.Peer
	}
	if l := n.link(id); l != nil {
		return *l.peer
	}
	return wire.Peer{ID: id}
}

// up notes a peer that can be reached, over a link of its own (via zero) or
// through a hub.
func (n *Node) up(now time.Duration, p *wire.Peer, via, from wire.NodeID) {
	if n.peers == nil || p.ID == n.cfg.ID {
		return
	}
	old := n.peers[p.ID]
	if old == nil {
		if len(n.peers) >= MaxKnown {
			return
		}
		n.oust(now, p)
		n.peers[p.ID] = &peer{Peer: p, via: via}
		n.downs.drop(p.ID)
		n.tell(news{peer: *p, from: from})
		n.fx.Events = append(n.fx.Events, PeerUp{*p})
		return
	}
	if via.IsZero() && !old.via.IsZero() && old.lostAt == 0 {
		via = old.via // a link through its hub, which serves it
	}
	again := old.lostAt != 0
	changed := *old.Peer != *p
	*old = peer{Peer: p, via: via}
	if changed || again {
		n.tell(news{peer: *p, from: from})
	}
}

// down notes that nodes are gone for good, which is one change. Spread says that
// other hubs are to hear of it from this one.
func (n *Node) down(now time.Duration, ids []wire.NodeID, from wire.NodeID, reason string, spread bool) {
	event := PeersDown{Reason: reason}
	var gone []wire.NodeID
	for _, id := range ids {
		if id == n.cfg.ID {
			continue
		}
		gone = append(gone, id)
		n.forget(now, id)
		known := n.peers[id]
		if known != nil {
			delete(n.peers, id)
			event.Peers = append(event.Peers, *known.Peer)
		}
		if fresh := n.downs.add(id); known != nil || fresh {
			n.tell(news{peer: wire.Peer{ID: id}, down: true, why: reason, from: from, spread: spread})
		}
	}
	if len(event.Peers) > 0 {
		n.fx.Events = append(n.fx.Events, event)
	}
	if len(gone) == 0 {
		return
	}
	for _, j := range n.primaries {
		j.PilotsDown(now, gone, reason, n.doing())
		n.absorbJob(now, j)
	}
}

func (n *Node) tell(x news) {
	if n.cfg.Role == wire.RolePilot {
		return
	}
	n.news = append(n.news, x)
}

// flushNews tells launchers what changed, and other hubs, and those pilots that
// are the primary of a job, who is gone.
func (n *Node) flushNews() {
	news := n.news[:min(len(n.news), maxNews)]
	n.news, n.newsAt = n.news[len(news):], 0
	if len(n.news) == 0 {
		n.news = nil
	}
	for _, l := range n.order {
		up := l.peer.Role == wire.RoleLauncher && n.cfg.Role == wire.RoleHub
		near := l.peer.Role == wire.RoleHub && !l.routed
		if !up && !near && !n.leads(l) {
			continue
		}
		m := new(wire.PeersChanged)
		for _, x := range news {
			switch {
			case x.from == l.peer.ID || x.peer.ID == l.peer.ID:
			case x.down && (x.spread || l.peer.Role == wire.RolePilot):
				m.Down, m.Why = append(m.Down, x.peer.ID), append(m.Why, clipTo(x.why, wire.MaxWhy))
			case up && !x.down && n.mine(x.peer.ID):
				m.Up = append(m.Up, n.withRTT(x.peer))
			}
			if len(m.Up) == wire.MaxPeers || len(m.Down) == wire.MaxPeers {
				n.send(l.peer.ID, m)
				m = new(wire.PeersChanged)
			}
		}
		if len(m.Up)+len(m.Down) > 0 {
			n.send(l.peer.ID, m)
		}
	}
}

// leads reports whether the primary of an open job is at the other end of a link, or
// may be behind it.
func (n *Node) leads(l *link) bool {
	for _, ad := range n.board.All() {
		if ad.Primary == l.peer.ID || l.peer.Role != wire.RolePilot && ad.Primary != n.cfg.ID {
			return true
		}
	}
	return false
}

// mine reports whether a peer is reached over a link of this node's own, and
// nobody else speaks for it.
func (n *Node) mine(id wire.NodeID) bool {
	p, l := n.peers[id], n.link(id)
	return p != nil && p.via.IsZero() && p.lostAt == 0 && (l == nil || !l.routed && (l.peer.Role != wire.RolePilot || len(l.hubs) == 0 || n.home(l)))
}

// changes takes what a hub or launcher tells of others. Only launchers know
// them all.
func (n *Node) changes(now time.Duration, from wire.NodeID, up []wire.Peer, down []wire.NodeID, why []string) {
	for _, p := range up {
		if n.wasOusted(p.ID) {
			continue
		}
		if n.cfg.Role == wire.RoleLauncher && p.Role != wire.RolePilot {
			n.noteWay(from, p)
		}
		if l := n.link(p.ID); n.cfg.Role == wire.RoleLauncher && (l == nil || l.peer.Role == wire.RolePilot) {
			n.up(now, &p, from, from)
			if p.Role == wire.RolePilot {
				n.detector.Join(now, detect.Member{ID: p.ID, Role: p.Role, Site: p.Site, Home: from})
			}
			n.found(wire.Address{ID: p.ID, Hubs: []wire.NodeID{from}})
		}
	}
	// Those that are gone for the same reason are one change.
	var reasons []string
	gone := make(map[string][]wire.NodeID)
	for i, id := range down {
		if l := n.link(id); l != nil && (l.peer.Role != wire.RolePilot || n.watched(l)) {
			continue
		}
		if n.peers[id] == nil && n.downs.has(id) {
			continue // another one said so
		}
		if i >= len(why) && n.servedBeside(id, from) {
			continue
		}
		reason := "its hub says that it is gone"
		if i < len(why) && why[i] != "" {
			reason = why[i]
		}
		if gone[reason] == nil {
			reasons = append(reasons, reason)
		}
		gone[reason] = append(gone[reason], id)
	}
	for _, reason := range reasons {
		n.detector.Leave(now, gone[reason]...)
		n.down(now, gone[reason], from, reason, true)
	}
}

// servedBeside reports whether a launcher knows another hub than this one that
// serves a pilot. What a hub remembers of those that are gone may be from when it
// was cut off, and took those it served at other sites for dead.
func (n *Node) servedBeside(id, hub wire.NodeID) bool {
	p := n.peers[id]
	if p == nil || p.lostAt != 0 || p.via.IsZero() || p.via == hub {
		return false
	}
	via := n.peers[p.via]
	return via != nil && via.lostAt == 0
}

// reached returns the peers that a launcher reaches through this hub.
func (n *Node) reached(l *link) []wire.Peer {
	if l.peer.Role != wire.RoleLauncher || n.cfg.Role != wire.RoleHub {
		return nil
	}
	list := slices.DeleteFunc(n.Peers(), func(p wire.Peer) bool {
		return p.ID == l.peer.ID || p.Role == wire.RoleLauncher || !n.mine(p.ID)
	})
	for i := range list {
		list[i] = n.withRTT(list[i])
	}
	return list
}

// withRTT says how far a neighbour is.
func (n *Node) withRTT(p wire.Peer) wire.Peer {
	if l := n.link(p.ID); l != nil {
		p.RTT = l.micros
	}
	return p
}

func (n *Node) sendPeers(l *link, list []wire.Peer) {
	for part := range slices.Chunk(list, wire.MaxPeers) {
		n.send(l.peer.ID, &wire.PeersChanged{Up: part})
	}
}

// giveUp takes the peers that did not come back in time for gone, on a launcher.
// A hub only forgets them: whoever was cut off itself must not declare the rest
// dead. Others hear from a launcher of those that nobody else knows of.
func (n *Node) giveUp(now time.Duration) {
	n.lostAt = 0
	var mine, others []wire.NodeID
	for id, p := range n.peers {
		switch {
		case p.lostAt == 0:
		case now < p.lostAt:
			n.lostAt = sooner(n.lostAt, p.lostAt)
		case p.Role == wire.RolePilot && p.via.IsZero() && n.cfg.Role == wire.RoleLauncher:
			mine = append(mine, id)
		default:
			others = append(others, id)
		}
	}
	if n.cfg.Role != wire.RoleLauncher {
		for _, id := range others {
			delete(n.peers, id)
		}
		return
	}
	for _, list := range [][]wire.NodeID{mine, others} {
		slices.SortFunc(list, wire.NodeID.Compare)
		n.detector.Leave(now, list...)
	}
	n.down(now, mine, n.cfg.ID, "it cannot be reached", true)
	n.down(now, others, n.cfg.ID, "it cannot be reached", false)
}
