package staging_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/staging"
)

var testJob = wire.JobID{1, 2, 3}

// pair returns the two ends of a stream.
func pair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

// tlsPair is pair with TLS 1.3 between the ends.
func tlsPair(t testing.TB) (a, b *tls.Conn) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, priv)
	if err != nil {
		t.Fatal(err)
	}
	c, s := pair(t)
	server := tls.Server(s, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: priv}}, MinVersion: tls.VersionTLS13})
	client := tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return client, server
}

// peer serves a library on every stream that is opened to it.
type peer struct {
	t      testing.TB
	lookup func(wire.JobID) (staging.Source, error)
	opened atomic.Int64
	wrap   func(staging.Stream) staging.Stream // of the serving end
}

func (p *peer) open(ctx context.Context, _ wire.NodeID) (staging.Stream, error) {
	p.opened.Add(1)
	a, b := pair(p.t)
	var s staging.Stream = b
	if p.wrap != nil {
		s = p.wrap(s)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = staging.Serve(context.WithoutCancel(ctx), s, p.lookup)
	}()
	p.t.Cleanup(func() { a.Close(); <-done })
	return a, nil
}

func serving(t testing.TB, src staging.Source) *peer {
	l := new(staging.Library)
	l.Add(testJob, src)
	return &peer{t: t, lookup: l.Lookup}
}

func request(p *peer, root wire.Digest) staging.Request {
	return staging.Request{Job: testJob, Root: root, Holders: []wire.NodeID{{1}}, Open: p.open, Patience: 2 * time.Second}
}

func write(t testing.TB, name string, data []byte, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

func openRoot(t testing.TB, dir string) *os.Root {
	t.Helper()
	r, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func openStore(t testing.TB, limit int64) *staging.Store {
	t.Helper()
	s, err := staging.OpenStore(filepath.Join(t.TempDir(), "chunks"), limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	return s
}

func build(t testing.TB, inputs ...staging.Input) *staging.Set {
	t.Helper()
	s, err := staging.Build(t.Context(), inputs, staging.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func symlink(t testing.TB, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
