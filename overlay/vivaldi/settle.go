package vivaldi

import (
	"math"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// How a node finds its place.
const (
	steps     = 8                   // of Gauss and Newton at each observation
	stride    = 0.5                 // part of each step that is made: peers move at the same time
	damping   = 1.0                 // weight of staying, beside the samples' weight together
	surest    = 0.05                // added to the claimed errors of peers
	outlier   = 0.05                // relative residual from which a sample counts little, at best
	reach     = 250.0               // milliseconds that one observation moves a node with error 1, at most
	halfLife  = 90 * Every          // of a sample's weight
	minHeight = 0.01                // milliseconds
	minRTT    = 1.0                 // milliseconds added to round trips in weights, against noise nearby
	minError  = 0.02                // least error of one's own
	unknowns  = wire.Dimensions + 1 // the position and the height
)

// pull is what a sample is while the node settles.
type pull struct {
	x           [wire.Dimensions]float64 // milliseconds
	height, rtt float64                  // milliseconds
	weight      float64                  // before it is known how well it fits
}

// settle moves the node to where the remembered samples want it: damped
// Gauss-Newton steps on the relative residuals with Cauchy's weights, so that
// paths that fit no space, and liars, count for little.
func (n *Node) settle(now time.Time) {
	before := n.self
	var room [Remembered]pull
	pulls := room[:len(n.samples)]
	for i := range n.samples {
		s := &n.samples[i]
		c, rtt := s.spot.coordinate(), s.rtt()
		p := &pulls[i]
		for k, x := range c.Position {
			p.x[k] = float64(x)
		}
		p.height, p.rtt = float64(c.Height), rtt
		p.weight = math.Exp2(-float64(n.age(now, s.measured))/float64(halfLife)) /
			((rtt + minRTT) * (rtt + minRTT) * (float64(c.Error) + surest))
	}
	for range steps {
		n.step(pulls, math.Max(outlier, 1.5*n.self.residual(pulls)))
	}
	n.bound(&before)
	e := n.self.residual(pulls)
	if few := wire.MaxError / float64(1+len(n.samples)); e < few && len(n.samples) < 2*wire.Dimensions {
		e = few
	}
	n.self.error = clamp(e, minError, wire.MaxError)
}

// bound limits how far an observation moves the node, and where to.
func (n *Node) bound(before *place) {
	moved := 0.0
	for k := range n.self.x {
		moved += (n.self.x[k] - before.x[k]) * (n.self.x[k] - before.x[k])
	}
	moved = math.Sqrt(moved) + math.Abs(n.self.height-before.height)
	if limit := reach * before.error; moved > limit {
		f := limit / moved
		for k := range n.self.x {
			n.self.x[k] = before.x[k] + f*(n.self.x[k]-before.x[k])
		}
		n.self.height = before.height + f*(n.self.height-before.height)
	}
	// Gravity keeps the space as a whole from drifting away.
	square := 0.0
	for _, x := range n.self.x {
		square += x * x
	}
	gravity := 1 - 0.01*math.Min(1, square/(wire.MaxPosition*wire.MaxPosition))
	for k, x := range n.self.x {
		n.self.x[k] = clamp(x*gravity, -wire.MaxPosition, wire.MaxPosition)
	}
}

// residual is the median of the samples' relative residuals.
func (here *place) residual(pulls []pull) float64 {
	var room [Remembered]float64
	all := room[:len(pulls)]
	for i := range pulls {
		p := &pulls[i]
		sum := 0.0
		for k := range p.x {
			sum += (here.x[k] - p.x[k]) * (here.x[k] - p.x[k])
		}
		all[i] = math.Abs(math.Sqrt(sum)+here.height+p.height-p.rtt) / p.rtt
	}
	if len(all) == 0 {
		return wire.MaxError
	}
	slices.Sort(all)
	return math.Min(all[len(all)/2], wire.MaxError)
}

// step makes one step with the given width of the weights.
func (n *Node) step(pulls []pull, sigma float64) {
	var a [unknowns][unknowns]float64
	var b [unknowns]float64
	total := 0.0
	for i := range pulls {
		p := &pulls[i]
		u, d := n.direction(p)
		off := p.rtt - (d + n.self.height + p.height)
		e := off / p.rtt / sigma
		w := p.weight / (1 + e*e)
		total += w
		for k := range unknowns {
			for l := k; l < unknowns; l++ {
				a[k][l] += w * u[k] * u[l]
			}
			b[k] += w * u[k] * off
		}
	}
	if !(total > 0) {
		return
	}
	for k := range unknowns {
		for l := range k {
			a[k][l] = a[l][k]
		}
		a[k][k] += damping * total / unknowns
	}
	move := solve(&a, &b)
	for k := range n.self.x {
		n.self.x[k] += stride * move[k]
	}
	n.self.height = clamp(n.self.height+stride*move[wire.Dimensions], minHeight, wire.MaxHeight)
}

// direction returns how the distance to a sample's peer grows with each of the
// unknowns, and the distance without heights. From a peer in the same spot all
// directions are as good.
func (n *Node) direction(p *pull) (u [unknowns]float64, d float64) {
	u[wire.Dimensions] = 1
	sum := 0.0
	for k := range n.self.x {
		u[k] = n.self.x[k] - p.x[k]
		sum += u[k] * u[k]
	}
	d = math.Sqrt(sum)
	long := d
	for long < 1e-6 {
		sum = 0
		for k := range n.self.x {
			u[k] = n.rand.NormFloat64()
			sum += u[k] * u[k]
		}
		long = math.Sqrt(sum)
	}
	for k := range n.self.x {
		u[k] /= long
	}
	return u, d
}

// solve solves a x = b by elimination; a is symmetric and positive definite,
// because of the damping.
func solve(a *[unknowns][unknowns]float64, b *[unknowns]float64) (x [unknowns]float64) {
	for k := range unknowns {
		for l := k + 1; l < unknowns; l++ {
			f := a[l][k] / a[k][k]
			for m := k; m < unknowns; m++ {
				a[l][m] -= f * a[k][m]
			}
			b[l] -= f * b[k]
		}
	}
	for k := unknowns - 1; k >= 0; k-- {
		v := b[k]
		for l := k + 1; l < unknowns; l++ {
			v -= a[k][l] * x[l]
		}
		x[k] = v / a[k][k]
	}
	return x
}
