package launcher

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/pilot"
)

// A bridgeConn is the conversation with a bridge as a connection. It counts what
// passes, and knows how the bridge ended.
type bridgeConn struct {
	gat.Process
	moved  func(sent, got int)
	silent atomic.Bool   // the bridge's output has ended
	ended  chan struct{} // closed when the bridge has
	status int           // its exit status; valid once it has ended
}

func newBridgeConn(p gat.Process, moved func(sent, got int)) *bridgeConn {
	c := &bridgeConn{Process: p, moved: moved, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		c.status, _ = p.Wait()
	}()
	go io.Copy(io.Discard, p.Stderr()) // shells of hosts chatter there; the exit status tells enough
	return c
}

// Read implements io.Reader.
func (c *bridgeConn) Read(p []byte) (int, error) {
	n, err := c.Stdout().Read(p)
	c.moved(0, n)
	if err != nil {
		c.silent.Store(true)
	}
	return n, err
}

// Write implements io.Writer.
func (c *bridgeConn) Write(p []byte) (int, error) {
	n, err := c.Stdin().Write(p)
	c.moved(n, 0)
	return n, err
}

// Close ends the bridge. One that is about to end is let, for its exit status.
func (c *bridgeConn) Close() error {
	if c.silent.Load() {
		c.rest()
	}
	return c.Process.Close()
}

// CloseWrite ends the bridge's input.
func (c *bridgeConn) CloseWrite() error { return c.Stdin().Close() }

// rest waits a moment for the end of the bridge, and reports whether it ended.
func (c *bridgeConn) rest() bool {
	select {
	case <-c.ended:
		return true
	case <-time.After(time.Second):
		return false
	}
}

// noAgent reports whether the bridge ended because there is no agent, or not even the
// pilot's binary: agents that leave take it with them.
func (c *bridgeConn) noAgent() bool {
	return c.rest() && (c.status == pilot.ExitNoAgent || c.status == exitNotFound)
}

var _ io.ReadWriteCloser = (*bridgeConn)(nil)

// exitNotFound is the exit status of shells that do not find a command.
const exitNotFound = 127
