package sim

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// recoveries watches, from what primaries tell their users, how workers on
// nodes that were killed are missed and replaced.
type recoveries struct {
	w    *world
	list []*Recovery
}

// killed notes that nodes are killed now.
func (r *recoveries) killed(nodes []*node) {
	k := &Recovery{At: r.w.k.Now().Seconds(), Nodes: len(nodes), at: r.w.k.Now(),
		lost: make(map[wire.Key]time.Duration), again: make(map[wire.Key]time.Duration)}
	for _, n := range nodes {
		k.nodes = append(k.nodes, n.id)
		for key := range n.processes {
			if j := r.w.jobOf[key.Job]; !j.ended && j.primary != n {
				k.lost[key] = -1
			}
		}
	}
	k.Workers = len(k.lost)
	r.list = append(r.list, k)
}

func (r *recoveries) event(_ *node, e core.Event) {
	c, ok := e.(core.WorkerChanged)
	if !ok {
		return
	}
	now := r.w.k.Now()
	for _, k := range r.list {
		switch c.Change {
		case job.Lost:
			if at, ok := k.lost[c.Key]; ok && at < 0 {
				k.lost[c.Key] = now - k.at
			}
		case job.Running:
			for a := uint32(1); a < c.Key.Attempt; a++ { // whichever attempt of the rank was lost
				old := c.Key
				old.Attempt = a
				if _, ok := k.lost[old]; ok && k.again[old] == 0 {
					k.again[old] = now - k.at
				}
			}
		}
	}
}

// sent counts the adverts of primaries while something is not replaced yet.
func (r *recoveries) sent(n, _ *node, m wire.Message) {
	ad, ok := m.(*wire.Advert)
	if !ok || ad.Primary != n.id {
		return
	}
	for _, k := range r.list {
		if len(k.again) < k.Workers {
			k.Adverts++
		}
	}
}

func (r *recoveries) result() []Recovery {
	list := []Recovery{}
	for _, k := range r.list {
		var seen, again []time.Duration
		for _, d := range k.lost {
			seen = append(seen, d)
		}
		for _, d := range k.again {
			again = append(again, d)
		}
		k.FirstSeen, k.Seen = extent(seen, k.Workers)
		_, k.Replaced = extent(again, k.Workers)
		list = append(list, *k)
	}
	return list
}

// extent returns the first and the last of n times in seconds; -1 when some are
// missing.
func extent(list []time.Duration, n int) (first, last float64) {
	if n == 0 {
		return 0, 0
	}
	if len(list) < n || slices.Min(list) < 0 {
		return -1, -1
	}
	return slices.Min(list).Seconds(), slices.Max(list).Seconds()
}
