// Package detect finds out which nodes have died, and tells of those that died
// together as one change. A [Detector] is one node's part in it.
//
//	pilot   -> its hub    Beat                       every Period; any message will do
//	hub     -> pilot      Beat{Ask, Suspected}       you are suspected, say something
//	hub     -> K pilots   Inquiry{subjects}          do you hear them?
//	pilot   -> hub        Finding{alive, silent}
//	hub    <-> all hubs   Notice{suspects, clears, accuses, dead}   flooded, acknowledged
//
// The one rule to know: somebody must be responsible. A pilot's hub decides
// alone whether the pilot is dead, since it is the one that hears it; all others believe
// that hub. So no two nodes can see different decisions, no quorum is needed,
// and a session of one hub works like one of a hundred. A hub itself is
// watched by K others, its successors' observers on K hashed rings (Suresh et
// al., Stable and Consistent Membership at Scale with Rapid, ATC 2018, section
// 4.1), and is dead when more than half of all hubs hold it for dead. Rapid
// lets a consensus follow (section 4.3), because its views are numbered
// and must be the same everywhere, one after the other. Here a death is
// a fact that only comes and never goes, so there is no second value
// that anybody could decide, and the order does not matter: once a majority has accused a hub, whoever
// knows it says so to all, and all believe it. A majority, so that of a
// network in two parts at most one can declare the other's hubs dead; with two hubs neither can, and
// time does it: see [Config].Lease. A node declared dead by mistake stays dead
// and must come back under another identity ([Effects].Condemned).
//
// The pilots of a dead hub are not dead. They look for another hub, and whoever has one of them
// on a link joins it as its own. Those that nobody has joined for a lease are
// dead, in one batch: by then they have ended by themselves.
//
// Suspicion is not death. The end of a connection is suspicion at once, and so is
// silence of six Periods; the suspect is told so with every question (Dadgar et al.,
// Lifeguard, DSN 2018, section IV-C, "buddy system"), is asked by others too, and is cleared by any
// word of its own, which carries a greater incarnation when it comes by others (SWIM, Das
// et al., DSN 2002, section 4.2). Others that have lost their connection to it as well confirm
// the suspicion and shorten it, by the logarithm of their number (Lifeguard, IV-B).
//
// Nodes starve: the program they run takes the processor, or the host sleeps. A starved
// subject is given [Config].Pause. A starved observer must not blame others, and
// knows by itself: its timers fire late. Time that the Detector did not run does not count as anybody's silence,
// at all, and beyond that lateness, refuted suspicions of itself and missing answers
// add up to a local health from 0 (well) to [wire.MaxHealth], which
// multiplies how long silence must last (IV-A). Unwell nodes confirm nothing.
//
// Deaths come in groups: a rack, a cluster. Whoever decides waits for those suspects whose
// time is about to come (Rapid's almost-everywhere agreement, section 4.2, has watermarks for the number of
// observers; here one observer is enough, so the watermark is in time), and
// whoever tells, waits for the suspects that other hubs have announced; both for a moment only.
//
// What a bad node can do: a pilot can keep a dead neighbour alive for a minute, and no longer than it
// lies; a hub can declare its own pilots dead, and spread false notices in other hubs' names.
//
// It is not a membership list: who exists is told by [Detector.Join]. It is
// pure: no clock, lock or I/O; its only chance is the seed.
package detect
