//go:build linux

package pilot

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// failover is within what time streams flow again when a hub on their way has
// died and there is another way.
const failover = 2 * time.Second

// TestWANHubKilled kills the hub in the middle of the shorter of two ways, while
// files go over it: what was under way comes all the same, and new streams
// take the other way soon.
func TestWANHubKilled(t *testing.T) {
	w := newWide(t, nil, testbed.Place{Name: "east", Inner: 1}, testbed.Place{Name: "west", Inner: 1}, testbed.Place{Name: "middle"})
	home, east, west, middle := w.net.Home, w.net.Sites[0], w.net.Sites[1], w.net.Sites[2]
	for _, s := range w.net.Sites {
		w.net.SetRTT(home, s, 80*time.Millisecond)
	}
	w.net.SetRTT(east, middle, 10*time.Millisecond)
	w.net.SetRTT(west, middle, 10*time.Millisecond)
	// The two clusters do not reach each other, however short the way may be.
	w.net.SetPath(east, west, testbed.Line{Loss: 1})
	w.net.SetPath(west, east, testbed.Line{Loss: 1})
	sites, agents := w.startSites(1) // no pilot in the east
	m := w.member(sites[0], east.Inner[0])
	pilot := w.nodeAt("west1")

	// The hubs find the shorter way by themselves.
	const probe = 256 << 10
	for deadline := time.Now().Add(2 * patience); ; {
		before := w.net.Traffic(east, middle).Bytes
		if _, err := m.exchange(probe); err != nil {
			t.Fatal(err)
		}
		if w.net.Traffic(east, middle).Bytes > before+probe {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("streams from east to west do not go by the middle")
		}
	}

	exchanged := make(chan error, 1)
	go func() {
		took, err := m.exchange(8 << 20)
		t.Logf("the exchange took %v", took)
		exchanged <- err
	}()
	started := w.net.Traffic(east, middle).Bytes
	for deadline := time.Now().Add(patience); w.net.Traffic(east, middle).Bytes < started+2<<20; <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no file goes by the middle")
		}
	}
	killed := time.Now()
	sites[2].hub.cmd.Process.Kill()
	for {
		_, err := m.reach(t.Context(), pilot)
		if err == nil {
			break
		}
		if time.Since(killed) > patience {
			t.Fatalf("no stream to west %v after the hub's end: %v", patience, err)
		}
	}
	took := time.Since(killed)
	t.Logf("a new stream is open %v after the hub's end", took)
	if took > failover {
		t.Errorf("new streams flow %v after the hub's end, want %v", took, failover)
	}
	select {
	case err := <-exchanged:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * patience):
		t.Error("what was under way never came")
	}
	m.hangUp()
	w.retire(slices.DeleteFunc(agents, func(p *process) bool { return p == sites[2].hub })...)
	// The launcher cleans up after a hub that was killed; here it is the test.
	if _, err := middle.Head.Exec(t.Context(), "rm", "-r", w.base); err != nil {
		t.Error(err)
	}
	w.net.NoLeftovers(t)
}

// reach opens a stream to a node, waiting for a second at most, and returns how
// long that took. The two ends have then proven each other who they are.
func (m *world) reach(ctx context.Context, id wire.NodeID) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	began := time.Now()
	s, err := m.ep.OpenStream(ctx, id, wire.StreamFetch)
	if err != nil {
		return 0, err
	}
	defer s.Reset()
	return time.Since(began), nil
}

// nodeAt returns the node that calls itself by a host's name, of those up.
func (w *wide) nodeAt(name string) (id wire.NodeID) {
	w.t.Helper()
	w.call(func(_ time.Duration, n *core.Node) error {
		for _, p := range n.Peers() {
			if p.Name == name && p.Role == wire.RolePilot {
				id = p.ID
			}
		}
		return nil
	})
	if id.IsZero() {
		w.t.Fatalf("no pilot is called %s", name)
	}
	return id
}
