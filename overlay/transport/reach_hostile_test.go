package transport_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/transport/memnet"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// talk opens the conversation about a direct connection as a node that makes
// up its own part of it.
func talk(t *testing.T, from, to *testNode) *transport.Stream {
	t.Helper()
	s, err := from.OpenReach(t.Context(), to.ID())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func say(t *testing.T, s *transport.Stream, m wire.Message) {
	t.Helper()
	if err := wire.WriteFrame(s, m); err != nil {
		t.Error(err)
	}
}

// hear reads the other end's description.
func hear(t *testing.T, s *transport.Stream) *wire.Reach {
	t.Helper()
	m, err := wire.ReadFrame(s, 0)
	r, ok := m.(*wire.Reach)
	if !ok {
		t.Fatalf("heard %T, %v", m, err)
	}
	return r
}

var ownSecret = bytes.Repeat([]byte("s"), wire.ReachSecret)

// TestHostileCandidates has a peer name addresses that are not its own to have
// called.
func TestHostileCandidates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newPlanet(t)
		defer w.close()
		victim, spied := w.place(place{})
		hostile, _ := w.place(place{})
		reach := func(port uint16) *wire.Reach {
			m := &wire.Reach{Secret: ownSecret, Port: port, Listens: true}
			for _, s := range []string{"127.0.0.1/8", "127.8.8.8/8", "169.254.1.1/16", "224.0.0.1/4", "0.0.0.0/8", "255.255.255.255/8", "fe80::1/64", "::1/128"} {
				m.Local = append(m.Local, netip.MustParsePrefix(s))
			}
			for _, s := range []string{"127.0.0.1:9000", "198.51.100.99:80", "198.51.100.99:1023", "[ff02::1]:9000", "198.51.100.98:5000"} {
				m.Observed = append(m.Observed, netip.MustParseAddrPort(s))
			}
			return m
		}
		for _, port := range []uint16{5000, 22} {
			s := talk(t, hostile, victim)
			say(t, s, reach(port))
			hear(t, s)
			say(t, s, &wire.Punch{Go: true, Bound: 10 * time.Second})
			pass(12 * time.Second)
			s.Close()
		}
		// The other way round: the victim asks.
		hostile2 := w.hostile(func(s *transport.Stream) {
			say(t, s, reach(5000))
			hear(t, s)
			answerPunches(s)
			pass(10 * time.Second)
		})
		victim.Improve(hostile2.ID())
		pass(15 * time.Second)
		want := netip.MustParseAddrPort("198.51.100.98:5000")
		dials := spied.dials()
		if len(dials) < 4 || len(dials) > 12 {
			t.Errorf("%d calls: %v", len(dials), dials)
		}
		for _, to := range dials {
			if to != want {
				t.Errorf("called %v", to)
			}
		}
	})
}

// hostile adds a node that answers an attempt in its own way.
func (w *planet) hostile(answer func(*transport.Stream)) *testNode {
	defer func(old map[wire.StreamKind]transport.Handler) { w.handlers = old }(w.handlers)
	w.handlers = handle(wire.StreamReach, func(_ context.Context, s *transport.Stream) { answer(s) })
	n, _ := w.place(place{})
	return n
}

// answerPunches keeps time until the attempt begins.
func answerPunches(s *transport.Stream) {
	for {
		m, err := wire.ReadFrame(s, 0)
		if p, ok := m.(*wire.Punch); err != nil || !ok || p.Go {
			return
		}
		_ = wire.WriteFrame(s, &wire.Punch{})
	}
}

// TestWrongPeer has the one who answers at a candidate's address know the
// attempt's secrets and be somebody else: a node of another session, another
// node of this one, or nobody.
func TestWrongPeer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, who := range []string{"another session", "another node", "nobody", "silence", "itself"} {
			w := newPlanet(t)
			victim, _ := w.place(place{})
			foreign := start(t, transport.Config{Identity: identity(t, authority(t), wire.RolePilot, "site1")})
			w.ends = append(w.ends, func() { foreign.Close(); <-foreign.closed })
			third, _ := w.place(place{})
			l, err := w.inet.Host(netip.MustParseAddr("203.0.113.200"), memnet.Rules{}).Listen(5000)
			if err != nil {
				t.Fatal(err)
			}
			var refusal error
			served := make(chan struct{})
			var bad *testNode
			bad = w.hostile(func(s *transport.Stream) {
				defer close(served)
				say(t, s, &wire.Reach{Secret: ownSecret, Port: 5000, Listens: true, Local: []netip.Prefix{netip.MustParsePrefix("203.0.113.200/24")}})
				secret := hear(t, s).Secret
				answerPunches(s)
				conn, err := l.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				got := make([]byte, wire.ReachSecret+1)
				if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got[:wire.ReachSecret], secret) {
					t.Errorf("the victim shows %x, %v", got, err)
				}
				_, _ = conn.Write(append(slices.Clone(ownSecret), got[wire.ReachSecret]))
				switch who {
				case "another session":
					refusal = foreign.Welcome(conn)
				case "another node":
					refusal = third.Welcome(conn)
				case "itself":
					refusal = bad.Welcome(conn)
				case "nobody":
					_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
				case "silence":
				}
				pass(3 * time.Second)
			})
			victim.Improve(bad.ID())
			path, _ := waitPath(victim, bad)
			if want := who == "itself"; (path == wire.PathDirect) != want {
				t.Errorf("%s: path %v", who, path)
			}
			if _, ok := victim.RTT(third.ID()); ok {
				t.Errorf("%s: the victim has a carrier to a node it did not want", who)
			}
			select {
			case <-served:
				if who == "another session" && (refusal == nil || !strings.Contains(refusal.Error(), "certificate")) {
					t.Errorf("the other session's node says: %v", refusal)
				}
			case <-time.After(time.Minute):
				t.Errorf("%s: nobody has called", who)
			}
			l.Close()
			w.close()
		}
	})
}

// TestAttemptLimits holds that a node answers few attempts at a time, and a
// peer's not too often.
func TestAttemptLimits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newPlanet(t)
		defer w.close()
		victim, spied := w.place(place{})
		var sitting []*transport.Stream
		for range 8 {
			n, _ := w.place(place{})
			s := talk(t, n, victim)
			hear(t, s)
			sitting = append(sitting, s)
		}
		late, _ := w.place(place{})
		if r := hear(t, talk(t, late, victim)); !strings.Contains(r.Error, "8 attempts already") {
			t.Errorf("the ninth hears %q", r.Error)
		}
		pass(25 * time.Second) // nobody sits for ever
		if r := hear(t, talk(t, late, victim)); r.Error != "" {
			t.Errorf("when the others are gone it hears %q", r.Error)
		}
		if r := hear(t, talk(t, late, victim)); !strings.Contains(r.Error, "too often") {
			t.Errorf("at once again it hears %q", r.Error)
		}
		if n := spied.listens(); n != 9 {
			t.Errorf("listened %d times, want 9", n)
		}
		for _, s := range sitting {
			if _, err := s.Read(make([]byte, 1)); err == nil {
				t.Error("one who only sits is still heard")
			}
			s.Close()
		}
		pass(time.Minute)

		// Two that ask each other at the same time get one path.
		a, b := victim, late
		a.Improve(b.ID())
		b.Improve(a.ID())
		waitPath(a, b)
		pass(5 * time.Second)
		for _, n := range []*testNode{a, b} {
			if p, ok := n.Path(b.ID()); n == a && (!ok || p != wire.PathDirect) {
				t.Errorf("path %v after both have asked", p)
			}
		}
	})
}

// TestStrangerCalls knocks at the socket that listens during an attempt.
func TestStrangerCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newPlanet(t)
		defer w.close()
		victim, spied := w.place(place{})
		peer, _ := w.place(place{})
		stranger := w.inet.Host(netip.MustParseAddr("203.0.113.201"), memnet.Rules{})
		s := talk(t, peer, victim)
		say(t, s, &wire.Reach{Secret: ownSecret, Port: 5000})
		r := hear(t, s)
		at := netip.AddrPortFrom(spied.Addr(), r.Port)
		dial := func() (net.Conn, error) { return stranger.Dial(t.Context(), 0, at) }
		say(t, s, &wire.Punch{Go: true, Bound: 10 * time.Second})
		pass(100 * time.Millisecond)
		for name, first := range map[string][]byte{
			"garbage":        bytes.Repeat([]byte("x"), 100),
			"wrong secret":   append(bytes.Clone(r.Secret), 1), // the victim's own
			"unknown method": append(bytes.Clone(ownSecret), 9),
			"wrong method":   append(bytes.Clone(ownSecret), 2),
			"silence":        nil,
		} {
			c, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write(first)
			begin := time.Now()
			if got, _ := io.ReadAll(c); len(got) > 0 || time.Since(begin) > 3*time.Second {
				t.Errorf("%s: heard %d bytes and was hung up on after %v", name, len(got), time.Since(begin))
			}
			c.Close()
		}
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(append(bytes.Clone(ownSecret), 1))
		if got := make([]byte, wire.ReachSecret+1); true {
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, append(bytes.Clone(r.Secret), 1)) {
				t.Errorf("with the secret: %x, %v", got, err)
			}
		}
		c.Close()
		s.Close()
		pass(6 * time.Second)
		if c, err := dial(); err == nil {
			t.Error("somebody listens after the attempt")
			c.Close()
		}
	})
}
