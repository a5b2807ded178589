package launcher_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// strangersLogin is a login to a host that has nothing to do with a run.
func (b *bench) strangersLogin(h *testbed.Host) *gossh.Client {
	b.t.Helper()
	key, err := os.ReadFile(b.farm.Key)
	if err != nil {
		b.t.Fatal(err)
	}
	signer, err := gossh.ParsePrivateKey(key)
	if err != nil {
		b.t.Fatal(err)
	}
	raw, err := b.farm.Dial(b.t.Context(), "tcp", h.Addr+":22")
	if err != nil {
		b.t.Fatal(err)
	}
	conn, chans, reqs, err := gossh.NewClientConn(raw, h.Addr, &gossh.ClientConfig{
		User: h.User, Auth: []gossh.AuthMethod{gossh.PublicKeys(signer)}, HostKeyCallback: gossh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	client := gossh.NewClient(conn, chans, reqs)
	b.t.Cleanup(func() { client.Close() })
	return client
}

// recorder keeps what is written to a connection.
type recorder struct {
	net.Conn
	mu   sync.Mutex
	sent bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.sent.Write(p)
	r.mu.Unlock()
	return r.Conn.Write(p)
}

// turnedAway writes to a connection and waits until the other end hangs up.
func turnedAway(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	defer c.Close()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		c.Write(b) // the other end may be gone before it has read all
		io.Copy(io.Discard, c)
	}()
	select {
	case <-gone:
	case <-time.After(40 * time.Second):
		t.Errorf("still connected after writing %d bytes", len(b))
	}
}

// TestStrangers throws at a hub, on its socket and on the address it listens on for pilots,
// what a stranger with an account could: it refuses it all, and the run goes on.
func TestStrangers(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	x := b.start(launcher.Job{App: b.script(counting), Workers: 1}, fmt.Sprintf("[site.cluster]\nurl = %q\nhosts = [\"inner1\"]\nslots = 1\n", b.url(farm.Bastion)), nil)
	x.running(1)
	log := b.exec(farm.Bastion, "sh", "-c", "cat /tmp/zorilla-*/s-"+x.name+"/log-*")
	_, rest, _ := strings.Cut(log, `msg="listening for pilots" address=`)
	address, _, _ := strings.Cut(rest, "\n")
	if host, _, err := net.SplitHostPort(address); err != nil || host != farm.Bastion.InnerAddr {
		t.Fatalf("the hub listens on %q, want a port of %s", address, farm.Bastion.InnerAddr)
	}
	socket := b.exec(farm.Bastion, "sh", "-c", "ls /tmp/zorilla-*/s-"+x.name+"/hub.sock")
	login := b.strangersLogin(farm.Bastion)
	dial := func(t *testing.T, kind transport.CarrierKind) net.Conn {
		t.Helper()
		network, address := "tcp", address
		if kind == transport.Local {
			network, address = "unix", socket
		}
		c, err := login.Dial(network, address)
		if err != nil {
			t.Error(err)
			c, _ = net.Pipe()
			c.Close()
		}
		return c
	}
	refused := func(t *testing.T, what string, err error) {
		t.Helper()
		if !errors.Is(err, transport.ErrRefused) && !errors.Is(err, transport.ErrUntrusted) {
			t.Errorf("%s: error %v, want a refusal", what, err)
		}
	}
	pin := pinOf(t, dial(t, transport.TCP))
	other, err := transport.NewAuthority(wire.SessionID(x.name), 0)
	if err != nil {
		t.Fatal(err)
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	junk := make([]byte, 64<<10)
	rand.Read(junk)

	var wg sync.WaitGroup
	for _, kind := range []transport.CarrierKind{transport.TCP, transport.Local} {
		wg.Go(func() { turnedAway(t, dial(t, kind), junk) })
		wg.Go(func() { turnedAway(t, dial(t, kind), nil) })
		wg.Go(func() {
			_, _, err := transport.Join(t.Context(), dial(t, kind), kind, transport.JoinRequest{Pin: pin, Token: "guess", Secret: secret})
			refused(t, "a join with a guessed token", err)
		})
		wg.Go(func() {
			_, _, err := transport.Join(t.Context(), dial(t, kind), kind, transport.JoinRequest{Pin: other.Pin(), Token: "guess", Secret: secret})
			refused(t, "a join of another session", err)
		})
		for _, validity := range []time.Duration{time.Hour, 2 * time.Second} {
			wg.Go(func() {
				c := &recorder{Conn: dial(t, kind)}
				refused(t, fmt.Sprintf("a launcher of another CA, valid %v", validity), connectAs(t, c, kind, wire.SessionID(x.name), validity))
				c.mu.Lock()
				defer c.mu.Unlock()
				turnedAway(t, dial(t, kind), c.sent.Bytes()) // the same once more
			})
		}
	}
	for range 100 {
		wg.Go(func() {
			c := dial(t, transport.TCP)
			c.Write(junk[:100])
			c.Close()
		})
	}
	wg.Wait()
	hub := b.agents(farm.Bastion, x.name, "hub")
	if len(hub) != 1 {
		t.Fatalf("hubs %q, want one", hub)
	}
	if n, bound := peak(b.exec(farm.Bastion, "cat", "/proc/"+hub[0]+"/status")), int64(64<<20); n == 0 || n > bound {
		t.Errorf("the hub had %d MiB resident, want at most %d", n>>20, bound>>20)
	}
	login.Close()
	x.beyond(1, time.Now(), 10*time.Second)
	b.openGates()
	r := x.end(30 * time.Second)
	wantOK(t, r)
	b.wantCounted(r, 1)
	if n := x.again(); n != 0 {
		t.Errorf("%d attempts beyond the first, want none", n)
	}
	b.clean(x.name)
}

// pinOf asks a hub for its session's CA, which is no secret.
func pinOf(t *testing.T, conn net.Conn) transport.Pin {
	t.Helper()
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c := tls.Client(conn, &tls.Config{NextProtos: []string{"zorilla-join/1"}, InsecureSkipVerify: true})
	if err := c.HandshakeContext(ctx); err != nil {
		t.Fatal(err)
	}
	certs := c.ConnectionState().PeerCertificates
	return transport.Pin(sha256.Sum256(certs[len(certs)-1].RawSubjectPublicKeyInfo))
}

// connectAs connects as a launcher that a CA of our own has made.
func connectAs(t *testing.T, c net.Conn, kind transport.CarrierKind, session wire.SessionID, validity time.Duration) error {
	t.Helper()
	a, err := transport.NewAuthority(session, validity)
	if err != nil {
		t.Error(err)
		return nil
	}
	identity, err := a.Identity(wire.RoleLauncher, "launcher")
	if err != nil {
		t.Error(err)
		return nil
	}
	if validity < time.Minute {
		<-time.After(time.Until(identity.Expires())) // the other end has another opinion of the time, if any
	}
	ep, err := transport.New(transport.Config{Identity: identity})
	if err != nil {
		t.Error(err)
		return nil
	}
	defer ep.Close()
	go func() {
		for range ep.Events() {
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = ep.Connect(ctx, c, kind, transport.Options{})
	return err
}
