package launcher_test

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/launcher"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// A large overlay crosses the control socket whole.
func TestControlOverlay(t *testing.T) {
	var o core.Overview
	for i := range 1000 {
		var id wire.NodeID
		binary.BigEndian.PutUint32(id[:], uint32(i+1))
		v := core.NodeView{Peer: wire.Peer{ID: id, Role: wire.RolePilot, Site: "das5", Name: "node", Offer: wire.Offer{Slots: 8}}, Hubs: []wire.NodeID{{9}}}
		if i%2 == 0 {
			v.Place = &wire.Coordinate{Position: wire.Position{1.5, -2}, Height: 0.25, Error: 0.5}
		}
		o.Nodes = append(o.Nodes, v)
		if i < 700 {
			o.Links = append(o.Links, core.LinkView{A: wire.NodeID{9}, B: id, Path: wire.PathSSH, RTT: 1500 * time.Microsecond})
		}
	}
	want := launcher.OverlayOf(o)
	if n := want.Nodes[0]; n.Coordinate == nil || !cmp.Equal(n.Coordinate.PositionMS, []float64{1.5, -2, 0, 0}) || n.Hubs[0] != "09000000000000000000000000000000" {
		t.Errorf("a node: %+v, at %+v", n, n.Coordinate)
	}
	if l := want.Links[0]; l.Path != "ssh" || l.RTTMS != 1.5 {
		t.Errorf("a link: %+v", l)
	}
	state := openState(t)
	run := createRun(t, state, launcher.Begun{Run: "abcdefgh"})
	s, err := launcher.ServeControl(run, launcher.Controls{
		Overlay: func(context.Context) (launcher.Overlay, error) { return want, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c, err := state.Control("abcdefgh")
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Overlay(t.Context())
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}
