package core

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/hub"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Rhythms of the network of hubs.
const (
	adviceEvery = 10 * time.Second // between pieces of advice to one pilot, at least
	dialEvery   = 30 * time.Second // between wishes for a direct link to the same node
	lookEvery   = 5 * time.Second  // between looks at which links are wanted
	hubLinks    = 4                // direct links to other hubs that a hub wants
)

// hubs is a node's part in the network of those that relay: of a hub or
// launcher its picture of it, of a pilot what it does when its hub is gone. A
// pilot that stands in for its hub has both.
type hubs struct {
	graph *hub.Graph
	sub   *hub.Substitute

	others   []wire.HubHint // what the own hub says about others
	lookAt   time.Duration
	dialled  dialled
	*relayed // nil for a pilot that has never relayed
}

// relayed is what a node that relays has for those that it serves.
type relayed struct {
	advised  []wire.NodeID // the deputies in the latest advice
	advice   *wire.Advice  // the latest
	stale    bool          // the graph has changed since
	adviseAt time.Duration
	pings    uint64
	pinged   time.Duration                // when the latest pings were sent
	ways     map[[2]wire.NodeID]wire.Path // of a launcher: how hubs are linked, as the first one says
	ousted   recent                       // those who are gone because their jobs run again
}

func (n *Node) initHubs(now time.Duration) {
	n.lookAt = now + lookEvery + time.Duration(n.cfg.Seed%uint64(lookEvery))
	if n.cfg.Role != wire.RolePilot {
		n.relayFrom(now)
		return
	}
	n.sub = hub.NewSubstitute(n.cfg.ID, n.cfg.Site)
}

// relayFrom gives the node what it needs to relay from now on.
func (n *Node) relayFrom(now time.Duration) {
	n.graph = hub.New(n.graphConfig(), now)
	if n.relayed == nil {
		n.relayed, n.tab.census = new(relayed), new(census)
	}
}

func (n *Node) graphConfig() hub.Config {
	cfg := hub.Config{Peer: hub.Peer{ID: n.cfg.ID, Role: n.cfg.Role, Site: n.cfg.Site}}
	if n.cfg.Sign == nil {
		return cfg
	}
	cfg.Sign = func(m *wire.LinkState) {
		m.Proof = n.cfg.Proof
		m.Signature = n.cfg.Sign(m.AppendSigned(nil))
	}
	cfg.Verify = func(m *wire.LinkState) bool {
		by := &wire.Card{ID: m.Origin, Role: m.Role, Site: m.Site, Proof: m.Proof, Signature: m.Signature}
		return len(m.Signature) > 0 && n.cfg.Verify.Verify(by, m.AppendSigned(nil))
	}
	return cfg
}

// relaying reports whether this node passes on what is others'.
func (n *Node) relaying() bool { return n.graph != nil }

// relays reports whether the other end of a link does, and may say so.
func (n *Node) relays(l *link) bool {
	if l.peer.Role != wire.RolePilot {
		return true
	}
	if slices.Contains(n.at.Hubs, l.peer.ID) {
		return true
	}
	if n.graph == nil {
		return false
	}
	_, said := n.graph.Links(l.peer.ID)
	return said
}

// home reports whether a link leads to a pilot that is served from here: whose
// first hub this node is, as it says.
func (n *Node) home(l *link) bool {
	return l.peer.Role == wire.RolePilot && !l.routed && len(l.hubs) > 0 && l.hubs[0] == n.cfg.ID
}

// hubsLink takes a link that is open now.
func (n *Node) hubsLink(now time.Duration, l *link) {
	if l.routed {
		return
	}
	if n.graph != nil {
		n.graph.LinkUp(now, hub.Peer{ID: l.peer.ID, Role: l.peer.Role, Site: l.peer.Site})
	}
	n.hubsChanged(now)
	if n.sub != nil && l.peer.Role == wire.RolePilot {
		n.sub.LinkUp(now, l.peer.ID)
	}
}

// hubsUnlink takes the end of one.
func (n *Node) hubsUnlink(now time.Duration, l *link) {
	if l.routed {
		return
	}
	if n.graph != nil {
		n.graph.LinkDown(now, l.peer.ID)
	}
	n.hubsChanged(now)
	if n.sub == nil {
		return
	}
	if l.peer.Role == wire.RolePilot {
		n.sub.LinkDown(now, l.peer.ID)
	} else if l.peer.Role == wire.RoleHub && l.peer.Site == n.cfg.Site && !n.hasHub() {
		n.sub.HubDown(now, l.peer.ID)
	}
}

// hasHub reports whether there is a link to a hub of the pilot's own site.
func (n *Node) hasHub() bool {
	return slices.ContainsFunc(n.order, func(l *link) bool {
		return !l.routed && l.peer.Role == wire.RoleHub && l.peer.Site == n.cfg.Site
	})
}

// hubsChanged tells a pilot's substitute which way out there is.
func (n *Node) hubsChanged(now time.Duration) {
	if n.sub == nil {
		return
	}
	if n.hasHub() {
		n.sub.HubUp(now)
	}
	n.sub.WayOut(now, slices.ContainsFunc(n.order, func(l *link) bool { return !l.routed && l.peer.Role != wire.RolePilot }))
}

// receiveHubs takes the messages about hubs; false means that it is another's.
func (n *Node) receiveHubs(now time.Duration, l *link, m wire.Message) bool {
	switch m := m.(type) {
	case *wire.LinkStates, *wire.LinksHeld:
		if n.graph != nil && !l.routed {
			n.graph.Receive(now, l.peer.ID, m)
		}
	case *wire.Serve:
		if n.sub != nil && l.peer.Role == wire.RolePilot && l.peer.Site == n.cfg.Site {
			n.sub.Receive(now, l.peer.ID, m)
		}
	case *wire.Advice:
		if n.sub != nil && len(n.at.Hubs) > 0 && n.at.Hubs[0] == l.peer.ID {
			n.sub.Advised(m.Deputies)
			n.others, n.lookAt = m.Hubs, min(n.lookAt, now+time.Second)
		}
	default:
		return false
	}
	return true
}

// tickHubs lets time pass.
func (n *Node) tickHubs(now time.Duration) {
	if n.graph != nil && now >= n.graph.Next() {
		n.graph.Tick(now)
	}
	if n.sub != nil && now >= n.sub.Next() {
		n.sub.Tick(now)
	}
	if now >= n.lookAt {
		n.lookAt = now + lookEvery
		n.lookForLinks(now)
	}
	if n.graph != nil && now >= n.adviseAt {
		n.adviseAt = now + adviceEvery
		n.advise()
	}
}

func (n *Node) nextHubs(now time.Duration) time.Duration {
	next := n.lookAt
	if n.graph != nil {
		next = min(next, n.graph.Next(), n.adviseAt)
	}
	if n.sub != nil {
		next = min(next, n.sub.Next())
	}
	return next
}

// absorbHubs takes the effects of graph and substitute.
func (n *Node) absorbHubs(now time.Duration) {
	if n.sub != nil {
		fx := n.sub.Ready()
		for _, s := range fx.Sends {
			if n.link(s.To) != nil {
				n.send(s.To, s.Msg)
			}
		}
		for _, id := range fx.Dials {
			n.dial(now, wire.Address{ID: id, Hubs: n.at.Hubs})
		}
		if fx.Changed {
			n.deputy = fx.Hub
			n.serve(now, fx.Serves)
			n.moved()
		}
	}
	if n.graph == nil {
		return
	}
	fx := n.graph.Ready()
	for _, s := range fx.Sends {
		n.send(s.To, s.Msg)
	}
	if fx.Routes != nil {
		n.routes, n.fx.Routes, n.stale = fx.Routes, fx.Routes, true
	}
	for _, p := range fx.Up {
		n.watchHub(now, p, true)
		n.meet(p.ID, p.Role)
	}
	for _, p := range fx.Down {
		n.watchHub(now, p, false)
	}
}

// meet has a hub speak to a launcher that it has no link to: launchers are told
// who is there.
func (n *Node) meet(id wire.NodeID, role wire.Role) {
	if n.cfg.Role == wire.RoleHub && role == wire.RoleLauncher && n.link(id) == nil {
		n.send(id, n.hello())
	}
}

// serve begins, or ends, to relay in the place of the hub.
func (n *Node) serve(now time.Duration, serves bool) {
	switch {
	case serves && n.graph == nil:
		n.relayFrom(now)
		for _, l := range n.order {
			if !l.routed {
				n.graph.LinkUp(now, hub.Peer{ID: l.peer.ID, Role: l.peer.Role, Site: l.peer.Site})
			}
		}
	case !serves && n.graph != nil:
		n.graph.Close(now)
		for _, s := range n.graph.Ready().Sends {
			n.send(s.To, s.Msg)
		}
		n.graph, n.routes, n.fx.Routes = nil, nil, map[wire.NodeID][]wire.NodeID{}
	}
}

// dialled are the nodes that a direct link was lately wanted to.
type dialled []dial

type dial struct {
	id wire.NodeID
	at time.Duration
}

// forget drops those whose time is over.
func (d *dialled) forget(now time.Duration) {
	*d = slices.DeleteFunc(*d, func(x dial) bool { return now-x.at >= dialEvery })
	if len(*d) == 0 {
		*d = nil
	}
}

// has reports whether a node was dialled less than dialEvery ago.
func (d *dialled) has(now time.Duration, id wire.NodeID) bool {
	d.forget(now)
	return slices.ContainsFunc(*d, func(x dial) bool { return x.id == id })
}

// dial asks for a direct link, seldom for the same one.
func (n *Node) dial(now time.Duration, to wire.Address) {
	l := n.link(to.ID)
	if to.ID == n.cfg.ID || l != nil && !l.routed {
		return
	}
	if n.dialled.has(now, to.ID) {
		return
	}
	n.dialled = append(n.dialled, dial{to.ID, now})
	n.fx.Dials = append(n.fx.Dials, to)
}

// lookForLinks asks for the direct links that are worth having: of a hub to
// some other hubs, so that neither the launcher nor any one of them is needed;
// of a pilot to a second hub, and to those who would relay in its hub's place.
func (n *Node) lookForLinks(now time.Duration) {
	n.dialled.forget(now)
	switch n.cfg.Role {
	case wire.RoleHub:
		var list []hub.Candidate
		for _, p := range n.graph.Hubs() {
			if p.Role == wire.RoleHub {
				rtt, _ := n.graph.RTT(p.ID)
				list = append(list, hub.Candidate{ID: p.ID, Site: p.Site, RTT: rtt})
			}
			n.meet(p.ID, p.Role)
		}
		for _, id := range hub.Choose(n.cfg.Site, list, hubLinks) {
			n.dial(now, wire.Address{ID: id})
		}
	case wire.RolePilot:
		if len(n.at.Hubs) == 0 {
			return
		}
		var list []hub.Candidate
		for _, h := range n.others {
			list = append(list, hub.Candidate{ID: h.ID, Site: h.Site, RTT: h.RTT, Cuts: h.Cuts})
		}
		if i := slices.IndexFunc(list, func(c hub.Candidate) bool { return c.ID == n.at.Hubs[0] }); i < 0 {
			if l := n.link(n.at.Hubs[0]); l.peer.Role == wire.RoleHub {
				list = append(list, hub.Candidate{ID: l.peer.ID, Site: l.peer.Site, RTT: 1})
			}
		}
		for _, id := range hub.Choose(n.cfg.Site, list, wire.MaxHubs) {
			if len(n.at.Hubs) < wire.MaxHubs {
				n.dial(now, wire.Address{ID: id})
			}
		}
		if n.sampler != nil {
			for _, e := range n.sampler.Peers(now) {
				if e.Card.Site == n.cfg.Site && e.Card.Role == wire.RolePilot {
					n.sub.Known(e.Card.ID)
				}
			}
		}
		if len(n.at.Hubs) < wire.MaxHubs { // with two, nobody needs to stand in
			for _, id := range n.sub.Wants() {
				n.dial(now, wire.Address{ID: id, Hubs: n.at.Hubs})
			}
		}
	}
}

// advise tells the pilots that are served from here what to do when this hub is
// gone, when that has changed.
func (n *Node) advise() {
	if n.cfg.Role != wire.RoleHub {
		return
	}
	var pilots []wire.NodeID
	out := make(map[wire.NodeID]bool)
	for _, l := range n.order {
		if n.home(l) && l.peer.Site == n.cfg.Site {
			pilots = append(pilots, l.peer.ID)
			out[l.peer.ID] = len(l.hubs) > 1
		}
	}
	deputies := hub.Deputies(n.cfg.Site, n.cfg.ID, pilots, func(id wire.NodeID) bool { return out[id] })
	deputies = deputies[:min(len(deputies), wire.MaxDeputies)]
	if n.advice == nil || n.stale || !slices.Equal(deputies, n.advised) {
		m := n.graph.Advice(deputies)
		n.stale, n.advised = false, deputies
		if n.advice == nil || !sameAdvice(m, n.advice) {
			n.advice = m
			for _, l := range n.order {
				l.advised = false
			}
		}
	}
	for _, l := range n.order {
		if n.home(l) && !l.advised {
			l.advised = true
			n.send(l.peer.ID, n.advice)
		}
	}
}

// sameAdvice compares the deputies, and the hubs in whatever order: which one is
// a little nearer changes all the time.
func sameAdvice(a, b *wire.Advice) bool {
	return slices.Equal(a.Deputies, b.Deputies) && len(a.Hubs) == len(b.Hubs) && !slices.ContainsFunc(a.Hubs, func(x wire.HubHint) bool {
		return !slices.ContainsFunc(b.Hubs, func(y wire.HubHint) bool { return x.ID == y.ID && slices.Equal(x.Cuts, y.Cuts) })
	})
}
