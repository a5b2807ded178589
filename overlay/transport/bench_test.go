package transport_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// BenchmarkStream sends 1 MiB blocks one way over: plain TLS on TCP, a stream
// to a TCP neighbour, one over a local carrier, and one through a hub. Compare
// with the first in the same run.
func BenchmarkStream(b *testing.B) {
	sink := func(done chan<- struct{}) map[wire.StreamKind]transport.Handler {
		return handle(wire.StreamOutput, func(_ context.Context, s *transport.Stream) {
			_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{s}, make([]byte, 64<<10))
			done <- struct{}{}
		})
	}
	b.Run("plain-tls", func(b *testing.B) {
		w, done := plainTLS(b)
		flood(b, w, done)
	})
	for name, kind := range map[string]transport.CarrierKind{"tcp": transport.TCP, "local": transport.Local} {
		b.Run(name, func(b *testing.B) {
			done := make(chan struct{}, 1)
			x, y := pair(b, transport.Config{}, transport.Config{Handlers: sink(done)})
			connect(b, x, listen(b, y, kind)(), kind, transport.Options{})
			flood(b, open(b, x, y.ID(), wire.StreamOutput), done)
		})
	}
	b.Run("hub", func(b *testing.B) {
		done := make(chan struct{}, 1)
		w := newNetwork(b, transport.Config{Handlers: sink(done)}, transport.Config{}, nil)
		flood(b, open(b, w.pilot(b, transport.Config{}), w.launcher.ID(), wire.StreamOutput), done)
	})
}

type writeCloser interface {
	io.Writer
	CloseWrite() error
}

func flood(b *testing.B, w writeCloser, done <-chan struct{}) {
	b.Helper()
	block := make([]byte, 1<<20)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		if _, err := w.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.CloseWrite(); err != nil {
		b.Fatal(err)
	}
	<-done
}

// plainTLS returns a TLS connection to a reader that says when all is read.
func plainTLS(b *testing.B) (*tls.Conn, <-chan struct{}) {
	b.Helper()
	return plainTLSBlocks(b, 0)
}

// plainTLSBlocks returns a TLS connection to a reader that says when so many
// more bytes are read, and at the end. It goes to the address that the function,
// if there is one, makes of the reader's.
func plainTLSBlocks(b *testing.B, size int, through ...func(address string) string) (*tls.Conn, <-chan struct{}) {
	b.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	t := &x509.Certificate{NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
		buf := make([]byte, 256<<10)
		for n := 0; ; {
			k, err := s.Read(buf)
			if n += k; size > 0 && n >= size {
				n -= size
				done <- struct{}{}
			}
			if err != nil {
				return
			}
		}
	}()
	address := l.Addr().String()
	for _, by := range through {
		address = by(address)
	}
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c, done
}

// BenchmarkRoundTrip sends 64 bytes there and back.
func BenchmarkRoundTrip(b *testing.B) {
	ping := func(b *testing.B, s io.ReadWriter) {
		buf := make([]byte, 64)
		for b.Loop() {
			if _, err := s.Write(buf); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(s, buf); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("tcp", func(b *testing.B) {
		x, y := pair(b, transport.Config{}, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
		connect(b, x, listen(b, y, transport.TCP)(), transport.TCP, transport.Options{})
		ping(b, open(b, x, y.ID(), wire.StreamFetch))
	})
	b.Run("hub", func(b *testing.B) {
		w := newNetwork(b, transport.Config{}, transport.Config{}, nil)
		p := w.pilot(b, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
		ping(b, open(b, w.launcher, p.ID(), wire.StreamFetch))
	})
}
