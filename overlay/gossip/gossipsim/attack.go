package gossipsim

import (
	"cmp"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/gossip"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Attack is what attackers do. All know each other and every node.
type Attack uint8

// The attacks.
const (
	// Flood sends exchanges full of the attackers' own cards, freshly signed,
	// to as many nodes as it can, and answers with such too.
	Flood Attack = iota
	// Forge does so with cards of nodes that do not exist.
	Forge
)

const (
	raidEvery  = gossip.Period / 4
	raidPushes = 10 // exchanges that an attacker begins each time
)

// raider is an attacker's mind.
type raider struct {
	node *node
	kind Attack
	seq  uint64
	card *wire.Card
}

// enlist makes attackers of some nodes that are no hubs.
func (w *World) enlist() {
	want := int(w.cfg.Attackers * float64(len(w.nodes)))
	for i := len(w.nodes) - 1; i >= 0 && len(w.bad) < want; i-- {
		if n := w.nodes[i]; !n.hub {
			n.raid = &raider{node: n, kind: w.cfg.Attack}
			w.bad = append(w.bad, n)
		}
	}
}

// attack is one raid.
func (w *World) attack(n *node) {
	if !n.alive {
		return
	}
	n.raid.renew()
	for range raidPushes {
		if to := w.nodes[w.k.Rand().IntN(len(w.nodes))]; to.raid == nil && to.alive {
			w.send(n, []gossip.Send{{To: to.id, Msg: &wire.Exchange{Seq: w.k.Rand().Uint64(),
				Entries: []wire.Entry{{Card: n.raid.card}}}}})
		}
	}
	w.k.After(raidEvery, func() { w.attack(n) })
}

// renew signs the attacker's card again, as new.
func (r *raider) renew() {
	c := r.node.card
	r.seq++
	c.Seq = uint64(time.Hour) + r.seq // above all that its Sampler signs
	c.Signature = r.node.sign(c.AppendSigned(nil))
	r.card = &c
}

// taint fills a message with what attackers want others to know.
func (r *raider) taint(w *World, m wire.Message) {
	var entries *[]wire.Entry
	switch m := m.(type) {
	case *wire.Exchange:
		entries = &m.Entries
	case *wire.ExchangeReply:
		entries = &m.Entries
	}
	if r.card == nil {
		r.renew()
	}
	rand := w.k.Rand()
	list := []wire.Entry{{Card: r.card}}
	most := cmp.Or(w.cfg.Exchange, gossip.DefaultExchange)
	for i, from := 0, rand.IntN(len(w.bad)); i < len(w.bad) && len(list) < most; i++ {
		other := w.bad[(from+i)%len(w.bad)].raid
		switch {
		case r.kind == Forge:
			c := *r.card
			for i := range c.ID {
				c.ID[i] = byte(rand.Uint32())
			}
			list = append(list, wire.Entry{Card: &c})
		case other != r && other.card != nil:
			list = append(list, wire.Entry{Card: other.card})
		}
	}
	*entries = list
}
