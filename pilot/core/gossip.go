package core

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/gossip"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// gossips is a node's view of the session.
type gossips struct {
	sampler *gossip.Sampler // nil: it takes no part
	sayNext time.Duration   // when a coordinate alone is worth another card
}

func (n *Node) initGossip(now time.Duration) {
	if n.cfg.Sign == nil {
		return
	}
	about := wire.Card{ID: n.cfg.ID, Role: n.cfg.Role, Site: n.cfg.Site, Offer: n.cfg.Offer, Proof: n.cfg.Proof}
	n.sampler = gossip.New(gossip.Config{Card: about, Sign: n.cfg.Sign, Verify: n.cfg.Verify, Reach: n.reach, Seed: n.cfg.Seed}, now)
}

// cardOf returns the card of a node in the view; nil when there is none.
func (n *Node) cardOf(id wire.NodeID) *wire.Card {
	if n.sampler == nil {
		return nil
	}
	return n.sampler.Card(id)
}

// Prove replaces the node's proof of membership: a renewed one.
func (n *Node) Prove(now time.Duration, proof []byte) {
	n.cfg.Proof = proof
	n.settle(now)
}

// reach says how gossip gets to the subject of a card.
func (n *Node) reach(c *wire.Card) gossip.Path {
	switch {
	case n.link(c.ID) != nil:
		return gossip.Linked
	case n.reaches(wire.Address{ID: c.ID, Hubs: c.Hubs}):
		return gossip.Routed
	}
	return gossip.Nowhere
}

// moveEvery is how often there is a new card because the node has found a
// better place, which it does all the time at first. All who hear of it verify
// it anew.
const moveEvery = gossip.Resign / 2

// describeSelf brings the own card up to date.
func (n *Node) describeSelf(now time.Duration) {
	said := n.sampler.About()
	c := *said
	c.Hubs, c.Proof, c.Free = n.at.Hubs, n.cfg.Proof, 0
	if n.slots != nil && n.exit.reason == "" {
		c.Free = uint32(n.slots.Count(flood.Free))
	}
	at := said.Coordinate
	if n.here != nil {
		here := n.here.Coordinate()
		at = here.Bytes()
	}
	moved := !slices.Equal(at, said.Coordinate)
	same := c.Free == said.Free && slices.Equal(c.Hubs, said.Hubs) && slices.Equal(c.Proof, said.Proof)
	if same && (!moved || now < n.sayNext) {
		return
	}
	if moved {
		c.Coordinate, n.sayNext = at, now+moveEvery
	}
	n.sampler.Describe(c)
}

func (n *Node) receiveGossip(now time.Duration, l *link, from wire.Address, m wire.Message) {
	if n.sampler == nil {
		return
	}
	forged := n.sampler.Stats().Forged
	n.gossip(from, n.sampler.Receive(now, from.ID, m))
	if n.sampler.Stats().Forged > forged {
		n.blame(l, blameCards, "cards come over it that are not their subjects' word, by way of "+from.ID.Short())
	}
}

func (n *Node) tickGossip(now time.Duration) {
	if n.sampler != nil && now >= n.sampler.Next() {
		n.describeSelf(now)
		n.gossip(wire.Address{}, n.sampler.Tick(now))
	}
}

func (n *Node) nextGossip(now time.Duration) time.Duration {
	if n.sampler == nil {
		return now + time.Hour
	}
	return n.sampler.Next()
}

// gossip sends what the sampler wants sent; answers go where they were asked
// for.
func (n *Node) gossip(asker wire.Address, list []gossip.Send) {
	for _, s := range list {
		to := wire.Address{ID: s.To, Hubs: s.Via}
		if s.To == asker.ID {
			to = asker
		}
		n.toss(to, s.Msg)
	}
}

func (n *Node) gossipLink(now time.Duration, id wire.NodeID) {
	if n.sampler != nil {
		n.sampler.LinkUp(now, id)
	}
}

func (n *Node) gossipUnlink(id wire.NodeID) {
	if n.sampler != nil {
		n.sampler.LinkDown(id)
	}
}

// forget drops a node that is gone for good.
func (n *Node) forget(now time.Duration, id wire.NodeID) {
	if n.sampler != nil {
		n.sampler.Remove(now, id)
	}
	if n.here != nil {
		n.here.Forget(id)
	}
}
