// Package hub is the network of hubs: who relays to whom, which way a stream
// goes, what pilots do when their hub is gone, and how two nodes try to get a
// connection without any.
//
// A [Graph] is one node's picture of all nodes that relay. Each of them
// declares its links in a statement ([wire.LinkState]), which its neighbours
// pass on to theirs, each until it is acknowledged:
//
//	A -> B  LinksHeld{what A has of whom}     both ways, when a link is new
//	A -> B  LinkStates{what B lacks}
//	B -> A  LinksHeld{what came}
//
// A neighbour is told the first thing at once and what follows within a tenth of
// a second together. A statement that two neighbours send each other at the same
// time is its own acknowledgement.
//
// From the statements each node computes for itself, for every other one, the
// hubs to cross: least round-trip time, at most [wire.MaxHops]. The origin of
// a stream puts the whole route into it (source routing), so that hubs whose
// pictures differ for a moment cannot send it in circles.
//
// The one rule to know: a link counts only when both ends declare it, at the
// greater of their two round-trip times. So a hub can lie about itself only:
// it can hide a link, look farther away, and drop or delay what is sent
// through it, whose bytes it can neither read nor change, since the streams
// inside are encrypted from end to end. When statements are signed
// ([Config].Sign and Verify) this holds for those who pass them on too. When
// they are not, a hub can put words into others' mouths; they answer once they
// hear of it. Only nodes with a certificate as hub or launcher are listened
// to, and pilots about themselves; nothing is routed across a pilot.
//
// There is no refreshing. A statement holds until its origin replaces it, the
// acknowledged flooding makes sure that a replacement arrives, and a dead
// node's neighbours withdraw their links to it. A node that nobody has reached
// for [Forget] is forgotten. A hub that starts again is another node.
//
// [Choose] picks the hubs a node should hold links to, [Substitute] is the
// pilots' agreement on one of them that relays when their hub is gone, and
// [End] is what two nodes need to know of each other to try a direct
// connection.
//
// It is not a failure detector (package detect is), and opens no connection.
// It is pure: no clock, lock or I/O.
package hub
