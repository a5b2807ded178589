// Package gossipsim runs the gossip of whole sessions on a simulation kernel:
// a [World] is some thousand [gossip.Sampler] with the sites, hubs, losses,
// deaths and attackers around them, and what can be measured of their views.
//
// Hubs know each other, every other node has links to two hubs, and a share of the
// nodes can be reached through those hubs only. A message is lost with the
// same probability on any way.
//
// The one rule to know: the same [Config] gives the same [Result]. Signatures
// are keyed hashes here, of the same size as real ones.
package gossipsim
