package transport_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// join runs one join against a signer over a pipe.
func join(t testing.TB, s *transport.Signer, req transport.JoinRequest) (*transport.Identity, *transport.Signer, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.ServeJoin(t.Context(), theirs)
	}()
	defer func() { <-done }()
	return transport.Join(t.Context(), ours, transport.TCP, req)
}

func TestJoinRefused(t *testing.T) {
	t.Parallel()
	a := authority(t)
	launcher := identity(t, a, wire.RoleLauncher, "home")
	signer := a.Signer(launcher, nil)
	add := func(name string, tok transport.Token) {
		tok.Name, tok.Role, tok.Site = name, wire.RolePilot, "das5"
		addToken(t, signer, tok)
	}
	add("good", transport.Token{Joins: 100})
	add("once", transport.Token{Joins: 1})
	add("old", transport.Token{Expires: time.Now().Add(-time.Hour)})
	add("gone", transport.Token{})
	signer.Revoke("gone")
	if _, _, err := join(t, signer, transport.JoinRequest{Pin: a.Pin(), Token: "once", Secret: secret}); err != nil {
		t.Fatal(err)
	}
	other := authority(t)
	pilot := other.Signer(identity(t, other, wire.RolePilot, "das5"), nil)
	addToken(t, pilot, transport.Token{Name: "good", Role: wire.RolePilot, Site: "das5"})

	for _, test := range []struct {
		name   string
		signer *transport.Signer
		req    transport.JoinRequest
		want   error
		text   string
	}{
		{"unknown", signer, transport.JoinRequest{Token: "what"}, transport.ErrRefused, "unknown or revoked"},
		{"revoked", signer, transport.JoinRequest{Token: "gone"}, transport.ErrRefused, "unknown or revoked"},
		{"expired", signer, transport.JoinRequest{Token: "old"}, transport.ErrRefused, "expired"},
		{"used up", signer, transport.JoinRequest{Token: "once"}, transport.ErrRefused, "used up"},
		{"wrong secret", signer, transport.JoinRequest{Token: "good", Secret: []byte("fedcba9876543210")}, transport.ErrRefused, "proof does not match"},
		{"pilot that wants to sign", signer, transport.JoinRequest{Token: "good", WantSigner: true}, transport.ErrRefused, "does not make a hub"},
		{"wrong session", signer, transport.JoinRequest{Token: "good", Pin: other.Pin()}, transport.ErrUntrusted, "another session"},
		{"signed by a pilot", pilot, transport.JoinRequest{Token: "good", Pin: other.Pin()}, transport.ErrUntrusted, "a pilot cannot admit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.req.Pin == (transport.Pin{}) {
				test.req.Pin = a.Pin()
			}
			if test.req.Secret == nil {
				test.req.Secret = secret
			}
			_, _, err := join(t, test.signer, test.req)
			wantError(t, err, test.want, test.text)
		})
	}
}

func TestHubSigner(t *testing.T) {
	t.Parallel()
	a := authority(t)
	signer := a.Signer(identity(t, a, wire.RoleLauncher, "home"), nil)
	addToken(t, signer, transport.Token{Name: "hub", Role: wire.RoleHub, Site: "das5"})
	hub, hubSigner, err := join(t, signer, transport.JoinRequest{Pin: a.Pin(), Token: "hub", Secret: secret, WantSigner: true})
	if err != nil {
		t.Fatal(err)
	}
	// What the hub takes for the CA's time lags by as long as the join took.
	if left := hubSigner.Expires().Sub(hub.Now()); left > 24*time.Hour+patience || left < 23*time.Hour {
		t.Errorf("hub can sign for %v, want 24 h", left)
	}
	for _, tok := range []transport.Token{
		{Name: "x", Secret: secret, Role: wire.RolePilot, Site: "other", Joins: 1},
		{Name: "x", Secret: secret, Role: wire.RoleHub, Site: "das5", Joins: 1},
		{Name: "x", Secret: secret, Role: wire.RoleLauncher, Site: "das5", Joins: 1},
		{Name: "x", Secret: secret, Role: wire.RolePilot, Site: "das5"},
		{Name: "x", Secret: secret[:15], Role: wire.RolePilot, Site: "das5", Joins: 1},
	} {
		if err := hubSigner.AddToken(tok); err == nil {
			t.Errorf("hub's signer took %+v", tok)
		}
	}
	addToken(t, hubSigner, transport.Token{Name: "p", Role: wire.RolePilot, Site: "das5"})
	id, _, err := join(t, hubSigner, transport.JoinRequest{Pin: a.Pin(), Token: "p", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	if id.Role != wire.RolePilot || id.Site != "das5" || id.Session != session || id.Pin() != a.Pin() {
		t.Errorf("hub admitted a %s of %s in %s", id.Role, id.Site, id.Session)
	}
	if d := time.Since(id.Now()); d > 2*time.Second || d < -2*time.Second {
		t.Errorf("the time learned is %v off", d)
	}
}

// recorder keeps what its conn was sent.
type recorder struct {
	net.Conn
	sent bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.sent.Write(p)
	return r.Conn.Write(p)
}

func TestReplayedJoin(t *testing.T) {
	t.Parallel()
	a := authority(t)
	log := new(lines)
	signer := a.Signer(identity(t, a, wire.RoleLauncher, "home"), logger(log))
	addToken(t, signer, transport.Token{Name: "p", Role: wire.RolePilot, Site: "das5", Joins: 2})
	serve := func(c net.Conn) chan error {
		done := make(chan error, 1)
		go func() { done <- signer.ServeJoin(t.Context(), c) }()
		return done
	}
	ours, theirs := net.Pipe()
	done := serve(theirs)
	rec := &recorder{Conn: ours}
	req := transport.JoinRequest{Pin: a.Pin(), Token: "p", Secret: secret}
	if _, _, err := transport.Join(t.Context(), rec, transport.TCP, req); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for range 3 {
		ours, theirs = net.Pipe()
		done = serve(theirs)
		go func() {
			_, _ = ours.Write(rec.sent.Bytes())
			ours.Close()
		}()
		got, _ := io.ReadAll(ours)
		if err := <-done; err == nil {
			t.Errorf("a replay was admitted, answer of %d bytes", len(got))
		}
	}
	if n := strings.Count(log.String(), "level=WARN"); n == 0 || n > 2 {
		t.Errorf("logged %d times, want once for a reason:\n%s", n, log)
	}
	// The token still has its second join.
	if _, _, err := join(t, signer, req); err != nil {
		t.Error(err)
	}
}

func TestJoinLimits(t *testing.T) {
	t.Parallel()
	a := authority(t)
	signer := a.Signer(identity(t, a, wire.RoleLauncher, "home"), nil)
	t.Run("bytes", func(t *testing.T) {
		ours, theirs := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- signer.ServeJoin(t.Context(), theirs) }()
		go func() { _, _ = io.Copy(io.Discard, ours) }()
		// A record that never becomes a message of TLS, again and again.
		record := append([]byte{22, 3, 1, 0x20, 0x00, 1, 0, 0xff, 0xff}, make([]byte, 0x2000-4)...)
		var err error
		for err == nil {
			_, err = ours.Write(record)
		}
		if err := <-done; err == nil {
			t.Error("no error")
		}
	})
	t.Run("at once", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan error, 65)
		var ends []net.Conn
		for range 65 {
			ours, theirs := net.Pipe()
			ends = append(ends, ours)
			go func() { results <- signer.ServeJoin(ctx, theirs) }()
		}
		wantError(t, <-results, transport.ErrRefused, "64 joins at once")
		cancel()
		for range 64 {
			if err := <-results; err == nil || errors.Is(err, transport.ErrRefused) {
				t.Errorf("got %v", err)
			}
		}
		for _, c := range ends {
			c.Close()
		}
	})
}

func TestAuthorityKept(t *testing.T) {
	t.Parallel()
	a := authority(t)
	b, err := a.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	same, err := transport.ParseAuthority(b)
	if err != nil {
		t.Fatal(err)
	}
	if same.Pin() != a.Pin() || same.Session() != session {
		t.Errorf("got %v of %s back", same.Pin(), same.Session())
	}
	if pin, err := transport.ParsePin(a.Pin().String()); err != nil || pin != a.Pin() {
		t.Errorf("pin read back as %v, %v", pin, err)
	}
	// An identity made before and one made after understand each other.
	x, y := start(t, transport.Config{Identity: identity(t, a, wire.RoleLauncher, "home")}),
		start(t, transport.Config{Identity: identity(t, same, wire.RolePilot, "home")})
	connect(t, y, listen(t, x, transport.TCP)(), transport.TCP, transport.Options{})
	for i := range len(b) / 7 {
		bad := bytes.Clone(b)
		bad = append(bad[:i*7], bad[i*7+1:]...)
		if got, err := transport.ParseAuthority(bad); err == nil && got.Pin() != a.Pin() {
			t.Fatalf("without byte %d: another authority", i*7)
		}
	}
	junk := make([]byte, 1000)
	rand.Read(junk)
	if _, err := transport.ParseAuthority(junk); err == nil {
		t.Error("junk is an authority")
	}
}

func TestRenew(t *testing.T) {
	t.Parallel()
	a := authority(t)
	signer := a.Signer(identity(t, a, wire.RoleLauncher, "home"), nil)
	addToken(t, signer, transport.Token{Name: "p", Role: wire.RolePilot, Site: "das5", Joins: 2})
	req := transport.JoinRequest{Pin: a.Pin(), Token: "p", Secret: secret}
	first, _, err := join(t, signer, req)
	if err != nil {
		t.Fatal(err)
	}
	req.Renew = first
	second, _, err := join(t, signer, req)
	if err != nil {
		t.Fatal(err)
	}
	if second.ID != first.ID || second == first {
		t.Errorf("%v was renewed as %v", first.ID, second.ID)
	}
	n := start(t, transport.Config{Identity: first})
	report(t, n.Admit(second, nil))
	if err := n.Admit(identity(t, a, wire.RolePilot, "das5"), nil); err == nil {
		t.Error("a node became another one")
	}
}
