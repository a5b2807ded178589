// Package sim runs whole nodes in memory: a launcher, hubs and pilots at
// sites, jobs of several primaries, with worker processes, files and outputs
// played by simple shells, under faults, watched by checkers.
//
//	launcher ── hub ── pilots of site 0
//	         ├─ hub ── pilots of site 1
//	         └─ hub ── hub ── pilots of a site behind another
//
// The one rule to know: the nodes are the code that the agent runs, not a model of
// it; only what is around them is simulated. The checkers look from outside,
// at what the shells were asked to do, and never ask a node whether it is
// right.
//
// [Run] is one simulation: a time of jobs and faults, a time in which all jobs
// have to come to an end, and the end of the session, after which nothing may
// be left. The same [Config] gives the same digest.
package sim
