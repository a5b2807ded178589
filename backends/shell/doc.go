// Package shell makes a login of any connection over which a host executes
// commands: it runs commands, starts and follows jobs, and moves files. What makes the
// connection is a [Line] of a few methods; an SSH library is one, the system's
// ssh program another.
//
// The one rule to know: no text of ours or of the user's ever meets the login
// shell. The host is asked to execute one constant string that reads the same
// in every shell and starts /bin/sh on a script that follows on standard input
// (see [Exec]). The script marks where the command's own output begins with a
// random nonce on both streams, so that whatever start files print is dropped and the
// command's bytes pass exactly. No terminal is ever requested.
//
// A host needs /bin/sh, dd, printf and cat, nothing of ours. The package makes
// no connection, asks nobody anything, and does not try again by itself except
// for a free session slot on a connection.
package shell
