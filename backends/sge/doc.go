// Package sge is the dialect of the Grid Engine family (SGE 6.2, Son of Grid
// Engine, Univa and Open Grid Scheduler) for package batch.
//
// The one rule to know: Grid Engine has no nodes, only slots, and every site names
// its own parallel environments and resources. A job of more than one core gets the
// parallel environment whose allocation rule puts its slots on one host, a job of
// several nodes one with a fixed number of slots for each host, memory the resource
// that the site counts; all are found in what qconf says. Where a site has none the
// error says which flag to give as native.
//
// qstat forgets a job when it ends, and qacct learns of it a little later: between
// the two a job is unknown. One that was deleted while it waited leaves no trace.
// Jobs are validated by the scheduler as they are submitted (-w e), because it takes
// ones that no queue can ever run. Identifiers are 7, and 7.3 for tasks of arrays.
//
// A running job can be entered if it is in a parallel environment with control_slaves:
// an execution daemon takes tasks for it (qrsh -inherit) from any submit host, given
// the job's number, one at a time for each slot. The task's host then connects to
// qrsh, at a port that the system chooses: where a firewall lets nodes reach only the
// qmaster there is no way in, and none to a hub either.
package sge
