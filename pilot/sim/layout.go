package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// reach says who can be linked with a node directly, beside those of its own
// site and the launcher, which reaches every hub that is not behind another
// site by a login.
type reach uint8

// The classes of reachability.
const (
	open      reach = iota // takes calls from anywhere
	outbound               // calls others; a firewall keeps calls out
	nat                    // the same, behind a translator that maps it alike for all
	symmetric              // the same, behind one that maps it anew for each peer
	closed                 // calls nobody outside and takes no call
)

var reachNames = []string{"open", "outbound", "nat", "symmetric", "closed"}

func (r reach) String() string { return reachNames[r] }

// direct reports whether two nodes of different sites can be linked without
// others: one calls the other, or both call at once (which fails when one of
// them is seen under an address that its peer cannot know).
func (r reach) direct(o reach) bool {
	switch {
	case r == closed || o == closed:
		return false
	case r == open || o == open:
		return true
	}
	return r != symmetric && o != symmetric
}

// layout says where the nodes of a world are.
type layout struct {
	Sites []site
	WAN   [][]time.Duration // round trips between sites, by index; 0 is unknown and made up
	Home  []time.Duration   // from the launcher to each site
}

// site is a local network with hubs and pilots.
type site struct {
	Name   string
	Hubs   int
	Reach  reach // of its hubs
	Behind int   // the site through whose hub this one's are reached; -1: by the launcher
	LAN    time.Duration
	Groups []group
}

// group is a number of pilots that are alike.
type group struct {
	Count int
	Offer wire.Offer
	Reach reach
	Bad   bool // no worker starts there
}

// nodes counts the launcher, the hubs and the pilots.
func (l *layout) nodes() int {
	n := 1
	for _, s := range l.Sites {
		n += s.Hubs
		for _, g := range s.Groups {
			n += g.Count
		}
	}
	return n
}

// complete fills in round trips that are not known: the shortest way over a
// third site, or the mean of all.
func (l *layout) complete() {
	n := len(l.Sites)
	old := l.WAN
	l.WAN = make([][]time.Duration, n)
	var sum, known time.Duration
	at := func(i, j int) time.Duration {
		if i < len(old) && j < len(old[i]) {
			return old[i][j]
		}
		return 0
	}
	for i := range n {
		l.WAN[i] = make([]time.Duration, n)
		for j := range n {
			if i != j {
				if l.WAN[i][j] = max(at(i, j), at(j, i)); l.WAN[i][j] > 0 {
					sum, known = sum+l.WAN[i][j], known+1
				}
			}
		}
	}
	mean := 40 * time.Millisecond
	if known > 0 {
		mean = sum / known
	}
	for i := range n {
		for j := range i {
			if at(i, j) > 0 || at(j, i) > 0 {
				continue
			}
			best := time.Duration(math.MaxInt64)
			for k := range n {
				if a, b := max(at(i, k), at(k, i)), max(at(k, j), at(j, k)); a > 0 && b > 0 {
					best = min(best, a+b)
				}
			}
			if best == math.MaxInt64 {
				best = mean
			}
			l.WAN[i][j], l.WAN[j][i] = best, best
		}
	}
	for len(l.Home) < n {
		l.Home = append(l.Home, 0)
	}
	for i := range l.Home {
		if l.Home[i] == 0 {
			l.Home[i] = mean
		}
	}
}

// validate reports what cannot be built.
func (l *layout) validate() error {
	if len(l.Sites) == 0 {
		return fmt.Errorf("no site")
	}
	for i, s := range l.Sites {
		switch {
		case s.Hubs < 1 || s.Hubs > 8:
			return fmt.Errorf("site %s has %d hubs: want 1 to 8", s.Name, s.Hubs)
		case s.Behind >= i:
			return fmt.Errorf("site %s is behind one that comes later", s.Name)
		case slices.ContainsFunc(l.Sites[:i], func(o site) bool { return o.Name == s.Name }):
			return fmt.Errorf("two sites have the name %s", s.Name)
		}
	}
	if n := l.nodes(); n < MinNodes || n > MaxNodes {
		return fmt.Errorf("%d nodes: want %d to %d", n, MinNodes, MaxNodes)
	}
	return nil
}

// synthetic makes up round trips between sites: points in a plane, gathered in
// a few regions, with a height that is paid on every way.
func synthetic(r *rand.Rand, sites int) [][]time.Duration {
	type point struct{ x, y, height float64 } // milliseconds
	regions := make([]point, 5)
	for i := range regions {
		regions[i] = point{x: r.NormFloat64() * 60, y: r.NormFloat64() * 40}
	}
	at := make([]point, sites)
	for i := range at {
		g := regions[r.IntN(len(regions))]
		at[i] = point{g.x + r.NormFloat64()*10, g.y + r.NormFloat64()*10, 0.5 + r.ExpFloat64()*2}
	}
	m := make([][]time.Duration, sites)
	for i := range m {
		m[i] = make([]time.Duration, sites)
		for j := range i {
			ms := at[i].height + at[j].height + math.Hypot(at[i].x-at[j].x, at[i].y-at[j].y)
			m[i][j] = time.Duration(ms * float64(time.Millisecond))
			m[j][i] = m[i][j]
		}
	}
	return m
}

// gridLayout spreads nodes evenly over sites of about 25, of which there are
// at most 400, with slots of all sorts: over those of a matrix of round trips,
// or over made up ones.
func gridLayout(r *rand.Rand, nodes int, wan [][]time.Duration) layout {
	return spread(r, nodes, min(max(1, nodes/25), 400), wan)
}

func spread(r *rand.Rand, nodes, sites int, wan [][]time.Duration) layout {
	if wan != nil {
		sites = min(len(wan), max(1, (nodes-1)/2))
	} else {
		wan = synthetic(r, sites)
	}
	l := layout{WAN: wan}
	for i := range sites {
		l.Sites = append(l.Sites, site{Name: fmt.Sprintf("site%d", i), Hubs: 1, Behind: -1,
			LAN: time.Duration(100+r.IntN(400)) * time.Microsecond})
		l.Home = append(l.Home, time.Duration(4+r.IntN(120))*time.Millisecond)
	}
	for i := range nodes - 1 - sites {
		slots := uint32(1 + r.IntN(8))
		s := &l.Sites[i%sites]
		s.Groups = append(s.Groups, group{Count: 1, Offer: offer(slots)})
	}
	return l
}

// mixedLayout is a grid of machines that are hard to reach: of all classes, one
// site behind another, and some machines on which nothing starts. There are at
// most 100 sites: nobody has logins at more.
func mixedLayout(r *rand.Rand, nodes int, wan [][]time.Duration, bad float64) layout {
	l := spread(r, nodes, min(max(1, nodes/25), 100), wan)
	for i := range l.Sites {
		s := &l.Sites[i]
		s.Reach = reach(r.IntN(len(reachNames)))
		if i == 2 {
			s.Behind = 0
		}
		inner := reach(r.IntN(len(reachNames)))
		for j := range s.Groups {
			s.Groups[j].Reach = inner
			s.Groups[j].Bad = r.Float64() < bad
		}
	}
	return l
}

func offer(slots uint32) wire.Offer {
	return wire.Offer{Slots: slots, Cores: slots, Memory: int64(slots) << 30}
}
