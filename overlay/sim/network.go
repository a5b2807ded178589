package sim

import "time"

// Path says how messages fare between two places.
type Path struct {
	Delay  time.Duration // of each message
	Jitter time.Duration // at most, on top of it
	Loss   float64       // probability that a message is lost
	Twice  float64       // that it comes twice
	Late   float64       // that it is overtaken by later ones
}

// Network carries messages between numbered places. A message overtakes no
// other on its way from one place to another unless its path says so.
type Network struct {
	k      *Kernel
	path   func(from, to int) Path
	lanes  map[[2]int]*lane
	cut    map[int]bool
	group  func(place int) int
	Sent   uint64 // messages
	Lost   uint64
	Queued int // the largest number of messages under way between two places so far
}

type lane struct {
	Lane
	queued int
}

// NewNetwork returns a network whose paths are told by a function.
func NewNetwork(k *Kernel, path func(from, to int) Path) *Network {
	return &Network{k: k, path: path, lanes: make(map[[2]int]*lane), cut: make(map[int]bool)}
}

// Cut takes a place off the network; what is under way to it or from it is lost.
func (n *Network) Cut(place int) { n.cut[place] = true }

// Heal puts a place back.
func (n *Network) Heal(place int) { delete(n.cut, place) }

// Partition lets messages pass only between places of the same group; nil ends it.
func (n *Network) Partition(group func(place int) int) { n.group = group }

// Connected reports whether a message could pass now.
func (n *Network) Connected(from, to int) bool {
	return !n.cut[from] && !n.cut[to] && (n.group == nil || n.group(from) == n.group(to))
}

// Send brings a message on its way; deliver is called when it arrives, which
// is once, never, or twice.
func (n *Network) Send(from, to int, deliver func()) {
	n.Sent++
	p := n.path(from, to)
	if !n.Connected(from, to) || n.k.Chance(p.Loss) {
		n.Lost++
		return
	}
	n.carry(from, to, p, deliver)
	if n.k.Chance(p.Twice) {
		n.carry(from, to, p, deliver)
	}
}

func (n *Network) carry(from, to int, p Path, deliver func()) {
	l := n.lanes[[2]int{from, to}]
	if l == nil {
		l = new(lane)
		n.lanes[[2]int{from, to}] = l
	}
	l.queued++
	n.Queued = max(n.Queued, l.queued)
	n.k.At(l.Arrive(n.k, p), func() {
		l.queued--
		if n.Connected(from, to) {
			deliver()
		} else {
			n.Lost++
		}
	})
}
