// Package queuetest is what queueing systems put a backend through, as tests: a
// dialect passes them against the real daemons of a [testbed.Cluster], or is not
// done. Where [github.com/zorilla-grid/zorilla/gat/gattest] asks whether the
// contract is kept on a good day, this asks what the user is told on a bad one:
// limits that one system refuses at once and another lets wait for ever, banners
// around identifiers, garbage from the status command, a controller that is gone,
// a head that reboots, a node that dies.
//
// The one rule: after each test the queue is empty and no host of the cluster has
// a process or a file of the user's.
//
// The tests have the whole cluster for themselves and break it, so they run one
// after another and not beside others.
package queuetest
