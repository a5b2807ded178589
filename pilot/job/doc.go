// Package job is one job as its primary sees it ([Primary]) and as a pilot
// that works for it sees it ([Crew]).
//
// A job wants workers with ranks 0 to Want-1. Each start of a rank is an
// attempt; the one rule to know: only a rank's newest attempt counts. Whatever
// is heard of an older one is answered with a Stop, so that a rank's outputs
// come from one attempt only, however the network behaves.
//
//	            claim             report         collected
//	(no attempt) ───> granted ─┬─> staging ─> running ─> exited ─> done
//	      ^                    └──────┴──────────┴─────────┐
//	      └──── replace, retry: a newer attempt <──────── lost
//
// Both machines are level-triggered: messages state facts that only grow
// (claim numbers, attempts, worker states), they may be lost, doubled and
// reordered, and are repeated until the other side shows that it knows.
//
// The package is pure. It is not the scheduler of slots, which is
// [github.com/zorilla-grid/zorilla/overlay/flood], and it moves no bytes.
package job
