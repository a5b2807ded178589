package launcher

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

//go:embed relay.sh
var relayScript string

// relayThrough opens connections from a host by a command run there: to hosts
// behind one that forbids forwarding, where there is no hub that could be asked.
func relayThrough(site *gat.Site) gat.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		// The command outlives this call: it ends with the connection.
		p, err := site.Run(context.WithoutCancel(ctx), gat.Command{Argv: []string{"/bin/sh", "-c", relayScript, "zorilla", host, port}})
		if err != nil {
			return nil, fmt.Errorf("connect to %s from %s: %w", address, site.Name(), err)
		}
		return relayConn{newBridgeConn(p, func(int, int) {}), address}, nil
	}
}

// relayConn is a bridge to a TCP port. It has no deadlines: who needs one closes it.
type relayConn struct {
	*bridgeConn
	address string
}

// LocalAddr implements [net.Conn].
func (c relayConn) LocalAddr() net.Addr { return relayAddr("") }

// RemoteAddr implements [net.Conn].
func (c relayConn) RemoteAddr() net.Addr { return relayAddr(c.address) }

// SetDeadline implements [net.Conn]; it does nothing.
func (c relayConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements [net.Conn]; it does nothing.
func (c relayConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements [net.Conn]; it does nothing.
func (c relayConn) SetWriteDeadline(time.Time) error { return nil }

type relayAddr string

// Network implements [net.Addr].
func (relayAddr) Network() string { return "relay" }

func (a relayAddr) String() string { return string(a) }
