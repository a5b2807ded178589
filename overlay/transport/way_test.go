package transport_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// line is hubs that are each linked to the next one, and a pilot at either end.
type line struct {
	authority *transport.Authority
	hubs      []*testNode
	near, far *testNode
}

// newLine makes a line of hubs that know the whole graph.
func newLine(t *testing.T, n int) *line {
	t.Helper()
	l := &line{authority: authority(t)}
	c := func(role wire.Role, site string) transport.Config {
		return transport.Config{Identity: identity(t, l.authority, role, site), Handlers: handle(wire.StreamFetch, echo)}
	}
	for i := range n {
		l.hubs = append(l.hubs, start(t, c(wire.RoleHub, fmt.Sprintf("site%d", i))))
		if i > 0 {
			connect(t, l.hubs[i-1], listen(t, l.hubs[i], transport.TCP)(), transport.TCP, transport.Options{})
		}
	}
	for i := range l.hubs {
		l.routes(i)
	}
	l.near, l.far = start(t, c(wire.RolePilot, "site0")), start(t, c(wire.RolePilot, fmt.Sprintf("site%d", n-1)))
	for _, end := range []struct{ pilot, hub *testNode }{{l.near, l.hubs[0]}, {l.far, l.hubs[n-1]}} {
		connect(t, end.pilot, listen(t, end.hub, transport.TCP)(), transport.TCP, transport.Options{})
		end.pilot.SetDefaultRoute(end.hub.ID())
	}
	return l
}

// routes tells a hub of the line how it reaches the others.
func (l *line) routes(i int) {
	all := make(map[wire.NodeID][]wire.NodeID)
	for j, to := range l.hubs {
		var route []wire.NodeID
		for k := i; k != j; {
			if k++; j < i {
				k -= 2
			}
			route = append(route, l.hubs[k].ID())
		}
		if route != nil {
			all[to.ID()] = route
		}
	}
	l.hubs[i].SetRoutes(all)
}

// TestSourceRoute crosses four hubs, of which only the ends know the pilots.
func TestSourceRoute(t *testing.T) {
	t.Parallel()
	l := newLine(t, 4)
	if _, err := l.near.OpenStream(t.Context(), l.far.ID(), wire.StreamFetch); !errors.Is(err, transport.ErrRefused) {
		t.Fatalf("to a pilot that nobody knows the hubs of: %v", err)
	}
	l.near.SetHubs(l.far.ID(), []wire.NodeID{l.hubs[3].ID()})
	trip(t, l.near, l.far)
	if err := l.near.Send(l.far.ID(), message(1)); err != nil {
		t.Fatal(err)
	}
	l.far.waitMessage(l.near.ID(), 1)
	if up := l.near.waitUp(l.far.ID()); up.Direct {
		t.Errorf("linked to %+v, want it through hubs", up)
	}
	// The opener's own hub may be the one that knows.
	l.hubs[3].SetHubs(l.near.ID(), []wire.NodeID{l.hubs[0].ID()})
	trip(t, l.far, l.near)
	// A hub that is far away is a destination as well.
	trip(t, l.hubs[0], l.hubs[3])
	l.near.SetHubs(l.hubs[3].ID(), []wire.NodeID{l.hubs[2].ID()})
	trip(t, l.near, l.hubs[3])
	// And so is a default route.
	l.hubs[0].SetDefaultRoute(l.hubs[3].ID())
	l.near.SetHubs(l.far.ID(), nil)
	trip(t, l.near, l.far)
}

// trip sends something there and back.
func trip(t *testing.T, from, to *testNode) {
	t.Helper()
	s := open(t, from, to.ID(), wire.StreamFetch)
	defer s.Close()
	if s.Peer().ID != to.ID() || s.Peer().Direct {
		t.Errorf("stream to %+v, want one through hubs to %v", s.Peer(), to.ID())
	}
	_, err := s.Write([]byte("there and back"))
	if err := errors.Join(err, s.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(s); err != nil || string(got) != "there and back" {
		t.Errorf("got %q back, %v", got, err)
	}
}

// TestSecondHub has a node with two hubs of which the better one is gone.
func TestSecondHub(t *testing.T) {
	t.Parallel()
	l := newLine(t, 4)
	connect(t, l.far, listen(t, l.hubs[2], transport.TCP)(), transport.TCP, transport.Options{})
	l.near.SetHubs(l.far.ID(), []wire.NodeID{l.hubs[3].ID(), l.hubs[2].ID()})
	trip(t, l.near, l.far)
	far := l.hubs[3].ID()
	if err := l.hubs[3].Close(); err != nil {
		t.Fatal(err)
	}
	l.hubs[2].waitDown(far, 0)
	l.far.waitDown(far, 0)
	trip(t, l.near, l.far) // the route that was chosen before the end still leads to the second hub
}

// TestMendedRoute breaks the route that the first hub still believes in: the
// hub before the gap knows another way.
func TestMendedRoute(t *testing.T) {
	t.Parallel()
	l := newLine(t, 4)
	h := l.hubs
	connect(t, h[1], listen(t, h[3], transport.TCP)(), transport.TCP, transport.Options{})
	l.near.SetHubs(l.far.ID(), []wire.NodeID{h[3].ID()})
	gone := h[2].ID()
	if err := h[2].Close(); err != nil {
		t.Fatal(err)
	}
	h[1].waitDown(gone, 0)
	trip(t, l.near, l.far)
	// A way back to where the stream comes from is none.
	last := h[3].ID()
	h[1].SetRoutes(map[wire.NodeID][]wire.NodeID{last: {h[0].ID(), last}})
	h[3].Close()
	h[1].waitDown(last, 0)
	_, err := l.near.OpenStream(t.Context(), l.far.ID(), wire.StreamFetch)
	wantError(t, err, transport.ErrRefused, "")
}

// TestNoLoop has hubs that each take the other for the way to a node.
func TestNoLoop(t *testing.T) {
	t.Parallel()
	l := newLine(t, 4)
	gone := wire.NodeID{9}
	hubs := []wire.NodeID{l.hubs[0].ID(), l.hubs[3].ID()}
	for _, h := range l.hubs {
		h.SetHubs(gone, hubs)
	}
	l.near.SetHubs(gone, hubs)
	_, err := l.near.OpenStream(t.Context(), gone, wire.StreamFetch)
	wantError(t, err, transport.ErrRefused, "no route from "+l.hubs[3].ID().Short()) // each was asked, once
	// Whoever makes up the graph gets nowhere either.
	a, b := l.hubs[1].ID(), l.hubs[2].ID()
	for name, route := range map[string][]wire.NodeID{
		"in circles": {a, b, a, gone}, "over itself": {a, l.hubs[0].ID(), gone}, "over nobody": {a, {}, gone},
		"too long": {a, b, {3}, {4}, {5}, {6}, {7}, {8}, {10}, gone}, "to somebody else": {a, b}, "nowhere": {}, "to itself": {gone},
	} {
		l.hubs[0].SetHubs(gone, nil)
		l.hubs[0].SetRoutes(map[wire.NodeID][]wire.NodeID{gone: route})
		_, err := l.hubs[0].OpenStream(t.Context(), gone, wire.StreamFetch)
		if !errors.Is(err, transport.ErrNoRoute) {
			t.Errorf("a route %s: %v", name, err)
		}
	}
}

// TestJoinOverRoute admits a pilot by a launcher that is four hubs away.
func TestJoinOverRoute(t *testing.T) {
	t.Parallel()
	l := newLine(t, 4)
	id := identity(t, l.authority, wire.RoleLauncher, "home")
	signer := l.authority.Signer(id, nil)
	addToken(t, signer, transport.Token{Name: "p", Role: wire.RolePilot, Site: "site3", Joins: 1})
	launcher := start(t, transport.Config{Identity: id, Signer: signer})
	connect(t, launcher, listen(t, l.hubs[0], transport.TCP)(), transport.TCP, transport.Options{})
	l.hubs[3].SetHubs(id.ID, []wire.NodeID{l.hubs[0].ID()})
	l.hubs[3].SetDefaultRoute(id.ID)
	got, _, err := transport.Join(t.Context(), listen(t, l.hubs[3], transport.TCP)(), transport.TCP,
		transport.JoinRequest{Pin: l.authority.Pin(), Token: "p", Secret: secret})
	if err != nil || got.Site != "site3" {
		t.Fatalf("joined as %+v, %v", got, err)
	}
}
