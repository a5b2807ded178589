package memnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Rules say what a host itself lets pass, wherever it stands.
type Rules struct {
	Inbound    Dependence // as a router's Filtering; None lets everything in
	NoOutbound bool       // it may answer, but not begin
}

// Host is one machine with one address.
type Host struct {
	network *Network
	addr    netip.Addr
	rules   Rules
	wall    *router

	sockets   map[flow]*Conn // by local and remote end
	listeners map[uint16]*Listener
	next      uint16
}

const (
	firstTry = time.Second // then twice as long each time
	backlog  = 128         // connections that wait to be accepted
)

// Addr returns the host's address.
func (h *Host) Addr() netip.Addr { return h.addr }

// Addresses returns the host's address with its network's prefix, as
// the kernel would tell it.
func (h *Host) Addresses() ([]netip.Prefix, error) {
	bits := h.network.prefix.Bits()
	if h.network.above == nil {
		bits = 24
	}
	return []netip.Prefix{netip.PrefixFrom(h.addr, bits)}, nil
}

// Dial connects to a remote end from a local port, or from any if that is
// zero. The local port may be shared with a listener and with connections to
// other ends.
func (h *Host) Dial(ctx context.Context, port uint16, remote netip.AddrPort) (net.Conn, error) {
	c, err := h.dial(ctx, port, remote)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(remote), Err: err}
	}
	return c, nil
}

func (h *Host) dial(ctx context.Context, port uint16, remote netip.AddrPort) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h.network.mu.Lock()
	if port == 0 {
		port = h.freePort()
	}
	c := newConn(h, flow{netip.AddrPortFrom(h.addr, port), remote})
	if h.sockets[c.ends] != nil || c.ends.inner == c.ends.outer {
		h.network.mu.Unlock()
		return nil, syscall.EADDRNOTAVAIL
	}
	h.sockets[c.ends] = c
	h.sendSYN(c)
	h.network.mu.Unlock()
	timer := time.NewTimer(firstTry)
	defer timer.Stop()
	for wait := firstTry; ; {
		select {
		case <-c.opened:
			return c, c.refusal
		case <-ctx.Done():
			h.network.mu.Lock()
			defer h.network.mu.Unlock()
			if c.state == established {
				return c, nil
			}
			c.forget()
			return nil, ctx.Err()
		case <-timer.C:
			h.network.mu.Lock()
			h.sendSYN(c)
			h.network.mu.Unlock()
			wait *= 2
			timer.Reset(wait)
		}
	}
}

// sendSYN begins or repeats the handshake of a connection.
func (h *Host) sendSYN(c *Conn) {
	if c.state == synSent && !h.rules.NoOutbound {
		h.send(syn, c)
	}
}

func (h *Host) freePort() uint16 {
	for {
		h.next++
		h.next = max(h.next, firstPort)
		if h.listeners[h.next] != nil {
			continue
		}
		used := false
		for f := range h.sockets {
			used = used || f.inner.Port() == h.next
		}
		if !used {
			return h.next
		}
	}
}

// Listen listens on a port, or on a free one if that is zero.
func (h *Host) Listen(port uint16) (net.Listener, error) {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	if port == 0 {
		port = h.freePort()
	}
	if h.listeners[port] != nil {
		return nil, fmt.Errorf("listen on port %d: %w", port, syscall.EADDRINUSE)
	}
	l := &Listener{host: h, port: port, queue: make(chan *Conn, backlog), done: make(chan struct{})}
	h.listeners[port] = l
	return l, nil
}

// Break resets the host's open connections with another address, as it is seen
// from here, at both ends. It returns how many there were.
func (h *Host) Break(remote netip.Addr) int {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	var broken []*Conn
	for _, c := range h.sockets {
		if c.state == established && c.ends.outer.Addr() == remote {
			broken = append(broken, c)
		}
	}
	for _, c := range broken {
		other := c.peer
		c.fail(syscall.ECONNRESET)
		other.fail(syscall.ECONNRESET)
	}
	return len(broken)
}

// send sends a packet of a connection's handshake.
func (h *Host) send(k kind, c *Conn) {
	p := packet{kind: k, src: c.ends.inner, dst: c.ends.outer, from: c}
	h.wall.out(&p)
	h.network.later(p)
}

// receive takes a packet that has come to the host.
func (h *Host) receive(p packet) {
	if !h.wall.in(&p) {
		return
	}
	c := h.sockets[flow{p.dst, p.src}]
	switch p.kind {
	case syn:
		h.receiveSYN(c, p)
	case synAck:
		switch {
		case c == nil:
			h.network.later(packet{kind: reset, src: p.dst, dst: p.src})
		case c.state == synSent || c.state == synReceived && c.listener == nil:
			c.open(p)
			h.send(ack, c)
		}
	case ack:
		if c == nil || c.state != synReceived || c.peer != p.from {
			return
		}
		c.open(p)
		if l := c.listener; l != nil && !l.take(c) {
			c.peer.fail(syscall.ECONNRESET)
			c.fail(syscall.ECONNRESET)
		}
	case reset:
		switch {
		case c == nil:
		case c.state == synSent || c.state == synReceived && c.listener == nil:
			c.refusal = syscall.ECONNREFUSED
			c.forget()
			close(c.opened)
		case c.state == synReceived:
			c.forget()
		}
	}
}

func (h *Host) receiveSYN(c *Conn, p packet) {
	switch {
	case c != nil && (c.state == synSent || c.state == synReceived):
		// Simultaneous open, or a SYN that is repeated, perhaps by a new dial.
		c.state, c.peer = synReceived, p.from
		h.send(synAck, c)
	case c != nil:
	default:
		l := h.listeners[p.dst.Port()]
		if l == nil {
			h.network.later(packet{kind: reset, src: p.dst, dst: p.src})
			return
		}
		c = newConn(h, flow{p.dst, p.src})
		c.state, c.peer, c.listener = synReceived, p.from, l
		h.sockets[c.ends] = c
		h.send(synAck, c)
	}
}

// Listener accepts a host's connections to one port.
type Listener struct {
	host  *Host
	port  uint16
	queue chan *Conn
	done  chan struct{}
}

// take queues a connection to be accepted; false when there are too many.
func (l *Listener) take(c *Conn) bool {
	select {
	case <-l.done:
		return false
	default:
	}
	select {
	case l.queue <- c:
		return true
	default:
		return false
	}
}

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
	default:
		select {
		case c := <-l.queue:
			return c, nil
		case <-l.done:
		}
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
}

// Close implements [net.Listener]: connections that nobody has accepted are
// reset.
func (l *Listener) Close() error {
	l.host.network.mu.Lock()
	defer l.host.network.mu.Unlock()
	if l.host.listeners[l.port] != l {
		return net.ErrClosed
	}
	delete(l.host.listeners, l.port)
	close(l.done)
	for {
		select {
		case c := <-l.queue:
			c.peer.fail(syscall.ECONNRESET)
			c.fail(syscall.ECONNRESET)
		default:
			return nil
		}
	}
}

// Addr implements [net.Listener].
func (l *Listener) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.host.addr, l.port))
}
