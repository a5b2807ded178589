// Package openssh reaches hosts by the system's own ssh program, and so in
// whatever way the user's ssh does: its configuration, Kerberos, hardware keys,
// certificates, ProxyJump and ProxyCommand, second factors.
//
//	openssh://[user@]alias[:port]
//
// The alias is what the user types after ssh; there are no options in the URL, for
// their place is ~/.ssh/config.
//
// The one rule to know: a login is one connection, which ssh processes share by
// OpenSSH's ControlMaster. If the user has one open for the host it is used, without
// any prompt, and left open; such a login is never made again silently, since what
// opened it may have been a password or a code. Else ssh is started as a master of our own, with
// a socket in a directory of mode 0700, and ends with this process whatever ends that.
// Commands, files and forwardings do not start further programs: they speak the
// master's protocol (OpenSSH's PROTOCOL.mux), and what is said over them is
// package shell's, as for ssh://.
//
// No ssh ever writes on the terminal or reads from it. What it says is kept and
// becomes the error, with its class and a cure; what it asks (SSH_ASKPASS) is put
// to the user by [gat.Target.Ask] under the site's name, one question at a time.
// Where nobody can be asked it runs with BatchMode.
//
// The package reads no configuration itself and knows no keys. On systems whose ssh
// cannot share a connection (Windows) every command is a login of its own: there
// only keys that need no prompt are of use, and no inner hosts are reached. A master
// of the user's notices a dead network no sooner than its ServerAliveInterval says.
package openssh
