package sim

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// shell is what a simulated node has of the world outside: processes,
// sandboxes, files and outputs on their way home.
type shell struct {
	slots     []*process // which process is on a slot
	processes map[wire.Key]*process
	sandboxes map[wire.Key]bool
	collects  map[wire.Key]bool
}

type process struct {
	key     wire.Key
	slots   []int
	running bool
	ended   bool
}

func (s *shell) init(slots int) {
	s.slots = make([]*process, slots)
	s.processes = make(map[wire.Key]*process)
	s.sandboxes = make(map[wire.Key]bool)
	s.collects = make(map[wire.Key]bool)
}

// apply does what a node wants done.
func (w *world) apply(n *node, fx core.Effects) {
	if len(fx.Sends) > maxSends+len(n.links)*8 {
		w.violate("node %s sends %d messages at once, such as %T", n.spot.name(), len(fx.Sends), fx.Sends[len(fx.Sends)/2].Msg)
	}
	n.routes.learn(&fx)
	for _, id := range fx.Silent {
		w.hangUp(n, id)
	}
	for _, s := range fx.Sends {
		w.send(n, s)
	}
	for _, a := range fx.Dials {
		if o := w.byID[a.ID]; o != nil && o.alive {
			w.dial(n, o)
		}
	}
	for _, f := range fx.Fetches {
		w.k.After(w.late(n, 50*time.Millisecond, 2*time.Second), func() {
			err := ""
			if w.noise > 0 && w.k.Chance(0.01) {
				err = "the holder hung up"
			}
			w.input(n, func(n *node) { n.core.Fetched(w.local(n), f.Job, f.Root, err) })
		})
	}
	for _, s := range fx.Starts {
		w.startWorker(n, s)
	}
	for _, x := range fx.Kills {
		w.kill(n, x)
	}
	for _, c := range fx.Collects {
		n.collects[c.Key] = true
		w.collect(n, c)
	}
	for _, key := range fx.Discards {
		if p := n.processes[key]; p != nil {
			w.violate("node %s discards a worker that runs", n.id.Short())
		}
		delete(n.sandboxes, key)
	}
	for _, e := range fx.Events {
		w.event(n, e)
	}
	if fx.Leave != nil {
		if len(n.processes) > 0 {
			w.violate("node %s leaves (%s) with %d workers running", n.id.Short(), fx.Leave.Reason, len(n.processes))
		}
		w.logf("node %s (%s) leaves: %s", n.id.Short(), n.spot.name(), fx.Leave.Reason)
		n.leaves = true
		w.k.After(100*time.Millisecond, func() { w.crash(n, false) })
	}
}

// late returns how long something takes on a node.
func (w *world) late(n *node, lo, hi time.Duration) time.Duration {
	d := w.k.Between(lo, hi)
	if n.spot.slow {
		d *= 5
	}
	return d
}

func (w *world) startWorker(n *node, s core.Start) {
	p := &process{key: s.Key, slots: s.Slots}
	w.checkStart(n, s)
	for _, i := range s.Slots {
		n.slots[i] = p
	}
	n.processes[s.Key] = p
	n.sandboxes[s.Key] = true
	w.k.Trace(3, uint64(n.spot.index), uint64(s.Key.Rank), uint64(s.Key.Attempt))
	j := w.jobOf[s.Key.Job]
	w.k.After(w.late(n, 5*time.Millisecond, 50*time.Millisecond), func() {
		if p.ended {
			return
		}
		if n.spot.bad {
			w.end(n, p, wire.Exit{Reason: wire.ExitStartFailed, Text: "no java here"})
			return
		}
		p.running = true
		w.input(n, func(n *node) { n.core.Started(w.local(n), p.key, 1000+int(p.key.Rank)) })
		last := j.last
		if !j.steady {
			last = w.k.Between(j.last/2, j.last*3/2)
		}
		w.k.After(last, func() {
			exit := wire.Exit{Reason: wire.ExitProgram}
			if w.k.Chance(j.fails) {
				exit.Code = 3
			}
			w.end(n, p, exit)
		})
	})
}

// end ends a process, once.
func (w *world) end(n *node, p *process, exit wire.Exit) {
	if p.ended || !n.alive {
		return
	}
	p.ended = true
	for _, i := range p.slots {
		n.slots[i] = nil
	}
	delete(n.processes, p.key)
	w.input(n, func(n *node) {
		n.core.Exited(w.local(n), p.key, wire.Result{Exit: exit, Stdout: int64(p.key.Rank)})
	})
}

func (w *world) kill(n *node, x core.Kill) {
	p := n.processes[x.Key]
	if p == nil {
		return
	}
	w.k.After(w.k.Between(0, x.Grace)+w.late(n, time.Millisecond, 20*time.Millisecond), func() {
		w.end(n, p, wire.Exit{Reason: wire.ExitKilled, Signal: 9, Text: x.Reason})
	})
}

// collect tries to bring a worker's outputs home until it does, or nobody wants them
// any more.
func (w *world) collect(n *node, c core.Collect) {
	w.k.After(w.late(n, 10*time.Millisecond, 500*time.Millisecond), func() {
		if !n.alive || !n.collects[c.Key] {
			return
		}
		o := w.byID[c.Node]
		if _, d := w.way(n, o); n != o && d == 0 {
			w.collect(n, c)
			return
		}
		delete(n.collects, c.Key)
		err := ""
		if !o.sandboxes[c.Key] {
			err = "it is not there"
		}
		w.input(n, func(n *node) { n.core.Collected(w.local(n), c.Key, err) })
	})
}

// event takes what a node tells its user.
func (w *world) event(n *node, e core.Event) {
	if w.onEvent != nil {
		w.onEvent(n, e)
	}
	switch e := e.(type) {
	case core.WorkerChanged:
		j := w.jobOf[e.Key.Job]
		w.k.Trace(4, uint64(e.Change), uint64(e.Key.Rank), uint64(e.Key.Attempt))
		if e.Change.Final() {
			delete(n.collects, e.Key)
		}
		switch e.Change {
		case job.Granted:
			w.checkGranted(j, e.Key)
			j.granted[e.Key.Rank] = e.Peer.ID
			j.grants = append(j.grants, w.k.Now())
		case job.Done:
			w.checkDone(j, e.Key)
		case job.Lost:
			j.lost++
			delete(j.granted, e.Key.Rank)
			w.logf("job %s: worker %d.%d on %s lost: %s", e.Key.Job.Short(), e.Key.Rank, e.Key.Attempt, e.Peer.ID.Short(), e.Reason)
		}
	case core.JobEnded:
		j := w.jobOf[e.Job]
		if j.ended {
			w.violate("job %s ends twice", e.Job.Short())
		}
		j.ended, j.endedAt, j.end = true, w.k.Now(), e
		w.logf("job %s ends: %v %d %s", e.Job.Short(), e.Outcome, e.Exit, e.Reason)
		for _, key := range sortedKeys(n.collects) {
			if key.Job == e.Job {
				delete(n.collects, key)
			}
		}
	case core.PeersDown:
		for _, p := range e.Peers {
			w.logf("%s: peer %s is down: %s", n.spot.name(), p.ID.Short(), e.Reason)
			w.checkDeath(n, p, e.Reason)
		}
	}
}

func sortedKeys[V any](m map[wire.Key]V) []wire.Key {
	keys := make([]wire.Key, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, wire.Key.Compare)
	return keys
}
