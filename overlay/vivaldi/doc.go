// Package vivaldi tells a node who is near. A [Node] places itself in a space
// in which distance is round-trip time (Dabek et al., Vivaldi, SIGCOMM 2004:
// four dimensions and a height), and confirms by measuring who its nearest
// neighbours are (Wong et al., Meridian, SIGCOMM 2005), because no coordinate
// can tell 0.1 ms from 10 ms beside paths of 100 ms.
//
// The flow of one probe, the only thing that costs a measurement:
//
//	asker                             asked
//	Next ── ping: coordinate, Hints ──>  Hear
//	Observe <── pong: the same ────────
//	Hear ─── ack ─────────────────────>  Observe: both ends have measured
//
// and, as long as the node moves: Tell ── coordinate ──> Hear of those that
// remember it.
//
// The one rule to know: a measurement is used many times. A node remembers its
// last [Remembered] peers with what it measured and where they last said to be,
// and at each observation finds its place anew among all of them. Hence words
// that are out of date hurt more than measurements that are few, and what a
// node hears about peers it remembers counts.
//
// Nothing that a peer says is trusted: coordinates out of their limits are
// refused, samples that do not fit count for little, claimed errors below a
// floor count as the floor, and one observation moves a node only so far. What
// is measured must be measured by the node itself, so that a liar can make
// itself farther but not nearer.
//
// Inside a site nearness is the site label: peers of the node's own site are
// neither measured nor candidates, see [Between].
//
// The package is pure: the caller brings time, randomness and messages. A Node
// is not safe for concurrent use.
package vivaldi
