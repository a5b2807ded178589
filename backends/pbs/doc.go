// Package pbs is the dialect of PBS Professional and OpenPBS for package batch.
//
// It has only been held to recordings of OpenPBS 23.06 and to a small queue that
// imitates it, never to a real server under test. Torque is another system with
// commands of the same names: it is recognised and refused, with the advice to
// describe it as a dialect of its own.
//
// The one rule to know: no JSON. qstat -F json is not valid when a variable of some
// job holds a backslash, and a finished job turns its status to an error, so jobs
// are read from the text of qstat -f, folded lines put together, for the ids that
// qselect gives, each of which must be there or be excused by name. The exit status
// of an array's parent means nothing and only that of finished jobs is read.
// Identifiers are those that qsub prints, 3.server, and 5[1].server for tasks.
package pbs
