// Package detect finds out which nodes have died, and tells of those that died
// together as one change. A [Detector] is one node's part in it.
//
//	pilot  -> its hub   Beat                     every Period; any message will do
//	hub    -> pilot     Beat{Ask, Suspected}     you are suspected, say something
//	hub    -> K pilots  Inquiry{subjects}        do you hear them?
//	pilot  -> hub       Finding{alive, silent}
//	hub   <-> all hubs  Notices{suspects, clears, accuses, dead}   flooded, acknowledged
//
// The one rule to know: somebody is responsible. A pilot's hub decides alone
// whether the pilot is dead, since it is the one that hears it; all others
// believe that hub. So no two nodes can see different decisions, no quorum is
// needed, and a session of one hub works like one of a hundred. A hub is
// watched by K others, the next ones on K hashed rings (Rapid; Suresh et al.,
// USENIX ATC 2018, section 4.1), and is dead when more than half of all hubs
// hold it for dead.
//
// Rapid goes on to a consensus (section 4.3), because its views are numbered
// and must be the same everywhere, one after the other. Here a death is a fact
// that comes and never goes: there is no second value that anybody could
// decide, and the order does not matter. Once a majority has accused a hub,
// whoever knows it says so to all, and all believe it. It takes a majority, so
// that of a network in two parts at most one can give up the other's hubs.
// With two hubs neither can, and time does it ([Config].Lease). A node that
// was declared dead by mistake is dead all the same, and must come back under
// another identity ([Effects].Condemned).
//
// The pilots of a dead hub are not dead. They look for another one, and
// whoever has such a pilot on a link joins it as its own. Those that nobody
// has joined for a lease are dead, in one batch: they have ended by themselves
// by then.
//
// Suspicion is not death. The end of a connection is suspicion at once, and so
// is silence of six Periods. Every question tells the suspect that it is one
// (Lifeguard; Dadgar et al., DSN 2018, section IV-C, the buddy system), others
// are asked whether they hear it, and any word of its own clears it, which
// carries a greater incarnation when it comes by way of others (SWIM; Das et
// al., DSN 2002, section 4.2). Others that have lost their connection to it
// too confirm the suspicion and make it shorter, by the logarithm of their
// number (Lifeguard, IV-B).
//
// Nodes starve: the program they run takes the processor, or the host sleeps.
// A subject that starves is given [Config].Pause. An observer that starves
// must not blame others, and knows that it does: its timers fire late. Time
// during which a Detector did not run is nobody's silence. Besides, lateness,
// suspicions of itself and missing answers add up to its local health, from 0
// (well) to [wire.MaxHealth], which stretches how long silence must last
// (Lifeguard, IV-A). Nodes that are not well confirm nothing. The end of a
// connection is stronger than silence: however unwell its observer, a node that
// does not come back within 8 seconds, or its own longest silence if that is
// more, is dead.
//
// Deaths come in groups: a rack, a cluster. Whoever decides waits for those
// suspects whose time is about to come, and whoever tells waits for suspects
// that other hubs have announced, both for a moment only. This is Rapid's
// almost-everywhere agreement (section 4.2), whose watermarks count observers;
// here one observer is enough, so they are in time.
//
// What a bad node can do: a pilot can keep a dead one alive for a minute by
// saying that it hears it; a hub can declare its own pilots dead, and false
// notices in other hubs' names are believed when a hub passes them on.
//
// It is not a membership list: who exists is told by [Detector.Join]. It is
// pure: no clock, lock or I/O, and chance only from its seed.
package detect
