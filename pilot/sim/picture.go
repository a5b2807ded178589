package sim

import (
	"math"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Overlay is the overlay of a simulation at one time, to be drawn.
type Overlay struct {
	Nodes []OverlayNode
	Links []OverlayLink
}

// OverlayNode is a node of an [Overlay].
type OverlayNode struct {
	Name string // of its machine
	Role wire.Role
	Site int     // 0 is the launcher's
	X, Y float64 // where it takes itself to be, in milliseconds, the space seen from where it is widest
}

// OverlayLink is a link of an [Overlay].
type OverlayLink struct {
	A, B   int           // indices of nodes
	RTT    time.Duration // of the way it takes
	Routed bool          // over the connections of others
}

// picture returns the overlay as it is now.
func (w *world) picture() *Overlay {
	o := &Overlay{}
	at := make(map[*node]int)
	var points [][]float64
	var known []int
	for _, n := range live(w.spots) {
		i := len(o.Nodes)
		at[n] = i
		o.Nodes = append(o.Nodes, OverlayNode{Name: n.spot.name(), Role: n.spot.role, Site: (n.spot.site.index + 1) % len(w.sites)})
		if c, ok := n.core.Place(); ok {
			var p []float64
			for _, x := range c.Position {
				p = append(p, float64(x))
			}
			points = append(points, p)
			known = append(known, i)
		}
	}
	for i, p := range project(points) {
		o.Nodes[known[i]].X, o.Nodes[known[i]].Y = p[0], p[1]
	}
	for _, n := range live(w.spots) {
		for _, l := range n.order {
			if l.end[0] == n && l.end[1].alive && l.up[1] {
				o.Links = append(o.Links, OverlayLink{A: at[n], B: at[l.end[1]], RTT: 2 * l.delay, Routed: l.hops != nil})
			}
		}
	}
	return o
}

// project maps points of a space onto the plane in which they lie farthest
// apart: their two principal components, by power iteration.
func project(points [][]float64) [][2]float64 {
	out := make([][2]float64, len(points))
	if len(points) == 0 {
		return out
	}
	dim := len(points[0])
	mean := make([]float64, dim)
	for _, p := range points {
		for i, x := range p {
			mean[i] += x / float64(len(points))
		}
	}
	var axes [2][]float64
	for a := range axes {
		axis := make([]float64, dim)
		for i := range axis {
			axis[i] = 1 / float64(1+i+a)
		}
		for range 60 {
			next := make([]float64, dim)
			for _, p := range points {
				dot := 0.0
				for i, x := range p {
					dot += (x - mean[i]) * axis[i]
				}
				for i, x := range p {
					next[i] += dot * (x - mean[i])
				}
			}
			if a == 1 { // at right angles to the first
				dot := 0.0
				for i := range next {
					dot += next[i] * axes[0][i]
				}
				for i := range next {
					next[i] -= dot * axes[0][i]
				}
			}
			norm := 0.0
			for _, x := range next {
				norm += x * x
			}
			if norm = math.Sqrt(norm); norm < 1e-12 {
				break
			}
			for i := range next {
				axis[i] = next[i] / norm
			}
		}
		axes[a] = axis
	}
	for i, p := range points {
		for a := range axes {
			for j, x := range p {
				out[i][a] += (x - mean[j]) * axes[a][j]
			}
		}
	}
	return out
}
