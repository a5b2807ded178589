// Package batch is the engine for queueing systems: a [gat.Backend] made of a
// [Dialect] (what one system's commands are called, what they are given and how
// their answers read, as pure functions from text to text) and of a shell, any
// backend with the ability to run commands. So slurm over ssh and slurm on this
// machine are compositions, not code: [New] serves "slurm+ssh" and "slurm+local".
//
// The one rule to know: a queue's word is a hint. A listing that fails, is cut
// off or empty is an error of class [gat.Transient], never the end of a job; a
// job that a good listing does not hold is looked up in the system's accounting,
// and is [gat.Unknown] when that does not know it either. Deciding that it is
// lost is the business of whoever waits for it.
//
// What is submitted goes to the submit command's standard input in one remote
// command, an array of jobs in one submission; jobs are cancelled many at a time;
// and all logins of a user share one status command per interval through
// [gat.Target] Polls. Nothing of the user's is interpreted by a shell but the
// lines of Setup: arguments, environment, paths and files are in the script as
// data. The engine keeps no state but what it may forget: it never retries,
// polls or logs by itself.
package batch
