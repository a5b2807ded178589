package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Serve accepts connections until the listener fails, ctx ends or the endpoint
// is closed, closes the listener, and returns why; nil for the last two. A
// connection that does not prove itself within 5 seconds is closed; at most
// 1,000 such wait at a time, and no more than 500 a second are looked at.
// Connections outlive Serve, not the endpoint.
func (e *Endpoint) Serve(ctx context.Context, l net.Listener, kind CarrierKind) error {
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer context.AfterFunc(e.life, func() { l.Close() })()
	usual := unpaceListener(l)
	for {
		conn, err := l.Accept()
		if err != nil {
			switch {
			case ctx.Err() != nil || e.life.Err() != nil:
				return nil
			case isTemporary(err):
				if !pause(ctx, e.life, 50*time.Millisecond) {
					return nil
				}
				continue
			}
			return fmt.Errorf("accept on %s: %w", l.Addr(), err)
		}
		if wait := e.rate.take(time.Now()); wait > 0 && !pause(ctx, e.life, wait) {
			conn.Close()
			return nil
		}
		select {
		case e.pending <- struct{}{}:
		default:
			conn.Close()
			e.once.warn("connection refused", conn, fmt.Errorf("%d unproven connections", maxPending))
			continue
		}
		if !e.spawn(func() {
			defer func() { <-e.pending }()
			settle(bare(conn), usual)
			if err := e.welcome(conn, kind); err != nil {
				conn.Close()
				e.once.warn("connection refused", conn, err)
			}
		}) {
			conn.Close()
			return nil
		}
	}
}

// pause waits; false when either context ends first.
func pause(a, b context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.Done():
	case <-b.Done():
	}
	return false
}

// isTemporary reports whether accepting may work again: out of descriptors, or
// a connection that was gone before it was taken.
func isTemporary(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return ok && t.Temporary()
}

// rateLimit is a token bucket; it is for one goroutine per listener and locks.
type rateLimit struct {
	per, burst float64
	mu         sync.Mutex
	left       float64
	at         time.Time
}

// take takes one, and returns how long to wait first.
func (r *rateLimit) take(now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.IsZero() {
		r.left = r.burst
	} else {
		r.left = min(r.burst, r.left+now.Sub(r.at).Seconds()*r.per)
	}
	r.at = now
	r.left--
	if r.left >= 0 {
		return 0
	}
	return time.Duration(-r.left / r.per * float64(time.Second))
}

// welcome makes a carrier of an accepted connection, or serves a join.
func (e *Endpoint) welcome(conn net.Conn, kind CarrierKind) error {
	if kind == Local {
		if err := checkOwner(conn); err != nil {
			return err
		}
		conn, err := e.sortOut(conn, Local)
		if conn == nil {
			return err
		}
		_, err = e.startCarrier(conn, Local, false, localWindow, nil)
		return err
	}
	origin, raw := conn, bare(conn)
	conn, err := e.sortOut(raw, TCP)
	if conn == nil {
		return err
	}
	tuneTCP(raw)
	_ = conn.SetDeadline(time.Now().Add(openTimeout))
	conn, protocols, err := peekHello(conn)
	if err != nil {
		return err
	}
	id, signer := e.self()
	if id == nil {
		return ErrNotAdmitted
	}
	if slices.Contains(protocols, alpnObserve) {
		return e.serveObserve(conn, id)
	}
	if slices.Contains(protocols, alpnJoin) {
		_ = conn.SetDeadline(time.Time{})
		if signer != nil {
			_ = signer.ServeJoin(e.life, conn) // which has logged
			return nil
		}
		defer conn.Close()
		return e.pipeJoin(e.life, conn, wire.NodeID{}, wire.MaxHops, func(error) {})
	}
	start := time.Now()
	c := tls.Server(conn, id.carrierConfig())
	if err := c.HandshakeContext(e.life); err != nil {
		return err
	}
	p, err := id.verify(c.ConnectionState(), alpnCarrier)
	if err == nil {
		err = vouch(origin, &p)
	}
	if err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Time{})
	_, err = e.startCarrier(c, TCP, false, windowFor(time.Since(start)), &p)
	return err
}

// dialCarrier starts a carrier as the end that has dialled.
func (e *Endpoint) dialCarrier(ctx context.Context, conn net.Conn, kind CarrierKind, id *Identity) (*carrier, error) {
	if kind == Local {
		return e.startCarrier(conn, Local, true, localWindow, nil)
	}
	tuneTCP(bare(conn))
	start := time.Now()
	c := tls.Client(&replayConn{Conn: conn, r: bufio.NewReaderSize(conn, readAhead)}, id.carrierConfig())
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	p, err := id.verify(c.ConnectionState(), alpnCarrier)
	if err == nil {
		err = vouch(conn, &p)
	}
	if err != nil {
		return nil, err
	}
	return e.startCarrier(c, TCP, true, windowFor(time.Since(start)), &p)
}

func (id *Identity) carrierConfig() *tls.Config {
	config := id.tlsConfig(alpnCarrier)
	config.DynamicRecordSizingDisabled = true
	return config
}

var errPeeked = errors.New("peeked")

// peekHello reads which protocols a TLS client offers and returns a connection
// that gives the bytes read so far once more.
func peekHello(conn net.Conn) (net.Conn, []string, error) {
	var seen bytes.Buffer
	var protocols []string
	err := tls.Server(helloConn{conn, io.TeeReader(io.LimitReader(conn, maxHello), &seen)}, &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			protocols = slices.Clone(hello.SupportedProtos)
			return nil, errPeeked
		},
	}).Handshake()
	if !errors.Is(err, errPeeked) {
		return nil, nil, fmt.Errorf("not a TLS client: %w", err)
	}
	return &replayConn{Conn: conn, r: bufio.NewReaderSize(io.MultiReader(&seen, conn), readAhead)}, protocols, nil
}

// readAhead is how many bytes below TLS are read at once: crypto/tls asks for
// a record at a time, which costs a system call each.
const readAhead = 64 << 10

// maxHello bounds a TLS client's first message, in bytes.
const maxHello = 16 << 10

// helloConn lets a TLS server read and say nothing.
type helloConn struct {
	net.Conn
	r io.Reader
}

func (c helloConn) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c helloConn) Write(p []byte) (int, error) { return len(p), nil }
func (c helloConn) Close() error                { return nil }

// replayConn reads by r.
type replayConn struct {
	net.Conn
	r io.Reader
}

func (c *replayConn) Read(p []byte) (int, error) { return c.r.Read(p) }
