package core

import (
	"fmt"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// MaxJobs is how many jobs one node can be the primary of at a time.
const MaxJobs = 256

// pokePause is how long a primary's timers may lie behind a change, so that
// they are not looked through at every message.
const pokePause = 50 * time.Millisecond

// jobs are those of which this node is the primary.
type jobs struct {
	primaries []*primary // in the order of their submission
	next      time.Duration
	tab       tables
}

type primary struct {
	*job.Primary
	id       wire.JobID
	search   flood.Search
	lookAt   time.Duration // when the search wants to go on; 0: when the job changes
	floodAt  time.Duration // when everybody is to be told that the job is still there
	question uint64        // Seq of the Find that is not answered
}

func (n *Node) primary(id wire.JobID) *primary {
	for _, p := range n.primaries {
		if p.id == id {
			return p
		}
	}
	return nil
}

// receiveJob takes the messages about jobs.
func (n *Node) receiveJob(now time.Duration, from wire.NodeID, site string, m wire.Message) {
	if n.receiveWork(now, from, m) {
		return
	}
	if n.wasOusted(from) {
		n.send(from, &wire.Retire{Reason: oustedReason})
		return
	}
	switch m := m.(type) {
	case *wire.Advert:
		n.advert(now, from, m)
	case *wire.Free:
		n.takeFree(now, from, m)
	case *wire.Tables:
		n.takeTables(now, from, m)
	case *wire.Find:
		n.takeFind(now, from, m)
	case *wire.Found:
		n.takeFound(now, from, m)
	case *wire.Closed:
		n.closed(now, from, m)
	case *wire.Claim:
		n.found(wire.Address{ID: from, Hubs: m.Hubs})
		if p := n.lead(from, m.Job, m.Epoch); p != nil {
			if k := p.Claim(now, from, site, n.bound(from, p, m), n.doing()); k > 0 {
				p.search.Claimed(hubOf(m, n.cfg.ID), k)
			}
			n.absorbJob(now, p)
		}
	case *wire.Release:
		if p := n.primary(m.Job); p != nil && p.Ended() == nil {
			p.Release(now, from, m, n.doing())
			n.absorbJob(now, p)
		}
	case *wire.Report:
		if p := n.primary(m.Job); m.Seq == 0 && (p == nil || p.Ended() != nil) {
			return // it answers a Stop and wants nothing
		}
		if p := n.lead(from, m.Job, m.Epoch); p != nil {
			p.Report(now, from, m, n.doing())
			n.absorbJob(now, p)
		}
	case *wire.Ack:
		if p := n.primary(m.Job); p != nil {
			p.Ack(now, from, m, n.doing())
			n.absorbJob(now, p)
		}
	}
}

// bound returns a claim as far as a pilot's offer goes.
func (n *Node) bound(from wire.NodeID, p *primary, m *wire.Claim) *wire.Claim {
	pilot := n.describe(from)
	all, more := p.Fits(from, &pilot.Offer)
	if int(m.Workers) <= more {
		return m
	}
	if l := n.link(from); l != nil && int(m.Workers) > all {
		n.blame(l, blameClaim, fmt.Sprintf("it claims slots for %d workers and offers room for %d", m.Workers, all))
	}
	less := *m
	less.Workers = uint32(more)
	return &less
}

// coresOf returns how many cores a worker takes on a pilot.
func (n *Node) coresOf(pilot wire.NodeID, needs *wire.Requirements) int {
	o := n.describe(pilot).Offer
	per, ok := flood.PerWorker(&o, needs)
	if !ok {
		return max(1, int(needs.Cores))
	}
	cores := int(o.Cores)
	if cores == 0 {
		cores = int(o.Slots)
	}
	return (per*cores + int(o.Slots) - 1) / int(o.Slots)
}

// lead returns the primary for a pilot's message. A job that has ended, or of
// which this node knows nothing, is closed to the pilot.
func (n *Node) lead(from wire.NodeID, id wire.JobID, epoch uint32) *primary {
	p := n.primary(id)
	if p == nil || p.Ended() != nil {
		n.send(from, &wire.Closed{Job: id, Epoch: epoch})
		return nil
	}
	return p
}

// closed takes the news that a job has ended.
func (n *Node) closed(now time.Duration, from wire.NodeID, m *wire.Closed) {
	if p := n.primary(m.Job); p != nil && p.Ended() == nil {
		return // nobody else can know
	}
	if !n.mayClose(now, from, m.Job) {
		return
	}
	if m.Ack {
		n.send(from, &wire.Ack{Job: m.Job, Epoch: m.Epoch, Of: wire.KindClosed})
	}
	if n.board.Close(m.Job, m.Epoch) {
		n.relay(from, &wire.Closed{Job: m.Job, Epoch: m.Epoch})
	}
	n.closeWork(now, m.Job)
}

// mayClose reports whether a node's word that a job has ended is taken: a pilot's
// only about its own jobs, others pass on what they have heard.
func (n *Node) mayClose(now time.Duration, from wire.NodeID, id wire.JobID) bool {
	l := n.link(from)
	if l == nil || n.relays(l) {
		return true
	}
	var primary wire.NodeID
	if ad := n.board.Advert(id); ad != nil {
		primary = ad.Primary
	} else if c := n.crew(id); c != nil {
		primary = c.Primary()
	}
	switch {
	case primary == from:
		return true
	case !primary.IsZero():
		n.blame(l, blameForged, "it ends another node's job")
		return false
	case n.author(now, from):
		return true
	}
	n.blame(l, blameAdverts, "too many ends of jobs come over it")
	return false
}

func (n *Node) poke(now time.Duration) { n.jobs.next = min(n.jobs.next, now+pokePause) }

// absorbJob takes the effects of a primary.
func (n *Node) absorbJob(now time.Duration, p *primary) {
	n.poke(now)
	jx := n.doing()
	for _, ad := range jx.Adverts {
		n.advertise(now, p, ad)
	}
	for _, u := range jx.Updates {
		n.fx.Events = append(n.fx.Events, WorkerChanged{Key: u.Key, Change: u.Change,
			Peer: n.describe(u.Node), PID: u.PID, Result: u.Result, Reason: u.Reason})
	}
	for _, s := range jx.Shunned {
		n.fx.Events = append(n.fx.Events, PilotShunned{p.id, n.describe(s.Node), s.Reason})
	}
	if d := jx.Dispersed; d != nil {
		n.fx.Events = append(n.fx.Events, GangDispersed{Job: p.id, Held: d.Held, Missing: d.Missing, Waited: d.Waited, Pause: d.Pause, Idle: p.Counts().Idle})
	}
	end := jx.Ended
	jx.Adverts, jx.Updates, jx.Shunned, jx.Ended, jx.Dispersed = nil, nil, nil, nil, nil
	n.absorb(now)
	if end != nil {
		n.fx.Events = append(n.fx.Events, JobEnded{p.id, end.Outcome, end.Exit, end.Reason, p.Counts().Idle})
		if n.board.Close(p.id, p.Epoch()) {
			n.relay(n.cfg.ID, &wire.Closed{Job: p.id, Epoch: p.Epoch()})
		}
		n.closeWork(now, p.id)
		n.jobs.next = now
	}
}

// absorb takes the effects of a crew, and those that crews and primaries share.
func (n *Node) absorb(now time.Duration) {
	jx := n.doing()
	for _, s := range jx.Sends {
		n.send(s.To, s.Msg)
	}
	n.fx.Fetches = append(n.fx.Fetches, jx.Fetches...)
	n.fx.Starts = append(n.fx.Starts, jx.Starts...)
	n.fx.Kills = append(n.fx.Kills, jx.Kills...)
	n.fx.Collects = append(n.fx.Collects, jx.Collects...)
	n.fx.Discards = append(n.fx.Discards, jx.Discards...)
	n.fx.Drops = append(n.fx.Drops, jx.Drops...)
	if len(jx.Freed) > 0 {
		n.slots.Free(jx.Freed)
		n.freed(wire.JobID{})
	}
	for _, id := range jx.Drops {
		n.crews = slices.DeleteFunc(n.crews, func(c *crew) bool { return c.id == id })
	}
	*jx = job.Effects{}
	if len(n.crews) == 0 && len(n.primaries) == 0 {
		n.jx = nil
	}
}

// doing is where primaries and crews write what the call in progress does. Only
// a node that works for a job has one.
func (n *Node) doing() *job.Effects {
	if n.jx == nil {
		n.jx = new(job.Effects)
	}
	return n.jx
}

// Cancel ends a job of which this node is the primary, with the given outcome.
// Graceful lets its workers end within their grace and collects what they
// wrote; otherwise the job ends at once. It does nothing for other jobs.
func (n *Node) Cancel(now time.Duration, id wire.JobID, outcome job.Outcome, graceful bool) {
	if p := n.primary(id); p != nil {
		p.Cancel(now, outcome, graceful, n.doing())
		n.absorbJob(now, p)
	}
	n.settle(now)
}

// Collected answers a [Collect]: everything is home, or err says what could
// not be had. Then the worker counts as lost.
func (n *Node) Collected(now time.Duration, key wire.Key, err string) {
	if p := n.primary(key.Job); p != nil {
		p.Collected(now, key, clip(err), n.doing())
		n.absorbJob(now, p)
	}
	n.settle(now)
}

// Job returns the counts of a job of which this node is the primary.
func (n *Node) Job(id wire.JobID) (job.Counts, bool) {
	if p := n.primary(id); p != nil {
		return p.Counts(), true
	}
	return job.Counts{}, false
}

// tickJobs lets time pass for the primaries.
func (n *Node) tickJobs(now time.Duration) {
	if now < n.jobs.next {
		return
	}
	for _, p := range slices.Clone(n.primaries) {
		if p.lookAt != 0 && now >= p.lookAt {
			p.lookAt = 0
			p.Advertise(now, n.doing())
		}
		p.Tick(now, n.doing())
		n.absorbJob(now, p)
	}
	n.primaries = slices.DeleteFunc(n.primaries, func(p *primary) bool { return p.Finished() })
	n.jobs.next = now + time.Hour
	for _, p := range n.primaries {
		n.jobs.next = min(n.jobs.next, p.Next())
		if p.lookAt != 0 {
			n.jobs.next = min(n.jobs.next, p.lookAt)
		}
	}
}
