package transport

import (
	"fmt"
	"net"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Path returns how a stream to a node that is opened now would go; false when
// there is no way.
func (e *Endpoint) Path(id wire.NodeID) (wire.Path, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w, ok := e.findLocked(id, wire.StreamLink)
	if !ok || w.by.peer.ID != id {
		return wire.PathRouted, ok
	}
	return w.by.peer.Path, true
}

// RTT returns the smoothed round-trip time of the newest carrier to a node;
// false when there is none, or none has been measured yet. It is measured when
// the carrier is made and in its silences: with [Config].Keepalive between two
// measurements at least.
func (e *Endpoint) RTT(id wire.NodeID) (time.Duration, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodes[id]
	if n == nil {
		return 0, false
	}
	for i := range n.carriers {
		if c := n.carriers[len(n.carriers)-1-i]; c.rtt > 0 {
			return c.rtt, true
		}
	}
	return 0, false
}

// measured takes in what a ping took, queues of both ends included: the
// estimate goes down at once, and up slowly, as nobody can be nearer than is
// measured.
func (c *carrier) measured(rtt time.Duration) {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	if c.rtt == 0 || rtt < c.rtt {
		c.rtt = max(rtt, 1)
		return
	}
	c.rtt += (rtt - c.rtt) / 8
}

// madeConn is a connection that did not come about in the plain way. If two
// nodes have made it in an attempt, it is for one of them only.
type madeConn struct {
	net.Conn
	want wire.NodeID
	path wire.Path
}

// bare returns the connection itself.
func bare(conn net.Conn) net.Conn {
	if made, ok := conn.(*madeConn); ok {
		return made.Conn
	}
	return conn
}

// vouch completes who is at the other end of a connection, and refuses whoever
// it is not for.
func vouch(conn net.Conn, p *Peer) error {
	p.Path = wire.PathDirect
	made, ok := conn.(*madeConn)
	if !ok {
		return nil
	}
	if !made.want.IsZero() && p.ID != made.want {
		return fmt.Errorf("%w: %s is there and not %s", ErrUntrusted, p.ID.Short(), made.want.Short())
	}
	p.Path = made.path
	return nil
}
