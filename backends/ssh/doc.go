// Package ssh reaches hosts that run an SSH server. It makes one connection and
// one authentication per login and runs everything over it: commands, jobs,
// files and further logins to hosts only the server can reach.
//
// A URL names the host and little else:
//
//	ssh://[user@]host[:port][?jump=[user@]host[:port],...][&identity=/path/to/key]
//
// Everything else is as `ssh host` has it: user, port, real name, keys, certificates,
// agent, jump hosts, proxy command and known hosts come from the user's
// ssh_config(5), which package sshconfig resolves for the host and for each jump host. What the
// URL says wins: jump takes the place of ProxyJump and ProxyCommand, identity is the
// only key for the host and the first one for jump hosts. Of its algorithms those that only old
// servers need are added to ours. What is sent otherwise, such as by SendEnv, is not obeyed.
//
// Keys are offered in the order of ssh(1); the error of a server that hangs up after
// some of them says how to name the right one. The passphrase of an encrypted key is asked
// for when a server takes the key, and once for all logins that share a [Shared].
//
// Host keys are checked against the user's and the machine's known_hosts, hashed lines,
// @cert-authority and @revoked included. A changed or revoked one is refused with
// the cure, always. An unknown one is a matter of StrictHostKeyChecking: by
// default the user is asked, and where nobody can be asked it is refused with the cure. "no"
// counts as accept-new, and the login says so ([gat.Described]).
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
// is ever requested. The one text that a shell here sees is a ProxyCommand,
// which is written for it.
//
// A host needs /bin/sh, dd, printf and cat, nothing of ours. The package keeps
// no password and does not try again by itself except for a free session slot on a
// connection. Where a server allows fewer of these than
// are needed at once (MaxSessions 1), it makes further connections, unless the user
// had to be asked for more than a key.
package ssh
