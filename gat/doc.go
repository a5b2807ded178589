// Package gat is the Grid Application Toolkit: one portable way to reach any
// middleware a scientist can log in to.
//
// A [Backend] is the thin adapter for one kind of middleware (a shell on this
// machine, an SSH server, a queueing system). It says how that middleware logs
// in, submits, lists, cancels, runs a command and moves a file, and does nothing
// by itself: it never retries, polls, logs or caches. The concrete [Site] sits
// above one or more backends and carries everything they would otherwise each
// repeat: fall-back over several URLs per operation and in order, retry of
// transient errors, one poll for all jobs of a site, states that only move
// forward, and errors that name the site, the URL, the operation and a cure.
//
// What a middleware may or may not be able to do beyond starting jobs is an
// optional ability, a small interface found by assertion: [Runner], [Files],
// [Forwarder], [Inward], and what a queueing system adds to a host: [Headed],
// [Describer], [Finder], [Insider]. A backend that lacks one is still a backend.
//
// The package imports the standard library only and knows nothing of pilots:
// it sees commands and files.
package gat
