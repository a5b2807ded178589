// Package queue knows what became of one site's pilots in a queueing system
// and decides what is to be done about it: when to submit more, which to cancel,
// when to give the site up.
//
// The one rule: a pilot's own call home is the truth and the queue's word a
// hint. A queued job is never late, however long it waits; a job that the
// queue has no news of is not dead; a job that the queue calls ended while its
// pilot talks to us lives.
//
// It is not what talks to schedulers: a [Queue] has no clock and does no I/O. Its
// caller tells it what happened, with the time, and does what [Queue.Next]
// says.
package queue
