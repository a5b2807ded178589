package transport_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

func logger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// TestHostileConnections throws things at a hub and looks that it throws them
// out, says so once, and still works.
func TestHostileConnections(t *testing.T) {
	t.Parallel()
	a, other := authority(t), authority(t)
	junk := make([]byte, 64<<10)
	rand.Read(junk)
	junk[0] = 1

	// knock writes and returns when the hub has hung up.
	knock := func(t *testing.T, c net.Conn, b []byte) {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = c.Write(b)
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Error("still connected")
		}
		c.Close()
	}
	for _, test := range []struct {
		name string
		text string // what the hub says
		kind transport.CarrierKind
		do   func(t *testing.T, c net.Conn)
	}{
		{"garbage to tcp", "not a TLS client", transport.TCP, func(t *testing.T, c net.Conn) { knock(t, c, junk) }},
		{"http", "not a TLS client", transport.TCP, func(t *testing.T, c net.Conn) { knock(t, c, []byte("GET / HTTP/1.0\r\n\r\n")) }},
		{"silence", "i/o timeout", transport.TCP, func(t *testing.T, c net.Conn) { knock(t, c, nil) }},
		{"half a hello", "i/o timeout", transport.TCP, func(t *testing.T, c net.Conn) { knock(t, c, []byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc}) }},
		{"client of another session", "bad certificate", transport.TCP, func(t *testing.T, c net.Conn) {
			n := start(t, transport.Config{Identity: identity(t, other, wire.RoleLauncher, "das5")})
			_, err := n.Connect(t.Context(), c, transport.TCP, transport.Options{})
			wantError(t, err, transport.ErrUntrusted, "unknown authority")
		}},
		{"garbage to the socket", "", transport.Local, func(t *testing.T, c net.Conn) { knock(t, c, junk) }},
		{"garbage for a first frame", "first frame of a stream", transport.Local, func(t *testing.T, c net.Conn) {
			st := rawStream(t, c)
			_, _ = st.Write(junk)
			_, _ = io.Copy(io.Discard, st)
		}},
		{"giant first frame", "first frame of a stream", transport.Local, func(t *testing.T, c net.Conn) {
			st := rawStream(t, c)
			_, _ = st.Write(binary.BigEndian.AppendUint32(nil, 1<<31))
			_, _ = io.Copy(io.Discard, st)
		}},
		{"no first frame", "first frame of a stream", transport.Local, func(t *testing.T, c net.Conn) {
			_, _ = io.Copy(io.Discard, rawStream(t, c))
		}},
		{"wrong first message", "first frame of a stream", transport.Local, func(t *testing.T, c net.Conn) {
			st := rawStream(t, c)
			_ = wire.WriteFrame(st, &wire.Accepted{})
			_, _ = io.Copy(io.Discard, st)
		}},
		{"stream before the link", "stream on a carrier of nobody", transport.Local, func(t *testing.T, c net.Conn) {
			st := rawStream(t, c)
			_ = wire.WriteFrame(st, &wire.Open{Dst: wire.NodeID{1}, Src: wire.NodeID{2}, Stream: wire.StreamFetch, Hops: 3})
			m, err := wire.ReadFrame(st, 0)
			if got, ok := m.(*wire.Accepted); !ok || got.Error == "" {
				t.Errorf("got %v, %v", m, err)
			}
		}},
		{"garbage instead of the link's TLS", "secure a stream", transport.Local, func(t *testing.T, c net.Conn) {
			st := rawStream(t, c)
			_ = wire.WriteFrame(st, &wire.Open{Stream: wire.StreamLink, Hops: 3})
			if m, err := wire.ReadFrame(st, 0); err != nil {
				t.Errorf("got %v, %v", m, err)
			}
			_, _ = st.Write(junk)
			_, _ = io.Copy(io.Discard, st)
		}},
		{"another session's link", "bad certificate", transport.Local, func(t *testing.T, c net.Conn) {
			n := start(t, transport.Config{Identity: identity(t, other, wire.RoleLauncher, "home")})
			_, err := n.Connect(t.Context(), c, transport.Local, transport.Options{})
			wantError(t, err, transport.ErrUntrusted, "")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			id := identity(t, a, wire.RoleHub, "das5")
			hub := start(t, transport.Config{Identity: id})
			dial := listen(t, hub, test.kind)
			test.do(t, dial())
			test.do(t, dial())
			good := start(t, transport.Config{Identity: identity(t, a, wire.RolePilot, "das5")})
			connect(t, good, dial(), test.kind, transport.Options{})
			if test.text == "" {
				return
			}
			hub.log.wait(t, test.text)
			if n := strings.Count(hub.log.String(), test.text); n != 1 {
				t.Errorf("hub says %q %d times, want once:\n%s", test.text, n, hub.log)
			}
		})
	}
}

// TestForgedCertificates shows a hub certificates that are almost right.
func TestForgedCertificates(t *testing.T) {
	t.Parallel()
	a, other := authority(t), authority(t)
	hub := start(t, transport.Config{Identity: identity(t, a, wire.RoleHub, "das5")})
	dial := listen(t, hub, transport.TCP)
	ca, foreign := parseAuthority(t, a), parseAuthority(t, other)
	site := ca.issue(t, func(c *x509.Certificate, _ wire.NodeID) {
		c.IsCA, c.MaxPathLenZero, c.KeyUsage = true, true, x509.KeyUsageCertSign
		c.PermittedURIDomains = []string{"das5.abcdefgh"}
	})
	uris := func(c *x509.Certificate, host, id, role string) {
		for _, s := range []string{"zorilla://" + host + "/node/" + id, "zorilla://" + host + "/role/" + role} {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = append(c.URIs, u)
		}
	}
	for _, test := range []struct {
		name string
		by   *issuer
		leaf func(c *x509.Certificate, id wire.NodeID)
		ok   bool
	}{
		{"good", ca, func(c *x509.Certificate, id wire.NodeID) { uris(c, "das5.abcdefgh", id.String(), "launcher") }, true},
		{"good by a hub", site, func(c *x509.Certificate, id wire.NodeID) { uris(c, "das5.abcdefgh", id.String(), "pilot") }, true},
		{"another CA of the same name", foreign, func(c *x509.Certificate, id wire.NodeID) { uris(c, "das5.abcdefgh", id.String(), "pilot") }, false},
		{"expired", ca, func(c *x509.Certificate, id wire.NodeID) {
			uris(c, "das5.abcdefgh", id.String(), "pilot")
			c.NotAfter = time.Now().Add(-time.Minute)
		}, false},
		{"another node's name", ca, func(c *x509.Certificate, id wire.NodeID) {
			uris(c, "das5.abcdefgh", wire.NodeID{1}.String(), "pilot")
		}, false},
		{"another session's name", ca, func(c *x509.Certificate, id wire.NodeID) { uris(c, "das5.hgfedcba", id.String(), "pilot") }, false},
		{"unknown role", ca, func(c *x509.Certificate, id wire.NodeID) { uris(c, "das5.abcdefgh", id.String(), "god") }, false},
		{"no names", ca, func(*x509.Certificate, wire.NodeID) {}, false},
		{"a CA's", ca, func(c *x509.Certificate, id wire.NodeID) {
			uris(c, "das5.abcdefgh", id.String(), "pilot")
			c.IsCA = true
		}, false},
		{"another site by a hub", site, func(c *x509.Certificate, id wire.NodeID) { uris(c, "lab.abcdefgh", id.String(), "pilot") }, false},
		{"below the hub's host", site, func(c *x509.Certificate, id wire.NodeID) { uris(c, "x.das5.abcdefgh", id.String(), "pilot") }, false},
		{"launcher by a hub", site, func(c *x509.Certificate, id wire.NodeID) { uris(c, "das5.abcdefgh", id.String(), "launcher") }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			leaf := test.by.issue(t, test.leaf)
			chain := [][]byte{leaf.cert.Raw, test.by.cert.Raw}
			for range 2 {
				if err := shown(t, dial(), chain, leaf.key); (err == nil) != test.ok {
					t.Errorf("got %v, want to be let in: %v", err, test.ok)
				}
			}
		})
	}
	good := start(t, transport.Config{Identity: identity(t, a, wire.RolePilot, "das5")})
	connect(t, good, dial(), transport.TCP, transport.Options{})
	hub.log.wait(t, "certificate has expired")
	said := make(map[string]int)
	for line := range strings.Lines(hub.log.String()) {
		if _, why, ok := strings.Cut(line, "level=WARN"); ok {
			said[why]++
		}
	}
	for why, n := range said {
		if n > 1 {
			t.Errorf("said %d times: %s", n, why)
		}
	}
	// A text that tells the time would be another one each second.
	if n := strings.Count(hub.log.String(), "certificate has expired"); n != 1 || strings.Contains(hub.log.String(), "current time") {
		t.Errorf("says %d times that a certificate has expired, want once:\n%s", n, hub.log)
	}
}

// shown returns what becomes of a connection whose client shows certificates.
func shown(t *testing.T, conn net.Conn, chain [][]byte, key ed25519.PrivateKey) error {
	t.Helper()
	c := tls.Client(conn, &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{"zorilla/1"},
		Certificates: []tls.Certificate{{Certificate: chain, PrivateKey: key}},
	})
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if err := c.Handshake(); err != nil {
		return err
	}
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	s, err := yamux.Client(c, config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Ping()
	return err
}

// issuer is a certificate and its key.
type issuer struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

func parseAuthority(t *testing.T, a *transport.Authority) *issuer {
	t.Helper()
	b, err := a.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(b)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	block, _ = pem.Decode(rest)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{cert, key.(ed25519.PrivateKey)}
}

func (i *issuer) issue(t *testing.T, change func(c *x509.Certificate, id wire.NodeID)) *issuer {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	change(c, wire.NodeIDOf(spki))
	der, err := x509.CreateCertificate(rand.Reader, c, i.cert, pub, i.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{cert, key}
}

// rawStream opens a stream on a local carrier without any manners.
func rawStream(t *testing.T, c net.Conn) net.Conn {
	t.Helper()
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	s, err := yamux.Client(c, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	st, err := s.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestForgedSource lets a node claim, below TLS, to be the hub whose plain
// streams its neighbours trust.
func TestForgedSource(t *testing.T) {
	t.Parallel()
	w := newNetwork(t, transport.Config{}, transport.Config{}, nil)
	victim := w.pilot(t, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
	// A node opens a stream to the victim by the hub and claims to be the hub.
	id, _, err := transport.Join(t.Context(), w.dialTCP(), transport.TCP,
		transport.JoinRequest{Pin: w.authority.Pin(), Token: "pilot", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	forger := start(t, transport.Config{Identity: id})
	conn := w.dialLocal()
	tap := &tapConn{Conn: conn}
	connect(t, forger, tap, transport.Local, transport.Options{})
	forger.SetDefaultRoute(w.hub.ID())
	me, hub := id.ID, w.hub.ID()
	tap.rewrite(me[:], hub[:])
	_, err = forger.OpenStream(t.Context(), victim.ID(), wire.StreamFetch)
	wantError(t, err, transport.ErrRefused, "cannot be passed on")
}

// tapConn replaces bytes in what is sent, from the next Write on once rewrite
// was called.
type tapConn struct {
	net.Conn
	edit atomic.Pointer[edit]
}

// edit is what a tapConn replaces, and by what.
type edit struct{ from, to []byte }

func (c *tapConn) rewrite(from, to []byte) { c.edit.Store(&edit{from, to}) }

func (c *tapConn) Write(p []byte) (int, error) {
	if e := c.edit.Load(); e != nil {
		p = bytes.ReplaceAll(p, e.from, e.to)
	}
	return c.Conn.Write(p)
}
