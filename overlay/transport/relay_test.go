package transport_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// spyConn keeps all that passes.
type spyConn struct {
	net.Conn
	mu  sync.Mutex
	all bytes.Buffer
}

func (c *spyConn) keep(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all.Write(p)
}

func (c *spyConn) has(p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Contains(c.all.Bytes(), p)
}

func (c *spyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.keep(p[:n])
	return n, err
}

func (c *spyConn) Write(p []byte) (int, error) {
	c.keep(p)
	return c.Conn.Write(p)
}

// TestHubSeesNothing looks at the bytes that a hub gets to pass on, on a local
// carrier, which has no TLS of its own.
func TestHubSeesNothing(t *testing.T) {
	t.Parallel()
	mark := []byte("the quick brown fox jumps over the lazy dog, many times over")
	var spy *spyConn
	w := newNetwork(t, transport.Config{}, transport.Config{}, func(c net.Conn) net.Conn {
		spy = &spyConn{Conn: c}
		return spy
	})
	p := w.pilot(t, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
	s := open(t, w.launcher, p.ID(), wire.StreamFetch)
	defer s.Close()
	if _, err := s.Write(mark); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(mark))
	if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, mark) {
		t.Fatalf("got %q, %v", got, err)
	}
	id := p.ID()
	if !spy.has(id[:]) {
		t.Error("the spy does not even see where the stream goes: it looks at the wrong place")
	}
	if spy.has(mark) || spy.has(mark[10:30]) {
		t.Error("a hub can read a stream between others")
	}
	if err := w.launcher.Send(p.ID(), &wire.Accepted{Error: string(mark)}); err != nil {
		t.Fatal(err)
	}
	wait(p, 0, func(transport.Received) bool { return true })
	if spy.has(mark) {
		t.Error("a hub can read a link between others")
	}
}

// TestJoinThroughHub lets a hub that is no signer pass joins on to the
// launcher, however the pilot reaches the hub.
func TestJoinThroughHub(t *testing.T) {
	t.Parallel()
	a := authority(t)
	id := identity(t, a, wire.RoleLauncher, "home")
	signer := a.Signer(id, nil)
	addToken(t, signer, transport.Token{Name: "p", Role: wire.RolePilot, Site: "das5", Joins: 2})
	launcher := start(t, transport.Config{Identity: id, Signer: signer})
	hub := start(t, transport.Config{Identity: identity(t, a, wire.RoleHub, "das5")})
	local, tcp := listen(t, hub, transport.Local), listen(t, hub, transport.TCP)
	req := transport.JoinRequest{Pin: a.Pin(), Token: "p", Secret: secret}

	_, _, err := transport.Join(t.Context(), local(), transport.Local, req)
	wantError(t, err, transport.ErrRefused, "nobody who can is in reach")

	connect(t, launcher, local(), transport.Local, transport.Options{})
	for _, dial := range []struct {
		conn func() net.Conn
		kind transport.CarrierKind
	}{{local, transport.Local}, {tcp, transport.TCP}} {
		got, _, err := transport.Join(t.Context(), dial.conn(), dial.kind, req)
		if err != nil {
			t.Fatal(err)
		}
		p := start(t, transport.Config{Identity: got})
		connect(t, p, dial.conn(), dial.kind, transport.Options{})
	}
	for _, dial := range []struct {
		conn func() net.Conn
		kind transport.CarrierKind
	}{{local, transport.Local}, {tcp, transport.TCP}} {
		_, _, err = transport.Join(t.Context(), dial.conn(), dial.kind, req)
		wantError(t, err, transport.ErrRefused, "used up")
	}
}

// TestNotAdmittedYet has pilots knock at a hub that waits for the launcher.
func TestNotAdmittedYet(t *testing.T) {
	t.Parallel()
	a := authority(t)
	hub := start(t, transport.Config{})
	for _, kind := range []transport.CarrierKind{transport.Local, transport.TCP} {
		dial := listen(t, hub, kind)
		if _, _, err := transport.Join(t.Context(), dial(), kind, transport.JoinRequest{Pin: a.Pin(), Token: "p", Secret: secret}); err == nil {
			t.Error("joined by a hub that has not joined")
		}
		n := start(t, transport.Config{Identity: identity(t, a, wire.RolePilot, "das5")})
		if _, err := n.Connect(t.Context(), dial(), kind, transport.Options{}); err == nil {
			t.Error("linked to a hub that has not joined")
		}
	}
	wantError(t, hub.Send(wire.NodeID{1}, message(1)), transport.ErrNotAdmitted, "")
	hub.log.wait(t, "not admitted yet")
}

// TestHalfClose has each end close its direction at its own time.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, transport.Config{}, transport.Config{}, nil)
	p := w.pilot(t, transport.Config{Handlers: handle(wire.StreamFetch, func(_ context.Context, s *transport.Stream) {
		request, err := io.ReadAll(s)
		report(t, err)
		for range 100 { // more than any buffer after the request's end
			_, err := s.Write(bytes.Repeat(request, 100))
			report(t, err)
		}
		// And leaves at once: what it wrote must still arrive.
	})})
	for _, from := range []*testNode{w.launcher, w.hub} {
		s := open(t, from, p.ID(), wire.StreamFetch)
		request := bytes.Repeat([]byte("x"), 1000)
		_, err := s.Write(request)
		report(t, err)
		report(t, s.CloseWrite())
		if _, err := s.Write(request); err == nil {
			t.Error("wrote after CloseWrite")
		}
		answer, err := io.ReadAll(s)
		if err != nil || len(answer) != 100*100*1000 {
			t.Errorf("got %d bytes, %v; want %d", len(answer), err, 100*100*1000)
		}
		report(t, s.Close())
		report(t, s.Close())
	}
}

// TestHubRenewed lets a hub, whose signer ends in less than half a day, be
// admitted again when the launcher comes back, as the same node with the same
// tokens.
func TestHubRenewed(t *testing.T) {
	t.Parallel()
	a, err := transport.NewAuthority(session, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	id := identity(t, a, wire.RoleLauncher, "home")
	signer := a.Signer(id, nil)
	addToken(t, signer, transport.Token{Name: "hub", Role: wire.RoleHub, Site: "das5", Joins: 1})
	launcher := start(t, transport.Config{Identity: id, Signer: signer})
	hub := start(t, transport.Config{Join: &transport.JoinRequest{Pin: a.Pin(), Token: "hub", Secret: secret, WantSigner: true}})
	dial := listen(t, hub, transport.Local)
	admit := transport.Options{Admit: true}
	first := connect(t, launcher, dial(), transport.Local, admit)
	joined, _ := wait(hub, 0, func(transport.Joined) bool { return true })
	addToken(t, joined.Signer, transport.Token{Name: "p", Role: wire.RolePilot, Site: "das5", Joins: 9})
	for range 2 { // renewed each time: a node that is known takes no further join
		if again := connect(t, launcher, dial(), transport.Local, admit); again.ID != first.ID {
			t.Errorf("hub %v came back as %v", first.ID, again.ID)
		}
		req := transport.JoinRequest{Pin: a.Pin(), Token: "p", Secret: secret}
		if _, _, err := transport.Join(t.Context(), dial(), transport.Local, req); err != nil {
			t.Error(err)
		}
	}
	// A fresh hub with that token stays outside.
	other := start(t, transport.Config{Join: &transport.JoinRequest{Pin: a.Pin(), Token: "hub", Secret: secret, WantSigner: true}})
	_, err = launcher.Connect(t.Context(), listen(t, other, transport.Local)(), transport.Local, admit)
	wantError(t, err, transport.ErrRefused, "used up")
}
