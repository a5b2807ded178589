package memnet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport/memnet"
)

const (
	wan = 20 * time.Millisecond
	lan = time.Millisecond
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func at(h *memnet.Host, port uint16) netip.AddrPort { return netip.AddrPortFrom(h.Addr(), port) }

// dial connects within ten seconds of the world's time.
func dial(h *memnet.Host, port uint16, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return h.Dial(ctx, port, to)
}

// accepting listens and keeps what comes.
func accepting(t *testing.T, h *memnet.Host, port uint16) <-chan net.Conn {
	t.Helper()
	l, err := h.Listen(port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	conns := make(chan net.Conn, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(conns)
				return
			}
			conns <- c
		}
	}()
	return conns
}

// pass lets the time of a bubble pass.
func pass(d time.Duration) { <-time.After(d) }

func remote(c net.Conn) netip.AddrPort { return c.RemoteAddr().(*net.TCPAddr).AddrPort() }

func TestConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inet := memnet.New(wan)
		a, b := inet.Host(addr("192.0.2.1"), memnet.Rules{}), inet.Host(addr("192.0.2.2"), memnet.Rules{})
		conns := accepting(t, b, 80)
		start := time.Now()
		c, err := dial(a, 0, at(b, 80))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if d := time.Since(start); d != 2*wan {
			t.Errorf("connected after %v, want %v", d, 2*wan)
		}
		s := <-conns
		defer s.Close()
		if c.RemoteAddr().String() != s.LocalAddr().String() || s.RemoteAddr().String() != c.LocalAddr().String() {
			t.Errorf("ends %v-%v and %v-%v", c.LocalAddr(), c.RemoteAddr(), s.LocalAddr(), s.RemoteAddr())
		}
		data := bytes.Repeat([]byte("0123456789"), 200_000) // more than is held unread
		var sender sync.WaitGroup
		sender.Go(func() {
			if _, err := c.Write(data); err != nil {
				t.Error(err)
			}
			if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		got, err := io.ReadAll(s)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes of %d, %v", len(got), len(data), err)
		}
		sender.Wait()
		start = time.Now()
		if _, err := s.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil || time.Since(start) != wan {
			t.Errorf("a byte took %v, %v; want %v", time.Since(start), err, wan)
		}
		if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read after the deadline: %v", err)
		}
		full := 0
		_ = s.SetWriteDeadline(time.Now().Add(time.Second))
		for err = nil; err == nil; full++ {
			_, err = s.Write(make([]byte, 10_000))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || full < 20 || full > 40 {
			t.Errorf("a writer that nobody reads wrote %d times, %v", full, err)
		}
		if n := a.Break(b.Addr()); n != 1 {
			t.Errorf("%d connections broken, want 1", n)
		}
		_ = s.SetWriteDeadline(time.Time{})
		if _, err := s.Write(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write on a broken connection: %v", err)
		}
	})
}

func TestDialFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inet := memnet.New(wan)
		a, b := inet.Host(addr("192.0.2.1"), memnet.Rules{}), inet.Host(addr("192.0.2.2"), memnet.Rules{})
		if _, err := dial(a, 0, at(b, 80)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody listens: %v", err)
		}
		if _, err := dial(a, 0, netip.MustParseAddrPort("10.0.0.1:80")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody there: %v", err)
		}
		conns := accepting(t, b, 80)
		c, err := dial(a, 999, at(b, 80))
		if err != nil {
			t.Fatal(err)
		}
		s := <-conns
		if _, err := dial(a, 999, at(b, 80)); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("the same two ends again: %v", err)
		}
		accepting(t, a, 999) // the port can be shared
		if _, err := a.Listen(999); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a second listener: %v", err)
		}
		s.Close()
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read after the other end closed: %v", err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write after the other end closed: %v", err)
		}
		c.Close()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read of a closed connection: %v", err)
		}
		again, err := dial(a, 999, at(b, 80))
		if err != nil {
			t.Fatalf("the same two ends after both have closed: %v", err)
		}
		again.Close()
	})
}

// A SYN that meets nothing is repeated, so that a listener that comes late is
// still found.
func TestRepeatedSYN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inet := memnet.New(wan)
		inner := inet.Behind(netip.MustParsePrefix("10.0.0.0/24"), lan,
			memnet.Router{Addr: addr("192.0.2.9"), Mapping: memnet.EndpointIndependent, Filtering: memnet.AddressDependent, PreservePort: true})
		a, b := inet.Host(addr("192.0.2.1"), memnet.Rules{}), inner.Host(addr("10.0.0.2"), memnet.Rules{})
		conns := accepting(t, b, 5000)
		start := time.Now()
		go func() {
			pass(500 * time.Millisecond)
			_, _ = dial(b, 5000, at(a, 1)) // refused, but the filter is open now
		}()
		c, err := dial(a, 0, netip.MustParseAddrPort("192.0.2.9:5000"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if d := time.Since(start); d < time.Second || d > 1200*time.Millisecond {
			t.Errorf("connected after %v, want the second SYN to do it", d)
		}
		(<-conns).Close()
	})
}

// TestMapping looks from outside at what each kind of translator makes of one
// inner endpoint.
func TestMapping(t *testing.T) {
	for _, test := range []struct {
		mapping             memnet.Dependence
		preserve            bool
		sameHost, otherHost bool // the same outer endpoint for another port, another host
		same                bool // the inner port outside
	}{
		{memnet.EndpointIndependent, false, true, true, false},
		{memnet.EndpointIndependent, true, true, true, true},
		{memnet.AddressDependent, false, true, false, false},
		{memnet.AddressAndPortDependent, false, false, false, false},
		{memnet.AddressAndPortDependent, true, false, false, true},
	} {
		t.Run(fmt.Sprint(test.mapping, " ", test.preserve), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inet := memnet.New(wan)
				inner := inet.Behind(netip.MustParsePrefix("10.0.0.0/24"), lan, memnet.Router{
					Addr: addr("192.0.2.9"), Mapping: test.mapping, Filtering: memnet.AddressAndPortDependent, PreservePort: test.preserve})
				h := inner.Host(addr("10.0.0.2"), memnet.Rules{})
				a, b := inet.Host(addr("192.0.2.1"), memnet.Rules{}), inet.Host(addr("192.0.2.2"), memnet.Rules{})
				var seen []netip.AddrPort
				for _, to := range []struct {
					h    *memnet.Host
					port uint16
				}{{a, 80}, {a, 81}, {b, 80}} {
					conns := accepting(t, to.h, to.port)
					c, err := dial(h, 6000, at(to.h, to.port))
					if err != nil {
						t.Fatal(err)
					}
					s := <-conns
					seen = append(seen, remote(s))
					c.Close()
					s.Close()
				}
				if seen[0].Addr() != addr("192.0.2.9") || seen[0].Port() == 6000 != test.same {
					t.Errorf("seen as %v", seen[0])
				}
				if (seen[0] == seen[1]) != test.sameHost || (seen[0] == seen[2]) != test.otherHost {
					t.Errorf("seen as %v", seen)
				}
			})
		})
	}
}

// TestFiltering knocks from outside at an endpoint that has sent something to
// somebody.
func TestFiltering(t *testing.T) {
	for _, test := range []struct {
		filtering         memnet.Dependence
		before            bool // that nothing was sent from
		port, host, other bool // from the endpoint sent to, from its host, from another host
	}{
		{memnet.EndpointIndependent, false, true, true, true},
		{memnet.AddressDependent, false, true, true, false},
		{memnet.AddressAndPortDependent, false, true, false, false},
		{memnet.None, true, true, true, true},
	} {
		for _, mapping := range []memnet.Dependence{memnet.None, memnet.EndpointIndependent} {
			for _, reject := range []bool{false, true} {
				t.Run(fmt.Sprint(test.filtering, " ", mapping, " ", reject), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						inet := memnet.New(wan)
						prefix, inside, outside := "10.0.0.0/24", "10.0.0.2", "192.0.2.9"
						if mapping == memnet.None {
							prefix, inside, outside = "198.51.100.0/24", "198.51.100.2", "198.51.100.2"
						}
						inner := inet.Behind(netip.MustParsePrefix(prefix), lan, memnet.Router{
							Addr: addr("192.0.2.9"), Mapping: mapping, Filtering: test.filtering, PreservePort: true, Reject: reject})
						h := inner.Host(addr(inside), memnet.Rules{})
						a, b := inet.Host(addr("192.0.2.1"), memnet.Rules{}), inet.Host(addr("192.0.2.2"), memnet.Rules{})
						accepting(t, h, 6000)
						to := netip.AddrPortFrom(addr(outside), 6000)
						knock := func(who string, from *memnet.Host, port uint16, want bool) {
							t.Helper()
							c, err := dial(from, port, to)
							if (err == nil) != want {
								t.Errorf("from %s: %v, want it to work: %v", who, err, want)
							}
							if err == nil {
								c.Close()
							} else if errors.Is(err, syscall.ECONNREFUSED) != reject {
								t.Errorf("from %s: %v", who, err)
							}
						}
						if mapping == memnet.None {
							knock("somebody, before anything was sent,", b, 0, test.before)
						}
						if _, err := dial(h, 6000, at(a, 80)); !errors.Is(err, syscall.ECONNREFUSED) {
							t.Fatal(err)
						}
						knock("the endpoint", a, 80, test.port)
						knock("its host", a, 81, test.host)
						knock("another host", b, 80, test.other)
					})
				})
			}
		}
	}
}

func TestHostRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inet := memnet.New(wan)
		open := inet.Host(addr("192.0.2.1"), memnet.Rules{})
		shut := inet.Host(addr("192.0.2.2"), memnet.Rules{Inbound: memnet.AddressAndPortDependent})
		mute := inet.Host(addr("192.0.2.3"), memnet.Rules{NoOutbound: true})
		for _, h := range []*memnet.Host{open, shut, mute} {
			accepting(t, h, 80)
		}
		for _, test := range []struct {
			from, to *memnet.Host
			works    bool
		}{{open, shut, false}, {shut, open, true}, {open, mute, true}, {mute, open, false}, {shut, mute, true}, {mute, shut, false}} {
			c, err := dial(test.from, 0, at(test.to, 80))
			if (err == nil) != test.works {
				t.Errorf("from %v to %v: %v", test.from.Addr(), test.to.Addr(), err)
			}
			if err == nil {
				c.Close()
			}
		}
	})
}

// TestSimultaneousOpen has two hosts behind filters that let nothing in dial
// each other.
func TestSimultaneousOpen(t *testing.T) {
	for _, late := range []time.Duration{0, 5 * time.Millisecond, 700 * time.Millisecond} {
		t.Run(late.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inet := memnet.New(wan)
				var hosts []*memnet.Host
				var ends []netip.AddrPort
				for i := range byte(2) {
					outside := netip.AddrFrom4([4]byte{192, 0, 2, 10 + i})
					inner := inet.Behind(netip.MustParsePrefix("10.0.0.0/24"), lan, memnet.Router{Addr: outside,
						Mapping: memnet.EndpointIndependent, Filtering: memnet.AddressAndPortDependent, PreservePort: true})
					hosts = append(hosts, inner.Host(addr("10.0.0.2"), memnet.Rules{}))
					ends = append(ends, netip.AddrPortFrom(outside, 7000))
				}
				if _, err := dial(hosts[0], 7000, ends[1]); err == nil {
					t.Fatal("one alone got through")
				}
				conns := make(chan net.Conn, 2)
				for i, h := range hosts {
					go func() {
						if i == 1 {
							pass(late)
						}
						c, err := dial(h, 7000, ends[1-i])
						if err != nil {
							t.Errorf("host %d: %v", i, err)
						}
						conns <- c
					}()
				}
				a, b := <-conns, <-conns
				if t.Failed() {
					return
				}
				defer a.Close()
				defer b.Close()
				if _, err := a.Write([]byte("hello")); err != nil {
					t.Error(err)
				}
				got := make([]byte, 5)
				if _, err := io.ReadFull(b, got); err != nil || string(got) != "hello" {
					t.Errorf("got %q, %v", got, err)
				}
			})
		})
	}
}

func TestHairpin(t *testing.T) {
	for _, hairpin := range []bool{false, true} {
		t.Run(fmt.Sprint(hairpin), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inet := memnet.New(wan)
				inner := inet.Behind(netip.MustParsePrefix("10.0.0.0/24"), lan, memnet.Router{Addr: addr("192.0.2.9"),
					Mapping: memnet.EndpointIndependent, Filtering: memnet.EndpointIndependent, PreservePort: true, Hairpin: hairpin})
				a, b := inner.Host(addr("10.0.0.2"), memnet.Rules{}), inner.Host(addr("10.0.0.3"), memnet.Rules{})
				accepting(t, b, 7000)
				_, _ = dial(b, 7000, netip.MustParseAddrPort("192.0.2.99:1")) // to be known outside
				c, err := dial(a, 0, netip.MustParseAddrPort("192.0.2.9:7000"))
				if (err == nil) != hairpin {
					t.Errorf("by the outer address: %v", err)
				}
				if err == nil {
					c.Close()
				}
				if c, err := dial(a, 0, at(b, 7000)); err != nil {
					t.Errorf("by the inner address: %v", err)
				} else {
					c.Close()
				}
			})
		})
	}
}
