package gossipsim

import (
	"cmp"
	"math"

	"github.com/zorilla-grid/zorilla/overlay/gossip"
)

// Degrees say in how many views of others the live nodes are.
type Degrees struct {
	Mean   float64 `json:"in_degree_mean"`
	Stddev float64 `json:"in_degree_stddev"`
	Min    int     `json:"in_degree_min"`
	Max    int     `json:"in_degree_max"`
}

// InDegree returns in how many views of live nodes each node is, by number.
func (w *World) InDegree() []int {
	in := make([]int, len(w.nodes))
	w.edges(func(_, to *node) { in[to.index]++ })
	return in
}

// Degrees sums up InDegree for the live nodes.
func (w *World) Degrees() Degrees {
	in := w.InDegree()
	d := Degrees{Min: math.MaxInt}
	var n, sum, squares float64
	for i, k := range in {
		if !w.nodes[i].alive {
			continue
		}
		n++
		sum += float64(k)
		squares += float64(k) * float64(k)
		d.Min, d.Max = min(d.Min, k), max(d.Max, k)
	}
	if n == 0 {
		return Degrees{}
	}
	d.Mean = sum / n
	d.Stddev = math.Sqrt(max(0, squares/n-d.Mean*d.Mean))
	return d
}

// edges calls f for every entry of every live node's view, in a fixed order.
func (w *World) edges(f func(from, to *node)) {
	for _, n := range w.nodes {
		if !n.alive {
			continue
		}
		for _, e := range n.Peers(w.k.Now()) {
			f(n, w.byID[e.Card.ID])
		}
	}
}

// Dead returns how many entries of live nodes' views are of dead ones.
func (w *World) Dead() (count int) {
	w.edges(func(_, to *node) {
		if !to.alive {
			count++
		}
	})
	return count
}

// Capture says which share of the entries in honest nodes' views attackers have.
type Capture struct {
	Mean   float64 // of all views together
	Worst  float64 // of the view that has the most
	Steady float64 // of the steady halves together
}

// Captured measures what attackers have.
func (w *World) Captured() (c Capture) {
	var bad, all, steadyBad, steadyAll float64
	for _, n := range w.nodes {
		if !n.alive || n.raid != nil {
			continue
		}
		list := n.Peers(w.k.Now())
		var mine, steady float64
		for i, e := range list {
			if w.byID[e.Card.ID].raid == nil {
				continue
			}
			mine++
			if i < w.steady() {
				steady++
			}
		}
		bad, all = bad+mine, all+float64(len(list))
		steadyBad, steadyAll = steadyBad+steady, steadyAll+float64(min(len(list), w.steady()))
		c.Worst = max(c.Worst, mine/max(1, float64(len(list))))
	}
	c.Mean, c.Steady = bad/max(1, all), steadyBad/max(1, steadyAll)
	return c
}

// steady is the size of a view's steady half.
func (w *World) steady() int { return cmp.Or(w.cfg.View, gossip.DefaultView) / 2 }

// Components returns into how many parts the graph of the live nodes' views
// falls when an entry joins both ways, and how many nodes the largest set
// has in which everybody can be found from everybody. Attackers do not count.
func (w *World) Components() (weak, strong int) {
	out := make([][]int32, len(w.nodes))
	root := make([]int32, len(w.nodes))
	for i := range root {
		root[i] = int32(i)
	}
	find := func(i int32) int32 {
		for root[i] != i {
			root[i] = root[root[i]]
			i = root[i]
		}
		return i
	}
	w.edges(func(from, to *node) {
		if to.alive && from.raid == nil && to.raid == nil {
			out[from.index] = append(out[from.index], int32(to.index))
			root[find(int32(from.index))] = find(int32(to.index))
		}
	})
	var members []int32
	for i, n := range w.nodes {
		if n.alive && n.raid == nil {
			members = append(members, int32(i))
			if find(int32(i)) == int32(i) {
				weak++
			}
		}
	}
	return weak, largest(members, out)
}

// largest returns the size of the largest strongly connected component, by
// Kosaraju's two searches.
func largest(members []int32, out [][]int32) int {
	in := make([][]int32, len(out))
	for from, list := range out {
		for _, to := range list {
			in[to] = append(in[to], int32(from))
		}
	}
	seen := make([]bool, len(out))
	var order []int32
	for _, m := range members {
		walk(m, out, seen, func(i int32) { order = append(order, i) })
	}
	clear(seen)
	most := 0
	for i := len(order) - 1; i >= 0; i-- {
		size := 0
		walk(order[i], in, seen, func(int32) { size++ })
		most = max(most, size)
	}
	return most
}

// walk searches depth first and calls done for each node when all after it are done.
func walk(from int32, edges [][]int32, seen []bool, done func(int32)) {
	if seen[from] {
		return
	}
	type step struct {
		at   int32
		next int
	}
	seen[from] = true
	for stack := []step{{from, 0}}; len(stack) > 0; {
		top := &stack[len(stack)-1]
		if top.next == len(edges[top.at]) {
			done(top.at)
			stack = stack[:len(stack)-1]
			continue
		}
		to := edges[top.at][top.next]
		top.next++
		if !seen[to] {
			seen[to] = true
			stack = append(stack, step{to, 0})
		}
	}
}

// Messages returns how many messages were sent, and their bytes on the wire
// as far as one of sixty-four message is like the others.
func (w *World) Messages() (count, bytes uint64) {
	if w.sampled == 0 {
		return 0, 0
	}
	return w.messages, uint64(float64(w.bytes) / float64(w.sampled) * float64(w.messages))
}

// Stats returns the sums of all nodes' counts.
func (w *World) Stats() (sum gossip.Stats) {
	for _, n := range w.nodes {
		if n.Sampler == nil || n.raid != nil {
			continue
		}
		s := n.Stats()
		sum.Begun += s.Begun
		sum.Retried += s.Retried
		sum.Answered += s.Answered
		sum.Served += s.Served
		sum.Limited += s.Limited
		sum.Verified += s.Verified
		sum.Forged += s.Forged
		sum.Signed += s.Signed
	}
	return sum
}
