// Package gossip is peer sampling after ARRG (Actualized Robust Random Gossip;
// Drost, Ogston, van Nieuwpoort, Bal, HPDC 2007): every node knows a few others, drawn
// from all of the session, and keeps them fresh by exchanging some with one of
// them every few seconds. A [Sampler] is one node's part in it.
//
//	every Period    A -> B  Exchange{A's card, some of A's entries}
//	                B -> A  ExchangeReply{B's card, some of B's entries}
//
// The one rule to know: an entry is its subject's own word. Cards are signed
// by those they describe, nobody passes on a card whose signature it has not
// verified, and whoever does is not listened to for a while. What is not
// signed is a card's age, because clocks differ; the first age a node is told
// of a card is the one it counts from.
//
// Exchanges run over links that are open already or through hubs, as the
// caller's [Config].Reach says; a Sampler never asks for a new link. A partner
// that does not answer stays in the view, since a lost message is no death:
// the exchange is tried once more with one of the latest partners that did
// answer, kept in a cache of their own. Entries leave by age.
//
// The view has two halves. The moving half is ARRG's: it takes what comes, in
// exchange for what was just given away where it can (so that as many copies
// of a card exist after an exchange as before, and all nodes are known to
// about equally many others; Jelasity et al., TOCS 2007). The steady
// half keeps the peers that rank lowest by a hash that only this node
// knows, of all it has heard of: a uniform sample, however often somebody's
// name is dropped (Brahms; Bortnikov et al., Computer Networks 2009). Floods of entries can fill
// the one half, never the other.
//
// It is not a membership list, nor a failure detector, and it opens no
// connection. It is pure: no clock, lock or I/O, and chance only from its seed.
package gossip
