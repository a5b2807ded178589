//go:build unix

package testbed_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
)

// dialFrom connects from a host, and from a port of it unless that is 0.
func dialFrom(ctx context.Context, h *testbed.Host, port int, addr string) (net.Conn, error) {
	var conn net.Conn
	err := h.InNetwork(func() (err error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{Port: port}, Control: reuse}
		conn, err = d.DialContext(ctx, "tcp4", addr)
		return err
	})
	return conn, err
}

// reuse lets several connections come from one port.
func reuse(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}); e != nil {
		return e
	}
	return err
}

// serveOn answers every connection on a port of a host with the address that
// it comes from, and then with what it says.
func serveOn(t *testing.T, h *testbed.Host, port int) {
	t.Helper()
	var l net.Listener
	if err := h.InNetwork(func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintln(c, c.RemoteAddr())
				io.Copy(c, c)
			}()
		}
	}()
}

// packetsOn opens a UDP socket of a host.
func packetsOn(t *testing.T, h *testbed.Host, port int) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	if err := h.InNetwork(func() (err error) {
		c, err = net.ListenPacket("udp4", fmt.Sprintf(":%d", port))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// seenAs says which address a server sees a connection come from.
func seenAs(t *testing.T, h *testbed.Host, port int, server string) netip.AddrPort {
	t.Helper()
	c, err := dialFrom(within(t, 5*time.Second), h, port, server)
	if err != nil {
		t.Fatalf("%s does not reach %s: %v", h.Name, server, err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(5 * time.Second))
	var text string
	if _, err := fmt.Fscanln(c, &text); err != nil {
		t.Fatal(err)
	}
	addr, err := netip.ParseAddrPort(text)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// pings returns the round trip times of n bytes one after the other.
func pings(t *testing.T, h *testbed.Host, server string, n int) []time.Duration {
	t.Helper()
	c, err := dialFrom(within(t, 10*time.Second), h, 0, server)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 1)
	for b[0] != '\n' {
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	var took []time.Duration
	for range n {
		start := time.Now()
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took
}

// iperf measures TCP from one host to another.
func iperf(t *testing.T, from, to *testbed.Host, args ...string) float64 {
	t.Helper()
	rate, err := from.IPerf(within(t, time.Minute), to, args...)
	if err != nil {
		t.Fatal(err)
	}
	return rate
}

func TestWANLines(t *testing.T) {
	started := time.Now()
	open := func(name string) testbed.Place { return testbed.Place{Name: name, Inbound: testbed.Anything} }
	w := testbed.WideArea(t, open("east"), open("west"))
	t.Logf("a WAN is up after %v", time.Since(started))
	east, west := w.Sites[0], w.Sites[1]
	serveOn(t, west.Head, 7000)
	server := west.Head.Addr + ":7000"

	t.Run("delay", func(t *testing.T) {
		for _, rtt := range []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond} {
			w.SetRTT(east, west, rtt)
			took := pings(t, east.Head, server, 20)
			t.Logf("%v: min %v, median %v, max %v", rtt, took[0], took[len(took)/2], took[len(took)-1])
			if most := rtt + max(rtt/20, time.Millisecond); took[0] < rtt || took[0] > most {
				t.Errorf("round trip of %v, want %v to %v", took[0], rtt, most)
			}
		}
		w.SetRTT(east, west, 0)
		w.SetPath(east, west, testbed.Line{Delay: 30 * time.Millisecond})
		east.SetLines(testbed.Line{}, testbed.Line{Delay: 10 * time.Millisecond})
		if took := pings(t, east.Head, server, 10)[0]; took < 40*time.Millisecond || took > 42*time.Millisecond {
			t.Errorf("round trip of %v with 30 ms there and 10 ms back", took)
		}
		w.SetPath(east, west, testbed.Line{})
		east.SetLines(testbed.Line{}, testbed.Line{})
	})

	t.Run("rate", func(t *testing.T) {
		for _, rate := range []float64{10e6, 100e6} {
			w.SetPath(east, west, testbed.Line{Rate: rate, Delay: 10 * time.Millisecond})
			w.SetPath(west, east, testbed.Line{Delay: 10 * time.Millisecond})
			// Of 1500 bytes, 1448 are the program's.
			want := rate * 1448 / 1500
			var best float64
			for range 3 {
				if best = max(best, iperf(t, east.Head, west.Head, "-t", "3", "-O", "1")); best > 0.9*want {
					break
				}
			}
			t.Logf("%.0f Mbit/s: %.1f", rate/1e6, best/1e6)
			if best < 0.9*want || best > 1.1*want {
				t.Errorf("%.2f Mbit/s through a line of %.0f", best/1e6, rate/1e6)
			}
		}
		w.SetPath(east, west, testbed.Line{})
		w.SetPath(west, east, testbed.Line{})
		t.Logf("unlimited: %.0f Mbit/s", iperf(t, east.Head, west.Head, "-t", "2")/1e6)
	})

	t.Run("loss", func(t *testing.T) {
		w.SetPath(east, west, testbed.Line{Loss: 0.1})
		defer w.SetPath(east, west, testbed.Line{})
		from, to := packetsOn(t, east.Head, 0), packetsOn(t, west.Head, 7001)
		addr := &net.UDPAddr{IP: net.ParseIP(west.Head.Addr), Port: 7001}
		before := w.Traffic(east, west)
		const n, window = 4000, 100
		got, lost := 0, int64(0)
		b := make([]byte, 100)
		for sent := 0; sent < n; sent += window {
			for range window {
				if _, err := from.WriteTo(b[:50], addr); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "all packets have come or are lost", func() bool {
				for {
					to.SetReadDeadline(time.Now().Add(time.Millisecond))
					if _, _, err := to.ReadFrom(b); err != nil {
						break
					}
					got++
				}
				lost = w.Traffic(east, west).Lost - before.Lost
				return got+int(lost) == sent+window
			})
		}
		t.Logf("%d of %d lost", lost, n)
		if lost < n*8/100 || lost > n*12/100 {
			t.Errorf("%d of %d packets lost, want about 10%%", lost, n)
		}
	})

	t.Run("cut", func(t *testing.T) {
		c, err := dialFrom(within(t, 5*time.Second), east.Head, 0, server)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var text string
		fmt.Fscanln(c, &text)
		west.Cut()
		if c, err := dialFrom(within(t, 300*time.Millisecond), east.Head, 0, server); err == nil {
			c.Close()
			t.Error("a site that is cut off can be dialed")
		}
		fmt.Fprint(c, "x")
		west.Restore()
		c.SetDeadline(time.Now().Add(15 * time.Second))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Errorf("a connection does not go on after the cut: %v", err)
		}
	})
}

// What the borders let through, found out by trying.
func TestWANBorders(t *testing.T) {
	place := func(name string, way testbed.Way) testbed.Place { return testbed.Place{Name: name, Inner: 2, Way: way} }
	w := testbed.WideArea(t,
		testbed.Place{Name: "open", Inbound: testbed.Anything},
		testbed.Place{Name: "other", Inbound: testbed.Anything},
		place("sealed", testbed.NoWay), place("nat", testbed.Masquerade), place("nattwo", testbed.Masquerade),
		place("random", testbed.RandomPorts), place("routed", testbed.Routed),
		testbed.Place{Name: "strict", Inner: 1, Way: testbed.Masquerade, Inbound: testbed.Nothing, NoUDP: true, HeadOutside: true},
	)
	for _, s := range w.Sites {
		w.SetRTT(w.Home, s, 10*time.Millisecond)
		for _, h := range append([]*testbed.Host{s.Head}, s.Inner...) {
			serveOn(t, h, 7000)
		}
	}
	var sites [8]*testbed.Site
	copy(sites[:], w.Sites)
	open, other, sealed, nat, nattwo, random, routed, strict := sites[0], sites[1], sites[2], sites[3], sites[4], sites[5], sites[6], sites[7]
	const silence, patience = 400 * time.Millisecond, 10 * time.Second
	reaches := func(from *testbed.Host, addr string, limit time.Duration) error {
		c, err := dialFrom(within(t, limit), from, 0, addr)
		if err == nil {
			c.Close()
		}
		return err
	}
	var tries sync.WaitGroup // most wait for nothing to come
	want := func(from, to *testbed.Host, addr string, reached bool) {
		limit := silence
		if reached {
			limit = patience
		}
		tries.Go(func() {
			if err := reaches(from, addr, limit); (err == nil) != reached {
				t.Errorf("%s to %s: error %v, want it to be reached: %t", from.Name, to.Name, err, reached)
			}
		})
	}

	t.Run("inbound", func(t *testing.T) {
		for _, s := range w.Sites {
			if s != open {
				want(open.Head, s.Head, s.Head.Addr+":7000", s == other)
			}
			for _, h := range s.Inner {
				want(open.Head, h, h.Addr+":7000", false)
				want(s.Head, h, h.Addr+":7000", s != strict)
				want(h, s.Head, s.Head.Addr+":7000", s != sealed)
				if s.Head.InnerAddr != "" {
					want(h, s.Head, s.Head.InnerAddr+":7000", true)
				}
				want(h, open.Head, open.Head.Addr+":7000", s != sealed)
			}
			tries.Go(func() {
				limit := silence
				if s != strict {
					limit = patience
				}
				c, err := w.Dial(within(t, limit), "tcp", s.Name+":22")
				if err == nil {
					c.Close()
				}
				if (err == nil) != (s != strict) {
					t.Errorf("the client's connection to sshd of %s: %v", s.Name, err)
				}
			})
		}
		if err := reaches(sealed.Inner[0], open.Head.Addr+":7000", silence); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("from a host without a way out: %v, want network is unreachable", err)
		}
		want(routed.Inner[0], routed.Inner[1], routed.Inner[1].Addr+":7000", true)
		tries.Wait()
	})

	t.Run("mapping", func(t *testing.T) {
		if seen := seenAs(t, strict.Inner[0], 5000, strict.Head.Addr+":7000"); seen.String() != strict.Outer+":5000" {
			t.Errorf("%s is seen as %s by its own head, which is outside", strict.Name, seen)
		}
		for _, s := range []*testbed.Site{nat, random} {
			const port = 5000
			a, b := seenAs(t, s.Inner[0], port, open.Head.Addr+":7000"), seenAs(t, s.Inner[0], port, other.Head.Addr+":7000")
			if a.Addr().String() != s.Outer || b.Addr().String() != s.Outer {
				t.Errorf("%s is seen as %s and %s, want %s", s.Name, a, b, s.Outer)
			}
			switch {
			case s == nat && (a.Port() != port || b.Port() != port):
				t.Errorf("a NAT that keeps ports made %d into %d and %d", port, a.Port(), b.Port())
			case s == random && (a.Port() == b.Port() || a.Port() == port || b.Port() == port):
				t.Errorf("a NAT with random ports made %d into %d and %d", port, a.Port(), b.Port())
			}
			// Another host's connection from the same port to the same server.
			if c := seenAs(t, s.Inner[1], port, open.Head.Addr+":7000"); c == a {
				t.Errorf("two hosts of %s are both %s", s.Name, c)
			}
		}
	})

	t.Run("udp", func(t *testing.T) {
		servers := []net.PacketConn{packetsOn(t, open.Head, 7001), packetsOn(t, other.Head, 7001)}
		stranger := packetsOn(t, other.Head, 7002)
		send := func(c net.PacketConn, to string) {
			t.Helper()
			if _, err := c.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))); err != nil {
				t.Fatal(err)
			}
		}
		heard := func(c net.PacketConn, limit time.Duration) (string, bool) {
			c.SetReadDeadline(time.Now().Add(limit))
			_, from, err := c.ReadFrom(make([]byte, 100))
			if err != nil {
				return "", false
			}
			return from.String(), true
		}
		for _, s := range []*testbed.Site{nat, random} {
			c := packetsOn(t, s.Inner[0], 5001)
			var seen []string
			for i, site := range []*testbed.Site{open, other} {
				send(c, site.Head.Addr+":7001")
				from, ok := heard(servers[i], patience)
				if !ok {
					t.Fatalf("%s is not heard", s.Name)
				}
				seen = append(seen, from)
				send(servers[i], from)
				if _, ok := heard(c, patience); !ok {
					t.Errorf("%s does not hear the answer", s.Name)
				}
			}
			if same := seen[0] == seen[1]; same != (s == nat) {
				t.Errorf("one socket at %s is seen as %v", s.Name, seen)
			}
			send(stranger, seen[1])
			if from, ok := heard(c, silence); ok {
				t.Errorf("%s hears %s, to whom it never spoke", s.Name, from)
			}
		}
		for _, h := range []*testbed.Host{strict.Head, strict.Inner[0]} {
			send(packetsOn(t, h, 0), open.Head.Addr+":7001")
			if from, ok := heard(servers[0], silence); ok {
				t.Errorf("UDP of %s came through from %s", h.Name, from)
			}
		}
	})

	t.Run("simultaneous open", func(t *testing.T) {
		for _, test := range []struct {
			a, b *testbed.Site
			ok   bool
		}{{nat, nattwo, true}, {nat, strict, true}, {nat, random, false}} {
			w.SetRTT(test.a, test.b, 20*time.Millisecond)
			limit := 3 * time.Second // some of the kernel's own tries
			if test.ok {
				limit = patience
			}
			err := simultaneousOpen(within(t, limit), test.a, test.b, 6000)
			if (err == nil) != test.ok {
				t.Errorf("%s and %s: %v, want it to work: %t", test.a.Name, test.b.Name, err, test.ok)
			}
		}
	})
}

// simultaneousOpen has an inner host of each of two sites dial the other's NAT
// from one port to the same, and checks that what the one says the other hears.
func simultaneousOpen(ctx context.Context, a, b *testbed.Site, port int) error {
	conns, errs := make([]net.Conn, 2), make([]error, 2)
	var wg sync.WaitGroup
	for i, s := range []*testbed.Site{a, b} {
		far := []*testbed.Site{b, a}[i]
		wg.Go(func() {
			conns[i], errs[i] = dialFrom(ctx, s.Inner[0], port, fmt.Sprintf("%s:%d", far.Outer, port))
		})
	}
	wg.Wait()
	for _, c := range conns {
		if c != nil {
			defer c.Close()
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if _, err := io.WriteString(conns[0], "hello"); err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	conns[1].SetReadDeadline(deadline)
	got := make([]byte, 5)
	if _, err := io.ReadFull(conns[1], got); err != nil {
		return err
	}
	if string(got) != "hello" {
		return fmt.Errorf("heard %q", got)
	}
	return nil
}

// A start that fails leaves nothing, and says why.
func TestWANRefused(t *testing.T) {
	testbed.Require(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	for want, places := range map[string][]testbed.Place{
		"want up to 12 lower-case letters": {{Name: "East"}},
		"two sites are called home":        {{Name: "home"}},
		"not even the head":                {{Name: "east", Inner: 1, HeadOutside: true}},
		"65 inner hosts":                   {{Name: "east", Inner: 65}},
	} {
		w, err := testbed.StartWAN(t.Context(), places)
		if err == nil {
			w.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", places, err, want)
		}
	}
	failed := 0
	for d := time.Duration(0); d < 200*time.Millisecond; d += 40 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		w, err := testbed.StartWAN(ctx, []testbed.Place{{Name: "east", Inner: 1}})
		cancel()
		if err != nil {
			failed++
		} else if err := w.Close(); err != nil {
			t.Errorf("close after a start within %v: %v", d, err)
		}
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 || failed == 0 {
		t.Errorf("%d starts that failed left %v, %v", failed, left, err)
	}
}
