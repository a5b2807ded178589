package wire_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

func TestRefusedCards(t *testing.T) {
	entries := func(cards ...*wire.Card) *wire.Exchange {
		m := new(wire.Exchange)
		for _, c := range cards {
			m.Entries = append(m.Entries, wire.Entry{Card: c})
		}
		return m
	}
	with := func(f func(*wire.Card)) *wire.Exchange {
		c := card
		f(&c)
		return entries(&c)
	}
	var many []*wire.Card
	for i := range wire.MaxEntries + 1 {
		c := hubCard
		c.ID = id(byte(i + 1))
		many = append(many, &c)
	}
	for name, m := range map[string]*wire.Exchange{
		"no entry":                entries(),
		"too many entries":        entries(many...),
		"empty entry":             entries(nil),
		"a subject twice":         entries(&card, &hubCard, &card),
		"negative age":            {Entries: []wire.Entry{{Card: &card, Age: -1}}},
		"no identity":             with(func(c *wire.Card) { c.ID = wire.NodeID{} }),
		"no role":                 with(func(c *wire.Card) { c.Role = 0 }),
		"unknown role":            with(func(c *wire.Card) { c.Role = 4 }),
		"long site":               with(func(c *wire.Card) { c.Site = strings.Repeat("s", wire.MaxName+1) }),
		"site that is not UTF-8":  with(func(c *wire.Card) { c.Site = "\xff" }),
		"too many hubs":           with(func(c *wire.Card) { c.Hubs = []wire.NodeID{id(2), id(3), id(4)} }),
		"a hub twice":             with(func(c *wire.Card) { c.Hubs = []wire.NodeID{id(2), id(2)} }),
		"a hub without identity":  with(func(c *wire.Card) { c.Hubs = []wire.NodeID{{}} }),
		"its own hub":             with(func(c *wire.Card) { c.Hubs = []wire.NodeID{c.ID} }),
		"too many slots":          with(func(c *wire.Card) { c.Offer.Slots = wire.MaxSlots + 1 }),
		"more free than there is": with(func(c *wire.Card) { c.Free = c.Offer.Slots + 1 }),
		"long coordinate":         with(func(c *wire.Card) { c.Coordinate = make([]byte, wire.MaxCoordinate+1) }),
		"long proof":              with(func(c *wire.Card) { c.Proof = make([]byte, wire.MaxProof+1) }),
		"no sequence number":      with(func(c *wire.Card) { c.Seq = 0 }),
		"short signature":         with(func(c *wire.Card) { c.Signature = c.Signature[1:] }),
	} {
		if err := m.Validate(); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
		if err := (&wire.ExchangeReply{Entries: m.Entries}).Validate(); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s in a reply: %v, want it refused", name, err)
		}
	}
}

// TestLargestExchange holds that what passes Validate fits into a frame.
func TestLargestExchange(t *testing.T) {
	m := &wire.Exchange{Seq: 1 << 63}
	for i := range wire.MaxEntries {
		m.Entries = append(m.Entries, wire.Entry{Age: wire.MaxTime, Card: &wire.Card{ID: id(byte(i + 1)), Role: wire.RoleHub,
			Site: strings.Repeat("s", wire.MaxName), Hubs: []wire.NodeID{id(254), id(255)},
			Offer: wire.Offer{Slots: wire.MaxSlots, Cores: wire.MaxCores, Memory: wire.MaxBytes, Disk: wire.MaxBytes, GPUs: wire.MaxCores},
			Free:  wire.MaxSlots, Coordinate: make([]byte, wire.MaxCoordinate), Seq: 1 << 63,
			Proof: make([]byte, wire.MaxProof), Signature: make([]byte, wire.SignatureSize)}})
	}
	if b := wire.Encode(m); len(b) > 32<<10 {
		t.Errorf("%d bytes, want at most 32 KiB", len(b))
	}
}

// TestCardSigned holds that no field is left out of what is signed, and that
// the fields cannot run into each other.
func TestCardSigned(t *testing.T) {
	seen := map[string]string{string(card.AppendSigned(nil)): "the card itself"}
	for name, f := range map[string]func(c *wire.Card){
		"ID":                      func(c *wire.Card) { c.ID[15]++ },
		"Role":                    func(c *wire.Card) { c.Role = wire.RoleHub },
		"Site":                    func(c *wire.Card) { c.Site = "das4" },
		"no hub":                  func(c *wire.Card) { c.Hubs = nil },
		"one hub":                 func(c *wire.Card) { c.Hubs = c.Hubs[:1] },
		"hubs the other way":      func(c *wire.Card) { c.Hubs = []wire.NodeID{c.Hubs[1], c.Hubs[0]} },
		"Slots":                   func(c *wire.Card) { c.Offer.Slots++ },
		"Cores":                   func(c *wire.Card) { c.Offer.Cores++ },
		"Memory":                  func(c *wire.Card) { c.Offer.Memory++ },
		"Disk":                    func(c *wire.Card) { c.Offer.Disk++ },
		"GPUs":                    func(c *wire.Card) { c.Offer.GPUs++ },
		"Free":                    func(c *wire.Card) { c.Free++ },
		"Seq":                     func(c *wire.Card) { c.Seq++ },
		"Coordinate":              func(c *wire.Card) { c.Coordinate = []byte{1, 2} },
		"Proof":                   func(c *wire.Card) { c.Proof = nil },
		"a byte from one to next": func(c *wire.Card) { c.Coordinate, c.Proof = []byte{1, 2}, []byte{3, 4, 5} },
	} {
		c := card
		f(&c)
		b := string(c.AppendSigned(nil))
		if other, twice := seen[b]; twice {
			t.Errorf("%s: the same bytes are signed as for %s", name, other)
		}
		seen[b] = name
	}
	unsigned := card
	unsigned.Signature = nil
	if !bytes.Equal(unsigned.AppendSigned(nil), card.AppendSigned(nil)) {
		t.Error("the signature signs itself")
	}
}
