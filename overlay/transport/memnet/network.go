package memnet

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Network is a network of hosts and routers that hear each other. The methods
// of all networks, hosts and connections of one world are safe for concurrent
// use.
type Network struct {
	mu     *sync.Mutex // of the whole world
	prefix netip.Prefix
	delay  time.Duration
	hosts  map[netip.Addr]*Host
	below  []*Network

	above  *Network // nil for the internet
	router *router  // to it
}

// New makes a world: its internet, on which a packet takes delay from any
// router or host to any other.
func New(delay time.Duration) *Network {
	return &Network{mu: new(sync.Mutex), prefix: netip.MustParsePrefix("0.0.0.0/0"), delay: delay, hosts: make(map[netip.Addr]*Host)}
}

// Behind makes a network with the given addresses behind a router, whose
// outside is on n. A packet takes delay from any of its hosts to any other or
// to the router.
func (n *Network) Behind(prefix netip.Prefix, delay time.Duration, r Router) *Network {
	if r.Mapping != None && !n.prefix.Contains(r.Addr) {
		panic(fmt.Sprintf("memnet: router's address %v is not in %v", r.Addr, n.prefix))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	inner := &Network{mu: n.mu, prefix: prefix.Masked(), delay: delay, hosts: make(map[netip.Addr]*Host), above: n, router: newRouter(r)}
	n.below = append(n.below, inner)
	return inner
}

// Host attaches a host.
func (n *Network) Host(addr netip.Addr, r Rules) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.prefix.Contains(addr) || n.hosts[addr] != nil {
		panic(fmt.Sprintf("memnet: address %v is taken or not in %v", addr, n.prefix))
	}
	h := &Host{network: n, addr: addr, rules: r, wall: newRouter(Router{Filtering: r.Inbound}),
		sockets: make(map[flow]*Conn), listeners: make(map[uint16]*Listener), next: firstPort}
	n.hosts[addr] = h
	return h
}

// kind is what a packet of the opening handshake says.
type kind uint8

const (
	syn kind = iota
	synAck
	ack
	reset
)

// packet is one packet of an opening handshake.
type packet struct {
	kind     kind
	src, dst netip.AddrPort
	from     *Conn // nil for a reset
	delay    time.Duration
}

// later delivers a packet that enters a network to whoever has its destination
// address, or else to the router upwards.
func (n *Network) later(p packet) {
	p.delay += n.delay
	time.AfterFunc(n.delay, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.deliver(p)
	})
}

func (n *Network) deliver(p packet) {
	if h := n.hosts[p.dst.Addr()]; h != nil {
		h.receive(p)
		return
	}
	for _, inner := range n.below {
		translates := inner.router.Mapping != None
		if translates && inner.router.Addr == p.dst.Addr() || !translates && inner.prefix.Contains(p.dst.Addr()) {
			inner.enter(p)
			return
		}
	}
	if n.above == nil || n.prefix.Contains(p.dst.Addr()) {
		return // nobody there
	}
	if p.dst.Addr() == n.router.Addr && n.router.Mapping != None {
		if n.router.Hairpin && n.router.out(&p) {
			n.enter(p)
		}
		return
	}
	if n.router.out(&p) {
		n.above.later(p)
	}
}

// enter takes in a packet that the router of n gets from outside.
func (n *Network) enter(p packet) {
	if n.router.in(&p) {
		n.later(p)
		return
	}
	if n.router.Reject && p.kind == syn {
		n.above.later(packet{kind: reset, src: p.dst, dst: p.src})
	}
}
