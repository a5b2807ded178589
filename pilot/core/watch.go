package core

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/detect"
	"github.com/zorilla-grid/zorilla/overlay/hub"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// watch is a node's part in finding out who has died. A pilot is watched by
// the hub that serves it, hubs by one another. The end of a hub is only the end
// of ways: its process may live, cut off, so it counts as gone when it has not
// come back for its lease, unless it is known to have ended.
type watch struct {
	detector *detect.Detector
	doubted  map[wire.NodeID]bool // hubs and launchers that are not heard over their links
	callAt   time.Duration        // of a pilot: when its hub may be called again
}

func (n *Node) initWatch(now time.Duration) {
	n.detector = detect.New(detect.Config{ID: n.cfg.ID, Role: n.cfg.Role, Site: n.cfg.Site, Lease: n.cfg.Lease, Seed: n.cfg.Seed}, now)
}

// watched reports whether the pilot at the other end of a link is watched from
// here. A launcher watches those on its own machine: the link of any other may
// have ended because a login did.
func (n *Node) watched(l *link) bool {
	return n.home(l) && (n.cfg.Role == wire.RoleHub || slices.Contains(n.cfg.Near, l.peer.Site))
}

// watchLink takes a link that is open now.
func (n *Node) watchLink(now time.Duration, l *link) {
	delete(n.doubted, l.peer.ID)
	if l.routed {
		return
	}
	if l.peer.Role != wire.RolePilot {
		n.detector.Join(now, detect.Member{ID: l.peer.ID, Role: l.peer.Role, Site: l.peer.Site})
	}
	n.detector.LinkUp(now, l.peer.ID, l.peer.Role)
}

// watchUnlink takes the end of one.
func (n *Node) watchUnlink(now time.Duration, l *link) {
	if l.routed {
		return
	}
	n.detector.LinkDown(now, l.peer.ID)
	if n.cfg.Role == wire.RolePilot && l.peer.Role != wire.RolePilot {
		n.detector.Leave(now, l.peer.ID) // others see to it
	}
}

// watchPilot takes a pilot's word of who serves it.
func (n *Node) watchPilot(now time.Duration, l *link) {
	if n.cfg.Role == wire.RolePilot || l.peer.Role != wire.RolePilot || len(l.hubs) == 0 {
		return
	}
	x := detect.Member{ID: l.peer.ID, Role: wire.RolePilot, Site: l.peer.Site, Home: l.hubs[0]}
	if n.home(l) && !n.watched(l) {
		x.Home = wire.NodeID{} // nobody's
	}
	n.detector.Join(now, x)
}

// watchHub takes the news that a hub can be reached, or cannot any more.
func (n *Node) watchHub(now time.Duration, p hub.Peer, reached bool) {
	if reached {
		n.detector.Join(now, detect.Member{ID: p.ID, Role: p.Role, Site: p.Site})
	}
	n.detector.Reachable(now, p.ID, reached)
}

// receiveWatch takes the messages of failure detection; false means that it is
// another's.
func (n *Node) receiveWatch(now time.Duration, l *link, m wire.Message) bool {
	switch m.(type) {
	case *wire.Beat, *wire.Inquiry, *wire.Finding:
	case *wire.Notices:
		if l.peer.Role == wire.RolePilot || n.cfg.Role == wire.RolePilot {
			return true
		}
	default:
		return false
	}
	return l.routed || n.detector.Receive(now, l.peer.ID, m)
}

func (n *Node) tickWatch(now time.Duration) {
	if now >= n.detector.Next() {
		n.detector.Tick(now)
	}
	if n.cfg.Role == wire.RolePilot && len(n.at.Hubs) > 0 && now >= n.callAt {
		if hub := n.at.Hubs[0]; now-n.link(hub).heard >= hubSilence {
			n.callAt = now + hubSilence
			n.fx.Silent = append(n.fx.Silent, hub)
		}
	}
}

// hubSilence is after which silence of its hub a pilot has it called again,
// however unwell it is itself: a hub says something every two seconds.
const hubSilence = 4 * time.Second

// absorbWatch takes the effects of the detector.
func (n *Node) absorbWatch(now time.Duration) {
	fx := n.detector.Ready()
	for _, s := range fx.Sends {
		n.beat(s)
	}
	for _, id := range fx.Suspected {
		n.doubt(now, id, true)
	}
	for _, id := range fx.Refuted {
		n.doubt(now, id, false)
	}
	for _, b := range fx.Deaths {
		n.buried(now, b)
	}
}

// beat sends a message of the detector's.
func (n *Node) beat(s detect.Send) {
	switch l := n.link(s.To); {
	case s.Relay.IsZero() && l != nil && !l.routed:
		n.send(s.To, s.Msg)
	case !wire.Carried(s.Msg.Kind()):
	case s.Relay.IsZero():
		n.pass(n.datagram(wire.Address{ID: s.To}, s.Msg), n.cfg.ID)
	case n.link(s.Relay) != nil:
		n.send(s.Relay, n.datagram(wire.Address{ID: s.To}, s.Msg))
	}
}

// doubt notes that a node is not heard over its link, or is again. Ways over a
// hub that is doubted are not used.
func (n *Node) doubt(now time.Duration, id wire.NodeID, yes bool) {
	l := n.link(id)
	if l == nil || l.routed || l.peer.Role == wire.RolePilot || n.doubted[id] == yes {
		return
	}
	if yes {
		if n.doubted == nil {
			n.doubted = make(map[wire.NodeID]bool)
		}
		n.doubted[id] = true
	} else {
		delete(n.doubted, id)
	}
	if n.graph != nil {
		if yes {
			n.graph.LinkDown(now, id)
		} else {
			n.graph.LinkUp(now, hub.Peer{ID: id, Role: l.peer.Role, Site: l.peer.Site})
		}
	}
	n.moved()
}

// buried takes the deaths of nodes, which are one change. All hubs learn of it
// as this one did.
func (n *Node) buried(now time.Duration, b detect.Batch) {
	var pilots []wire.NodeID
	for _, id := range b.Nodes {
		p := n.peers[id]
		if l := n.link(id); l != nil && !l.routed && l.peer.Role != wire.RolePilot {
			l.buried = true
		}
		switch {
		case p == nil || p.Role == wire.RolePilot:
			pilots = append(pilots, id)
		case p.lostAt == 0 || p.lostAt > now+n.cfg.Lease:
			p.lostAt = now + n.cfg.Lease
			n.lostAt = sooner(n.lostAt, p.lostAt)
		}
	}
	n.down(now, pilots, n.cfg.ID, b.Reason, false)
}

// revive takes back what was decided about a hub that is heard over its link:
// it was cut off for longer than it had, and for less than a connection takes
// to end.
func (n *Node) revive(now time.Duration, l *link) {
	l.buried = false
	n.watchLink(now, l)
	n.hubsLink(now, l)
	n.seen(now, l)
}

// sooner returns the earlier of two times, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
