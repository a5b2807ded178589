package core

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// Limits of the overlay part of a node.
const (
	MaxKnown = 64 << 10 // peers that a hub or launcher knows
	MaxDown  = 64       // nodes that one which comes is told to be gone
	maxGone  = MaxKnown // nodes that are remembered to be gone: all that leave at once

	maxNews  = 4 * wire.MaxPeers // changes told at once
	fewLinks = 16                // among which one is found by search

	newsPause   = 50 * time.Millisecond // to gather changes into one message
	retireEvery = 2 * time.Second
	refreshEach = 15              // pings
	helloEvery  = 2 * time.Second // until it is answered
	pingEvery   = 3 * time.Second // and more often for a short lease
)

// overlay is what a node knows of others.
type overlay struct {
	order []*link               // the links there are, by identity
	index map[wire.NodeID]*link // the same, of a node that has many
	peers map[wire.NodeID]*peer // hubs and launchers only
	downs recent                // nodes that are gone
	news  []news
	board flood.Board

	life     time.Duration // the latest sign of life from those we work for
	led      time.Duration // the latest message of a launcher, over a link
	pingAt   time.Duration
	helloAt  time.Duration           // 0: every Hello is answered
	newsAt   time.Duration           // 0: no news
	lostAt   time.Duration           // no later than the first peer's; 0: none
	retireAt time.Duration           // 0: nobody is to retire
	retired  map[string]string       // site ("" for all): reason
	tokens   map[string][]wire.Token // of each site
}

type link struct {
	peer    *wire.Peer    // replaced, never changed
	hubs    []wire.NodeID // of the peer, by its own word
	heard   time.Duration // when a message came over it, or it was opened
	tried   time.Duration // when it was last found out whether it still leads there
	spent   bucket
	micros  uint32 // see rtt
	met     bool   // it has answered our Hello
	routed  bool   // through hubs
	advised bool
	buried  bool  // a hub that was declared dead
	blamed  uint8 // what it was blamed for, as bits
}

// rtt is what the pings say, to a microsecond; 0 is unknown.
func (l *link) rtt() time.Duration { return time.Duration(l.micros) * time.Microsecond }

// link returns the link to a node; nil when there is none.
func (o *overlay) link(id wire.NodeID) *link {
	if o.index != nil {
		return o.index[id]
	}
	if i, found := slices.BinarySearchFunc(o.order, id, byID); found {
		return o.order[i]
	}
	return nil
}

type peer struct {
	*wire.Peer               // replaced, never changed
	via        wire.NodeID   // the hub that told of it; zero: a link
	lostAt     time.Duration // when it counts as gone; 0: it can be reached
}

type news struct {
	peer   wire.Peer
	down   bool
	why    string
	spread bool // to other hubs
	from   wire.NodeID
}

func (o *overlay) init(cfg Config, now time.Duration) {
	if cfg.Role != wire.RolePilot {
		o.peers = make(map[wire.NodeID]*peer)
		o.pingAt = now + time.Duration(cfg.Seed%uint64(cfg.pingEvery()))
	}
	o.life, o.led = now, now
}

func (c *Config) pingEvery() time.Duration {
	return min(job.RenewEvery(c.Lease), pingEvery)
}

// quiet returns how long ago there was a sign of life from those we work for.
func (n *Node) quiet(now time.Duration) time.Duration {
	if n.cfg.Role == wire.RoleLauncher || len(n.primaries) > 0 {
		n.life = now
	}
	return min(now-n.life, wire.MaxTime)
}

// LauncherQuiet returns how long ago this node has heard a launcher itself, or
// was started.
func (n *Node) LauncherQuiet(now time.Duration) time.Duration { return now - n.led }

func (n *Node) hello() *wire.Hello {
	return &wire.Hello{Version: wire.ProtocolVersion, Offer: n.cfg.Offer, Platform: n.cfg.Platform, Name: n.cfg.Name, Hubs: n.at.Hubs, Job: n.cfg.Job, Part: n.cfg.Part}
}

// LinkUp tells that there is a link to a peer over a carrier of its own, opened
// by either side. Of the peer, ID, Role and Site must be set and proven; Hello
// brings the rest. A second LinkUp without a LinkDown means that an older link
// was replaced.
func (n *Node) LinkUp(now time.Duration, p wire.Peer) { n.linkUp(now, p, false) }

// LinkRouted tells of a link as [Node.LinkUp] does, of one through hubs: who is
// at the other end is no neighbour.
func (n *Node) LinkRouted(now time.Duration, p wire.Peer) { n.linkUp(now, p, true) }

func (n *Node) linkUp(now time.Duration, p wire.Peer, routed bool) {
	if n.exit.done || p.ID == n.cfg.ID {
		return
	}
	l := &link{peer: &p, heard: now, routed: routed, spent: bucket{tokens: pilotBurst, at: now}}
	if i, found := slices.BinarySearchFunc(n.order, p.ID, byID); !found {
		n.order = slices.Insert(n.order, i, l)
		n.indexLink(l)
	} else {
		old := n.order[i]
		n.order[i] = l
		n.indexLink(l)
		if routed {
			n.watchUnlink(now, old)
			n.hubsUnlink(now, old)
		}
	}
	n.moved()
	n.watchLink(now, l)
	n.hubsLink(now, l)
	n.gossipLink(now, p.ID)
	if n.helloAt == 0 {
		n.helloAt = now + helloEvery
	}
	if p.Role == wire.RoleLauncher {
		n.life, n.led = now, now
	}
	n.send(p.ID, n.hello())
	for _, j := range n.primaries {
		j.Heard(now, p.ID)
		j.PilotUp(now, p.ID, n.doing())
		n.absorbJob(now, j)
	}
	for _, c := range n.crews {
		if c.Primary() == p.ID {
			c.Up(now, n.doing())
			n.absorb(now)
		}
	}
	n.claimAgain(now, p.ID)
	n.settle(now)
}

// indexLink keeps a hub from searching among all its links at every message.
func (o *overlay) indexLink(l *link) {
	switch {
	case o.index != nil:
		o.index[l.peer.ID] = l
	case len(o.order) > fewLinks:
		o.index = make(map[wire.NodeID]*link, len(o.order))
		for _, x := range o.order {
			o.index[x.peer.ID] = x
		}
	}
}

func byID(l *link, id wire.NodeID) int { return l.peer.ID.Compare(id) }

// LinkDown tells that the link to a peer has ended. The peer may be alive.
func (n *Node) LinkDown(now time.Duration, id wire.NodeID) {
	l := n.link(id)
	if l == nil {
		return
	}
	i, _ := slices.BinarySearchFunc(n.order, id, byID)
	n.order = slices.Delete(n.order, i, i+1)
	delete(n.index, id)
	n.moved()
	n.watchUnlink(now, l)
	n.hubsUnlink(now, l)
	n.gossipUnlink(id)
	n.suspect(now, l)
	n.settle(now)
}

// receiveOverlay takes the messages of the overlay; false means that it is
// another's.
func (n *Node) receiveOverlay(now time.Duration, l *link, m wire.Message) bool {
	id := l.peer.ID
	above := l.peer.Role != wire.RolePilot
	switch m := m.(type) {
	case *wire.Hello:
		if m.Version != wire.ProtocolVersion {
			return true
		}
		p := *l.peer
		p.Offer, p.Platform, p.Name, p.Job, p.Part = m.Offer, m.Platform, m.Name, m.Job, m.Part
		if p != *l.peer {
			l.peer = &p
		}
		if n.replaced(l) {
			return true
		}
		home := n.home(l)
		if !slices.Equal(l.hubs, m.Hubs) {
			l.hubs = m.Hubs
			n.found(wire.Address{ID: id, Hubs: m.Hubs})
		}
		n.watchPilot(now, l)
		n.seen(now, l)
		if n.home(l) && !home {
			n.tell(news{peer: *l.peer, from: id})
		}
		n.welcome(now, l)
	case *wire.Welcome:
		l.met = true
		n.startPlace(now, m.Place)
		n.alive(now, l, m.Quiet)
		if above {
			n.changes(now, id, m.Peers, m.Down, nil)
		}
		for _, ad := range m.Adverts {
			n.post(now, id, ad)
		}
	case *wire.PeersChanged:
		if above {
			n.changes(now, id, m.Up, m.Down, m.Why)
		}
	case *wire.Ping:
		n.alive(now, l, m.Quiet)
		n.send(id, &wire.Pong{Seq: m.Seq})
	case *wire.Pong:
		if n.peers != nil && m.Seq == n.pings {
			n.pong(now, l)
		}
	case *wire.Leave:
		n.detector.Leave(now, id)
		n.down(now, []wire.NodeID{id}, id, m.Reason, true)
	case *wire.Tokens:
		if l.peer.Role == wire.RoleLauncher && n.cfg.Role == wire.RoleHub {
			n.fx.Tokens = append(n.fx.Tokens, m.Tokens)
		}
	case *wire.Retire:
		if l.peer.Role == wire.RoleLauncher || l.peer.Role == wire.RoleHub && l.peer.Site == n.cfg.Site {
			n.retire(now, id, m.Reason)
		}
	default:
		return false
	}
	return true
}

// alive takes a sign of life that another node had quiet ago.
func (n *Node) alive(now time.Duration, l *link, quiet time.Duration) {
	if l.peer.Role != wire.RolePilot {
		n.life = max(n.life, now-quiet)
	}
}

// welcome answers a Hello.
func (n *Node) welcome(now time.Duration, l *link) {
	m := &wire.Welcome{Adverts: n.board.Open(wire.MaxAdverts), Quiet: n.quiet(now), Place: n.placeForWelcome()}
	list := n.reached(l)
	if list != nil {
		m.Down = n.downs.latest(MaxDown)
	}
	k := min(len(list), wire.MaxPeers)
	m.Peers = list[:k:k]
	n.send(l.peer.ID, m)
	n.sendPeers(l, list[k:])
	if l.peer.Role == wire.RoleHub {
		n.sendTokens(l.peer.ID, l.peer.Site)
	}
	if n.toRetire(l.peer.Site) {
		n.sendRetire(now)
	}
}

// post takes an advert, and passes on what is news.
func (n *Node) post(now time.Duration, from wire.NodeID, ad *wire.Advert) {
	if n.board.Post(now, ad) {
		n.life = now // its primary lives
		n.relay(from, ad)
	}
}

// relay passes a flooded message on to all links but the one it came from.
// Only a message of its own leaves a pilot.
func (n *Node) relay(from wire.NodeID, m wire.Message) {
	if !n.relaying() && from != n.cfg.ID {
		return
	}
	for _, l := range n.order {
		if l.peer.ID != from && !n.served(l) {
			n.send(l.peer.ID, m)
		}
	}
}

// served reports whether what floods reaches a link's node through its hub.
func (n *Node) served(l *link) bool {
	if l.peer.Role != wire.RolePilot {
		return l.routed
	}
	p := n.peers[l.peer.ID]
	return p != nil && !p.via.IsZero() && n.link(p.via) != nil
}

// tickOverlay lets time pass.
func (n *Node) tickOverlay(now time.Duration) {
	if n.newsAt != 0 && now >= n.newsAt {
		n.flushNews()
	}
	if n.helloAt != 0 && now >= n.helloAt {
		n.helloAt = 0
		for _, l := range n.order {
			if !l.met {
				n.send(l.peer.ID, n.hello())
				n.helloAt = now + helloEvery
			}
		}
	}
	if n.peers != nil && now >= n.pingAt {
		n.pingAt = now + n.cfg.pingEvery()
		n.ping(now)
	}
	if n.lostAt != 0 && now >= n.lostAt {
		n.giveUp(now)
	}
	if n.retireAt != 0 && now >= n.retireAt {
		n.sendRetire(now)
	}
	n.quiet(now)
}

// ping tells those that are served from here when there was a sign of life from
// those we work for. Now and then a hub tells again whom it reaches, for news
// may have been lost.
func (n *Node) ping(now time.Duration) {
	n.pings++
	n.pinged = now
	m := &wire.Ping{Seq: n.pings, Quiet: n.quiet(now)}
	for _, l := range n.order {
		if n.pings%refreshEach == 0 {
			n.sendPeers(l, n.reached(l))
		}
		if n.served(l) {
			continue
		}
		n.send(l.peer.ID, m)
	}
}

// pong takes the answer to the latest ping, which is a measurement.
func (n *Node) pong(now time.Duration, l *link) {
	rtt := min(now-n.pinged, wire.MaxRTT*time.Millisecond)
	micros := max(1, uint32(rtt.Microseconds()))
	if l.micros == 0 {
		l.micros = micros
	}
	l.micros = (7*l.micros + micros + 4) / 8
	if n.graph != nil && !l.routed && l.peer.Role != wire.RolePilot {
		n.graph.Measured(now, l.peer.ID, rtt)
	}
}

// nextOverlay returns when tickOverlay is wanted.
func (n *Node) nextOverlay(now time.Duration) time.Duration {
	if len(n.news) > 0 && n.newsAt == 0 {
		n.newsAt = now + newsPause
	}
	next := now + time.Hour
	for _, t := range []time.Duration{n.newsAt, n.pingAt, n.helloAt, n.lostAt, n.retireAt} {
		if t != 0 {
			next = min(next, t)
		}
	}
	return next
}
