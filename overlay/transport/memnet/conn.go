package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

type state uint8

const (
	synSent state = iota
	synReceived
	established
	gone
)

// maxUnread is how many bytes a connection holds that nobody has read.
const maxUnread = 256 << 10

// Conn is one end of a connection. It implements [net.Conn].
type Conn struct {
	host *Host
	ends flow // inner is the local end

	// Guarded by the world's mutex.
	state    state
	peer     *Conn
	listener *Listener // that it waits to be accepted by
	opened   chan struct{}
	refusal  error

	mu     sync.Mutex
	change *sync.Cond
	delay  time.Duration
	queue  []piece // what comes in
	unread int
	err    error // why nothing more is read or written
	closed bool
	ended  bool // this end has said that no more comes
	poked  bool // the other end has read something
	read   time.Time
	write  time.Time
}

// piece is bytes that arrive at a time; without any it is the end.
type piece struct {
	bytes []byte
	at    time.Time
}

func newConn(h *Host, ends flow) *Conn {
	c := &Conn{host: h, ends: ends, opened: make(chan struct{})}
	c.change = sync.NewCond(&c.mu)
	return c
}

// open ends the handshake.
func (c *Conn) open(p packet) {
	c.state, c.peer = established, p.from
	c.mu.Lock()
	c.delay = p.delay
	c.mu.Unlock()
	close(c.opened)
}

// forget frees the connection's two ends for others.
func (c *Conn) forget() {
	if c.host.sockets[c.ends] == c {
		delete(c.host.sockets, c.ends)
	}
	c.state = gone
}

// fail breaks the connection off at this end.
func (c *Conn) fail(err error) {
	c.forget()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	c.change.Broadcast()
}

// Read implements [net.Conn].
func (c *Conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		now := time.Now()
		switch {
		case c.closed:
			return 0, c.error("read", net.ErrClosed)
		case !c.read.IsZero() && !now.Before(c.read):
			return 0, c.error("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		case len(c.queue) > 0 && !c.queue[0].at.After(now):
			first := &c.queue[0]
			if first.bytes == nil {
				return 0, io.EOF
			}
			n := copy(b, first.bytes)
			if first.bytes = first.bytes[n:]; len(first.bytes) == 0 {
				c.queue = c.queue[1:]
			}
			c.unread -= n
			c.change.Broadcast()
			return n, nil
		case c.err != nil:
			return 0, c.error("read", c.err)
		case len(c.queue) > 0:
			c.wakeAt(c.queue[0].at)
		}
		c.change.Wait()
	}
}

// Write implements [net.Conn].
func (c *Conn) Write(b []byte) (int, error) {
	var done int
	for {
		n, err := c.writeSome(b[done:])
		if done += n; err != nil || done == len(b) {
			return done, err
		}
	}
}

// writeSome writes what there is room for at the other end; it waits for some.
func (c *Conn) writeSome(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed || c.ended:
			return 0, c.error("write", net.ErrClosed)
		case !c.write.IsZero() && !time.Now().Before(c.write):
			return 0, c.error("write", os.ErrDeadlineExceeded)
		case c.err != nil:
			return 0, c.error("write", c.err)
		case len(b) == 0:
			return 0, nil
		}
		delay := c.delay
		c.poked = false
		// Never two connections' locks at a time.
		c.mu.Unlock()
		n, err := c.peer.put(b, delay, c)
		c.mu.Lock()
		if n > 0 || err != nil {
			if err != nil {
				err = c.error("write", err)
			}
			return n, err
		}
		if !c.poked && !c.closed && c.err == nil {
			c.change.Wait() // until the other end has read
		}
	}
}

// put adds bytes to what this end will read. Without room it tells the writer
// when there is some.
func (c *Conn) put(b []byte, delay time.Duration, from *Conn) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed || c.err != nil:
		return 0, syscall.EPIPE
	case c.unread >= maxUnread:
		go c.tell(from)
		return 0, nil
	}
	n := min(len(b), maxUnread-c.unread)
	c.queue = append(c.queue, piece{append([]byte(nil), b[:n]...), time.Now().Add(delay)})
	c.unread += n
	c.change.Broadcast()
	return n, nil
}

// tell waits for room and wakes a writer.
func (c *Conn) tell(writer *Conn) {
	c.mu.Lock()
	for c.unread >= maxUnread && !c.closed && c.err == nil {
		c.change.Wait()
	}
	c.mu.Unlock()
	writer.mu.Lock()
	writer.poked = true
	writer.change.Broadcast()
	writer.mu.Unlock()
}

// CloseWrite tells the other end that no more comes.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	if c.closed || c.ended {
		c.mu.Unlock()
		return c.error("close", net.ErrClosed)
	}
	c.ended = true
	delay := c.delay
	c.mu.Unlock()
	c.peer.end(delay)
	return nil
}

// end queues the end of what this end will read.
func (c *Conn) end(delay time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, piece{nil, time.Now().Add(delay)})
	c.change.Broadcast()
}

// Close implements [net.Conn].
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.error("close", net.ErrClosed)
	}
	c.closed = true
	told := c.ended
	delay := c.delay
	c.change.Broadcast()
	c.mu.Unlock()
	if !told {
		c.peer.end(delay)
	}
	c.host.network.mu.Lock()
	defer c.host.network.mu.Unlock()
	c.forget()
	return nil
}

// wakeAt looks at the connection again at a time.
func (c *Conn) wakeAt(t time.Time) {
	time.AfterFunc(time.Until(t), func() {
		c.mu.Lock()
		c.change.Broadcast()
		c.mu.Unlock()
	})
}

// SetDeadline implements [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.read, &c.write) }

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.read) }

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.write) }

func (c *Conn) setDeadlines(t time.Time, which ...*time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.error("set", net.ErrClosed)
	}
	for _, w := range which {
		*w = t
	}
	if !t.IsZero() {
		c.wakeAt(t)
	}
	c.change.Broadcast()
	return nil
}

// LocalAddr implements [net.Conn].
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.ends.inner) }

// RemoteAddr implements [net.Conn].
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.ends.outer) }

func (c *Conn) error(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
