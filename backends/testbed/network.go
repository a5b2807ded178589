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
	device string // within the host
	peer   string // at the bridge
	bridge string
	addr   netip.Prefix
}

// on returns a port on the bridge of a segment.
func (s subnet) on(in segment, device, peer string, number byte) port {
	return port{device: device, peer: peer, bridge: fmt.Sprintf("br%d", in), addr: s.prefix(in, number)}
}

// layOut names the hosts and says what is connected to what.
func (f *Farm) layOut(s subnet) {
	host := func(name string, number byte, in ...segment) *Host {
		h := &Host{Name: name, User: "alice"}
		for i, seg := range in {
			h.ports = append(h.ports, s.on(seg, fmt.Sprintf("eth%d", i), fmt.Sprintf("%s%d", name, i), number))
		}
		h.Addr = h.ports[0].addr.Addr().String()
		if len(in) > 1 {
			h.InnerAddr = h.ports[1].addr.Addr().String()
		}
		return h
	}
	f.Plain = host("plain", 11, outer)
	f.Plain.noise = true
	f.Bastion = host("bastion", 12, outer, inner)
	f.NoForward = host("noforward", 13, outer, sealed)
	f.NoForward.forbids = true
	f.Inner1 = host("inner1", 21, inner)
	f.Inner2 = host("inner2", 22, inner)
	f.Inner1.jump, f.Inner2.jump = f.Bastion, f.Bastion
	f.Inner3 = host("inner3", 23, sealed)
	f.hosts = []*Host{f.Plain, f.Bastion, f.NoForward, f.Inner1, f.Inner2, f.Inner3}
	f.clientPort = s.on(outer, "eth0", "client0", 1)
}

// raise makes a network of one router with so many bridges, and starts its hosts.
func (n *Net) raise(ctx context.Context, client port, bridges int) error {
	if err := n.make(1); err != nil {
		return err
	}
	machine, err := n.makeFiles()
	if err != nil {
		return err
	}
	if err := n.connect(ctx, client, bridges); err != nil {
		return err
	}
	return n.boot(ctx, machine)
}

// connect makes the bridges, plugs everything in and gives it addresses.
func (n *Net) connect(ctx context.Context, client port, bridges int) error {
	var w wiring
	for i := range bridges {
		w.bridge(fmt.Sprintf("br%d", i))
	}
	w.plug(n.client, netip.Addr{}, client)
	for _, h := range n.hosts {
		h.switches = n.routers[0]
		w.plug(h.net, h.gateway, h.ports...)
	}
	return w.make(ctx, n.routers[0])
}

// wiring is what one namespace with bridges has to be told, and what then the
// namespaces that are plugged into it.
type wiring struct {
	lines strings.Builder
	ends  []wireEnd
}

type wireEnd struct {
	ns    *os.File
	lines string
}

func (w *wiring) bridge(name string) {
	fmt.Fprintf(&w.lines, "link add %s type bridge\nlink set %s up\n", name, name)
}

// plug puts a namespace's ports on their bridges; its packets to elsewhere go
// to gateway, if there is one.
func (w *wiring) plug(ns *os.File, gateway netip.Addr, ports ...port) {
	lines := "link set lo up\n"
	for _, p := range ports {
		fmt.Fprintf(&w.lines, "link add %s type veth peer name %s netns %s\n", p.peer, p.device, descriptorPath(ns))
		fmt.Fprintf(&w.lines, "link set %s master %s up\n", p.peer, p.bridge)
		lines += fmt.Sprintf("addr add %s dev %s\nlink set %s up\n", p.addr, p.device, p.device)
	}
	if gateway.IsValid() {
		lines += fmt.Sprintf("route add default via %s\n", gateway)
	}
	w.ends = append(w.ends, wireEnd{ns, lines})
}

// make does it all.
func (w *wiring) make(ctx context.Context, ns *os.File) error {
	if err := ip(ctx, ns, "link set lo up\n"+w.lines.String()); err != nil {
		return fmt.Errorf("connect networks: %w", err)
	}
	var g errgroup.Group
	for _, end := range w.ends {
		g.Go(func() error { return ip(ctx, end.ns, end.lines) })
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
