package wire_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

func datagram(change func(*wire.Datagram)) *wire.Datagram {
	m := &wire.Datagram{Src: id(1), Dst: id(2), Hops: wire.MaxHops, Body: wire.BodyOf(&wire.Placed{Coordinate: coordinate})}
	change(m)
	return m
}

func TestRefusedDatagrams(t *testing.T) {
	if err := datagram(func(*wire.Datagram) {}).Validate(); err != nil {
		t.Fatalf("the datagram that the others are made of: %v", err)
	}
	for name, change := range map[string]func(*wire.Datagram){
		"nobody's":          func(m *wire.Datagram) { m.Src = wire.NodeID{} },
		"to nobody":         func(m *wire.Datagram) { m.Dst = wire.NodeID{} },
		"to itself":         func(m *wire.Datagram) { m.Dst = m.Src },
		"many hops":         func(m *wire.Datagram) { m.Hops = wire.MaxHops + 1 },
		"three hubs":        func(m *wire.Datagram) { m.Hubs = []wire.NodeID{id(3), id(4), id(5)} },
		"its own hub":       func(m *wire.Datagram) { m.SrcHubs = []wire.NodeID{m.Src} },
		"long route":        func(m *wire.Datagram) { m.Route = make([]wire.NodeID, wire.MaxHops+1) },
		"route twice":       func(m *wire.Datagram) { m.Route = []wire.NodeID{id(3), id(4), id(3)} },
		"route over nobody": func(m *wire.Datagram) { m.Route = []wire.NodeID{{}} },
		"empty":             func(m *wire.Datagram) { m.Body = wire.Body{} },
		"a grant":           func(m *wire.Datagram) { m.Body = wire.BodyOf(&wire.Grant{}) },
		"in itself":         func(m *wire.Datagram) { m.Body = wire.BodyOf(datagram(func(*wire.Datagram) {})) },
	} {
		if err := datagram(change).Validate(); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}

// What is in a body is looked at by whoever it is for, and by nobody else.
func TestBody(t *testing.T) {
	sent := datagram(func(*wire.Datagram) {})
	b := wire.Encode(sent)
	want := wire.Encode(&wire.Placed{Coordinate: coordinate})
	at := bytes.Index(b, want)
	if at < 0 {
		t.Fatalf("%x is not in %x", want, b)
	}
	open := func(kind wire.Kind) (wire.Message, error) {
		b := bytes.Clone(b)
		b[at] = byte(kind)
		m, err := wire.Decode(b)
		if err != nil {
			t.Fatalf("a body of kind %v is not the business of those on the way: %v", kind, err)
		}
		return m.(*wire.Datagram).Body.Message()
	}
	if m, err := open(wire.KindPlaced); err != nil || m.Kind() != wire.KindPlaced {
		t.Errorf("body: %v, %v", m, err)
	}
	for _, kind := range []wire.Kind{wire.KindLeave, wire.KindTokens, wire.KindDatagram, wire.KindProbeReply + 100} {
		if m, err := open(kind); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("body of kind %v: %v, %v", kind, m, err)
		}
	}
}

func TestLargestBody(t *testing.T) {
	full := card
	full.Site, full.Proof = string(bytes.Repeat([]byte("s"), wire.MaxName)), make([]byte, wire.MaxProof)
	full.Coordinate, full.Offer = make([]byte, wire.MaxCoordinate), wire.Offer{Slots: wire.MaxSlots, Cores: wire.MaxCores, Memory: wire.MaxBytes, Disk: wire.MaxBytes, GPUs: wire.MaxCores}
	full.Seq = math.MaxUint64
	m := new(wire.Exchange)
	for i := range wire.MaxEntries {
		c := full
		c.ID = id(byte(100 + i))
		m.Entries = append(m.Entries, wire.Entry{Card: &c, Age: wire.MaxTime})
	}
	back, err := wire.Decode(wire.Encode(datagram(func(d *wire.Datagram) { d.Body = wire.BodyOf(m) })))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := back.(*wire.Datagram).Body.Message(); err != nil || len(got.(*wire.Exchange).Entries) != wire.MaxEntries {
		t.Errorf("the largest exchange comes back as %v, %v", got, err)
	}
}

func TestCoordinateBytes(t *testing.T) {
	b := coordinate.Bytes()
	if got, err := wire.ParseCoordinate(b); err != nil || got != coordinate {
		t.Errorf("%x is %+v, %v; want %+v", b, got, err, coordinate)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "short": b[1:], "long": append(b[:len(b):len(b)], 0), "zero": make([]byte, len(b)), "not numbers": bytes.Repeat([]byte{0xff}, len(b)),
	} {
		if c, err := wire.ParseCoordinate(b); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func FuzzBody(f *testing.F) {
	kept(f)
	f.Add(wire.Encode(&wire.Placed{Coordinate: coordinate}))
	f.Add(wire.Encode(&wire.Exchange{Seq: 1, Entries: []wire.Entry{{Card: &card}}}))
	f.Add(wire.Encode(&wire.Leave{}))
	frame := wire.Encode(datagram(func(*wire.Datagram) {}))
	want := wire.Encode(&wire.Placed{Coordinate: coordinate})
	at := bytes.Index(frame, want)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 0xffff {
			return
		}
		// The byte string's head is written anew for the fuzzed length.
		whole := append(bytes.Clone(frame[:at-2]), 0x59, byte(len(b)>>8), byte(len(b)))
		m, err := wire.Decode(append(whole, b...))
		if err != nil {
			if !errors.Is(err, wire.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		in, err := m.(*wire.Datagram).Body.Message()
		if err != nil {
			if !errors.Is(err, wire.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		if !wire.Carried(in.Kind()) {
			t.Fatalf("a %T came in a datagram", in)
		}
	})
}
