package core_test

import (
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

type believer struct{}

func (believer) Verify(*wire.Card, []byte) bool { return true }

// TestExplore: a hub asks for direct links to others, one at a time, the one that
// should be nearest among the first; in a large session for none.
func TestExplore(t *testing.T) {
	for hubs, some := range map[int]bool{30: true, 300: false} {
		h := met(t, core.Config{ID: hubH.ID, Role: wire.RoleHub, Site: "s", Seed: 7, Verify: believer{},
			Sign: func([]byte) []byte { return make([]byte, wire.SignatureSize) }}, hubI)
		now := 2 * time.Second
		for i := range hubs {
			at := &wire.Coordinate{Position: wire.Position{float32(10 + i)}, Error: 0.1}
			h.Receive(now, hubI.ID, &wire.Tables{Rows: []wire.Row{{Table: &wire.Table{Hub: wire.NodeID{5, byte(i >> 8), byte(i)}, Seq: 1, Coordinate: at}}}})
		}
		asked := make(map[wire.NodeID]bool)
		for now < 62*time.Second {
			now = max(h.Next(), now+1)
			h.Tick(now)
			dials := h.Ready().Dials
			if len(dials) > 1 {
				t.Errorf("%d links are asked for at once", len(dials))
			}
			for _, a := range dials {
				asked[a.ID] = true
			}
		}
		if nearest := asked[wire.NodeID{5}]; nearest != some || (len(asked) > 5) != some || len(asked) > 14 {
			t.Errorf("%d hubs: %d are asked for a link, the nearest one %v", hubs, len(asked), nearest)
		}
	}
}
