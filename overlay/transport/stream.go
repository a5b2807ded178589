package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

const (
	openTimeout = 5 * time.Second  // for the first frame of a stream, and for each half of a handshake that others wait on
	dialTimeout = 20 * time.Second // for opening a stream through all hubs
	linger      = 2 * time.Minute  // how long a closed stream looks for the end of the other direction
	maxOpen     = 1 << 10          // bytes in the first frame
	maxAccepted = 2 << 10          // bytes in its answer
	tlsPiece    = 16<<10 - 64      // a TLS record of it fits one frame
)

// isBulk reports whether a kind of stream carries much: it then uses a carrier
// for bulk, or takes credit.
func isBulk(k wire.StreamKind) bool {
	switch k {
	case wire.StreamFetch, wire.StreamOutput, wire.StreamDial, wire.StreamLog, wire.StreamStripe:
		return true
	}
	return false
}

// ground is what a stream rests on: a pipe, or the flow of several.
type ground interface {
	Close() error
	reset()
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// tlsStream is a TLS connection on one pipe, as a duplex.
type tlsStream struct{ *tls.Conn }

// Write writes records that each fit a frame of the multiplexer.
func (s tlsStream) Write(p []byte) (int, error) {
	var done int
	for done < len(p) {
		n, err := s.Conn.Write(p[done:min(done+tlsPiece, len(p))])
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Stream is a byte stream to another node, authenticated by both ends. It
// implements [net.Conn]; deadlines work as usual, except that a Write that
// timed out leaves the stream unusable, and so does a Read where a bulk stream
// goes over a connection without deadlines (a channel of SSH). Reads and writes may go on at the same
// time, one of each. A read at the other end's end of data returns io.EOF only
// if the other end said so by CloseWrite or Close; all else is [ErrReset].
type Stream struct {
	conn duplex
	raw  ground
	peer Peer
	self wire.NodeID
	kind wire.StreamKind
	gone chan struct{} // closed when the stream is over on this side

	// spawn runs the stream's last goroutine unless the endpoint is closed.
	spawn func(func()) bool
	log   *onceLog
	limit *throttle // of bulk; may be nil

	writers atomic.Int32
	closed  atomic.Bool
	once    sync.Once
	reading sync.Mutex
}

// Peer returns the node at the other end.
func (s *Stream) Peer() Peer { return s.peer }

// Kind returns what the stream is for.
func (s *Stream) Kind() wire.StreamKind { return s.kind }

// Read implements [net.Conn].
func (s *Stream) Read(p []byte) (int, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.closed.Load() {
		return 0, s.closedError("read")
	}
	n, err := s.conn.Read(p)
	if err != nil && err != io.EOF {
		err = s.wrap("read", err)
	}
	if n > 0 && s.limit.take(n) != nil && err == nil {
		err = s.closedError("read")
	}
	return n, err
}

// Write implements [net.Conn].
func (s *Stream) Write(p []byte) (int, error) {
	s.writers.Add(1)
	defer s.writers.Add(-1)
	if s.closed.Load() {
		return 0, s.closedError("write")
	}
	n, err := s.write(p)
	if err != nil {
		err = s.wrap("write", err)
	}
	return n, err
}

// write writes as the limits let it.
func (s *Stream) write(p []byte) (done int, err error) {
	if s.limit == nil {
		return s.conn.Write(p)
	}
	for done < len(p) && err == nil {
		piece := p[done:min(done+s.limit.step(), len(p))]
		if err = s.limit.take(len(piece)); err != nil {
			return done, err
		}
		var n int
		n, err = s.conn.Write(piece)
		done += n
	}
	return done, err
}

func (s *Stream) closedError(op string) error {
	return fmt.Errorf("%s: stream to %s: %w (%w)", op, s.peer.ID.Short(), ErrClosed, net.ErrClosed)
}

func (s *Stream) wrap(op string, err error) error {
	switch {
	case s.closed.Load():
		return s.closedError(op)
	case isTimeout(err):
		return fmt.Errorf("%s: stream to %s: %w", op, s.peer.ID.Short(), os.ErrDeadlineExceeded)
	case errors.Is(err, ErrClosed):
		return err
	}
	if tls, ok := errors.AsType[*net.OpError](err); ok && tls.Op == "local error" {
		// What came is not what the other end has sent: somebody between them
		// drops bytes, changes them or their order.
		s.log.warn("stream altered on its way", s, err)
	}
	return fmt.Errorf("%s: stream to %s: %w: %w", op, s.peer.ID.Short(), ErrReset, err)
}

// CloseWrite tells the other end that no more data comes: after what was
// written it reads io.EOF. Reading goes on.
func (s *Stream) CloseWrite() error {
	s.writers.Add(1)
	defer s.writers.Add(-1)
	if s.closed.Load() {
		return s.closedError("close")
	}
	if err := s.conn.CloseWrite(); err != nil {
		return s.wrap("close", err)
	}
	return nil
}

// Close ends the stream without waiting. What was written still arrives,
// followed by io.EOF, as long as the other end does not write to this end any
// more: data that nobody reads resets the stream, as does a Close during a
// Write. It is safe to call twice.
func (s *Stream) Close() error {
	s.once.Do(func() {
		s.closed.Store(true)
		if !s.spawn(s.finish) {
			close(s.gone)
		}
	})
	return nil
}

// Reset breaks the stream off: reads and writes of both ends fail, and data
// under way may be lost.
func (s *Stream) Reset() {
	s.once.Do(func() {
		s.closed.Store(true)
		if !s.spawn(func() { defer close(s.gone); s.raw.reset() }) {
			close(s.gone)
		}
	})
}

// finish closes the stream in good order where that is possible.
func (s *Stream) finish() {
	defer close(s.gone)
	if s.writers.Load() > 0 {
		s.raw.reset()
		return
	}
	late := time.AfterFunc(dialTimeout, s.raw.reset)
	err := s.conn.CloseWrite()
	if !late.Stop() || err != nil {
		s.raw.reset()
		return
	}
	// Wake the reader, if there is one, then look for the end of the other direction.
	if !s.reading.TryLock() {
		_ = s.raw.SetReadDeadline(time.Now())
		s.reading.Lock()
	}
	defer s.reading.Unlock()
	_ = s.raw.SetReadDeadline(time.Now().Add(linger))
	n, err := io.CopyN(io.Discard, s.conn, 1)
	if n > 0 || (err != io.EOF && !isTimeout(err)) {
		s.raw.reset() // the other end still talks, or is gone
		return
	}
	_ = s.raw.Close()
}

// SetDeadline implements [net.Conn].
func (s *Stream) SetDeadline(t time.Time) error { return s.raw.SetDeadline(t) }

// SetReadDeadline implements [net.Conn].
func (s *Stream) SetReadDeadline(t time.Time) error { return s.raw.SetReadDeadline(t) }

// SetWriteDeadline implements [net.Conn].
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.raw.SetWriteDeadline(t) }

// nodeAddr is a node's identity as an address.
type nodeAddr wire.NodeID

func (nodeAddr) Network() string  { return "zorilla" }
func (a nodeAddr) String() string { return wire.NodeID(a).String() }

// LocalAddr returns this node's identity.
func (s *Stream) LocalAddr() net.Addr { return nodeAddr(s.self) }

// RemoteAddr returns the other node's identity.
func (s *Stream) RemoteAddr() net.Addr { return nodeAddr(s.peer.ID) }

// offerStream sends the first frame of a stream and waits for the answer. The
// caller bounds it by resetting the stream.
func offerStream(st *muxStream, o *wire.Open) error {
	st.bulk = isBulk(o.Stream)
	if err := wire.WriteFrame(st, o); err != nil {
		return fmt.Errorf("open a stream: %w", err)
	}
	return readAccepted(st)
}

func readAccepted(r io.Reader) error {
	m, err := wire.ReadFrame(r, maxAccepted)
	if err != nil {
		return fmt.Errorf("open a stream: %w", err)
	}
	a, ok := m.(*wire.Accepted)
	if !ok {
		return fmt.Errorf("open a stream: %w: a %T instead of an answer", wire.ErrInvalid, m)
	}
	if a.Error != "" {
		return fmt.Errorf("open a stream: %w: %s", ErrRefused, a.Error)
	}
	return nil
}

// accept answers the first frame of a stream with yes.
func accept(st io.Writer) error { return wire.WriteFrame(st, &wire.Accepted{}) }

// refuse answers it with no, and ends the stream.
func refuse(st io.WriteCloser, err error) {
	_ = wire.WriteFrame(st, &wire.Accepted{Error: reason(err)})
	_ = st.Close()
}

// reason is an error as it may cross the wire.
func reason(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), 512)], "?")
}

// secure proves the ends of a stream to each other by TLS, as client or as
// server.
func (id *Identity) secure(ctx context.Context, p pipe, kind wire.StreamKind, client bool) (*tls.Conn, Peer, error) {
	alpn := alpnStream(kind)
	config := id.tlsConfig(alpn)
	config.DynamicRecordSizingDisabled = true
	var under net.Conn = strictConn{p}
	if l, ok := p.(*lane); ok {
		under = newRecordConn(l)
	}
	c := tls.Server(under, config)
	if client {
		c = tls.Client(under, config)
	}
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, Peer{}, fmt.Errorf("secure a stream: %w", err)
	}
	peer, err := id.verify(c.ConnectionState(), alpn)
	return c, peer, err
}

// errCut is an end of data that the other end did not announce.
var errCut = errors.New("cut off")

// strictConn makes an end of file below TLS an error: crypto/tls itself would
// take it for an end of the data where it falls between two records.
type strictConn struct{ pipe }

func (c strictConn) Read(p []byte) (int, error) {
	n, err := c.pipe.Read(p)
	if err == io.EOF {
		err = errCut
	}
	return n, err
}
