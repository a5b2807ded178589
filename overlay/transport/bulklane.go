package transport

import (
	"bufio"
	"io"
	"net"
	"sync"
	"time"
)

// pipe is what the bytes of one stream go over between two neighbours: a
// stream of a multiplexer, or a lane.
type pipe interface {
	net.Conn
	// closeWrite says that no more comes from this end.
	closeWrite() error
	// reset ends the pipe so that the other end's reads and writes fail, as far
	// as the pipe can say so.
	reset()
	// whole reports, after an end of file, whether that was one, and not the
	// first half of a reset. It may take a moment.
	whole() bool
}

// lane is a connection between two neighbours that carries the bytes of one
// stream and nothing else. It ends with the carrier that vouches for it.
type lane struct {
	net.Conn
	c       *carrier
	foreign bool // without deadlines of its own: one that passes closes it
	once    sync.Once

	mu          sync.Mutex
	read, write *time.Timer // the deadlines of a foreign connection
}

// addLane makes a lane of a connection whose two ends are agreed.
func (c *carrier) addLane(conn net.Conn) (*lane, error) {
	tuneLane(conn)
	l := &lane{Conn: conn, c: c}
	if _, ok := conn.(pipeConn); ok || conn.SetDeadline(time.Time{}) != nil {
		l.foreign = true
	}
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	if c.mux.session.IsClosed() {
		conn.Close()
		return nil, errCarrierClosed
	}
	if c.lanes == nil {
		c.lanes = make(map[*lane]struct{})
	}
	c.lanes[l] = struct{}{}
	return l, nil
}

// endLanes breaks all lanes of a carrier that has ended.
func (c *carrier) endLanes() {
	c.e.mu.Lock()
	lanes := c.lanes
	c.lanes = nil
	c.e.mu.Unlock()
	for l := range lanes {
		l.reset()
	}
}

// Close ends the lane in good order: what was written still arrives.
func (l *lane) Close() error {
	var err error
	l.once.Do(func() {
		l.c.e.mu.Lock()
		delete(l.c.lanes, l)
		l.c.e.mu.Unlock()
		err = l.Conn.Close()
		l.mu.Lock()
		defer l.mu.Unlock()
		stop(l.read)
		stop(l.write)
	})
	return err
}

func (l *lane) reset() {
	if tcp, ok := l.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = l.Close()
}

func (l *lane) closeWrite() error {
	if c, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return l.Close()
}

func (l *lane) whole() bool { return true }

// SetDeadline implements [net.Conn].
func (l *lane) SetDeadline(t time.Time) error {
	if !l.foreign {
		return l.Conn.SetDeadline(t)
	}
	l.arm(&l.read, t)
	l.arm(&l.write, t)
	return nil
}

// SetReadDeadline implements [net.Conn].
func (l *lane) SetReadDeadline(t time.Time) error {
	if !l.foreign {
		return l.Conn.SetReadDeadline(t)
	}
	l.arm(&l.read, t)
	return nil
}

// SetWriteDeadline implements [net.Conn].
func (l *lane) SetWriteDeadline(t time.Time) error {
	if !l.foreign {
		return l.Conn.SetWriteDeadline(t)
	}
	l.arm(&l.write, t)
	return nil
}

// arm has a lane without deadlines closed at a time; zero means never.
func (l *lane) arm(timer **time.Timer, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	stop(*timer)
	*timer = nil
	if !at.IsZero() {
		*timer = time.AfterFunc(time.Until(at), l.reset)
	}
}

func stop(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}

// laneInfo is what the kernel knows of a lane's TCP connection.
type laneInfo struct {
	rtt, least time.Duration // round trip times, now and the least so far
	lost       uint64        // segments that were sent again
}

// recordConn is what TLS reads and writes on a lane. It reads many records at
// once; and while it is corked, what is written waits for flush, so that the
// records of a frame are written together. An end of file is an error, as of a
// strictConn.
type recordConn struct {
	*lane
	r      *bufio.Reader
	corked bool
	held   []byte
}

// maxHeld is how many bytes a corked recordConn gathers at most: two full
// records. With more, the two ends take turns where they should overlap.
const maxHeld = 34 << 10

func newRecordConn(l *lane) *recordConn {
	return &recordConn{lane: l, r: bufio.NewReaderSize(l.Conn, readAhead)}
}

func (c *recordConn) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err == io.EOF {
		err = errCut
	}
	return n, err
}

func (c *recordConn) Write(p []byte) (int, error) {
	if !c.corked {
		return c.lane.Write(p)
	}
	if len(c.held)+len(p) > maxHeld {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	c.held = append(c.held, p...)
	return len(p), nil
}

func (c *recordConn) flush() error {
	if len(c.held) == 0 {
		return nil
	}
	_, err := c.lane.Write(c.held)
	c.held = c.held[:0]
	return err
}
