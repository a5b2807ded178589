package transport_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
)

// TestSystemNetwork dials from a port that is listened on, to two places.
func TestSystemNetwork(t *testing.T) {
	t.Parallel()
	system := transport.SystemNetwork()
	all, err := system.Addresses()
	if err != nil || len(all) == 0 {
		t.Errorf("addresses %v, %v", all, err)
	}
	for _, p := range all {
		if !p.IsValid() || p.Addr().Is4In6() {
			t.Errorf("address %v", p)
		}
	}
	l, err := system.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 2 {
		other, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		to := other.Addr().(*net.TCPAddr).AddrPort()
		c, err := system.Dial(ctx, port, to)
		if runtime.GOOS != "linux" {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("dial from a given port: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := other.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if got := s.RemoteAddr().(*net.TCPAddr).Port; got != int(port) {
			t.Errorf("seen at port %d, want %d", got, port)
		}
	}
	// And the listener still takes calls there.
	c, err := system.Dial(ctx, 0, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}
