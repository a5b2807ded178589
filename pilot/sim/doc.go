// Package sim runs whole nodes in memory: a launcher, hubs and pilots at
// sites, jobs of several primaries, with worker processes, files and outputs
// played by simple shells, under faults, watched by checkers.
//
//	launcher ── hub ── pilots of site 0      machines at sites (layout), the round trips
//	         ├─ hub ── pilots of site 1      between those, and who can call whom (reach)
//	         └─ hub ── hub ── pilots of a site behind another
//
// The one rule to know: the nodes are the code that the agent runs, not a model of
// it; only what is around them is simulated. The checkers look from outside,
// at what the shells were asked to do, and never ask a node whether it is
// right.
//
// Links are connections, or ride on those of others through hubs, as the nodes'
// own routes say; they keep order, have queues with a cap, lose what is on its
// way when they break, and are seen to have ended late when a machine is gone.
// With noise single messages are lost, doubled and late on top, which no real
// link does: protocols have to stand it. Each machine's clock has an origin and
// a speed of its own, and a machine may stand still.
//
// There are two ways in. [Run] is one simulation by chance: a time of jobs and
// faults, a time in which all jobs have to come to an end, and the end of the
// session, after which nothing may be left. A [Scenario] is one that was
// written down, with what is expected of it; some are built in. The same
// [Config], and the same scenario, give the same digest.
//
// It is not a model of bandwidth: bulk bytes are not simulated.
package sim
