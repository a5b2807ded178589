// Package hub is the network of hubs: who relays to whom, which way a stream
// goes, and what pilots do when their hub is gone.
//
// A [Graph] is one node's picture of all nodes that relay. Each of them
// declares its links in a statement ([wire.LinkState]), which its neighbours
// pass on to theirs, each until it is acknowledged:
//
//	A -> B  LinksHeld{what A has of whom}     both ways, when a link is new
//	A -> B  LinkStates{what B lacks}
//	B -> A  LinksHeld{what came}
//
// From the statements each node computes for itself, for every other one, the
// hubs to cross: least round-trip time, at most [wire.MaxHops]. The origin of
// a stream puts the whole route into it (source routing), so that hubs
// whose pictures differ for a moment cannot send it in circles.
//
// The one rule to know: a link counts only when both ends declare it, at the
// greater of their two round-trip times. So a hub can lie about itself only: it can
// hide a link, look farther away, and drop or delay what is sent through it
// (whose bytes it can neither read nor change; the streams inside are
// encrypted from end to end). When statements are signed ([Config].Sign and
// Verify) this holds for hubs in the middle too. When they are not, a hub
// can put words into others' mouths for as long as they do not hear of it, and only nodes
// with a certificate as hub or launcher are listened to at all. Statements of
// a pilot are taken from itself only, and nothing is routed across it.
//
// There is no refreshing: a statement holds until its origin replaces it, the
// acknowledged flooding makes sure that a replacement arrives, and links to a
// dead node are withdrawn by its neighbours. A node that nobody has
// reached for [Forget] is forgotten. A restarted hub is another node.
//
// [Choose] picks the hubs a node should hold links to, and [Substitute] is the pilots'
// agreement on one of them that relays when their hub is gone.
//
// It is not a failure detector (package detect is) and opens no connection.
// The graph, the choice and the agreement are pure: no clock, lock or I/O.
package hub
