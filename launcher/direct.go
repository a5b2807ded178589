package launcher

import (
	"context"
	"io"
	"net"
	"path"
	"sync"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// maxDirect is the number of pilots of a host that are given a connection of
// their own for bulk data: servers allow ten conversations over a login.
const maxDirect = 4

// direct connects this node to the pilots of a host once more, past the hub,
// for bulk data: each process less on the way is a copy less. It is an
// improvement only, so what fails is not tried again before the next change.
func (r *siteRun) direct(ctx context.Context, h *host) {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	r.mu.Lock()
	var sockets []string
	for number := range h.pilots {
		socket := r.pilotSocket(number)
		if h.direct[socket] || len(h.direct) >= maxDirect || len(h.hubs) == 0 || h.behind != "" || r.site.Local() {
			continue
		}
		if h.direct == nil {
			h.direct = make(map[string]bool)
		}
		h.direct[socket] = true
		sockets = append(sockets, socket)
	}
	r.mu.Unlock()
	for _, socket := range sockets {
		forget := func(error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			delete(h.direct, socket)
		}
		peer, err := r.bulk(r.s.life, ctx, h, socket, forget)
		if err != nil {
			forget(err)
			r.s.log.Info("no connection past the hub", "site", r.site.Name, "socket", socket, "error", err)
			continue
		}
		r.s.sink.moved(peer.ID)
	}
}

// bulk makes a further connection to an agent, for bulk data: the site's own
// server connects to the socket where it is willing to, which spares the
// copies of a bridge, else by a bridge. tctx bounds the making of the
// connection, ctx its life.
func (r *siteRun) bulk(ctx, tctx context.Context, h *host, socket string, closed func(error)) (transport.Peer, error) {
	o := transport.Options{Bulk: true, Path: wire.PathSSH, OnClose: closed, More: r.more(h, socket)}
	conn, err := h.gat.Forward(tctx, "unix", path.Join(h.sessionDir(r.s.id), socket))
	if err != nil {
		r.s.log.Debug("not forwarded to a socket", "site", r.site.Name, "error", err)
		return r.bridge(ctx, tctx, h, socket, o)
	}
	peer, err := r.s.ep.Connect(tctx, countedConn{conn, r.moved}, transport.Local, o)
	if err != nil {
		conn.Close()
	}
	return peer, err
}

// maxBridges is how many bulk streams to one host may have a bridge of their own
// at a time, where the server does not connect to sockets: each takes one of the
// conversations that it allows.
const maxBridges = 2

// more returns what makes further connections to an agent, each for one bulk stream.
func (r *siteRun) more(h *host, socket string) func(context.Context) (io.ReadWriteCloser, error) {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		address := path.Join(h.sessionDir(r.s.id), socket)
		conn, err := h.gat.Forward(ctx, "unix", address)
		if err == nil {
			return countedConn{conn, r.moved}, nil
		}
		if h.bridges.Add(1) > maxBridges {
			h.bridges.Add(-1)
			return nil, err
		}
		// The command outlives this call: it ends with the connection.
		cctx, cancel := context.WithCancel(r.s.life)
		stop := context.AfterFunc(ctx, cancel)
		p, err := h.gat.Run(cctx, gat.Command{Argv: []string{h.binary, "attach", address}})
		if err == nil && !stop() {
			p.Close()
			err = ctx.Err()
		}
		done := sync.OnceFunc(func() { cancel(); h.bridges.Add(-1) })
		if err != nil {
			done()
			return nil, err
		}
		return &extraBridge{newBridgeConn(p, r.moved), done}, nil
	}
}

// extraBridge is a bridge that is counted.
type extraBridge struct {
	*bridgeConn
	done func()
}

// Close implements io.Closer.
func (b *extraBridge) Close() error {
	defer b.done()
	return b.bridgeConn.Close()
}

// countedConn counts what passes through a connection.
type countedConn struct {
	net.Conn
	moved func(sent, got int)
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.moved(0, n)
	return n, err
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.moved(n, 0)
	return n, err
}
