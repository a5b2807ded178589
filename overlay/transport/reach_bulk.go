package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/hub"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

const (
	againBound = 2 * time.Second // the calls for a further connection
	idleBound  = 2 * time.Minute // a carrier made for bulk ends when it is not used for so long
)

// another makes a further connection to a node that there is a direct carrier
// to, for one stream: both ends talk about it over that, and tell only what
// they know without asking others.
func (e *Endpoint) another(ctx context.Context, id wire.NodeID) (net.Conn, error) {
	s, err := e.openTo(ctx, id, wire.StreamReach)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, s.Reset)()
	if !s.peer.Direct {
		return nil, fmt.Errorf("%w: no carrier any more", ErrNoRoute)
	}
	a, err := e.prepare(ctx, s)
	if err != nil {
		return nil, err
	}
	defer a.close()
	asks, answers := hub.Calls(a.own, a.other, a.sameSite)
	if len(asks) == 0 && len(answers) == 0 {
		return nil, errors.New("neither end can call the other")
	}
	if err := wire.WriteFrame(s, &wire.Punch{Go: true, Bound: againBound}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, againBound)
	defer cancel()
	for f := range a.run(ctx, asks, hub.Reverse) {
		return f.conn, nil
	}
	return nil, errors.New("no call came through")
}

// retire closes a carrier that was made for bulk when nothing has used it for a
// while. From one look before that on new streams pass it over, so that none is
// cut off.
func (e *Endpoint) retire(c *carrier) {
	const looks = 8
	tick := time.NewTicker(idleBound / looks)
	defer tick.Stop()
	for idle := 0; idle <= looks; {
		select {
		case <-tick.C:
		case <-c.mux.session.CloseChan():
			return
		}
		e.mu.Lock()
		if idle++; c.mux.session.NumStreams() > 0 || len(c.lanes) > 0 {
			idle = 0
		}
		if n := e.nodes[c.peer.ID]; idle == looks && n != nil {
			n.carriers = slices.DeleteFunc(n.carriers, func(x *carrier) bool { return x == c })
			e.tidyLocked(n)
		}
		e.mu.Unlock()
	}
	c.close(errIdle)
}

var errIdle = errors.New("closed because nothing used it")
