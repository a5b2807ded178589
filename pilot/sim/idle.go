package sim

import (
	"encoding/binary"
	"runtime"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// IdleBytes measures how many bytes of memory the state of an idle pilot
// takes: one of n, each with a link to a hub.
func IdleBytes(n int) int64 {
	var before, after runtime.MemStats
	nodes := make([]*core.Node, n)
	hub := wire.Peer{ID: wire.NodeID{1}, Role: wire.RoleHub, Site: "site"}
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range nodes {
		var id wire.NodeID
		binary.BigEndian.PutUint64(id[8:], uint64(i+1))
		nodes[i] = core.New(core.Config{ID: id, Role: wire.RolePilot, Site: "site", Name: "host",
			Offer: wire.Offer{Slots: 8, Cores: 8}, Platform: "linux/amd64"}, time.Second)
		nodes[i].LinkUp(time.Second, hub)
		nodes[i].Receive(time.Second, hub.ID, &wire.Welcome{})
		nodes[i].Ready()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(nodes)
	return max(0, int64(after.HeapAlloc)-int64(before.HeapAlloc)) / int64(max(n, 1))
}
