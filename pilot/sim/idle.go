package sim

import (
	"runtime"
	"time"
)

// idleTime is when nodes know as many others as they ever will: their views
// are full before a minute is over, their memory of measured peers after three
// or four.
const idleTime = 6 * time.Minute

// IdleBytes measures how many bytes of memory the state of an idle node takes,
// in a calm session of n nodes without a job: what becomes free when the nodes
// are let go of, and nothing else. A card that many nodes keep counts once.
func IdleBytes(n int) int64 {
	w := newWorld(worldConfig{Seed: 1, Layout: gridLayout(newRand(1), n, nil), Calm: true})
	w.codec = 1 << 60 // a card that was decoded would be a card of its own
	w.build(5 * time.Second)
	w.k.Run(idleTime)
	var nodes []*node
	for _, s := range w.spots {
		nodes = append(nodes, s.node)
	}
	with := heap()
	for _, n := range nodes {
		n.core = nil
	}
	without := heap()
	runtime.KeepAlive(w)
	return max(0, with-without) / int64(len(nodes))
}

// heap is how many bytes are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
