package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// provenTimeout is how long a carrier may stay without a known peer.
const provenTimeout = 30 * time.Second

// carrier is one multiplexed byte pipe to another process.
type carrier struct {
	e      *Endpoint
	kind   CarrierKind
	conn   net.Conn
	mux    *mux
	proven chan struct{} // closed when the peer is known
	gone   chan struct{} // closed when the carrier has ended

	// Guarded by the endpoint's mutex.
	peer     Peer
	bulk     bool
	reached  bool           // made by an attempt of this end's
	acceptor netip.AddrPort // where this end has dialled a listener
	rtt      time.Duration  // smoothed; zero before it is measured
	lanes    map[*lane]struct{}
	laneless time.Time                                         // until when none is asked for
	more     func(context.Context) (io.ReadWriteCloser, error) // makes a further connection; nil: the other end can

	once   sync.Once
	reason error
	setups chan struct{}
}

// startCarrier begins to multiplex and to accept streams. The peer is nil where
// it has not been proven yet.
func (e *Endpoint) startCarrier(conn net.Conn, kind CarrierKind, client bool, window uint32, peer *Peer) (*carrier, error) {
	m, err := newMux(conn, client, window)
	if err != nil {
		return nil, err
	}
	c := &carrier{e: e, kind: kind, conn: conn, mux: m, proven: make(chan struct{}), gone: make(chan struct{}),
		setups: make(chan struct{}, maxSetups)}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		m.Close()
		return nil, ErrClosed
	}
	e.carriers[c] = struct{}{}
	e.wg.Go(c.watch)
	e.mu.Unlock()
	if peer != nil {
		if err := e.know(c, *peer, false); err != nil {
			c.close(err)
			return nil, err
		}
	}
	if !e.spawn(c.acceptLoop) { // after the peer is known, or its first streams would be a stranger's
		c.close(ErrClosed)
		return nil, ErrClosed
	}
	return c, nil
}

// close ends the carrier and everything on it. It does not wait.
func (c *carrier) close(reason error) {
	c.once.Do(func() {
		c.reason = reason
		// In a goroutine because yamux waits for its own, one of which may call.
		go func() {
			_ = c.mux.Close()
			c.endLanes()
			c.e.forget(c)
			close(c.gone)
		}()
	})
}

// cause returns why the carrier has ended; after gone is closed.
func (c *carrier) cause() error { return c.reason }

// known returns who is at the other end; the zero Peer before that is proven.
func (c *carrier) known() Peer {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	return c.peer
}

// know records who is at the other end of a carrier. A carrier's peer never
// changes.
func (e *Endpoint) know(c *carrier, p Peer, bulk bool) error {
	p.Direct = true
	if c.kind == Local {
		p.Path = wire.PathLocal
		if made, ok := c.conn.(*madeConn); ok {
			p.Path = made.path
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.identity != nil && p.ID == e.identity.ID:
		return errors.New("connected to itself")
	case !c.peer.ID.IsZero() && c.peer.ID != p.ID:
		return fmt.Errorf("%w: carrier of %s used by %s", ErrUntrusted, c.peer.ID.Short(), p.ID.Short())
	}
	select {
	case <-c.mux.session.CloseChan():
		return errCarrierClosed
	default:
	}
	c.bulk = c.bulk || bulk
	if !c.peer.ID.IsZero() {
		return nil
	}
	n := e.nodeLocked(p.ID)
	if len(n.carriers) >= maxCarriers {
		return fmt.Errorf("%w: %d carriers already", ErrRefused, maxCarriers)
	}
	c.peer = p
	n.carriers = append(n.carriers, c)
	close(c.proven)
	return nil
}

// forget removes a carrier that has ended.
func (e *Endpoint) forget(c *carrier) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.carriers, c)
	if n := e.nodes[c.peer.ID]; n != nil {
		for i, other := range n.carriers {
			if other == c {
				n.carriers = append(n.carriers[:i:i], n.carriers[i+1:]...)
				break
			}
		}
		e.tidyLocked(n)
	}
}

// watch closes the carrier when it is silent for too long or nobody has proven
// to be at its other end, and otherwise keeps it alive.
func (c *carrier) watch() {
	var pings sync.WaitGroup
	defer pings.Wait()
	tick := time.NewTicker(c.e.config.Keepalive)
	defer tick.Stop()
	late := time.NewTimer(provenTimeout)
	defer late.Stop()
	proven := c.proven
	asked := make(chan struct{}, 1)
	ask := func() {
		select {
		case asked <- struct{}{}:
			pings.Go(func() { c.ping(); <-asked })
		default: // the last one is still on its way
		}
	}
	for {
		select {
		case <-c.mux.session.CloseChan():
			c.close(errCarrierClosed)
			return
		case <-proven:
			late.Stop()
			proven = nil
			ask()
		case <-late.C:
			c.e.once.warn("carrier refused", c.conn, errors.New("nobody proved to be there"))
			c.close(errors.New("nobody proved to be there"))
		case <-tick.C:
			switch silence := c.mux.pipe.silence(); {
			case silence >= c.e.config.DeadAfter:
				c.close(fmt.Errorf("%w for %v", ErrSilent, silence.Round(time.Second)))
			case silence >= c.e.config.Keepalive:
				ask()
			}
		}
	}
}

// ping asks for a sign of life and measures how long it takes.
func (c *carrier) ping() {
	if rtt, err := c.mux.ping(); err == nil {
		c.measured(rtt)
	}
}

// acceptLoop takes streams that the other end opens.
func (c *carrier) acceptLoop() {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case c.setups <- struct{}{}:
		case <-c.mux.session.CloseChan():
			return
		}
		st, err := c.mux.acceptStream()
		if err != nil {
			c.close(err)
			return
		}
		wg.Go(func() {
			if err := c.serve(st); err != nil {
				c.e.once.warn("stream refused", c.conn, err)
			}
		})
	}
}

// open opens a stream by this carrier.
func (c *carrier) open(ctx context.Context, id *Identity, o *wire.Open) (*Stream, error) {
	st, err := c.mux.OpenStream()
	if err != nil {
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	s, err := c.openOn(ctx, st, id, o)
	if err != nil {
		st.reset()
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w (%w)", cause, err)
		}
		return nil, err
	}
	return s, nil
}

func (c *carrier) openOn(ctx context.Context, st *muxStream, id *Identity, o *wire.Open) (*Stream, error) {
	dst := o.Dst
	if isBulk(o.Stream) {
		o.Flow = make([]byte, wire.FlowSize)
		rand.Read(o.Flow)
	}
	stop := context.AfterFunc(ctx, st.reset)
	defer stop()
	if err := offerStream(st, o); err != nil {
		return nil, err
	}
	ch, err := c.prove(ctx, st, o, id, true)
	if err != nil {
		return nil, err
	}
	if !dst.IsZero() && ch.peer.ID != dst {
		return nil, fmt.Errorf("%w: %s answered in the place of %s", ErrUntrusted, ch.peer.ID.Short(), dst.Short())
	}
	s, err := c.newStream(ch, o, id, true)
	if err != nil {
		return nil, err
	}
	if !stop() {
		return nil, ctx.Err()
	}
	return s, nil
}

// prove settles who is at the two ends of a pipe on this carrier: the
// neighbours, whom the carrier's own protection has proven, or else whoever TLS
// on the pipe proves. A lane has the carrier's protection where that is not the
// carrier's own TLS.
func (c *carrier) prove(ctx context.Context, p pipe, o *wire.Open, id *Identity, client bool) (channel, error) {
	_, own := p.(*lane)
	peer := c.known()
	direct := !peer.ID.IsZero() && o.Src == peer.ID
	if client {
		direct = o.Dst.IsZero() || o.Dst == peer.ID
	}
	if direct && own == (c.kind == Local) && !peer.ID.IsZero() {
		return channel{pipe: p, peer: peer}, nil
	}
	begin := time.Now()
	conn, other, err := id.secure(ctx, p, o.Stream, client)
	if err != nil {
		return channel{}, err
	}
	other.Direct, other.Path = other.ID == peer.ID, wire.PathRouted
	if other.Direct {
		other.Path = peer.Path
	}
	return channel{pipe: p, tls: conn, peer: other, rtt: time.Since(begin)}, nil
}

// newStream makes a stream of a channel.
func (c *carrier) newStream(ch channel, o *wire.Open, id *Identity, opener bool) (*Stream, error) {
	s := &Stream{raw: ch.pipe, peer: ch.peer, self: id.ID, kind: o.Stream, spawn: c.e.spawn, log: c.e.once, gone: make(chan struct{})}
	switch {
	case isBulk(o.Stream):
		f, err := c.e.newFlow(ch, o, id, opener)
		if err != nil {
			return nil, err
		}
		s.raw, s.conn, s.limit = f, f, c.e.throttle
	case ch.tls != nil:
		s.conn = tlsStream{ch.tls}
	default:
		s.conn = newPlainConn(ch.pipe)
	}
	return s, nil
}

// confirmed waits for the acceptor's word, inside the secured stream, that it
// trusts this end too: in TLS 1.3 a client is done before the server has seen
// its certificate.
func (s *Stream) confirmed() error {
	timer := time.AfterFunc(dialTimeout, s.raw.reset)
	defer timer.Stop()
	return readAccepted(s.conn)
}

// serve handles one stream that the other end has opened.
func (c *carrier) serve(st *muxStream) (err error) {
	var once sync.Once
	release := func() { once.Do(func() { <-c.setups }) }
	defer release()
	_ = st.SetDeadline(time.Now().Add(openTimeout))
	m, err := wire.ReadFrame(st, maxOpen)
	if err != nil {
		st.reset()
		if c.mux.session.IsClosed() {
			return nil
		}
		return fmt.Errorf("first frame of a stream: %w", err)
	}
	o, ok := m.(*wire.Open)
	if !ok {
		st.reset()
		return fmt.Errorf("first frame of a stream: %w: a %T", wire.ErrInvalid, m)
	}
	st.bulk = isBulk(o.Stream)
	id, signer := c.e.self()
	if id == nil && o.Stream != wire.StreamAdmit {
		id, signer = c.e.afterAdmission()
	}
	local := o.Dst.IsZero() || (id != nil && o.Dst == id.ID)

	switch {
	case local && o.Stream == wire.StreamJoin:
		return c.serveJoin(st, o, signer)
	case local && o.Stream == wire.StreamAdmit:
		return c.serveAdmission(st)
	case id == nil:
		refuse(st, ErrNotAdmitted)
		return nil
	case local && (o.Stream == wire.StreamLink || o.Stream == wire.StreamBulk):
		return c.serveLink(st, o, id)
	}

	// All else needs a carrier whose peer is known; the link that proves it may
	// still be on its way.
	timer := time.NewTimer(openTimeout)
	defer timer.Stop()
	select {
	case <-c.proven:
	case <-timer.C:
		refuse(st, errors.New("prove who you are first"))
		return fmt.Errorf("%w: stream on a carrier of nobody", ErrRefused)
	case <-c.mux.session.CloseChan():
		st.reset()
		return nil
	}
	select {
	case c.e.streams <- struct{}{}:
		defer func() { <-c.e.streams }()
	default:
		refuse(st, fmt.Errorf("%d streams already", cap(c.e.streams)))
		return fmt.Errorf("%w: %d streams already", ErrRefused, cap(c.e.streams))
	}
	var p pipe = st
	if len(o.Ticket) > 0 {
		l, err := c.acceptLane(st, o)
		if err != nil {
			refuse(st, err)
			return nil
		}
		_ = st.Close()
		p = l
	}
	switch {
	case !local:
		release()
		if err := c.e.relay(c.e.life, c, p, o); err != nil {
			refuse(p, err)
		}
		return nil // not to be had is an everyday answer
	case o.Stream == wire.StreamStripe:
		if err := c.serveStripe(p, o, id, release); err != nil {
			p.reset()
			return fmt.Errorf("accept a stripe: %w", err)
		}
		return nil
	}
	return c.serveStream(p, o, id, release)
}

// serveStream runs the handler of a stream to this node.
func (c *carrier) serveStream(p pipe, o *wire.Open, id *Identity, release func()) error {
	handler := c.e.config.Handlers[o.Stream]
	if handler == nil && o.Stream == wire.StreamReach {
		handler = c.e.serveReach
	}
	if handler == nil {
		refuse(p, fmt.Errorf("streams of kind %d are not served here", o.Stream))
		return nil
	}
	s, err := c.acceptOn(p, o, id)
	if err != nil {
		p.reset()
		return err
	}
	release()
	handler(c.e.life, s)
	_ = s.Close()
	<-s.gone
	return nil
}

// acceptOn says yes to a stream and proves its ends to each other.
func (c *carrier) acceptOn(p pipe, o *wire.Open, id *Identity) (*Stream, error) {
	ch, err := c.greet(p, o, id)
	if err != nil {
		return nil, err
	}
	_ = p.SetDeadline(time.Time{})
	return c.newStream(ch, o, id, false)
}

// greet says yes to a stream and proves its ends to each other. Its deadline
// is left as it is.
func (c *carrier) greet(p pipe, o *wire.Open, id *Identity) (channel, error) {
	if err := accept(p); err != nil {
		return channel{}, fmt.Errorf("accept a stream: %w", err)
	}
	_ = p.SetDeadline(time.Now().Add(dialTimeout)) // a round trip through all hubs
	ctx, cancel := context.WithTimeout(c.e.life, dialTimeout)
	defer cancel()
	return c.prove(ctx, p, o, id, false)
}

// serveLink accepts a link, or the mark of a bulk carrier. One that names no
// destination comes from the other end of the carrier and proves who that is.
func (c *carrier) serveLink(st *muxStream, o *wire.Open, id *Identity) error {
	s, err := c.acceptOn(st, o, id)
	if err != nil {
		st.reset()
		return err
	}
	if o.Dst.IsZero() || o.Stream == wire.StreamBulk {
		if err := c.e.know(c, s.peer, o.Stream == wire.StreamBulk); err != nil {
			refuse(s, err)
			return err
		}
		s.peer = c.known()
	}
	if o.Stream == wire.StreamBulk {
		defer s.Close()
		return accept(s.conn)
	}
	done := c.e.expect(s.peer.ID)
	if err = accept(s.conn); err == nil {
		err = s.confirmed()
	}
	if err != nil {
		st.reset()
		err = fmt.Errorf("accept a link: %w", err)
	} else {
		err = c.e.attach(s, false)
	}
	done(err)
	return err
}
