package job

import (
	"cmp"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Crew is the workers of one job on one pilot.
type Crew struct {
	job     wire.JobID
	epoch   uint32
	primary wire.NodeID
	lease   time.Duration
	expires time.Duration
	first   uint64 // the lowest claim that it was granted
	size    int
	program *wire.Program // of the latest grant, never changed
	files   fileState
	workers []*worker // by attempt
	closing bool      // nothing more is reported; the crew goes when its processes have ended

	seq     uint64 // of the latest change
	acked   uint64 // changes up to this one are known to the primary
	flying  uint64 // Seq of the report on its way; 0 means none
	due     time.Duration
	backoff time.Duration
}

type fileState uint8

const (
	filesNone fileState = iota
	filesComing
	filesHere
)

type worker struct {
	wire.Attempt
	claim   uint64
	slots   []int
	state   wire.WorkerState
	started bool // its Start was asked for
	pid     int
	result  *wire.Result
	changed uint64

	killed  wire.ExitReason // why we killed it; 0 means that we did not
	why     string          // the same for people
	grace   time.Duration
	discard bool // goes with its end
}

// NewCrew returns the crew for a job's first grant.
func NewCrew(now time.Duration, primary wire.NodeID, g *wire.Grant) *Crew {
	return &Crew{job: g.Job, epoch: g.Epoch, primary: primary, lease: g.Lease, expires: now + g.Lease, first: g.Seq, backoff: repeatFirst, program: &g.Program}
}

// Primary returns the node that the crew works for.
func (c *Crew) Primary() wire.NodeID { return c.primary }

// First returns the lowest number of a claim that was granted to the crew.
func (c *Crew) First() uint64 { return c.first }

// Closing reports whether the crew takes no more workers.
func (c *Crew) Closing() bool { return c.closing }

// Heard tells that something came from the primary.
func (c *Crew) Heard(now time.Duration) { c.expires = max(c.expires, now+c.lease) }

// Renew sets the job's lease.
func (c *Crew) Renew(now time.Duration, lease time.Duration) {
	c.lease = lease
	c.Heard(now)
}

// Granted reports whether a grant was taken before; then the primary is told again.
func (c *Crew) Granted(now time.Duration, g *wire.Grant, fx *Effects) bool {
	again := false
	for _, w := range c.workers {
		if w.claim == g.Seq {
			again = true
			if w.changed <= c.acked {
				c.touch(w)
			}
		}
	}
	if again {
		c.report(now, fx)
	}
	return again
}

// Grant takes a grant; slots are those of each of its workers.
func (c *Crew) Grant(now time.Duration, g *wire.Grant, slots [][]int, fx *Effects) {
	c.size, c.program, c.first = int(g.Size), &g.Program, min(c.first, g.Seq)
	for i, a := range g.Workers {
		if i >= len(slots) {
			break
		}
		c.supersede(now, a, fx)
		w := &worker{Attempt: a, claim: g.Seq, slots: slots[i], state: wire.WorkerStaging}
		at, found := c.find(a)
		if found { // never from a sound primary
			fx.Freed = append(fx.Freed, slots[i]...)
			continue
		}
		c.workers = slices.Insert(c.workers, at, w)
		c.touch(w)
	}
	switch {
	case c.files == filesHere || c.program.Root.IsZero():
		c.startAll(fx)
	case c.files == filesNone:
		c.files = filesComing
		fx.Fetches = append(fx.Fetches, Fetch{c.job, c.program.Root, slices.Clone(c.program.Holders)})
	}
	c.report(now, fx)
}

// supersede ends older attempts of a rank.
func (c *Crew) supersede(now time.Duration, a wire.Attempt, fx *Effects) {
	for _, w := range slices.Clone(c.workers) {
		if w.Rank == a.Rank && w.Attempt.Attempt < a.Attempt {
			c.end(now, w, true, wire.ExitKilled, 0, "superseded", fx)
		}
	}
}

func (c *Crew) startAll(fx *Effects) {
	for _, w := range c.workers {
		if w.state < wire.WorkerRunning && !w.started {
			w.started = true
			fx.Starts = append(fx.Starts, Start{Key: c.key(w), Primary: c.primary, Slots: slices.Clone(w.slots), Size: c.size, Program: c.program})
		}
	}
}

func (c *Crew) key(w *worker) wire.Key {
	return wire.Key{Job: c.job, Rank: w.Rank, Attempt: w.Attempt.Attempt}
}

func (c *Crew) find(a wire.Attempt) (int, bool) {
	return slices.BinarySearchFunc(c.workers, a, func(w *worker, a wire.Attempt) int { return w.Attempt.Compare(a) })
}

func (c *Crew) worker(key wire.Key) *worker {
	if i, ok := c.find(wire.Attempt{Rank: key.Rank, Attempt: key.Attempt}); ok {
		return c.workers[i]
	}
	return nil
}

// touch marks a worker as changed, to be reported.
func (c *Crew) touch(w *worker) {
	c.seq++
	w.changed = c.seq
}

// Fetched tells that the job's files are here, or why not.
func (c *Crew) Fetched(now time.Duration, root wire.Digest, err string, fx *Effects) {
	if c.files != filesComing || root != c.program.Root {
		return
	}
	if err == "" {
		c.files = filesHere
		if !c.closing {
			c.startAll(fx)
		}
		return
	}
	c.files = filesNone
	for _, w := range slices.Clone(c.workers) {
		if !w.started && w.state < wire.WorkerExited {
			c.exited(w, wire.Result{Exit: wire.Exit{Reason: wire.ExitStagingFailed, Text: err}}, fx)
		}
	}
	c.report(now, fx)
}

// Started tells that a worker's process runs.
func (c *Crew) Started(now time.Duration, key wire.Key, pid int, fx *Effects) {
	if w := c.worker(key); w != nil && w.started && w.state < wire.WorkerRunning {
		w.state, w.pid = wire.WorkerRunning, pid
		c.touch(w)
		c.report(now, fx)
	}
}

// Exited tells that a worker's process has ended, or could not be started.
func (c *Crew) Exited(now time.Duration, key wire.Key, r wire.Result, fx *Effects) {
	w := c.worker(key)
	if w == nil || !w.started || w.state >= wire.WorkerExited {
		return
	}
	if w.killed != 0 && r.Exit.Reason == wire.ExitKilled {
		r.Exit.Reason = w.killed
		r.Exit.Text = cmp.Or(r.Exit.Text, w.why)
	}
	c.exited(w, r, fx)
	c.report(now, fx)
}

func (c *Crew) exited(w *worker, r wire.Result, fx *Effects) {
	w.state, w.result = wire.WorkerExited, &r
	fx.Freed = append(fx.Freed, w.slots...)
	w.slots = nil
	if w.discard || c.closing {
		c.remove(w, fx)
		return
	}
	c.touch(w)
}

// remove forgets a worker that has ended, and tells the primary.
func (c *Crew) remove(w *worker, fx *Effects) {
	if w.started {
		fx.Discards = append(fx.Discards, c.key(w))
	}
	c.workers = slices.DeleteFunc(c.workers, func(x *worker) bool { return x == w })
	if !c.closing {
		fx.send(c.primary, c.gone(w.Attempt))
	}
	c.drop(fx)
}

// drop forgets the job's files once a closing crew is empty.
func (c *Crew) drop(fx *Effects) {
	if c.closing && len(c.workers) == 0 {
		fx.Drops = append(fx.Drops, c.job)
	}
}

func (c *Crew) gone(a wire.Attempt) *wire.Report {
	return &wire.Report{Job: c.job, Epoch: c.epoch, Workers: []wire.Status{{Attempt: a, State: wire.WorkerGone}}}
}

// end ends a worker in whatever state it is.
func (c *Crew) end(now time.Duration, w *worker, discard bool, why wire.ExitReason, grace time.Duration, reason string, fx *Effects) {
	w.discard = w.discard || discard
	switch {
	case w.state >= wire.WorkerExited:
		if w.discard {
			c.remove(w, fx)
		}
	case !w.started:
		c.exited(w, wire.Result{Exit: wire.Exit{Reason: why, Text: reason}}, fx)
	case w.killed == 0 || grace < w.grace:
		if w.killed == 0 {
			w.killed, w.why = why, reason
		}
		w.grace = grace
		fx.Kills = append(fx.Kills, Kill{c.key(w), grace, cmp.Or(reason, why.String())})
	}
}

func (c *Crew) grace() time.Duration { return cmp.Or(c.program.KillGrace, DefaultKillGrace) }

// Stop takes a primary's Stop.
func (c *Crew) Stop(now time.Duration, m *wire.Stop, fx *Effects) {
	for _, a := range m.Workers {
		i, ok := c.find(a)
		if !ok {
			fx.send(c.primary, c.gone(a))
			continue
		}
		w := c.workers[i]
		if w.state == wire.WorkerExited && m.Keep && w.changed <= c.acked {
			c.touch(w) // the primary should know by now, and does not
		}
		grace := c.grace()
		if m.Now {
			grace = 0
		}
		c.end(now, w, !m.Keep, wire.ExitKilled, grace, m.Reason, fx)
	}
	c.report(now, fx)
}

// Close ends the crew at once: the job has ended, or this pilot was alone for
// the job's lease.
func (c *Crew) Close(now time.Duration, why wire.ExitReason, fx *Effects) {
	if c.closing {
		return
	}
	c.closing = true
	if len(c.workers) == 0 {
		c.drop(fx)
		return
	}
	for _, w := range slices.Clone(c.workers) {
		c.end(now, w, true, why, 0, why.String(), fx)
	}
}

// Drain ends the workers that run, for the pilot leaves.
func (c *Crew) Drain(now time.Duration, reason string, fx *Effects) {
	for _, w := range slices.Clone(c.workers) {
		if w.state < wire.WorkerExited {
			c.end(now, w, false, wire.ExitDrained, c.grace(), reason, fx)
		}
	}
	c.report(now, fx)
}

// Empty reports whether there is no worker, ended or not.
func (c *Crew) Empty() bool { return len(c.workers) == 0 }

// Len returns the number of workers, ended ones included.
func (c *Crew) Len() int { return len(c.workers) }

// report tells the primary what it does not know, one report at a time.
func (c *Crew) report(now time.Duration, fx *Effects) {
	if c.flying == 0 && !c.closing && c.acked < c.seq {
		c.backoff = repeatFirst
		c.send(now, fx)
	}
}

func (c *Crew) send(now time.Duration, fx *Effects) {
	var news []*worker
	for _, w := range c.workers {
		if w.changed > c.acked {
			news = append(news, w)
		}
	}
	if len(news) == 0 { // what changed is gone, and was told
		c.acked, c.flying = c.seq, 0
		return
	}
	slices.SortFunc(news, func(a, b *worker) int { return cmp.Compare(a.changed, b.changed) })
	news = news[:min(len(news), wire.MaxWorkers)]
	m := &wire.Report{Job: c.job, Epoch: c.epoch, Seq: news[len(news)-1].changed, Workers: make([]wire.Status, len(news))}
	for i, w := range news {
		m.Workers[i] = wire.Status{Attempt: w.Attempt, State: w.state, Result: w.result}
		if w.state == wire.WorkerRunning {
			m.Workers[i].PID = int32(w.pid)
		}
	}
	c.flying, c.due = m.Seq, now+c.backoff
	fx.send(c.primary, m)
}

// Ack takes the acknowledgement of a report.
func (c *Crew) Ack(now time.Duration, seq uint64, fx *Effects) {
	if seq > c.seq || seq <= c.acked {
		return
	}
	c.acked = seq
	if seq >= c.flying {
		c.flying = 0
	}
	c.report(now, fx)
}

// Up tells that the primary can be reached (again).
func (c *Crew) Up(now time.Duration, fx *Effects) {
	c.flying = 0
	c.report(now, fx)
}

// Tick lets time pass. It is wanted at [Crew.Next].
func (c *Crew) Tick(now time.Duration, fx *Effects) {
	if c.closing {
		return
	}
	if now >= c.expires {
		c.Close(now, wire.ExitLease, fx)
		return
	}
	if c.flying != 0 && now >= c.due {
		c.backoff = min(2*c.backoff, repeatMax, max(repeatFirst, c.lease/4))
		c.send(now, fx)
	}
}

// Next returns when Tick is wanted; false means never.
func (c *Crew) Next() (time.Duration, bool) {
	if c.closing {
		return 0, false
	}
	if c.flying != 0 {
		return min(c.expires, c.due), true
	}
	return c.expires, true
}
