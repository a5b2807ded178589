//go:build linux

package pilot

import (
	"slices"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// Real agents, with cards that the session's CA vouches for, know one another,
// and the launcher knows the links.
func TestOverview(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 2 {
		w.start(w.boot(wire.RolePilot))
	}
	var o core.Overview
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for known := 0; known < 2; {
		select {
		case <-tick.C:
			w.call(func(now time.Duration, n *core.Node) error {
				known, o = n.Stats(now).View, n.Overview()
				return nil
			})
		case <-deadline:
			t.Fatalf("the launcher has heard of %d pilots: %+v", known, o)
		}
	}
	self := w.ep.ID()
	if len(o.Nodes) != 3 || len(o.Links) != 2 {
		t.Fatalf("%d nodes and %d links: %+v", len(o.Nodes), len(o.Links), o)
	}
	for _, l := range o.Links {
		if l.A != self && l.B != self || l.Path != wire.PathLocal {
			t.Errorf("link %s - %s is %v", l.A.Short(), l.B.Short(), l.Path)
		}
	}
	for _, n := range o.Nodes {
		if n.Role == wire.RolePilot && (!slices.Equal(n.Hubs, []wire.NodeID{self}) || n.Name != "there" || n.Lost) {
			t.Errorf("a pilot: %+v", n)
		}
	}
	for _, e := range drain(w) {
		if m, ok := e.(core.Misbehaved); ok {
			t.Errorf("%s is blamed: %s", m.Peer.ID.Short(), m.Reason)
		}
	}
}

// drain takes the events that are there.
func drain(w *world) (list []core.Event) {
	for {
		select {
		case e := <-w.events:
			list = append(list, e)
		default:
			return list
		}
	}
}
