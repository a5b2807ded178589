package transport

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// asConn makes a net.Conn of any byte pipe. Deadlines of a pipe that has none
// are ignored: whoever bounds an operation closes the pipe instead.
func asConn(rwc io.ReadWriteCloser) net.Conn {
	if c, ok := rwc.(net.Conn); ok {
		return c
	}
	return pipeConn{rwc}
}

type pipeConn struct{ io.ReadWriteCloser }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func (pipeConn) LocalAddr() net.Addr              { return pipeAddr{} }
func (pipeConn) RemoteAddr() net.Addr             { return pipeAddr{} }
func (pipeConn) SetDeadline(time.Time) error      { return nil }
func (pipeConn) SetReadDeadline(time.Time) error  { return nil }
func (pipeConn) SetWriteDeadline(time.Time) error { return nil }

var errTooMuch = errors.New("more bytes than one join may take")

// limitedConn bounds the bytes of a conversation in each direction.
type limitedConn struct {
	net.Conn
	in, out int64
}

func (c *limitedConn) Read(p []byte) (int, error) {
	if atomic.LoadInt64(&c.in) <= 0 {
		return 0, errTooMuch
	}
	n, err := c.Conn.Read(p)
	atomic.AddInt64(&c.in, -int64(n))
	return n, err
}

func (c *limitedConn) Write(p []byte) (int, error) {
	if atomic.AddInt64(&c.out, -int64(len(p))) < 0 {
		return 0, errTooMuch
	}
	return c.Conn.Write(p)
}

// onceLog logs a warning once per text and remote host, and so many texts of
// one kind per host, so that whoever knocks all night fills no disk.
type onceLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	seen map[string]int // texts; and kinds, with how many texts of each
}

// What onceLog remembers is bounded; then it starts afresh.
const (
	maxSeen  = 512
	maxTexts = 8 // of one kind and host
)

func newOnceLog(log *slog.Logger) *onceLog {
	return &onceLog{log: log, seen: make(map[string]int)}
}

func (o *onceLog) warn(what string, c net.Conn, err error) {
	from := "pipe"
	if a := c.RemoteAddr(); a != nil {
		from = a.String()
		if host, _, e := net.SplitHostPort(from); e == nil {
			from = host
		}
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // without addresses, whose ports never repeat
	}
	if o.first(what+"\x00"+from, err.Error()) {
		o.log.Warn(what, "from", from, "err", err)
	}
}

// first reports whether a text of a kind is to be logged.
func (o *onceLog) first(kind, text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := kind + "\x00" + text
	if o.seen[key] > 0 || o.seen[kind] >= maxTexts {
		return false
	}
	if len(o.seen) >= maxSeen {
		clear(o.seen)
	}
	o.seen[key]++
	o.seen[kind]++
	return true
}
