package transport_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

const patience = 30 * time.Second

// lines is a log that a test can read.
type lines struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
	return l.b.Write(p)
}

// wait waits until the log has a text.
func (l *lines) wait(t testing.TB, text string) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		l.mu.Lock()
		found := strings.Contains(l.b.String(), text)
		if l.more == nil {
			l.more = make(chan struct{})
		}
		more := l.more
		l.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-timer.C:
			t.Fatalf("log does not say %q:\n%s", text, l)
		}
	}
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// testNode is an endpoint whose events a test waits for.
type testNode struct {
	*transport.Endpoint
	t      testing.TB
	log    *lines
	mu     sync.Mutex
	seen   []transport.Event
	more   chan struct{} // closed and replaced at each event
	closed chan struct{}
}

func start(t testing.TB, c transport.Config) *testNode {
	t.Helper()
	n := &testNode{t: t, log: new(lines), more: make(chan struct{}), closed: make(chan struct{})}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(n.log, nil))
	}
	e, err := transport.New(c)
	if err != nil {
		t.Fatal(err)
	}
	n.Endpoint = e
	go func() {
		defer close(n.closed)
		for ev := range e.Events() {
			n.mu.Lock()
			n.seen = append(n.seen, ev)
			close(n.more)
			n.more = make(chan struct{})
			n.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		e.Close()
		<-n.closed
		if t.Failed() {
			t.Logf("log:\n%s", n.log)
		}
	})
	return n
}

// events returns what has been seen so far.
func (n *testNode) eventsSeen() []transport.Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]transport.Event(nil), n.seen...)
}

// wait waits for the first event from index on that is wanted.
func wait[E transport.Event](n *testNode, from int, want func(E) bool) (E, int) {
	n.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		n.mu.Lock()
		more := n.more
		for ; from < len(n.seen); from++ {
			if ev, ok := n.seen[from].(E); ok && want(ev) {
				n.mu.Unlock()
				return ev, from + 1
			}
		}
		n.mu.Unlock()
		select {
		case <-more:
		case <-timer.C:
			n.t.Errorf("no such event after %v; seen %v", patience, n.eventsSeen())
			n.t.FailNow()
		}
	}
}

func (n *testNode) waitUp(id wire.NodeID) transport.Peer {
	n.t.Helper()
	ev, _ := wait(n, 0, func(e transport.LinkUp) bool { return e.Peer.ID == id })
	return ev.Peer
}

func (n *testNode) waitDown(id wire.NodeID, from int) (transport.LinkDown, int) {
	n.t.Helper()
	return wait(n, from, func(e transport.LinkDown) bool { return e.ID == id })
}

func (n *testNode) waitMessage(from wire.NodeID, offset int64) {
	n.t.Helper()
	wait(n, 0, func(e transport.Received) bool {
		m, ok := e.Message.(*wire.Received)
		return ok && e.From == from && m.Offset == offset
	})
}

// message is a small message with a number.
func message(n int64) wire.Message { return &wire.Received{Offset: n} }

const session wire.SessionID = "abcdefgh"

var secret = []byte("0123456789abcdef")

func authority(t testing.TB) *transport.Authority {
	t.Helper()
	a, err := transport.NewAuthority(session, 0)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func identity(t testing.TB, a *transport.Authority, role wire.Role, site string) *transport.Identity {
	t.Helper()
	id, err := a.Identity(role, site)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func addToken(t testing.TB, s *transport.Signer, tok transport.Token) {
	t.Helper()
	if tok.Secret == nil {
		tok.Secret = secret
	}
	if tok.Joins == 0 {
		tok.Joins = 1
	}
	if err := s.AddToken(tok); err != nil {
		t.Fatal(err)
	}
}

// listen serves an endpoint on a fresh address and returns a dialler of it.
func listen(t testing.TB, n *testNode, kind transport.CarrierKind) func() net.Conn {
	t.Helper()
	network, address := "tcp", "127.0.0.1:0"
	if kind == transport.Local {
		network, address = "unix", filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		if err := n.Serve(ctx, l, kind); err != nil {
			t.Errorf("serve: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return func() net.Conn {
		t.Helper()
		c, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func connect(t testing.TB, n *testNode, conn io.ReadWriteCloser, kind transport.CarrierKind, o transport.Options) transport.Peer {
	t.Helper()
	p, err := n.Connect(t.Context(), conn, kind, o)
	if err != nil {
		t.Fatalf("connect: %v\nlog:\n%s", err, n.log)
	}
	return p
}

// network is a launcher, a hub that it admits over a local carrier, and pilots
// that the hub admits over TCP.
type network struct {
	authority *transport.Authority
	launcher  *testNode
	hub       *testNode
	hubSigner *transport.Signer
	dialLocal func() net.Conn
	dialTCP   func() net.Conn
}

// onConn lets a test stand between the launcher and the hub.
func newNetwork(t testing.TB, launcher, hub transport.Config, onConn func(net.Conn) net.Conn) *network {
	t.Helper()
	w := &network{authority: authority(t)}
	id := identity(t, w.authority, wire.RoleLauncher, "home")
	launcher.Identity, launcher.Signer = id, w.authority.Signer(id, nil)
	w.launcher = start(t, launcher)
	addToken(t, launcher.Signer, transport.Token{Name: "hub", Role: wire.RoleHub, Site: "das5"})

	hub.Join = &transport.JoinRequest{Pin: w.authority.Pin(), Token: "hub", Secret: secret, WantSigner: true}
	w.hub = start(t, hub)
	w.dialLocal, w.dialTCP = listen(t, w.hub, transport.Local), listen(t, w.hub, transport.TCP)
	conn, o := w.dialLocal(), transport.Options{Admit: true}
	if onConn != nil {
		conn = onConn(conn)
	} else {
		o.More = func(context.Context) (io.ReadWriteCloser, error) { return w.dialLocal(), nil }
	}
	p := connect(t, w.launcher, conn, transport.Local, o)
	if p.Role != wire.RoleHub || p.Site != "das5" || !p.Direct {
		t.Fatalf("launcher connected to %+v, want the hub of das5", p)
	}
	joined, _ := wait(w.hub, 0, func(transport.Joined) bool { return true })
	w.hubSigner = joined.Signer
	if p.ID != joined.Identity.ID || w.hub.ID() != p.ID {
		t.Fatalf("launcher sees hub %v, it is %v", p.ID, joined.Identity.ID)
	}
	w.launcher.SetDefaultRoute(p.ID)
	addToken(t, w.hubSigner, transport.Token{Name: "pilot", Role: wire.RolePilot, Site: "das5", Joins: 100})
	return w
}

// pilot joins by the hub and connects to it.
func (w *network) pilot(t testing.TB, c transport.Config) *testNode {
	t.Helper()
	id, signer, err := transport.Join(t.Context(), w.dialTCP(), transport.TCP,
		transport.JoinRequest{Pin: w.authority.Pin(), Token: "pilot", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	if id.Role != wire.RolePilot || id.Site != "das5" || signer != nil {
		t.Fatalf("joined as %s of %s, want pilot of das5", id.Role, id.Site)
	}
	c.Identity = id
	p := start(t, c)
	connect(t, p, w.dialTCP(), transport.TCP, transport.Options{})
	p.SetDefaultRoute(w.hub.ID())
	return p
}

// echo returns what it gets, then says that it is done.
func echo(_ context.Context, s *transport.Stream) {
	if _, err := io.Copy(s, s); err == nil {
		_ = s.CloseWrite()
	}
}

func handle(k wire.StreamKind, h transport.Handler) map[wire.StreamKind]transport.Handler {
	return map[wire.StreamKind]transport.Handler{k: h}
}

func open(t testing.TB, n *testNode, dst wire.NodeID, k wire.StreamKind) *transport.Stream {
	t.Helper()
	s, err := n.OpenStream(t.Context(), dst, k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantError(t testing.TB, err error, want error, text string) {
	t.Helper()
	if err == nil || !errors.Is(err, want) || !bytes.Contains([]byte(err.Error()), []byte(text)) {
		t.Errorf("got error %v, want one that matches %q and says %q", err, want, text)
	}
}
