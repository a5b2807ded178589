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
// What a server wants besides or instead of a key, a password or the answers of
// keyboard-interactive (RFC 4256: codes, tokens, a telephone), the user types: the
// server's words are shown as its own, and one login serves for everything after.
// Such a login says so through gat's Target.Prompted, for nobody should be asked
// again by surprise. A new password is never chosen here.
//
// The one rule to know: this package makes the connection, and everything done
// over it is package shell's, so that the system's ssh does it in the same way.
// No text of ours or of the user's meets the login shell there, and no terminal
// is ever requested.
//
// A host needs /bin/sh, dd, printf and cat, nothing of ours. The package does
// not read ssh_config, keeps no password, and does not try again by itself except
// for a free session slot on a connection. Where a server allows fewer of these than
// are needed at once (MaxSessions 1), it makes further connections, unless the user
// had to be asked for more than a key.
package ssh
