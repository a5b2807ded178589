// Package sshconfig says how the user's own ssh would reach a host: it resolves
// ~/.ssh/config and the machine's configuration for one host name, so that a name
// that works after `ssh` works here too.
//
// The one rule to know: the installed ssh does the resolving wherever there is one,
// by `ssh -G` (ssh(1)), for only it knows every version's Match, Include, canonical
// names and defaults. Where there is none, or one from before 2015, a library
// reads the files; it understands Host, Include and simple Match lines, and a file
// it does not understand is refused with its name rather than half obeyed.
//
// A [Host] has no tokens left in it: %h, ~ and ${VAR} are expanded as
// ssh_config(5) says under TOKENS, save those ssh expands later still.
//
// Everything is bounded, for a Match exec line runs any command: in time, in
// output, and the command's whole process group is ended with the question. Nothing
// asked for reaches a shell unless the user's own configuration puts it
// there, and then it has no characters that mean something to one.
//
// The package makes no connection and reads no key.
package sshconfig
