package testbed

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// Place is what a site of a [WAN] is to be. The zero value, given a name, is
// one head that can be logged in to and nothing else.
type Place struct {
	// Name is the site's name and its head's: at most twelve lower-case letters.
	// Inner hosts have it with a number after it, from 1.
	Name string
	// Inner is how many hosts there are behind the head, at most 64.
	Inner int
	// Way is how these get out.
	Way Way
	// HeadOutside keeps the head out of the inner hosts' network: these reach it
	// at its public address, by the way they have out, and it does not reach them.
	HeadOutside bool
	// Inbound is what gets in.
	Inbound Inbound
	// NoUDP makes the border pass on no UDP.
	NoUDP bool
	// Up and Down are the site's own lines to the rest and from there.
	Up, Down Line

	number int
}

// maxInner and maxPlaces keep names and addresses apart.
const (
	maxInner  = 64
	maxPlaces = 200
	maxName   = 12
)

// WAN is a running [Net] of sites that are apart from each other. A site has a
// border, a head with a public address, and inner hosts behind it; the client
// is an inner host without a head, at a site called home. A user-space router
// joins the borders:
//
//	client ── border ═ Up ═╗                ╔═ Down ═ border ─┬─ head
//	        (home, NAT)    ╠═ Path ═ Path ══╣       (NAT, …)  └─ inner hosts
//	                       ╚ …              ╚ …
//
// Every ═ is a [Line] in each direction. What has to be measured closely is
// best measured as a median: the router is a thread of the test process, and
// comes as late as the machine lets it.
//
// Private addresses are the same at all sites, as they are in the world.
type WAN struct {
	*Net
	// Home is where the client is. Its border is a NAT that lets nothing in.
	Home *Site
	// Sites are the others, in the order they were given in.
	Sites []*Site

	clientPort port
	router     *router
	tuns       *tuns
}

// Site is one of the sites of a [WAN].
type Site struct {
	Name string
	// Outer is the IPv4 address that inner hosts have outside, behind a NAT.
	Outer string
	// Head is reachable from outside as far as Inbound allows, and from the
	// inner hosts. Home has none.
	Head  *Host
	Inner []*Host

	place Place
	wan   *WAN
}

// WideArea starts a WAN for one test and ends it when the test does. It skips
// or fails the test as [Require] does. Sites are without delay or limit until
// [WAN.SetPath], [WAN.SetRTT] or [Site.SetLines] say otherwise, or their Up and Down.
func WideArea(t testing.TB, places ...Place) *WAN {
	t.Helper()
	return during(t, func(ctx context.Context) (*WAN, error) { return startWAN(ctx, places) })
}

func startWAN(ctx context.Context, places []Place) (_ *WAN, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	w := &WAN{Net: newNet()}
	if err := w.layOut(places); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if err := w.make(1 + len(places)); err != nil {
		return nil, err
	}
	machine, err := w.makeFiles()
	if err != nil {
		return nil, err
	}
	if w.tuns, err = openTUNs(w.routers); err != nil {
		return nil, err
	}
	if err := w.connect(ctx); err != nil {
		return nil, err
	}
	var seed [8]byte
	rand.Read(seed[:])
	w.router = newRouter(len(w.routers), binary.LittleEndian.Uint64(seed[:]))
	for _, s := range w.all() {
		s.SetLines(s.place.Up, s.place.Down)
	}
	if err := w.tuns.start(w.router); err != nil {
		return nil, err
	}
	if err := w.boot(ctx, machine); err != nil {
		return nil, err
	}
	return w, nil
}

// Close is [Net.Close], and ends the router.
func (w *WAN) Close() error {
	err := w.Net.Close()
	if w.tuns != nil {
		w.tuns.close()
	}
	return err
}

func (w *WAN) all() []*Site { return append([]*Site{w.Home}, w.Sites...) }

// The addresses. Public ones are from the block for benchmarks (RFC 2544),
// which no program takes for private.
const (
	borderNumber = 1   // of the border, on each of its bridges
	headNumber   = 2   // of the head
	clientNumber = 10  // of the client at home
	innerNumber  = 11  // of the first inner host
	outerNumber  = 254 // of the border's card to the WAN
)

// lan is the private network of every site.
var lan = netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 1, 0}), 24)

func publicAddr(site int, number byte) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18, byte(site), number})
}

func privateAddr(number byte) netip.Addr {
	a := lan.Addr().As4()
	a[3] = number
	return netip.AddrFrom4(a)
}

// siteOf is the inverse of publicAddr; -1 for other addresses.
func siteOf(a netip.Addr) int {
	if b := a.As4(); b[0] == 198 && b[1] == 18 {
		return int(b[2])
	}
	return -1
}

// layOut names the hosts and gives them their places.
func (w *WAN) layOut(places []Place) error {
	if len(places) > maxPlaces {
		return fmt.Errorf("%d sites, at most %d are possible", len(places), maxPlaces)
	}
	w.Home = &Site{Name: "home", place: Place{Name: "home", Way: Masquerade, Inbound: Nothing}, Outer: publicAddr(0, outerNumber).String(), wan: w}
	w.clientPort = port{device: "eth0", peer: "client", bridge: "br1", addr: netip.PrefixFrom(privateAddr(clientNumber), 24)}
	names := []string{w.Home.Name}
	var inner []*Host
	for i, p := range places {
		p.number = i + 1
		switch {
		case p.Name == "" || len(p.Name) > maxName || slices.ContainsFunc([]byte(p.Name), func(c byte) bool { return c < 'a' || c > 'z' }):
			return fmt.Errorf("site name %q: want up to %d lower-case letters", p.Name, maxName)
		case slices.Contains(names, p.Name):
			return fmt.Errorf("two sites are called %s", p.Name)
		case p.HeadOutside && p.Way == NoWay:
			return fmt.Errorf("site %s: its inner hosts reach nothing, not even the head", p.Name)
		case p.Inner < 0 || p.Inner > maxInner:
			return fmt.Errorf("site %s: %d inner hosts, want 0 to %d", p.Name, p.Inner, maxInner)
		}
		names = append(names, p.Name)
		s := &Site{Name: p.Name, place: p, Outer: publicAddr(p.number, outerNumber).String(), wan: w}
		s.Head = &Host{Name: p.Name, User: "alice", gateway: publicAddr(p.number, borderNumber),
			Addr: publicAddr(p.number, headNumber).String()}
		s.Head.ports = []port{p.public(p.Name, "eth0", headNumber)}
		if p.Way != Routed && !p.HeadOutside {
			s.Head.InnerAddr = privateAddr(headNumber).String()
			s.Head.ports = append(s.Head.ports, private(p.Name, "eth1", headNumber))
		}
		w.hosts = append(w.hosts, s.Head)
		for j := range p.Inner {
			h := &Host{Name: fmt.Sprintf("%s%d", p.Name, j+1), User: "alice", jump: s.Head}
			number := byte(innerNumber + j)
			switch p.Way {
			case Routed:
				h.ports = []port{p.public(h.Name, "eth0", number)}
				h.gateway = publicAddr(p.number, borderNumber)
			case Masquerade, RandomPorts:
				h.gateway = privateAddr(borderNumber)
				fallthrough
			default:
				h.ports = []port{private(h.Name, "eth0", number)}
			}
			h.Addr = h.ports[0].addr.Addr().String()
			s.Inner = append(s.Inner, h)
		}
		inner = append(inner, s.Inner...)
		w.Sites = append(w.Sites, s)
	}
	w.hosts = append(w.hosts, inner...)
	return nil
}

// public is a port on a site's bridge with public addresses.
func (p Place) public(host, device string, number byte) port {
	return port{device: device, peer: host + "p", bridge: "br0", addr: netip.PrefixFrom(publicAddr(p.number, number), 24)}
}

// private is a port on a site's bridge with private addresses.
func private(host, device string, number byte) port {
	return port{device: device, peer: host + "q", bridge: "br1", addr: netip.PrefixFrom(privateAddr(number), 24)}
}

// connect builds every site's network.
func (w *WAN) connect(ctx context.Context) error {
	var g errgroup.Group
	for i, s := range w.all() {
		g.Go(func() error {
			if err := s.connect(ctx, i); err != nil {
				return fmt.Errorf("site %s: %w", s.Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (s *Site) connect(ctx context.Context, number int) error {
	p, border := s.place, s.wan.routers[number]
	var wires wiring
	wires.bridge("br0")
	wires.bridge("br1")
	at := func(a netip.Addr, bits int, device string) {
		fmt.Fprintf(&wires.lines, "addr add %s dev %s\n", netip.PrefixFrom(a, bits), device)
	}
	at(publicAddr(number, borderNumber), 24, "br0")
	if p.Way == Masquerade || p.Way == RandomPorts {
		at(privateAddr(borderNumber), 24, "br1")
	}
	at(publicAddr(number, outerNumber), 32, wanDevice)
	fmt.Fprintf(&wires.lines, "link set %s up mtu %d txqueuelen 10000\nroute add default dev %s\n", wanDevice, wanMTU, wanDevice)
	hosts := s.Inner
	if s.Head != nil {
		hosts = append([]*Host{s.Head}, hosts...)
	} else {
		wires.plug(s.wan.client, privateAddr(borderNumber), s.wan.clientPort)
	}
	for _, h := range hosts {
		h.switches = border
		wires.plug(h.net, h.gateway, h.ports...)
	}
	if err := tune(border, map[string]string{"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "0"}); err != nil {
		return err
	}
	for _, h := range hosts {
		if err := tune(h.net, endHost()); err != nil {
			return err
		}
	}
	if s.Head == nil {
		if err := tune(s.wan.client, endHost()); err != nil {
			return err
		}
	}
	if err := wires.make(ctx, border); err != nil {
		return err
	}
	return p.guard(ctx, border)
}

// endHost is how the hosts' TCP works, whatever the machine's does: with the
// buffers that Linux distributions ship, without memory of how the last
// connection went, and with the congestion control that every kernel lets every
// namespace have.
func endHost() map[string]string {
	return map[string]string{
		"net/ipv4/tcp_congestion_control": "reno",
		"net/ipv4/tcp_rmem":               "4096 131072 6291456",
		"net/ipv4/tcp_wmem":               "4096 16384 4194304",
		"net/ipv4/tcp_no_metrics_save":    "1",
	}
}

// SetPath sets one direction of the path between two sites.
func (w *WAN) SetPath(from, to *Site, l Line) {
	w.router.change(func() { w.router.path[from.place.number][to.place.number].Line = l })
}

// SetRTT sets the delays of the path between two sites, half each way, and
// leaves everything else about it.
func (w *WAN) SetRTT(a, b *Site, rtt time.Duration) {
	w.router.change(func() {
		w.router.path[a.place.number][b.place.number].Delay = rtt / 2
		w.router.path[b.place.number][a.place.number].Delay = rtt / 2
	})
}

// Traffic tells what went over one direction of the path between two sites, or
// did not.
type Traffic struct {
	Packets, Bytes int64 // IP packets that came through, and their bytes
	Lost           int64 // packets, by chance or a cut
	Overflowed     int64 // packets, because the queue was full
}

// Traffic returns what there has been on the path so far. What the sites' own
// lines lose does not count.
func (w *WAN) Traffic(from, to *Site) Traffic {
	var t Traffic
	w.router.change(func() { t = w.router.path[from.place.number][to.place.number].traffic() })
	return t
}

func (l *lineState) traffic() Traffic {
	return Traffic{Packets: l.passed, Bytes: l.bytes, Lost: l.lost, Overflowed: l.overflowed}
}

// SetLines sets the site's own lines.
func (s *Site) SetLines(up, down Line) {
	r, n := s.wan.router, s.place.number
	r.change(func() { r.up[n].Line, r.down[n].Line = up, down })
}

// Cut makes the site's own lines lose everything, silently. Packets that are
// under way to it on a path are lost too.
func (s *Site) Cut() { s.setCut(true) }

// Restore undoes [Site.Cut].
func (s *Site) Restore() { s.setCut(false) }

func (s *Site) setCut(cut bool) {
	r, n := s.wan.router, s.place.number
	r.change(func() { r.up[n].cut, r.down[n].cut = cut, cut })
}
