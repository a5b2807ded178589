// Package pilot is the agent: the one program that runs on every resource, as
// a pilot that offers slots, as a hub that relays for others, and, inside the
// launcher, as the node that manages the user's job.
//
// An [Agent] owns one [core.Node], the pure machine that decides everything,
// and gives it real time, real links and real processes in one select loop:
// what happens outside goes in as a call on the loop's goroutine, what the
// node wants done comes out as effects. Bulk bytes never pass through the
// loop: files and output move on streams of their own.
//
// On a resource an agent lives in a session directory below a scratch
// directory of the user's (see [BaseName]). It holds a shared lock there as long
// as it lives; the last one out removes everything, and whoever comes next
// sweeps what a killed one had to leave.
//
// An agent that a queueing system starts knows little: it reads what was granted
// to its job from the environment (GAT_JOB, GAT_CORES and so on), looks for
// scratch on the host it finds itself on, removes the program and the boot file
// that came with the job, and has a warden, a second process that removes what
// it leaves should it be killed. A hub does for such pilots what needs a place
// that stays: it publishes where it listens, and follows the grow orders of a
// launcher that is away.
//
// Before it makes anything an agent reads what the host's administrator allows
// (package policy) and keeps to that: one that is denied ends with [ExitDenied] and
// a [Denial], which a pilot in a queue also tells the session.
//
// [Main] is the program's entry. The package knows nothing of sites,
// middleware or the command line of the launcher.
package pilot
