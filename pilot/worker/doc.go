// Package worker runs the worker processes of a pilot and makes sure that
// nothing of them stays behind.
//
// A [Yard] owns one directory and a fixed number of slots. Each slot has, from
// its first use on, one long-lived guard process which forks the successive
// workers of that slot:
//
//	pilot ──orders, replies── guard of slot 0 ── worker ── whatever it forks
//	      └─orders, replies── guard of slot 1 ── worker ── …
//
// The guard copies no bytes: a worker's standard output and error are pipes
// whose read ends are in the pilot. What the guard is there for is the end:
//
//   - The worker's main process ends: the guard, a child subreaper, kills
//     everything the worker left running, daemons in sessions of their own
//     included, and only then reports the [Exit].
//   - The pilot dies, however: the guard sees the end of its orders, kills
//     everything below it, removes the slot's sandboxes and goes.
//   - The guard dies: the kernel kills the worker's main process, hands the
//     rest to the pilot (a child subreaper too), which kills it, reports the
//     worker as [ErrLost] and starts a new guard for the next worker.
//   - Both die at once: the main process is killed by the kernel; [Sweep], which
//     the next pilot on that machine calls, ends the rest and removes the
//     directories.
//
// The one rule to know: the process that opens a Yard becomes a child
// subreaper, and every child of it that is not in its own session and is not
// one of its guards counts as a stray and may be killed. So it must not start
// children of its own with Setsid, and must not have two yards open at a time.
//
// It is not a confinement: a worker may do whatever the user may do. It knows
// nothing of jobs, ranks or the network, and what to run is the business of
// [github.com/zorilla-grid/zorilla/pilot/worker/runtimes].
//
// The guards need Linux. On other systems a worker is a plain child in a
// process group (Windows: a job object) of its own which is killed as a whole
// when the worker ends; the death of the pilot itself is covered on Windows
// only.
package worker
