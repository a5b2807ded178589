package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/hub"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

const (
	maxLocal     = 8               // addresses of interfaces that are told
	maxWitnesses = 3               // acceptors that are asked how they see this end
	observeBound = 2 * time.Second // for all of them
	observeHold  = attemptBound    // how long a translator is reminded of the port
	maxObserved  = 200             // connections that are held for it; others end at once
	firstPort    = 1024            // lower ports are other programs'
)

// alpnObserve is the protocol by which an acceptor tells whoever connects as
// what it sees them. It proves the same as a carrier's.
const alpnObserve = "zorilla-observe/1"

// describe returns what this end tells of itself in an attempt, others being
// asked about it or not, and closes the connections to them with the function
// it returns: until then translators remember the port.
func (e *Endpoint) describe(ctx context.Context, port uint16, listens, ask bool) (hub.End, func()) {
	end := hub.End{Port: port, Listens: listens}
	local, err := e.config.Network.Addresses()
	if err != nil {
		e.log.Warn("own addresses", "err", err)
	}
	for _, p := range local {
		if p.IsValid() && callable(p.Addr()) && len(end.Local) < maxLocal {
			end.Local = append(end.Local, p)
		}
	}
	if !ask {
		return end, func() {}
	}
	var mu sync.Mutex
	var conns []net.Conn
	ctx, cancel := context.WithTimeout(ctx, observeBound)
	defer cancel()
	var asked sync.WaitGroup
	for _, witness := range e.witnesses() {
		asked.Go(func() {
			seen, conn, err := e.observe(ctx, port, witness)
			if err != nil {
				e.log.Debug("not observed", "by", witness.String(), "err", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			conns = append(conns, conn)
			if callable(seen.Addr()) && !slices.Contains(end.Observed, seen) {
				end.Observed = append(end.Observed, seen)
			}
		})
	}
	asked.Wait()
	return end, func() {
		for _, c := range conns {
			c.Close()
		}
	}
}

// witnesses returns acceptors that this end has dialled, no two at the same
// address: a translator may show each address another port.
func (e *Endpoint) witnesses() []netip.AddrPort {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []netip.AddrPort
	for c := range e.carriers {
		if c.acceptor.IsValid() {
			all = append(all, c.acceptor)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Compare(all[j]) < 0 })
	all = slices.CompactFunc(all, func(a, b netip.AddrPort) bool { return a.Addr() == b.Addr() })
	return all[:min(len(all), maxWitnesses)]
}

// endpointOf returns the address of a connection's other end, if it has one.
func endpointOf(conn net.Conn) netip.AddrPort {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := a.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// observe asks an acceptor how it sees a local port.
func (e *Endpoint) observe(ctx context.Context, port uint16, by netip.AddrPort) (netip.AddrPort, net.Conn, error) {
	id, _ := e.self()
	conn, err := e.config.Network.Dial(ctx, port, by)
	if err != nil {
		return netip.AddrPort{}, nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	c := tls.Client(conn, id.tlsConfig(alpnObserve))
	var m wire.Message
	if err = c.HandshakeContext(ctx); err == nil {
		m, err = wire.ReadFrame(c, maxAccepted)
	}
	seen, ok := m.(*wire.Observed)
	if err == nil && !ok {
		err = fmt.Errorf("%w: a %T instead of an address", wire.ErrInvalid, m)
	}
	if err != nil {
		conn.Close()
		return netip.AddrPort{}, nil, err
	}
	return seen.Endpoint, conn, nil
}

// serveObserve tells a member of the session as what it is seen, and keeps the
// connection for as long as an attempt may take.
func (e *Endpoint) serveObserve(conn net.Conn, id *Identity) error {
	defer conn.Close()
	defer context.AfterFunc(e.life, func() { conn.Close() })()
	c := tls.Server(conn, id.tlsConfig(alpnObserve))
	if err := c.HandshakeContext(e.life); err != nil {
		return err
	}
	seen := endpointOf(conn)
	if !seen.IsValid() || seen.Port() == 0 || seen.Addr().Zone() != "" {
		return errors.New("observe: seen as no endpoint")
	}
	if err := wire.WriteFrame(c, &wire.Observed{Endpoint: seen}); err != nil {
		return err
	}
	select {
	case e.reach.observed <- struct{}{}:
		defer func() { <-e.reach.observed }()
	default:
		return nil
	}
	_ = conn.SetDeadline(time.Now().Add(observeHold))
	_, _ = c.Read(make([]byte, 1)) // until the other end hangs up
	return nil
}

// callable reports whether an address may be called because a peer says so: a
// host's, on some network. What is only to be had on this host (loopback) or on
// its link, or stands for many, is nobody's to have called.
func callable(a netip.Addr) bool {
	return a.IsValid() && a.IsGlobalUnicast() && a.Zone() == "" && !a.Is4In6()
}

// endOf returns a peer's description without what must not be called.
func endOf(m *wire.Reach) hub.End {
	end := hub.End{Port: m.Port, Listens: m.Listens && m.Port >= firstPort}
	for _, p := range m.Local {
		if callable(p.Addr()) && m.Port >= firstPort {
			end.Local = append(end.Local, p)
		}
	}
	for _, o := range m.Observed {
		if callable(o.Addr()) && o.Port() >= firstPort {
			end.Observed = append(end.Observed, o)
		}
	}
	return end
}
