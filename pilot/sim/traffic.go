package sim

import (
	"fmt"
	"strings"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Message is a message that a node handed to its transport, for a link to
// another one. What a hub passes on is a message of its own.
type Message struct {
	Time  float64 `json:"time"` // virtual seconds
	From  string  `json:"from"` // the machines
	To    string  `json:"to"`
	Kind  string  `json:"kind"`
	Bytes int     `json:"bytes"` // as encoded, without the framing of the link
	// Passed says that the sender passes it on: it is another's.
	Passed bool `json:"passed,omitempty"`
}

// traffic counts messages by kind.
type traffic struct {
	kinds  [256]int // sent over a link
	names  [256]string
	weight [256]float64 // what was measured of each kind
	bytes  [256]float64
}

// byKind returns the counts by the names of the kinds.
func (t *traffic) byKind() map[string]int {
	m := make(map[string]int)
	for k, sent := range t.kinds {
		if sent > 0 {
			m[t.names[k]] = sent
		}
	}
	return m
}

// messageName is the name of a kind of messages, such as "claim".
func messageName(m wire.Message) string {
	name := fmt.Sprintf("%T", m)
	return strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
}

// author returns who wrote a message that others pass on; false means that it
// is who sends it.
func author(m wire.Message) (wire.NodeID, bool) {
	switch m := m.(type) {
	case *wire.Advert:
		return m.Primary, true
	case *wire.Datagram:
		return m.Src, true
	}
	return wire.NodeID{}, false
}

// weight is how many parts a message has that take room.
func weight(m wire.Message) float64 {
	switch m := m.(type) {
	case *wire.Exchange:
		return float64(len(m.Entries))
	case *wire.ExchangeReply:
		return float64(len(m.Entries))
	case *wire.PeersChanged:
		return 0.2 + float64(len(m.Up)) + 0.2*float64(len(m.Down))
	case *wire.Welcome:
		return 0.2 + float64(len(m.Peers)) + 0.2*float64(len(m.Down)) + 2*float64(len(m.Adverts))
	}
	return 1
}

// estimate is about how many bytes a message takes, from those that were
// encoded before.
func (t *traffic) estimate(m wire.Message) int {
	k := m.Kind()
	if t.weight[k] == 0 {
		return int(64 * (1 + weight(m)))
	}
	return int(t.bytes[k] / t.weight[k] * weight(m))
}

// recode sends a message through its encoding.
func (w *world) recode(n *node, m wire.Message) (wire.Message, int) {
	b := wire.Encode(m)
	w.k.TraceBytes(b)
	k := m.Kind()
	w.traffic.weight[k] += weight(m)
	w.traffic.bytes[k] += float64(len(b))
	m2, err := wire.Decode(b)
	if err != nil {
		w.violate("message %T of %s does not survive its encoding: %v", m, n.id.Short(), err)
		return nil, 0
	}
	return m2, len(b)
}

// count counts a message, and traces it.
func (w *world) count(n, o *node, m wire.Message) {
	k := m.Kind()
	if w.traffic.kinds[k]++; w.traffic.kinds[k] == 1 {
		w.traffic.names[k] = messageName(m)
	}
	if w.cfg.Trace != nil {
		a, ok := author(m)
		w.cfg.Trace(Message{w.k.Now().Seconds(), n.spot.name(), o.spot.name(), w.traffic.names[k], len(wire.Encode(m)), ok && a != n.id})
	}
}

// name is what a machine is called, such as "site3.7".
func (s *spot) name() string {
	switch {
	case s.role == wire.RoleLauncher:
		return "launcher"
	case s.role == wire.RoleHub:
		return fmt.Sprintf("%s.hub%d", s.site.name, s.number)
	}
	return fmt.Sprintf("%s.%d", s.site.name, s.number)
}
