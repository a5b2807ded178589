package core

import (
	"slices"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

const (
	claimEvery   = time.Second      // a claim is repeated
	claimBackoff = 30 * time.Second // at most, between claims that nobody answers
)

// work is a pilot's part: its slots and the workers on them.
type work struct {
	slots  *flood.Slots // nil without slots
	seeks  []*seek      // by job, in the order in which they were heard of
	crews  []*crew      // in the order in which they came
	hadJob bool
	idleAt time.Duration // when idleness ends in leaving; 0: not idle
}

// seek is how a pilot stands to a job that wants workers.
type seek struct {
	job     wire.JobID
	tried   uint64        // Seq of the advert for which there was a claim
	retryAt time.Duration // for the same advert; 0: never
	shunTo  time.Duration
	backoff time.Duration
	claim   uint64 // on offer; 0: none
	workers uint32
	sendAt  time.Duration // of the claim, again
	linked  bool          // it was sent over a link; without one it waits for that
}

type crew struct {
	*job.Crew
	id wire.JobID
}

func (n *Node) crew(id wire.JobID) *crew {
	for _, c := range n.crews {
		if c.id == id {
			return c
		}
	}
	return nil
}

func (n *Node) seekFor(id wire.JobID) *seek {
	for _, s := range n.seeks {
		if s.job == id {
			return s
		}
	}
	s := &seek{job: id, backoff: claimEvery}
	n.seeks = append(n.seeks, s)
	return s
}

// seek claims for jobs, the oldest first, as far as the slots go.
func (n *Node) seek(now time.Duration) {
	defer n.countFree(now)
	if n.slots == nil || n.exit.reason != "" || n.board.Len() == 0 {
		return
	}
	for _, ad := range n.board.All() {
		if ad.Open == 0 {
			continue
		}
		s := n.seekFor(ad.Job)
		again := ad.Seq > s.tried || s.retryAt != 0 && now >= s.retryAt
		if s.claim != 0 || now < s.shunTo || !again {
			continue
		}
		per, ok := n.fits(now, &ad.Needs)
		if !ok {
			s.tried, s.retryAt = ad.Seq, 0
			continue
		}
		for _, c := range n.slots.ToWound(ad, per, int(ad.Open)) {
			n.slots.Wound(now, c)
			n.send(c.Primary, &wire.Release{Job: c.Job, Epoch: c.Epoch, Seq: c.Seq, Ask: true, Reason: "an older job wants its slots"})
		}
		c := n.slots.Offer(now, ad, per, int(ad.Open))
		if c == nil {
			continue
		}
		s.tried, s.retryAt = ad.Seq, 0
		s.claim, s.workers = c.Seq, uint32(c.Workers())
		n.sendClaim(now, c, s)
	}
}

func (n *Node) fits(now time.Duration, needs *wire.Requirements) (per int, ok bool) {
	if !flood.Runs(needs, n.cfg.Platform) || !flood.Lasts(needs, n.left(now, n.cfg.Until)) {
		return 0, false
	}
	if needs.Runtime != "" && n.cfg.Runtimes != nil && !slices.Contains(n.cfg.Runtimes, needs.Runtime) {
		return 0, false
	}
	return n.slots.PerWorker(needs)
}

func (n *Node) sendClaim(now time.Duration, c *flood.Claim, s *seek) {
	s.sendAt, s.linked = now+claimEvery, n.link(c.Primary) != nil
	n.send(c.Primary, &wire.Claim{Job: c.Job, Epoch: c.Epoch, Seq: c.Seq, Workers: s.workers, TTL: max(0, c.Expires-now), Hubs: n.at.Hubs})
}

// claimAgain repeats what is on offer to a node that can be reached again.
func (n *Node) claimAgain(now time.Duration, id wire.NodeID) {
	for _, s := range n.seeks {
		if s.claim == 0 || !s.linked {
			continue // it has waited for the link, and is on its way
		}
		if c := n.slots.Find(s.job, s.claim); c != nil && c.Primary == id {
			n.sendClaim(now, c, s)
		}
	}
}

// giveBack releases a claim.
func (n *Node) giveBack(c *flood.Claim, reason string) {
	n.send(c.Primary, &wire.Release{Job: c.Job, Epoch: c.Epoch, Seq: c.Seq, Reason: reason})
	n.slots.Drop(c)
	n.answered(c.Job, c.Seq)
}

// answered notes that a claim is no longer on offer.
func (n *Node) answered(id wire.JobID, seq uint64) {
	for _, s := range n.seeks {
		if s.job == id && s.claim == seq {
			s.claim = 0
		}
	}
}

// freed lets all jobs but one be looked at again: there are free slots.
func (n *Node) freed(but wire.JobID) {
	for _, s := range n.seeks {
		if s.job != but {
			s.tried = 0
		}
	}
}

// receiveWork takes a primary's messages to a pilot; false means that it is
// another's.
func (n *Node) receiveWork(now time.Duration, from wire.NodeID, m wire.Message) bool {
	switch m := m.(type) {
	case *wire.Hold:
		n.hold(now, from, m)
	case *wire.Grant:
		n.grant(now, from, m)
	case *wire.Refuse:
		n.refuse(now, from, m)
	case *wire.Stop:
		if c := n.crew(m.Job); c != nil && c.Primary() == from && !c.Closing() {
			c.Heard(now)
			c.Stop(now, m, n.doing())
			n.absorb(now)
			break
		}
		for part := range slices.Chunk(m.Workers, wire.MaxWorkers) {
			gone := &wire.Report{Job: m.Job, Epoch: m.Epoch}
			for _, a := range part {
				gone.Workers = append(gone.Workers, wire.Status{Attempt: a, State: wire.WorkerGone})
			}
			n.send(from, gone)
		}
	case *wire.Renew:
		n.renew(now, from, m)
	case *wire.Ack:
		if m.Of != wire.KindReport {
			return false
		}
		if c := n.crew(m.Job); c != nil && c.Primary() == from {
			c.Heard(now)
			c.Ack(now, m.Seq, n.doing())
			n.absorb(now)
		}
	default:
		return false
	}
	return true
}

// claimOf finds the claim that a primary's answer is about.
func (n *Node) claimOf(from wire.NodeID, id wire.JobID, seq uint64) *flood.Claim {
	if n.slots == nil {
		return nil
	}
	if c := n.slots.Find(id, seq); c != nil && c.Primary == from {
		return c
	}
	return nil
}

func (n *Node) hold(now time.Duration, from wire.NodeID, m *wire.Hold) {
	c := n.claimOf(from, m.Job, m.Seq)
	if c == nil {
		if w := n.crew(m.Job); w == nil || w.Closing() {
			n.send(from, &wire.Release{Job: m.Job, Epoch: m.Epoch, Seq: m.Seq, Reason: "there is no such claim"})
		}
		return
	}
	n.answered(m.Job, m.Seq)
	n.slots.Hold(now, c, int(m.Workers), m.TTL)
	n.seekFor(m.Job).backoff = claimEvery
	n.freed(m.Job)
}

func (n *Node) grant(now time.Duration, from wire.NodeID, m *wire.Grant) {
	w := n.crew(m.Job)
	if w != nil && !w.Closing() && w.Granted(now, m, n.doing()) {
		n.absorb(now)
		return
	}
	c := n.claimOf(from, m.Job, m.Seq)
	if c == nil || n.board.Closed(m.Job) || c.Workers() < len(m.Workers) || w != nil && (w.Closing() || w.Primary() != from) {
		if c != nil {
			n.slots.Drop(c)
			n.answered(m.Job, m.Seq)
		}
		n.send(from, &wire.Release{Job: m.Job, Epoch: m.Epoch, Seq: m.Seq, Reason: "there is no such claim"})
		return
	}
	n.answered(m.Job, m.Seq)
	n.seekFor(m.Job).backoff = claimEvery
	slots := n.slots.Commit(c, len(m.Workers))
	if w == nil {
		w = &crew{job.NewCrew(now, from, m), m.Job}
		n.crews = append(n.crews, w)
	}
	n.hadJob = true
	n.life = now
	w.Grant(now, m, slots, n.doing())
	n.absorb(now)
	n.freed(m.Job)
}

func (n *Node) refuse(now time.Duration, from wire.NodeID, m *wire.Refuse) {
	c := n.claimOf(from, m.Job, m.Seq)
	if c == nil {
		return
	}
	n.slots.Drop(c)
	n.answered(m.Job, m.Seq)
	s := n.seekFor(m.Job)
	s.backoff = claimEvery
	s.shunTo = now + max(m.Shun, claimEvery)
	n.freed(m.Job)
}

// renew takes a primary's sign of life, and says what of its job is not here.
func (n *Node) renew(now time.Duration, from wire.NodeID, m *wire.Renew) {
	var last, before uint64
	here := false
	first := func(seq uint64) {
		if !here || seq < before {
			before = seq
		}
		here = true
	}
	if n.slots != nil {
		last = n.slots.Last()
		n.slots.Renew(now, m.Job, m.Lease)
		for _, c := range n.slots.Claims() {
			if c.Job == m.Job && c.Primary == from {
				first(c.Seq)
			}
		}
	}
	if c := n.crew(m.Job); c != nil && !c.Closing() && c.Primary() == from {
		c.Renew(now, m.Lease)
		first(c.First())
	}
	if !here {
		n.send(from, &wire.Release{Job: m.Job, Epoch: m.Epoch, Seq: last, All: true, Reason: "nothing of the job is here"})
		return
	}
	n.life = now
	n.send(from, &wire.Ack{Job: m.Job, Epoch: m.Epoch, Of: wire.KindRenew, Seq: m.Seq, Before: before})
}

// closeWork ends what a pilot has of a job.
func (n *Node) closeWork(now time.Duration, id wire.JobID) {
	n.seeks = slices.DeleteFunc(n.seeks, func(s *seek) bool { return s.job == id })
	if n.slots != nil {
		for _, c := range slices.Clone(n.slots.Claims()) {
			if c.Job == id {
				n.slots.Drop(c)
				n.freed(id)
			}
		}
	}
	n.hadJob = true
	if c := n.crew(id); c != nil {
		c.Close(now, wire.ExitKilled, n.doing())
		n.absorb(now)
	}
}

// Fetched answers a [Fetch]: the files are here, or err says why not.
func (n *Node) Fetched(now time.Duration, id wire.JobID, root wire.Digest, err string) {
	if c := n.crew(id); c != nil {
		c.Fetched(now, root, clip(err), n.doing())
		n.absorb(now)
	}
	n.settle(now)
}

// Started tells that a worker's process runs.
func (n *Node) Started(now time.Duration, key wire.Key, pid int) {
	if c := n.crew(key.Job); c != nil {
		c.Started(now, key, pid, n.doing())
		n.absorb(now)
	}
	n.settle(now)
}

// Exited tells that a worker's process has ended, or could not be started, and
// what there is to collect of it.
func (n *Node) Exited(now time.Duration, key wire.Key, r wire.Result) {
	r.Exit.Text, r.Warnings = clip(r.Exit.Text), clipAll(r.Warnings)
	if c := n.crew(key.Job); c != nil {
		c.Exited(now, key, r, n.doing())
		n.absorb(now)
	}
	n.settle(now)
}

// clip bounds a text that the shell made from anything.
func clip(s string) string { return clipTo(s, wire.MaxReason) }

func clipTo(s string, most int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-3], "") + "..."
}

// clipAll bounds warnings, of which the first ones matter most.
func clipAll(list []string) []string {
	var out []string
	left := wire.MaxWarned
	for _, s := range list {
		s = strings.ReplaceAll(clip(s), "\x00", "?")
		if left -= len(s); left < 0 || len(out) == wire.MaxWarnings {
			break
		}
		out = append(out, s)
	}
	return out
}

// Occupy keeps slots slots of this node for their owner from now on: free ones
// at once, others as they become free. What was promised or given to a job
// stays so.
func (n *Node) Occupy(now time.Duration, slots int) {
	if n.slots != nil {
		n.slots.Withhold(slots)
		n.freed(wire.JobID{})
	}
	n.settle(now)
}

// tickWork lets time pass for claims and crews.
func (n *Node) tickWork(now time.Duration) {
	n.tickTables(now)
	for _, ad := range n.board.Expire(now) {
		n.seeks = slices.DeleteFunc(n.seeks, func(s *seek) bool { return s.job == ad.Job })
	}
	if n.slots != nil {
		for _, c := range n.slots.Expired(now) {
			s := n.seekFor(c.Job)
			if c.State == flood.Offered {
				s.retryAt = now + s.backoff + time.Duration(n.cfg.Seed%uint64(s.backoff/4))
				s.backoff = min(2*s.backoff, claimBackoff)
			}
			n.giveBack(c, "nothing was heard of the claim")
			n.freed(c.Job)
		}
		for _, s := range n.seeks {
			if s.claim != 0 && now >= s.sendAt {
				if c := n.slots.Find(s.job, s.claim); c != nil {
					n.sendClaim(now, c, s)
				}
			}
		}
	}
	for _, c := range slices.Clone(n.crews) {
		c.Tick(now, n.doing())
		n.absorb(now)
	}
}

// nextWork returns when tickWork, or another look at the adverts, is wanted.
func (n *Node) nextWork(now time.Duration) time.Duration {
	next := n.nextTables(now)
	if t, ok := n.board.Next(); ok {
		next = min(next, t)
	}
	if n.slots != nil {
		if t, ok := n.slots.Next(); ok {
			next = min(next, t)
		}
	}
	for _, s := range n.seeks {
		switch {
		case s.claim != 0:
			next = min(next, s.sendAt)
		case s.shunTo > now:
			next = min(next, s.shunTo)
		case s.retryAt > now:
			next = min(next, s.retryAt)
		}
	}
	for _, c := range n.crews {
		if t, ok := c.Next(); ok {
			next = min(next, t)
		}
	}
	if n.idleAt != 0 {
		next = min(next, n.idleAt)
	}
	return next
}
