package transport_test

import (
	"net"
	"os"
	"os/exec"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// pipes is a listener on connections in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

// TestHubAdmitsForDays lets a launcher that stays connected renew its hub, which
// by that can go on renewing its pilot, with tokens for one node each. It runs in
// a process of its own: yamux shares timers between all its users, which cannot
// be with those of a synctest bubble.
func TestHubAdmitsForDays(t *testing.T) {
	const child = "ZORILLA_TEST_BUBBLE"
	if os.Getenv(child) == "" {
		t.Parallel()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=5m")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	synctest.Test(t, func(t *testing.T) {
		a := authority(t)
		id := identity(t, a, wire.RoleLauncher, "home")
		signer := a.Signer(id, nil)
		quiet := transport.Config{Keepalive: time.Hour, DeadAfter: 4 * time.Hour}
		launcher := quiet
		launcher.Identity, launcher.Signer = id, signer
		l := start(t, launcher)
		addToken(t, signer, transport.Token{Name: "hub", Role: wire.RoleHub, Site: "das5", Joins: 1})

		c := quiet
		c.Join = &transport.JoinRequest{Pin: a.Pin(), Token: "hub", Secret: secret, WantSigner: true}
		hub := start(t, c)
		listener := &pipes{make(chan net.Conn), make(chan struct{})}
		defer listener.Close()
		go hub.Serve(t.Context(), listener, transport.Local)
		peer := connect(t, l, listener.dial(), transport.Local, transport.Options{Admit: true})
		joined, _ := wait(hub, 0, func(transport.Joined) bool { return true })
		addToken(t, joined.Signer, transport.Token{Name: "pilot", Role: wire.RolePilot, Site: "das5", Joins: 1})
		request := transport.JoinRequest{Pin: a.Pin(), Token: "pilot", Secret: secret}
		pilot, _, err := transport.Join(t.Context(), listener.dial(), transport.Local, request)
		if err != nil {
			t.Fatal(err)
		}

		first := joined.Signer.Expires()
		for hour := range 72 {
			time.Sleep(time.Hour)
			if err := l.OfferAdmission(t.Context(), peer.ID); err != nil {
				t.Fatalf("after %d hours: %v", hour+1, err)
			}
			synctest.Wait()
			if hour < 11 && !joined.Signer.Expires().Equal(first) {
				t.Fatalf("hub was admitted again after %d hours", hour+1)
			}
			if left := joined.Signer.Expires().Sub(id.Now()); left < 11*time.Hour {
				t.Fatalf("hub may admit for %v more after %d hours", left, hour+1)
			}
			if hour%8 != 7 {
				continue
			}
			request.Renew = pilot
			if pilot, _, err = transport.Join(t.Context(), listener.dial(), transport.Local, request); err != nil {
				t.Fatalf("renew after %d hours: %v", hour+1, err)
			}
			if left := pilot.Expires().Sub(pilot.Now()); left < 11*time.Hour {
				t.Fatalf("pilot was renewed for %v after %d hours", left, hour+1)
			}
		}
		if hub.ID() != peer.ID {
			t.Errorf("hub was %v, is %v", peer.ID, hub.ID())
		}

		stranger := identity(t, a, wire.RoleHub, "das5")
		wantError(t, l.OfferAdmission(t.Context(), stranger.ID), transport.ErrNoRoute, "offer admission")
		if err := hub.OfferAdmission(t.Context(), stranger.ID); err == nil {
			t.Error("offered admission to nobody")
		}
		request.Renew = nil
		_, _, err = transport.Join(t.Context(), listener.dial(), transport.Local, request)
		wantError(t, err, transport.ErrRefused, "used up")
		hub.Close()
		l.Close()
	})
}
