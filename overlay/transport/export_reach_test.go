package transport

import (
	"context"
	"net"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// OpenReach opens the stream on which nodes talk about direct connections.
func (e *Endpoint) OpenReach(ctx context.Context, id wire.NodeID) (*Stream, error) {
	return e.openTo(ctx, id, wire.StreamReach)
}

// Welcome serves one connection that a test has accepted.
func (e *Endpoint) Welcome(conn net.Conn) error { return e.welcome(conn, TCP) }
