// Package prun is the dialect of prun, the command by which the clusters of DAS run
// programs: it reserves nodes, starts one process on each, and blocks until they end;
// an interrupt ends them.
//
// The one rule to know: prun is a command, not a queue. A job is a prun that a keeper
// holds at the host logged in to, in a session of its own, so that it outlives the
// login. The keeper's directory, .gat-prun-ID in the home directory, is the job's
// record: it has the script, which the nodes read from there (prun's clusters share
// home directories), the keeper's process, and a mark that the script makes as it
// starts. Until that is there the job is queued. The keeper removes the directory
// when prun ends, and whoever lists jobs removes those whose keeper died; so a job
// that ended is unknown, and its exit status is nobody's.
package prun
