// Package ssh reaches hosts that run an SSH server. It makes one connection and
// one authentication per login and runs everything over it: commands, jobs,
// files and further logins to hosts only the server can reach.
//
// A URL names the host and little else:
//
//	ssh://[user@]host[:port][?jump=[user@]host[:port],...][&identity=/path/to/key]
//
// The user defaults to the local user name, the port to 22. Jump hosts are
// logged in to one through the other, in order, and the host through the last.
// Keys come from the agent and then from ~/.ssh/id_ed25519, id_ecdsa and id_rsa,
// or from the one identity named. Host keys must be known: an unknown or
// changed one is refused with the cure, and nothing here ever adds one.
//
// The one rule to know: no text of ours or of the user's ever meets the login
// shell. The server is asked to execute one constant string that reads the same
// in every shell and starts /bin/sh on a script that follows on standard input
// (see [Exec]). The script marks where the command's own output begins with a
// random nonce on both streams, so that whatever start files print is dropped and the
// command's bytes pass exactly. No terminal is ever requested.
//
// A host needs /bin/sh, dd, printf and cat, nothing of ours. The package does
// not read ssh_config, does not ask for passwords, and does not try again by
// itself except for a free session slot on a connection.
package ssh
