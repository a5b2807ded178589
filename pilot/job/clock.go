package job

import (
	"fmt"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// changed plans a new advert when the number of wanted workers says so.
func (p *Primary) changed(now time.Duration) {
	w := p.wanted(now)
	if w > p.said || (w == 0) != (p.said == 0) {
		p.refloods = 0
		p.floodAt = min(p.floodAt, max(now, p.saidAt+floodPause, p.woundedTo))
	}
}

// Advertise sees to a new advert now, because its last one did not reach enough
// of those that have slots.
func (p *Primary) Advertise(now time.Duration, fx *Effects) {
	p.floodAt = min(p.floodAt, max(now, p.woundedTo))
	p.flood(now, fx)
}

// Wanted returns for how many more workers claims are wanted now.
func (p *Primary) Wanted(now time.Duration) int { return p.wanted(now) }

// Invite tells that just as many claims were asked for as are wanted, and some
// to spare, of slots that should be free: a gang that will be complete in a
// moment sends no Hold, and chooses among the claims.
func (p *Primary) Invite(spare int) { p.invited, p.spare = true, max(0, spare) }

// Open tells that claims may come from anywhere, at any time.
func (p *Primary) Open() { p.invited, p.spare = false, 0 }

// Locate says how the primary finds out where a hub with its pilots is. Without
// it any set of pilots is as good as another.
func (p *Primary) Locate(where func(hub wire.NodeID, site string) flood.Place) { p.where = where }

// Places returns where the job has something, by hub.
func (p *Primary) Places() []flood.Place { return p.places(true, true) }

// flood renews the advert when it is time: often while workers are wanted, for
// a message may be lost, else often enough to keep nodes from forgetting the job.
func (p *Primary) flood(now time.Duration, fx *Effects) {
	if now < p.floodAt || p.end != nil {
		return
	}
	w := p.wanted(now)
	every := p.spec.Lease / 3
	if w > 0 {
		every = min(every, repeatMax, 2*time.Second<<min(p.refloods, 8))
		p.refloods++
	}
	p.seq++
	p.said, p.saidAt, p.floodAt = w, now, now+every
	if w == 0 && now < p.pausedTo {
		p.floodAt = min(p.floodAt, p.pausedTo)
	}
	needs := p.spec.Needs
	if needs.Walltime > 0 {
		needs.Walltime = max(needs.Walltime-(now-p.born), time.Second)
	}
	fx.Adverts = append(fx.Adverts, &wire.Advert{Job: p.spec.ID, Epoch: p.epoch, Seq: p.seq, Primary: p.self,
		Order: p.order, Open: uint32(w), Needs: needs, Lease: p.spec.Lease})
}

// Tick lets time pass. It is wanted at [Primary.Next].
func (p *Primary) Tick(now time.Duration, fx *Effects) {
	for _, m := range slices.Clone(p.list) {
		switch {
		case p.end != nil && now >= p.endedAt+p.spec.Lease:
			m.involved = false
		case m.busy() && now >= m.heard+p.spec.Lease:
			p.PilotDown(now, m.id, fmt.Sprintf("nothing heard of its node for %v", p.spec.Lease), fx)
		case p.deaf(now, m):
			p.refused(now, m, fx)
		default:
			p.tend(now, m, fx)
		}
	}
	if p.holdAt != 0 && now >= p.holdAt {
		p.tell(fx)
	}
	if p.settleAt != 0 && now >= p.settleAt && p.complete(now) {
		p.grantAll(now, fx)
		p.changed(now)
	}
	if p.gathering != 0 && now >= p.gathering+p.spec.GangWait {
		p.disperse(now, fx)
	}
	p.unstick(now, fx)
	if p.stopping != nil && p.end == nil && now >= p.deadline {
		p.close(now, fx)
	}
	p.finish(now, fx)
	p.flood(now, fx)
}

// busy reports whether the job has something at a pilot.
func (m *member) busy() bool { return len(m.live) > 0 || len(m.claims) > 0 || len(m.stops) > 0 }

// waiting reports whether a pilot has something to answer.
func (p *Primary) waiting(m *member) bool {
	if p.end != nil {
		return m.involved
	}
	if len(m.stops) > 0 {
		return true
	}
	return p.stopping == nil && p.unconfirmed(m)
}

// deaf reports whether a pilot talks, but not of what it was granted: it has
// claimed slots that it lacks.
func (p *Primary) deaf(now time.Duration, m *member) bool {
	return p.end == nil && p.stopping == nil && now >= m.granted+answerTime && m.heard >= m.granted+answerTime/2 && p.unconfirmed(m)
}

// unconfirmed reports whether a pilot has not told of something it was granted.
func (p *Primary) unconfirmed(m *member) bool {
	return slices.ContainsFunc(m.live, func(i uint32) bool { return !p.ranks[i].confirmed })
}

// refused takes back what a pilot does not tell of, and shuns it.
func (p *Primary) refused(now time.Duration, m *member, fx *Effects) {
	const why = "it does not answer its grants"
	m.fails = max(m.fails, ShunAfter)
	p.failed(now, m, why, fx)
	for _, i := range slices.Clone(m.live) {
		if !p.ranks[i].confirmed {
			p.lost(now, i, wire.Exit{Reason: wire.ExitLost, Text: why}, false, fx)
		}
	}
	p.changed(now)
}

// tend repeats what a pilot has not answered, and renews the lease it gives us.
func (p *Primary) tend(now time.Duration, m *member, fx *Effects) {
	if p.waiting(m) && now >= m.due {
		m.due = now + m.backoff
		m.backoff = min(2*m.backoff, repeatMax, max(repeatFirst, p.spec.Lease/4))
		p.again(m, fx)
	}
	if p.end == nil && m.busy() && now >= m.renewAt {
		m.renewed++
		m.renewAt = now + RenewEvery(p.spec.Lease)
		fx.send(m.id, &wire.Renew{Job: p.spec.ID, Epoch: p.epoch, Seq: m.renewed, Lease: p.spec.Lease})
	}
}

func (p *Primary) again(m *member, fx *Effects) {
	if p.end != nil {
		fx.send(m.id, &wire.Closed{Job: p.spec.ID, Epoch: p.epoch, Ack: true})
		return
	}
	for _, s := range m.stops {
		fx.send(m.id, p.stopMessage(s))
	}
	var last uint64
	for _, i := range m.live {
		if r := &p.ranks[i]; !r.confirmed && r.claim != last {
			last = r.claim
			if g := p.grant(m, r.claim); g != nil {
				fx.send(m.id, g)
			}
		}
	}
}

// disperse gives up gathering for a while, so that other jobs can have the slots.
func (p *Primary) disperse(now time.Duration, fx *Effects) {
	fx.Dispersed = &Dispersed{Held: p.held, Missing: p.spec.Min - p.held, Waited: now - p.gathering}
	for _, m := range p.list {
		for _, h := range m.claims {
			fx.send(m.id, &wire.Refuse{Job: p.spec.ID, Epoch: p.epoch, Seq: h.seq})
		}
		m.claims = nil
	}
	p.takeNone(now)
	p.gathering, p.holdAt, p.settleAt, p.wounds = 0, 0, 0, 0
	fx.Dispersed.Pause = min(max(p.spec.GangWait/4, 2*time.Second), time.Minute)
	p.pausedTo = now + fx.Dispersed.Pause
	p.changed(now)
}

// unstick ends a job for which every pilot that ever claimed is shunned.
func (p *Primary) unstick(now time.Duration, fx *Effects) {
	stuck := p.stopping == nil && p.end == nil && p.live == 0 && p.held == 0 && len(p.list) > 0 &&
		!slices.ContainsFunc(p.list, func(m *member) bool { return !m.shunned })
	switch {
	case !stuck:
		p.stuckAt = 0
	case p.stuckAt == 0:
		p.stuckAt = now + stuckPause
	case now >= p.stuckAt:
		p.halt(now, End{Outcome: Sites, Exit: ExitSites, Reason: p.why}, fx)
	}
}

// Next returns when Tick is wanted.
func (p *Primary) Next() time.Duration {
	if p.end != nil {
		next := p.endedAt + p.spec.Lease
		for _, m := range p.list {
			if m.involved {
				next = min(next, m.due)
			}
		}
		return next
	}
	next := p.floodAt
	if p.stopping != nil {
		next = min(next, p.deadline)
	}
	for _, t := range []time.Duration{p.holdAt, p.settleAt} {
		if t != 0 {
			next = min(next, t)
		}
	}
	if p.gathering != 0 {
		next = min(next, p.gathering+p.spec.GangWait)
	}
	if p.stuckAt != 0 {
		next = min(next, p.stuckAt)
	}
	for _, m := range p.list {
		if m.busy() {
			next = min(next, m.renewAt, m.heard+p.spec.Lease)
			if p.waiting(m) {
				next = min(next, m.due)
			}
		}
	}
	return next
}
