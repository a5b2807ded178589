package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of lanes.
const (
	maxLanes    = 256              // of one carrier
	laneTimeout = 10 * time.Second // from the ticket to the connection
	laneDial    = 5 * time.Second  // to make the connection
	laneRetry   = time.Minute      // after a failure the carrier gets no lane for so long
)

// laneMagic begins a connection that is to be a lane; the ticket follows. No
// TLS connection and no multiplexer begins with its first byte.
const laneMagic = "Zlane/1\n"

type ticket [wire.TicketSize]byte

// bulk is what an endpoint knows about lanes and flows.
type bulk struct {
	held atomic.Int64 // bytes that wait for others before them, in all flows

	pieces sync.Pool // of *piece

	mu      sync.Mutex
	tickets map[ticket]*awaited
	flows   map[flowKey]*flow // that others have opened
}

// awaited is a lane that is to come.
type awaited struct {
	c    *carrier
	conn chan net.Conn
}

var errNoLane = errors.New("no connection of its own")

// expect makes a ticket good. The channel gives the connection that is
// presented with it, until forget is called.
func (b *bulk) expect(t ticket, c *carrier) (conn <-chan net.Conn, forget func()) {
	w := &awaited{c: c, conn: make(chan net.Conn, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tickets == nil {
		b.tickets = make(map[ticket]*awaited)
	}
	b.tickets[t] = w
	return w.conn, func() {
		b.mu.Lock()
		delete(b.tickets, t)
		b.mu.Unlock()
		select {
		case conn := <-w.conn:
			conn.Close()
		default:
		}
	}
}

// redeem hands a connection over to whoever waits for its ticket, which is
// good once and on the kind of listener that its carrier came in by.
func (b *bulk) redeem(t ticket, kind CarrierKind, conn net.Conn) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.tickets[t]
	if w == nil || w.c.kind != kind {
		return errors.New("a lane that nobody waits for")
	}
	delete(b.tickets, t)
	w.conn <- conn
	return nil
}

// sortOut looks at the first byte of an accepted connection. A lane is handed
// over, and the result is nil; the beginning of a carrier is returned whole.
func (e *Endpoint) sortOut(conn net.Conn, kind CarrierKind) (net.Conn, error) {
	_ = conn.SetReadDeadline(time.Now().Add(openTimeout))
	var first [1]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return nil, err
	}
	if first[0] != laneMagic[0] {
		_ = conn.SetReadDeadline(time.Time{})
		return &firstConn{Conn: conn, first: first[:]}, nil
	}
	var rest [len(laneMagic) - 1 + wire.TicketSize]byte
	if _, err := io.ReadFull(conn, rest[:]); err != nil {
		return nil, fmt.Errorf("the ticket of a lane: %w", err)
	}
	if string(rest[:len(laneMagic)-1]) != laneMagic[1:] {
		return nil, errors.New("neither a carrier nor a lane")
	}
	_ = conn.SetReadDeadline(time.Time{})
	return nil, e.bulk.redeem(ticket(rest[len(laneMagic)-1:]), kind, conn)
}

// firstConn gives the first byte of a connection once more.
type firstConn struct {
	net.Conn
	first []byte
}

func (c *firstConn) Read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	c.first = c.first[n:]
	return n, nil
}

// redial returns a function that connects once more to where a TCP connection
// leads, or nil.
func redial(conn net.Conn) func(context.Context) (io.ReadWriteCloser, error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	to := tcp.RemoteAddr().String()
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		var usual string
		d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
			usual = unpace(raw)
			return nil
		}}
		conn, err := d.DialContext(ctx, "tcp", to)
		if err != nil {
			return nil, err
		}
		settle(conn, usual)
		return conn, nil
	}
}

// setMore says how to make further connections to the carrier's other end.
func (c *carrier) setMore(more func(context.Context) (io.ReadWriteCloser, error)) {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	c.more = more
}

// mayLane reports whether it is worth while to ask for a lane, and how this end
// connects; nil when the other end has to.
func (c *carrier) mayLane() (more func(context.Context) (io.ReadWriteCloser, error), ok bool) {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	return c.more, len(c.lanes) < maxLanes && time.Now().After(c.laneless)
}

// noLane notes that the carrier could not get a lane.
func (c *carrier) noLane() {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	c.laneless = time.Now().Add(laneRetry)
}

// openLane opens a stream by this carrier whose bytes go over a lane. The
// answer to o is still to be read from it. Errors that match [errNoLane] say
// that the stream has to do without.
func (c *carrier) openLane(ctx context.Context, o *wire.Open) (*lane, error) {
	more, ok := c.mayLane()
	if !ok {
		return nil, errNoLane
	}
	st, err := c.mux.OpenStream()
	if err != nil {
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, laneTimeout)
	defer cancel()
	defer context.AfterFunc(limited, st.reset)()
	l, err := c.agree(limited, st, o, more)
	if err != nil {
		st.reset()
		if ctx.Err() == nil { // else nobody wants it any more
			c.noLane()
		}
		return nil, fmt.Errorf("%w: %w", errNoLane, err)
	}
	_ = st.Close()
	return l, nil
}

// agree makes a lane together with the other end.
func (c *carrier) agree(ctx context.Context, st *muxStream, o *wire.Open, more func(context.Context) (io.ReadWriteCloser, error)) (*lane, error) {
	var t ticket
	rand.Read(t[:])
	ask := *o
	ask.Ticket, ask.Call = t[:], more == nil
	var coming <-chan net.Conn
	if ask.Call {
		var forget func()
		coming, forget = c.e.bulk.expect(t, c)
		defer forget()
	}
	if err := wire.WriteFrame(st, &ask); err != nil {
		return nil, err
	}
	var conn net.Conn
	if !ask.Call {
		var err error
		if conn, err = connectLane(ctx, more); err != nil {
			return nil, err
		}
	}
	if err := readLane(st); err != nil {
		if conn != nil {
			conn.Close()
		}
		return nil, err
	}
	if ask.Call {
		select {
		case conn = <-coming:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	} else if err := present(conn, t); err != nil {
		return nil, err
	}
	return c.addLane(conn)
}

func connectLane(ctx context.Context, more func(context.Context) (io.ReadWriteCloser, error)) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, laneDial)
	defer cancel()
	rwc, err := more(ctx)
	if err != nil {
		return nil, err
	}
	return asConn(rwc), nil
}

// present says what a connection is for. Its few bytes do not block.
func present(conn net.Conn, t ticket) error {
	if _, err := conn.Write(append([]byte(laneMagic), t[:]...)); err != nil {
		conn.Close()
		return fmt.Errorf("present a ticket: %w", err)
	}
	return nil
}

func readLane(st *muxStream) error {
	m, err := wire.ReadFrame(st, maxAccepted)
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *wire.Lane:
		return nil
	case *wire.Accepted:
		return fmt.Errorf("%w: %s", ErrRefused, m.Error)
	}
	return fmt.Errorf("%w: a %T instead of a lane", wire.ErrInvalid, m)
}

// acceptLane gives a stream that the other end opens the lane it wants.
func (c *carrier) acceptLane(st *muxStream, o *wire.Open) (*lane, error) {
	more, ok := c.mayLane()
	if !ok || o.Call && more == nil {
		return nil, errNoLane
	}
	ctx, cancel := context.WithTimeout(c.e.life, laneTimeout)
	defer cancel()
	_ = st.SetDeadline(time.Now().Add(laneTimeout))
	t := ticket(o.Ticket)
	if o.Call {
		conn, err := connectLane(ctx, more)
		if err == nil {
			err = present(conn, t)
		}
		if err != nil {
			c.noLane()
			return nil, fmt.Errorf("%w: %w", errNoLane, err)
		}
		if err := wire.WriteFrame(st, &wire.Lane{}); err != nil {
			conn.Close()
			return nil, err
		}
		return c.addLane(conn)
	}
	coming, forget := c.e.bulk.expect(t, c)
	defer forget()
	if err := wire.WriteFrame(st, &wire.Lane{}); err != nil {
		return nil, err
	}
	select {
	case conn := <-coming:
		return c.addLane(conn)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: nobody came", errNoLane)
	case <-c.mux.session.CloseChan():
		return nil, errCarrierClosed
	}
}
