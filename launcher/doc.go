// Package launcher is the laptop side of Zorilla: it turns sites and an
// application into one session, and a session into results.
//
// The way through it: [ReadSites] reads the sites file; [Run] opens the state
// directory and the ledger of a new run, logs in to each site, brings a pilot
// binary there, starts hubs and pilots, becomes the primary of the job, and
// collects what the workers make. Everything that happens is told as typed
// [Event] values to the caller's function; the package prints nothing. [PlanRun]
// tells what a run would do without doing it, [CheckSites] logs in everywhere and
// tells what works there.
//
// At a site with a queueing system the hub runs on the head node and the pilots
// come out of the queue when the scheduler likes to: what is known of them, and
// done about them, is package queue's business. What all runs of a user ask one
// scheduler is asked once.
//
// The one rule: nothing is made anywhere before the [Ledger] says so, so that
// [GC] can always finish what a run could not.
package launcher
