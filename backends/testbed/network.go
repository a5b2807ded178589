package testbed

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sync/errgroup"
)

// segment is one network of a farm; its bridge is the one of that number.
type segment int

const (
	outer  segment = iota // the client's
	inner                 // behind Bastion
	sealed                // behind NoForward
	segments
)

// subnet is the first of 256 addresses a farm has; every segment gets 64.
type subnet netip.Addr

// newSubnet picks from 10.64.0.0/10. Farms could all have the same addresses;
// that they differ shows programs that confuse them.
func newSubnet() subnet {
	var b [2]byte
	rand.Read(b[:])
	return subnet(netip.AddrFrom4([4]byte{10, 64 | b[0]&63, b[1], 0}))
}

// prefix returns the address of the host of that number and its network's size.
func (s subnet) prefix(in segment, host byte) netip.Prefix {
	b := netip.Addr(s).As4()
	b[3] = byte(in)*64 + host
	return netip.PrefixFrom(netip.AddrFrom4(b), 26)
}

// port is a network card of a host and the cable to a bridge.
type port struct {
	device  string // within the host
	peer    string // at the bridge
	segment segment
	addr    netip.Prefix
}

// layOut names the hosts and says what is connected to what.
func (f *Farm) layOut(s subnet) {
	host := func(name string, number byte, in ...segment) *Host {
		h := &Host{Name: name, User: "alice", ended: make(chan struct{})}
		for i, seg := range in {
			h.ports = append(h.ports, port{
				device: fmt.Sprintf("eth%d", i), peer: fmt.Sprintf("%s%d", name, i),
				segment: seg, addr: s.prefix(seg, number),
			})
		}
		h.Addr = h.ports[0].addr.Addr().String()
		if len(in) > 1 {
			h.InnerAddr = h.ports[1].addr.Addr().String()
		}
		return h
	}
	f.Plain = host("plain", 11, outer)
	f.Bastion = host("bastion", 12, outer, inner)
	f.NoForward = host("noforward", 13, outer, sealed)
	f.Inner1 = host("inner1", 21, inner)
	f.Inner2 = host("inner2", 22, inner)
	f.Inner3 = host("inner3", 23, sealed)
	f.clientPort = port{device: "eth0", peer: "client0", segment: outer, addr: s.prefix(outer, 1)}
}

// makeNetworks makes all network namespaces, still unconnected.
func (f *Farm) makeNetworks() error {
	into := func(ns **os.File) func() error {
		return func() (err error) {
			*ns, err = newNetwork()
			return err
		}
	}
	var g errgroup.Group
	g.Go(into(&f.switches))
	g.Go(into(&f.client))
	for _, h := range f.Hosts() {
		g.Go(into(&h.net))
	}
	return g.Wait()
}

// connect makes the bridges, plugs everything in and gives it addresses.
func (f *Farm) connect(ctx context.Context) error {
	var b strings.Builder
	fmt.Fprintln(&b, "link set lo up")
	for seg := range segments {
		fmt.Fprintf(&b, "link add br%d type bridge\nlink set br%d up\n", seg, seg)
	}
	plug := func(p port, ns *os.File) {
		fmt.Fprintf(&b, "link add %s type veth peer name %s netns %s\n", p.peer, p.device, descriptorPath(ns))
		fmt.Fprintf(&b, "link set %s master br%d up\n", p.peer, p.segment)
	}
	plug(f.clientPort, f.client)
	for _, h := range f.Hosts() {
		for _, p := range h.ports {
			plug(p, h.net)
		}
	}
	if err := ip(ctx, f.switches, b.String()); err != nil {
		return fmt.Errorf("connect networks: %w", err)
	}
	address := func(ns *os.File, ports ...port) func() error {
		lines := "link set lo up\n"
		for _, p := range ports {
			lines += fmt.Sprintf("addr add %s dev %s\nlink set %s up\n", p.addr, p.device, p.device)
		}
		return func() error { return ip(ctx, ns, lines) }
	}
	var g errgroup.Group
	g.Go(address(f.client, f.clientPort))
	for _, h := range f.Hosts() {
		g.Go(address(h.net, h.ports...))
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("give addresses: %w", err)
	}
	return nil
}

// ip runs lines of ip commands in a network namespace.
func ip(ctx context.Context, ns *os.File, lines string) error {
	return runIn(ctx, ns, lines, "ip", "-batch", "-")
}

// bridge runs lines of bridge commands in a network namespace.
func bridge(ctx context.Context, ns *os.File, lines string) error {
	return runIn(ctx, ns, lines, "bridge", "-batch", "-")
}

func runIn(ctx context.Context, ns *os.File, stdin string, argv ...string) error {
	var out strings.Builder
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	if err := inNetwork(ns, cmd.Start); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", argv[0], err, strings.TrimSpace(out.String()))
	}
	return nil
}
