package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// SetRoute says that streams to dst go by via, a node with a carrier or a route
// of its own. A carrier to dst itself goes before any route.
func (e *Endpoint) SetRoute(dst, via wire.NodeID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.routes[dst] = via
}

// DropRoute forgets what SetRoute said about dst.
func (e *Endpoint) DropRoute(dst wire.NodeID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.routes, dst)
}

// SetDefaultRoute says by which node all streams without another way go; the
// zero identity means none.
func (e *Endpoint) SetDefaultRoute(via wire.NodeID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fallback = via
}

// endsWithin is how long a carrier takes to end after its connection broke.
const endsWithin = 100 * time.Millisecond

// relay passes a stream on towards its destination.
func (e *Endpoint) relay(ctx context.Context, from *carrier, in pipe, o *wire.Open) error {
	out, err := e.passOn(ctx, from, o)
	if err != nil {
		return err
	}
	_ = in.SetDeadline(time.Time{})
	e.splice(ctx, in, out, isBulk(o.Stream))
	return nil
}

// passOn opens the next leg of a stream. A neighbour that turns out to be gone
// is no reason to refuse: there may be another way.
func (e *Endpoint) passOn(ctx context.Context, from *carrier, o *wire.Open) (pipe, error) {
	for {
		to, next, err := e.next(o, from.known().ID)
		if err != nil {
			return nil, err
		}
		out, err := to.pass(ctx, next)
		if err == nil || !to.ending(ctx) {
			if err != nil {
				err = fmt.Errorf("pass a stream on to %s: %w", to.known().ID.Short(), err)
			}
			return out, err
		}
	}
}

// ending reports whether a carrier on which something has failed has ended, as
// it does within a moment when its connection is broken. It is no way then.
func (c *carrier) ending(ctx context.Context) bool {
	moment := time.NewTimer(endsWithin)
	defer moment.Stop()
	select {
	case <-c.mux.session.CloseChan():
		return true
	case <-ctx.Done():
	case <-moment.C:
	}
	return false
}

// next returns by which carrier a stream from a neighbour goes on, and its
// first frame there. A hub of the destination which has no carrier to it takes
// itself off the list, so that a stream tries each once. Only the first hub
// adds what the opener did not know.
func (e *Endpoint) next(o *wire.Open, from wire.NodeID) (*carrier, *wire.Open, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.identity == nil {
		return nil, nil, ErrNotAdmitted
	}
	self := e.identity.ID
	switch {
	case o.Src.IsZero() || o.Src == self:
		// Whoever gets a stream with a carrier's own peer as its source takes it
		// for that peer's.
		return nil, nil, errors.New("a stream of nobody cannot be passed on")
	case o.Hops == 0:
		return nil, nil, errors.New("too many hubs")
	case slices.Contains(o.Route, self) || slices.Contains(o.Route, from):
		return nil, nil, errors.New("the route leads back")
	}
	hubs := o.Hubs
	if len(hubs) == 0 && o.Hops == wire.MaxHops {
		hubs = e.homes.get(o.Dst)
	}
	if slices.Contains(hubs, self) {
		hubs = slices.DeleteFunc(slices.Clone(hubs), func(id wire.NodeID) bool { return id == self })
	}
	w, ok := e.wayLocked(search{dst: o.Dst, kind: o.Stream, not: from, src: o.Src, hubs: hubs, route: o.Route, hops: int(o.Hops) - 1})
	if !ok {
		return nil, nil, fmt.Errorf("%w from %s to %s", ErrNoRoute, self.Short(), o.Dst.Short())
	}
	next := *o
	next.Hops--
	next.Hubs, next.Route = w.hubs, w.route
	return w.by, &next, nil
}

// pipeJoin passes a join on to a node nearer to the signer, opaque bytes in
// both directions, within the limits of one join.
func (e *Endpoint) pipeJoin(ctx context.Context, in net.Conn, not wire.NodeID, hops uint8, answer func(error)) error {
	select {
	case e.joins <- struct{}{}:
		defer func() { <-e.joins }()
	default:
		err := fmt.Errorf("%w: %d joins at once", ErrRefused, maxJoins)
		answer(err)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	out, err := e.offerJoin(ctx, not, hops)
	answer(err)
	if err != nil {
		return err
	}
	defer out.Close()
	defer in.Close()
	defer context.AfterFunc(ctx, func() { in.Close(); out.reset() })()
	limited := &limitedConn{Conn: in, in: wire.MaxJoin, out: wire.MaxJoin}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(onlyWriter{out}, onlyReader{limited})
		_ = out.Close()
	})
	_, err = io.Copy(onlyWriter{limited}, onlyReader{out})
	in.Close()
	wg.Wait()
	return err
}

// offerJoin opens a join stream to the launcher, if there is a carrier to it,
// or by the default route.
func (e *Endpoint) offerJoin(ctx context.Context, not wire.NodeID, hops uint8) (*muxStream, error) {
	by, o := e.signerward(not, hops)
	if by == nil {
		return nil, fmt.Errorf("%w: this hub cannot admit and nobody who can is in reach", ErrRefused)
	}
	out, err := by.mux.OpenStream()
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, out.reset)()
	if err := offerStream(out, o); err != nil {
		out.reset()
		return nil, err
	}
	return out, nil
}

// signerward returns by which carrier a join goes on and its first frame there.
// A neighbour serves it or passes it on itself; to a default route that is
// farther away the join goes as any stream does.
func (e *Endpoint) signerward(not wire.NodeID, hops uint8) (*carrier, *wire.Open) {
	if hops == 0 {
		return nil, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	o := &wire.Open{Stream: wire.StreamJoin, Hops: hops - 1}
	for id, n := range e.nodes {
		if c := n.carrier(false); c != nil && c.peer.Role == wire.RoleLauncher && id != not {
			return c, o
		}
	}
	w, ok := e.wayLocked(search{dst: e.fallback, kind: wire.StreamJoin, not: not, hubs: e.homes.get(e.fallback), hops: int(hops) - 1})
	if !ok {
		return nil, nil
	}
	if len(w.route) > 0 || len(w.hubs) > 0 && w.by.peer.ID != e.fallback {
		o.Dst, o.Src, o.Hubs, o.Route = e.fallback, e.identity.ID, w.hubs, w.route
	}
	return w.by, o
}
