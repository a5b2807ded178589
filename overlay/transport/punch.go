package transport

import (
	"context"
	crand "crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/hub"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

const (
	maxCallers  = 16              // accepted connections of an attempt that have shown no secret
	showBound   = 2 * time.Second // for showing it
	firstOwn    = 20000           // ports that an end which does not listen calls from
	lastOwn     = 60000
	repeatAfter = 150 * time.Millisecond // a call at the same time as the other end's that was refused
)

// attempt is one end of an attempt at a direct connection.
type attempt struct {
	e        *Endpoint
	port     uint16
	listener net.Listener // nil where this end does not listen
	forget   func()
	own      hub.End
	other    hub.End
	sameSite bool
	shows    []byte // by this end
	expects  []byte // of the other
}

// prepare gets ready for an attempt and tells each other what there is to know.
func (e *Endpoint) prepare(ctx context.Context, s *Stream) (*attempt, error) {
	id, _ := e.self()
	a := &attempt{e: e, forget: func() {}, sameSite: id.Site == s.Peer().Site, shows: make([]byte, wire.ReachSecret)}
	crand.Read(a.shows)
	if e.config.NoListen {
		a.port = firstOwn + uint16(rand.IntN(lastOwn-firstOwn))
	} else if err := a.listen(); err != nil {
		return nil, err
	}
	a.own, a.forget = e.describe(ctx, a.port, a.listener != nil, !s.peer.Direct)
	if err := a.exchange(s); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// listen opens the attempt's listening socket.
func (a *attempt) listen() error {
	l, err := a.e.config.Network.Listen(0)
	if err != nil {
		return err
	}
	at, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		l.Close()
		return fmt.Errorf("listening at %v, which is no port", l.Addr())
	}
	a.listener, a.port = l, uint16(at.Port)
	return nil
}

// exchange tells the other end about this one.
func (a *attempt) exchange(s *Stream) error {
	if err := wire.WriteFrame(s, &wire.Reach{Secret: a.shows, Port: a.port, Listens: a.own.Listens, Local: a.own.Local, Observed: a.own.Observed}); err != nil {
		return err
	}
	m, err := wire.ReadFrame(s, maxAccepted)
	if err != nil {
		return err
	}
	r, ok := m.(*wire.Reach)
	switch {
	case !ok:
		return fmt.Errorf("%w: a %T in an attempt", wire.ErrInvalid, m)
	case r.Error != "":
		return fmt.Errorf("%w: %s", ErrRefused, r.Error)
	}
	a.other, a.expects = endOf(r), r.Secret
	return nil
}

func (a *attempt) close() {
	a.forget()
	if a.listener != nil {
		a.listener.Close()
	}
}

// found is a connection whose other end knows the attempt's secret.
type found struct {
	conn net.Conn
	by   hub.Method
}

func (f found) path() wire.Path {
	switch f.by {
	case hub.Reverse:
		return wire.PathReverse
	case hub.Simultaneous:
		return wire.PathSimultaneous
	}
	return wire.PathDirect
}

// run makes an end's calls and takes the other end's, which may come by the
// given method or both at once. It yields the connections that come about until
// ctx ends; those that it does not yield are closed.
func (a *attempt) run(ctx context.Context, calls []hub.Call, takes hub.Method) iter.Seq[found] {
	return func(yield func(found) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var busy sync.WaitGroup
		all := make(chan found)
		defer func() {
			cancel()
			a.close()
			busy.Wait()
		}()
		hand := func(conn net.Conn, by hub.Method) {
			select {
			case all <- found{conn, by}:
			case <-ctx.Done():
				conn.Close()
			}
		}
		for _, c := range calls {
			busy.Go(func() {
				if conn := a.call(ctx, c); conn != nil {
					hand(conn, c.By)
				}
			})
		}
		if a.listener != nil {
			stop := context.AfterFunc(ctx, func() { a.listener.Close() })
			defer stop()
			busy.Go(func() { a.take(ctx, takes, hand) })
		}
		for {
			select {
			case f := <-all:
				if !yield(f) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// call makes one call, when its time has come, and shows the secret.
func (a *attempt) call(ctx context.Context, c hub.Call) net.Conn {
	if !pause(ctx, a.e.life, c.After) {
		return nil
	}
	var port uint16
	if c.Bound {
		port = a.port
	}
	for {
		conn, err := a.e.config.Network.Dial(ctx, port, c.To)
		if err == nil {
			if err = a.show(ctx, conn, c.By); err == nil {
				return conn
			}
			conn.Close()
		}
		// Refused by a translator whose filter the other end has not opened yet.
		again := errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)
		if !c.Bound || !again || !pause(ctx, a.e.life, repeatAfter) {
			return nil
		}
	}
}

// take accepts the other end's calls.
func (a *attempt) take(ctx context.Context, by hub.Method, hand func(net.Conn, hub.Method)) {
	var busy sync.WaitGroup
	defer busy.Wait()
	slots := make(chan struct{}, maxCallers)
	for {
		conn, err := a.listener.Accept()
		if err != nil {
			if ctx.Err() == nil && isTemporary(err) && pause(ctx, a.e.life, 50*time.Millisecond) {
				continue
			}
			return
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		busy.Go(func() {
			defer func() { <-slots }()
			stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
			_ = conn.SetDeadline(time.Now().Add(showBound))
			method, err := a.see(conn)
			if err == nil && method != by && method != hub.Simultaneous {
				err = fmt.Errorf("%w: called by method %d", ErrRefused, method)
			}
			if err == nil {
				_, err = conn.Write(append(a.shows[:len(a.shows):len(a.shows)], byte(method)))
			}
			if !stop() || err != nil {
				conn.Close()
				return
			}
			_ = conn.SetDeadline(time.Time{})
			hand(conn, method)
		})
	}
}

// show begins a connection that this end has dialled.
func (a *attempt) show(ctx context.Context, conn net.Conn, by hub.Method) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	_, err := conn.Write(append(a.shows[:len(a.shows):len(a.shows)], byte(by)))
	if err == nil {
		_, err = a.see(conn)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	_ = conn.SetDeadline(time.Time{})
	return err
}

// see reads the other end's secret and method.
func (a *attempt) see(conn net.Conn) (hub.Method, error) {
	var b [wire.ReachSecret + 1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return 0, err
	}
	if subtle.ConstantTimeCompare(b[:wire.ReachSecret], a.expects) != 1 {
		return 0, fmt.Errorf("%w: a connection without the attempt's secret", ErrRefused)
	}
	return hub.Method(b[wire.ReachSecret]), nil
}
