package core

import (
	"slices"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// recent remembers the latest maxGone nodes that something was true of, so that
// news of them which goes in circles ends.
type recent struct {
	set  map[wire.NodeID]uint64 // by when they were added
	list []wire.NodeID          // a ring of those, and of some that were dropped
	n    uint64                 // nodes ever added
}

// add reports whether the node was not remembered.
func (r *recent) add(id wire.NodeID) bool {
	if _, ok := r.set[id]; ok {
		return false
	}
	if r.set == nil {
		r.set = make(map[wire.NodeID]uint64)
	}
	if i := r.n % maxGone; i < uint64(len(r.list)) {
		if old := r.list[i]; r.set[old] == r.n-maxGone {
			delete(r.set, old)
		}
		r.list[i] = id
	} else {
		r.list = append(r.list, id)
	}
	r.set[id] = r.n
	r.n++
	return true
}

func (r *recent) has(id wire.NodeID) bool {
	_, ok := r.set[id]
	return ok
}

func (r *recent) drop(id wire.NodeID) { delete(r.set, id) }

// latest returns up to k of them, the latest last.
func (r *recent) latest(k int) []wire.NodeID {
	var ids []wire.NodeID
	for i := r.n; i > 0 && len(ids) < k && r.n-i < uint64(len(r.list)); i-- {
		id := r.list[(i-1)%maxGone]
		if at, ok := r.set[id]; ok && at == i-1 {
			ids = append(ids, id)
		}
	}
	slices.Reverse(ids)
	return ids
}
