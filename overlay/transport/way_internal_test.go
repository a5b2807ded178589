package transport

import (
	"net"
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// TestHostileRoute writes routes into the first frame of a stream that no
// honest node would: the hub refuses them and passes nothing on.
func TestHostileRoute(t *testing.T) {
	a, err := NewAuthority("abcdefgh", 0)
	if err != nil {
		t.Fatal(err)
	}
	node := func(role wire.Role) *Endpoint {
		id, err := a.Identity(role, "das5")
		if err != nil {
			t.Fatal(err)
		}
		e, err := New(Config{Identity: id})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for range e.Events() {
			}
		}()
		t.Cleanup(func() { e.Close() })
		return e
	}
	hub, pilot := node(wire.RoleHub), node(wire.RolePilot)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- hub.Serve(t.Context(), l, TCP) }()
	t.Cleanup(func() { hub.Close(); <-served })
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pilot.Connect(t.Context(), conn, TCP, Options{}); err != nil {
		t.Fatal(err)
	}
	w, ok := pilot.find(hub.ID(), wire.StreamFetch)
	if !ok {
		t.Fatal("no way to a neighbour")
	}
	id, _ := pilot.self()
	for _, test := range []struct {
		name, want string
		src        wire.NodeID
		hops       uint8
		route      []wire.NodeID
	}{
		{"over the hub itself", "the route leads back", pilot.ID(), 8, []wire.NodeID{{7}, hub.ID()}},
		{"over the one it comes from", "the route leads back", wire.NodeID{5}, 8, []wire.NodeID{{7}, pilot.ID()}},
		{"over a stranger", "no route", pilot.ID(), 8, []wire.NodeID{{7}}},
		{"as the hub itself", "a stream of nobody", hub.ID(), 8, nil},
		{"without a hop left", "too many hubs", pilot.ID(), 0, nil},
	} {
		_, err := w.by.open(t.Context(), id, &wire.Open{Dst: wire.NodeID{9}, Src: test.src, Stream: wire.StreamFetch, Hops: test.hops, Route: test.route})
		if text := reason(err); !strings.Contains(text, test.want) {
			t.Errorf("%s: %s; want %q", test.name, text, test.want)
		}
	}
}

// TestHomes holds that what is used stays and that the memory is bounded.
func TestHomes(t *testing.T) {
	name := func(i int) wire.NodeID { return wire.NodeID{1, byte(i), byte(i >> 8), byte(i >> 16)} }
	var h homes
	for i := range 5 * maxHomes {
		h.put(name(i), []wire.NodeID{name(i + 1)})
		if got := h.get(name(0)); len(got) != 1 || got[0] != name(1) {
			t.Fatalf("after %d others, the node that is always used has hubs %v", i, got)
		}
		if n := len(h.now) + len(h.old); n > 2*maxHomes {
			t.Fatalf("%d nodes remembered, at most %d may be", n, 2*maxHomes)
		}
	}
	if got := h.get(name(1)); got != nil {
		t.Errorf("a node that was never used is still remembered: %v", got)
	}
	if got := h.get(name(4*maxHomes + 5)); len(got) != 1 {
		t.Error("a node of late is forgotten")
	}
	h.drop(name(0))
	if got := h.get(name(0)); got != nil {
		t.Errorf("dropped, and there: %v", got)
	}
}
