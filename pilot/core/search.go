package core

import (
	"slices"
	"sort"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of what others advertise.
const (
	advertRate = 256 // adverts of one primary that are handled, a second
	advertRoom = 1024
	maxAuthors = 1024
	maxFound   = 512 // tables in one answer, in several messages
)

// What a peer is blamed for, beside what datagrams can be.
const (
	blameTables  uint8 = 1 << (7 - iota)
	blameAdverts       // too many of them
)

// advertise brings an advert of this node's own to where its search says.
func (n *Node) advertise(now time.Duration, p *primary, ad *wire.Advert) {
	ad.Hubs = n.at.Hubs
	if p.floodAt == 0 {
		p.floodAt = now + ad.Lease/4
	}
	p.Locate(n.placeOf)
	hub := n.freeHub()
	step := p.search.Next(now, int(ad.Open), flood.View{Tables: &n.tab.known, Blind: n.cfg.Blind, Needs: &ad.Needs,
		Links: n.hubLinks, There: p.Places(), From: n.standing(hub), Asks: !n.relaying() && hub != nil})
	for _, id := range step.Liars {
		n.fx.Events = append(n.fx.Events, Misbehaved{n.describe(id), "it says to have free slots that are not to be had"})
	}
	p.lookAt = step.Until
	if p.search.Open() {
		n.board.Post(now, ad)
	} else {
		closed := *ad
		closed.Open = 0 // whoever comes is not asked
		n.board.Post(now, &closed)
	}
	switch {
	case step.Find:
		n.tab.question++
		p.question = n.tab.question
		n.send(hub.peer.ID, &wire.Find{Seq: p.question, Needs: ad.Needs, Workers: ad.Open})
	case len(step.To) > 0:
		if p.Open(); !p.search.Open() {
			p.Invite(step.Spare)
		}
		for part := range slices.Chunk(step.To, wire.MaxAsks) {
			one := *ad
			one.To, one.Hops = part, wire.MaxHops
			n.direct(now, n.cfg.ID, &one)
		}
	}
	// Everybody is told now and then of a job that does not look for them, too:
	// who has worked for a job waits for what else it may have.
	if step.Flood || ad.Open == 0 && now >= p.floodAt {
		p.floodAt = now + ad.Lease/4
		p.Open()
		n.relay(n.cfg.ID, ad)
	}
}

// hubLinks returns what a hub says to have measured on its links.
func (n *Node) hubLinks(hub wire.NodeID) []wire.HubLink {
	if n.graph == nil {
		return nil
	}
	list, _ := n.graph.Links(hub)
	return list
}

// placeOf is what is known of where a hub with its pilots is.
func (n *Node) placeOf(hub wire.NodeID, site string) flood.Place {
	p := n.tab.known.Place(hub, site)
	p.Links = n.hubLinks(hub)
	return p
}

// standing is this node's own place.
func (n *Node) standing(hub *link) flood.Place {
	at := flood.Place{Hub: n.cfg.ID, Site: n.cfg.Site}
	if hub != nil && !n.relaying() {
		at = n.tab.known.Place(hub.peer.ID, hub.peer.Site)
	}
	if c, ok := n.Place(); ok && at.Coordinate == nil {
		at.Coordinate = &c
	}
	return at
}

// hubOf says where the pilot that claims is counted.
func hubOf(m *wire.Claim, self wire.NodeID) wire.NodeID {
	if len(m.Hubs) > 0 {
		return m.Hubs[0]
	}
	return self
}

// advert takes an advert from another node.
func (n *Node) advert(now time.Duration, from wire.NodeID, ad *wire.Advert) {
	l := n.link(from)
	switch {
	case l == nil:
	case !n.relays(l) && ad.Primary != from:
		n.blame(l, blameForged, "it advertises in another node's name")
	case !n.author(now, ad.Primary):
		n.blame(l, blameAdverts, "too many adverts of "+ad.Primary.Short()+" come over it")
	case len(ad.To) == 0:
		n.found(wire.Address{ID: ad.Primary, Hubs: ad.Hubs})
		n.post(now, from, ad)
	default:
		n.found(wire.Address{ID: ad.Primary, Hubs: ad.Hubs})
		n.direct(now, from, ad)
	}
}

// author reports whether another advert of a primary is handled.
func (n *Node) author(now time.Duration, id wire.NodeID) bool {
	t := &n.tab
	b := t.authors[id]
	if b == nil {
		if t.authors == nil {
			t.authors = make(map[wire.NodeID]*bucket)
		}
		if len(t.authors) >= maxAuthors {
			for id, b := range t.authors {
				if now-b.at > advertRoom/advertRate*time.Second {
					delete(t.authors, id) // it is full again
				}
			}
		}
		if len(t.authors) >= maxAuthors {
			return false
		}
		b = &bucket{tokens: advertRoom, at: now}
		t.authors[id] = b
	}
	return b.take(now, advertRate, advertRoom)
}

// direct takes an advert that is for some nodes only: this one's part of it is
// followed, the others are passed on, to each next node what is behind it.
func (n *Node) direct(now time.Duration, from wire.NodeID, ad *wire.Advert) {
	type part struct {
		next wire.NodeID
		to   []wire.Ask
	}
	var parts []part
	for _, a := range ad.To {
		if a.Node == n.cfg.ID {
			n.askedHere(now, from, ad, a.Workers)
			continue
		}
		next, ok := n.toward(a.Node)
		if !ok || next == from || ad.Hops == 0 || !n.relaying() && from != n.cfg.ID {
			continue
		}
		i := slices.IndexFunc(parts, func(p part) bool { return p.next == next })
		if i < 0 {
			i = len(parts)
			parts = append(parts, part{next: next})
		}
		parts[i].to = append(parts[i].to, a)
	}
	for _, p := range parts {
		on := *ad
		on.To, on.Hops = p.to, ad.Hops-1
		n.send(p.next, &on)
	}
}

// toward returns the neighbour that is next on the way to a hub.
func (n *Node) toward(hub wire.NodeID) (wire.NodeID, bool) {
	if n.link(hub) != nil {
		return hub, true
	}
	if !n.relaying() {
		if l := n.freeHub(); l != nil {
			return l.peer.ID, true
		}
		return hub, false
	}
	if way := n.routes[hub]; len(way) > 0 && n.link(way[0]) != nil {
		return way[0], true
	}
	if p := n.peers[hub]; p != nil && n.link(p.via) != nil {
		return p.via, true
	}
	return hub, false
}

// askedHere follows an advert that is for this node: a pilot claims, a hub asks
// those of its pilots that are free and fit, or opens the advert for all of
// them.
func (n *Node) askedHere(now time.Duration, from wire.NodeID, ad *wire.Advert, workers uint32) {
	here := *ad
	here.To, here.Hops = nil, 0
	if workers == 0 {
		if n.board.Post(now, &here) {
			n.life = now
			n.relayDown(&here)
		}
		return
	}
	if from != n.cfg.ID {
		if !n.tab.seen.First(now, flood.QueryOf(ad)) {
			return
		}
		here.Open = 0 // nobody else is asked
		if n.board.Post(now, &here) {
			n.life = now
		}
	}
	if n.relaying() {
		workers -= uint32(n.askPilots(now, ad, int(workers)))
	}
	if workers > 0 {
		n.claimAsked(now, ad, int(workers))
	}
}

// relayDown passes an advert on to the pilots of this hub.
func (n *Node) relayDown(ad *wire.Advert) {
	for _, l := range n.order {
		if l.peer.Role == wire.RolePilot && !l.routed && !n.served(l) {
			n.send(l.peer.ID, ad)
		}
	}
}

// askPilots asks the pilots here that have the most slots, so that few have to
// be asked. It returns for how many workers.
func (n *Node) askPilots(now time.Duration, ad *wire.Advert, workers int) int {
	all := workers
	type candidate struct {
		*seat
		fit, per int
	}
	var list []candidate
	for _, s := range n.tab.seats {
		if fit, per := n.fit(now, s, &ad.Needs); fit > 0 {
			list = append(list, candidate{s, fit, per})
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].fit > list[j].fit })
	for _, c := range list {
		if workers == 0 {
			break
		}
		k := min(workers, c.fit)
		workers -= k
		if now >= c.askedTo {
			c.asked = 0
		}
		c.asked += k * c.per
		c.askedTo = now + flood.OfferTime
		one := *ad
		one.To, one.Hops, one.Open = []wire.Ask{{Node: c.id, Workers: uint32(k)}}, 0, uint32(k)
		n.send(c.id, &one)
	}
	n.lookSoon(now)
	return all - workers
}

// claimAsked claims for a job that asks this pilot.
func (n *Node) claimAsked(now time.Duration, ad *wire.Advert, workers int) {
	if n.slots == nil || n.exit.reason != "" {
		return
	}
	s := n.seekFor(ad.Job)
	if s.claim != 0 || now < s.shunTo {
		return
	}
	if per, ok := n.fits(now, &ad.Needs); ok {
		if c := n.slots.Offer(now, ad, per, workers); c != nil {
			s.tried, s.retryAt = ad.Seq, 0
			s.claim, s.workers = c.Seq, uint32(c.Workers())
			n.sendClaim(now, c, s)
			return
		}
	}
	n.tab.freeTold = -1 // the hub knows less than it thinks
}

// takeFind answers a pilot that asks where slots are: with the tables of hubs that
// have some, and when they are not enough with all others, nearest first.
func (n *Node) takeFind(now time.Duration, from wire.NodeID, m *wire.Find) {
	if !n.relaying() || n.link(from) == nil {
		return
	}
	places := n.tab.known.Places(now, &m.Needs)
	here := n.standing(nil)
	sort.SliceStable(places, func(i, j int) bool {
		return flood.Between(&here, &places[i]) < flood.Between(&here, &places[j])
	})
	var some, others []wire.NodeID
	room := 0
	for _, p := range places {
		if p.Workers > 0 {
			some = append(some, p.Hub)
			room += p.Workers
		} else {
			others = append(others, p.Hub)
		}
	}
	if room < int(m.Workers) {
		some = append(some, others...)
	}
	var rows []wire.Row
	for _, id := range some[:min(len(some), maxFound)] {
		rows = append(rows, n.tab.known.Rows(now, []wire.NodeID{id})...)
	}
	for len(rows) > wire.MaxRows {
		n.send(from, &wire.Found{Seq: m.Seq, Rows: rows[:wire.MaxRows], More: true})
		rows = rows[wire.MaxRows:]
	}
	n.send(from, &wire.Found{Seq: m.Seq, Rows: rows})
}

// takeFound takes the hub's answer.
func (n *Node) takeFound(now time.Duration, from wire.NodeID, m *wire.Found) {
	if l := n.freeHub(); l == nil || l.peer.ID != from {
		return
	}
	for _, p := range n.primaries {
		if p.question != m.Seq || m.Seq == 0 {
			continue
		}
		n.tab.known.Expire(now)
		for _, r := range m.Rows {
			n.tab.known.Hear(now, r.Table, r.Age)
		}
		if !m.More {
			p.question = 0
			p.search.Found()
			p.Advertise(now, n.doing())
			n.absorbJob(now, p)
		}
		return
	}
}
