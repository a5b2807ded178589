// Package launcher is the laptop side of Zorilla: it turns sites and an
// application into one session, and a session into results.
//
// The way through it: [ReadSites] reads the sites file; [Run] opens the state
// directory and the ledger of a new run, logs in to each site, brings a pilot
// binary there, starts hubs and pilots, becomes the primary of the job, and
// collects what the workers make. Everything that happens is told as typed
// [Event] values to the caller's function; the package prints nothing.
//
// The one rule: nothing is made anywhere before the [Ledger] says so, so that
// [GC] can always finish what a run could not.
package launcher
