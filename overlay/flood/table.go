package flood

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of a Tables.
const (
	MaxHubs = 4096 // with a table

	TableEvery = 30 * time.Second           // a table is told again, though nothing has changed
	TableLife  = 3*TableEvery + time.Second // of one that is not

	distrustFirst = 30 * time.Second // doubles each time
	distrustMax   = 15 * time.Minute
)

// Tables is what a node knows of the free slots at every hub. The zero Tables
// is empty.
//
// What it holds are words of others. A hub that claims slots it lacks costs
// whoever asks there a round; then it is distrusted, for longer each time, and
// the search goes on elsewhere.
type Tables struct {
	rows []*row // by hub
}

type row struct {
	table   *wire.Table
	written time.Duration // when, by the node's own clock
	strikes int
	trustAt time.Duration // not to be asked before
}

func (t *Tables) index(hub wire.NodeID) (int, bool) {
	return slices.BinarySearchFunc(t.rows, hub, func(r *row, id wire.NodeID) int { return r.table.Hub.Compare(id) })
}

// Hear takes a table that was written an age ago, and reports whether it is
// news, to be passed on.
func (t *Tables) Hear(now time.Duration, table *wire.Table, age time.Duration) bool {
	if age >= TableLife {
		return false
	}
	i, found := t.index(table.Hub)
	switch {
	case found && table.Seq <= t.rows[i].table.Seq:
		return false
	case found:
		t.rows[i].table, t.rows[i].written = table, now-age
	case len(t.rows) >= MaxHubs:
		return false
	default:
		t.rows = slices.Insert(t.rows, i, &row{table: table, written: now - age})
	}
	return true
}

// Expire forgets the tables that were not told again.
func (t *Tables) Expire(now time.Duration) {
	t.rows = slices.DeleteFunc(t.rows, func(r *row) bool { return now-r.written >= TableLife })
}

// Forget drops what is known of a hub that is gone.
func (t *Tables) Forget(hub wire.NodeID) {
	if i, found := t.index(hub); found {
		t.rows = slices.Delete(t.rows, i, i+1)
	}
}

// Get returns a hub's table, or nil.
func (t *Tables) Get(hub wire.NodeID) *wire.Table {
	if i, found := t.index(hub); found {
		return t.rows[i].table
	}
	return nil
}

// Len returns how many hubs are known.
func (t *Tables) Len() int { return len(t.rows) }

// Rows returns the tables of some hubs as they travel, nil meaning all, by hub.
func (t *Tables) Rows(now time.Duration, hubs []wire.NodeID) []wire.Row {
	var list []wire.Row
	for _, r := range t.rows {
		if hubs == nil || slices.Contains(hubs, r.table.Hub) {
			list = append(list, wire.Row{Table: r.table, Age: max(0, now-r.written)})
		}
	}
	return list
}

// Places returns every hub that is known, by identity, with the workers that
// fit into what it says is free; into nothing, for one that is distrusted.
func (t *Tables) Places(now time.Duration, needs *wire.Requirements) []Place {
	list := make([]Place, len(t.rows))
	for i, r := range t.rows {
		list[i] = Place{Hub: r.table.Hub, Site: r.table.Site, Coordinate: r.table.Coordinate}
		if now >= r.trustAt {
			list[i].Workers = Fit(r.table, needs)
		}
	}
	return list
}

// Place returns what is known of where a hub is.
func (t *Tables) Place(hub wire.NodeID, site string) Place {
	if r := t.Get(hub); r != nil {
		return Place{Hub: hub, Site: r.Site, Coordinate: r.Coordinate}
	}
	return Place{Hub: hub, Site: site}
}

// Distrust notes that a hub did not have what it said, and reports whether
// that happens for the first time.
func (t *Tables) Distrust(now time.Duration, hub wire.NodeID) bool {
	i, found := t.index(hub)
	if !found {
		return false
	}
	r := t.rows[i]
	r.trustAt = now + min(distrustFirst<<min(r.strikes, 8), distrustMax)
	r.strikes++
	return r.strikes == 1
}

// Trust notes that a hub had what it said.
func (t *Tables) Trust(hub wire.NodeID) {
	if i, found := t.index(hub); found {
		t.rows[i].strikes, t.rows[i].trustAt = 0, 0
	}
}
