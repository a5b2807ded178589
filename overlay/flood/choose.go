package flood

import (
	"slices"
	"sort"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/vivaldi"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of Choose, which bound its time: some ten milliseconds for 64 among
// thousands of places.
const (
	maxCentres = 512 // places around which a set is tried
	maxStarts  = 8   // of them are improved
	maxNearby  = 128 // places to which an improvement may turn
	maxSwaps   = 256 // improvements of one start
)

// Unknown is how far everything is from a place without a coordinate.
const Unknown = 500 * time.Millisecond

// Place is a hub with its pilots, and how many workers can be, or are, there.
type Place struct {
	Hub        wire.NodeID
	Site       string
	Coordinate *wire.Coordinate // nil is not known
	Links      []wire.HubLink   // what was measured from it to others, by identity
	Workers    int
}

// Between estimates the round-trip time between workers of two places.
func Between(a, b *Place) time.Duration {
	switch {
	case a.Hub == b.Hub || a.Site != "" && a.Site == b.Site:
		return vivaldi.SiteDistance
	}
	if d := a.measured(b); d > 0 {
		return d
	}
	switch {
	case a.Coordinate == nil || b.Coordinate == nil:
		return Unknown
	}
	return max(vivaldi.Distance(*a.Coordinate, *b.Coordinate), vivaldi.SiteDistance)
}

// measured returns the round-trip time over a link between two places, 0 when
// there is none.
func (p *Place) measured(o *Place) time.Duration {
	if len(p.Links) == 0 {
		return 0
	}
	i, found := slices.BinarySearchFunc(p.Links, o.Hub, func(l wire.HubLink, id wire.NodeID) int { return l.ID.Compare(id) })
	if !found {
		return 0
	}
	return time.Duration(p.Links[i].RTT) * time.Microsecond
}

// Choose returns how many workers to put at each of the places so that want of
// them, and those that are there already, are close together: the mean
// round-trip time between two of them is about the least there is. It returns
// nil when the places do not hold so many.
//
// Around each place the nearest ones are taken (the greedy answer); the best
// of these sets are then improved by moving workers, the move that gains the
// most first, until none does.
func Choose(places []Place, there []Place, want int) []int {
	room := 0
	for i := range places {
		room += places[i].Workers
	}
	if want <= 0 || room < want {
		return nil
	}
	best, cost := []int(nil), 0.0
	for _, centre := range centres(places, there, want) {
		s := newSet(places, there, centre, want)
		if s.improve(); best == nil || s.cost() < cost {
			best, cost = s.counts(len(places)), s.cost()
		}
	}
	return best
}

// centres returns the places around which the nearest want workers are the
// closest to the centre, the best first.
func centres(places, there []Place, want int) []int {
	type try struct {
		at   int
		cost float64
	}
	step := max(1, (len(places)+maxCentres-1)/maxCentres)
	var tries []try
	order := make([]way, 0, len(places)+1)
	for c := 0; c < len(places); c += step {
		if places[c].Workers == 0 {
			continue
		}
		cost := 0.0
		for i := range there {
			cost += milliseconds(Between(&places[c], &there[i])) * float64(there[i].Workers)
		}
		left := want
		for _, w := range nearest(order, places, c, min(want, len(places))) {
			n := min(left, places[w.to].Workers)
			cost += w.far * float64(n)
			left -= n
		}
		tries = append(tries, try{c, cost})
	}
	sort.SliceStable(tries, func(i, j int) bool { return tries[i].cost < tries[j].cost })
	var list []int
	for _, t := range tries[:min(len(tries), maxStarts)] {
		list = append(list, t.at)
	}
	return list
}

// way is how far a place is, in milliseconds.
type way struct {
	to  int
	far float64
}

// nearest returns up to limit places with room, those nearest to one first.
func nearest(buf []way, places []Place, centre, limit int) []way {
	list := buf[:0]
	for i := range places {
		if places[i].Workers == 0 {
			continue
		}
		w := way{i, 0}
		if i != centre {
			w.far = milliseconds(Between(&places[centre], &places[i]))
		}
		if len(list) == limit {
			if w.far >= list[limit-1].far {
				continue
			}
			list = list[:limit-1]
		}
		at, _ := slices.BinarySearchFunc(list, w.far, func(x way, far float64) int {
			if x.far <= far {
				return -1
			}
			return 1
		})
		list = slices.Insert(list, at, w)
	}
	return list
}

// set is a choice around a centre that is being improved.
type set struct {
	at    []int       // the places it may use
	room  []int       // of each
	taken []int       // of each
	far   [][]float64 // between each two, in milliseconds
	sums  []float64   // from each to all workers, those that are there already included
	fixed []float64   // from each to those
}

func newSet(places, there []Place, centre, want int) *set {
	s := &set{}
	room := 0
	for k, w := range nearest(nil, places, centre, min(max(want, maxNearby), len(places))) {
		if k >= maxNearby && room >= want {
			break
		}
		s.at = append(s.at, w.to)
		s.room = append(s.room, places[w.to].Workers)
		room += places[w.to].Workers
	}
	n := len(s.at)
	s.taken, s.far, s.sums, s.fixed = make([]int, n), make([][]float64, n), make([]float64, n), make([]float64, n)
	for i := range s.at {
		s.far[i] = make([]float64, n)
		for j := range i {
			s.far[i][j] = milliseconds(Between(&places[s.at[i]], &places[s.at[j]]))
			s.far[j][i] = s.far[i][j]
		}
		s.far[i][i] = milliseconds(vivaldi.SiteDistance)
		for j := range there {
			s.fixed[i] += milliseconds(Between(&places[s.at[i]], &there[j])) * float64(there[j].Workers)
		}
	}
	copy(s.sums, s.fixed)
	for i := range s.at {
		k := min(want, s.room[i])
		want -= k
		s.add(i, k)
	}
	return s
}

func (s *set) add(i, workers int) {
	s.taken[i] += workers
	if workers != 0 {
		for j, d := range s.far[i] {
			s.sums[j] += d * float64(workers)
		}
	}
}

// improve moves workers until no move gains anything.
func (s *set) improve() {
	for range maxSwaps {
		from, to, gain := -1, -1, 1e-6
		for i, k := range s.taken {
			if k == 0 {
				continue
			}
			for j := range s.at {
				if s.taken[j] < s.room[j] && j != i {
					if g := s.sums[i] - s.sums[j] + s.far[i][j] - s.far[i][i]; g > gain {
						from, to, gain = i, j, g
					}
				}
			}
		}
		if from < 0 {
			return
		}
		s.add(from, -1)
		s.add(to, 1)
	}
}

// cost is the sum over all pairs, each counted twice.
func (s *set) cost() float64 {
	sum := 0.0
	for i, k := range s.taken {
		sum += float64(k) * (s.sums[i] + s.fixed[i])
	}
	return sum
}

func (s *set) counts(n int) []int {
	out := make([]int, n)
	for i, k := range s.taken {
		out[s.at[i]] = k
	}
	return out
}

// Trim returns how many workers to take away at each place so that keep of them
// are left, close together: the ones that are the farthest from all others go.
func Trim(places []Place, keep int) []int {
	drop := make([]int, len(places))
	total := 0
	for i := range places {
		total += places[i].Workers
	}
	sums := make([]float64, len(places))
	for i := range places {
		for j := range places {
			sums[i] += milliseconds(Between(&places[i], &places[j])) * float64(places[j].Workers)
		}
	}
	for ; total > keep; total-- {
		worst := -1
		for i := range places {
			if places[i].Workers > drop[i] && (worst < 0 || sums[i] > sums[worst]) {
				worst = i
			}
		}
		if worst < 0 {
			break
		}
		drop[worst]++
		for i := range places {
			sums[i] -= milliseconds(Between(&places[i], &places[worst]))
		}
	}
	return drop
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
