package job

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Claim takes a pilot's claim. Site is where the pilot is; ranks next to each other
// are given within a site if possible. It returns for how many workers there
// are slots that were not claimed before, whatever becomes of them.
func (p *Primary) Claim(now time.Duration, from wire.NodeID, site string, c *wire.Claim, fx *Effects) int {
	m := p.member(now, from)
	if m == nil {
		return 0
	}
	m.site = site
	if len(c.Hubs) > 0 {
		m.hub = c.Hubs[0]
	}
	if c.Seq <= m.claim {
		p.answerAgain(now, m, c.Seq, fx)
		return 0
	}
	m.claim = c.Seq
	if m.shunned {
		fx.send(from, &wire.Refuse{Job: p.spec.ID, Epoch: p.epoch, Seq: c.Seq, Shun: p.spec.Lease})
		return 0
	}
	n := min(int(c.Workers), p.room(now))
	if n == 0 {
		fx.send(from, &wire.Refuse{Job: p.spec.ID, Epoch: p.epoch, Seq: c.Seq})
		return int(c.Workers)
	}
	if len(m.claims) == 0 && len(m.live) == 0 {
		m.renewAt = now + RenewEvery(p.spec.Lease)
	}
	m.involved = true
	h := held{seq: c.Seq, workers: n, cores: n * p.coresOf(from)}
	m.claims = append(m.claims, h)
	p.take(now, h)
	p.stuckAt = 0
	if p.gathering == 0 {
		p.gathering = max(now, 1)
	}
	if p.complete(now) {
		p.grantAll(now, fx)
	} else if !p.invited {
		p.tell(fx)
	} else if p.holdAt == 0 {
		p.holdAt = now + holdPause
	}
	p.changed(now)
	return int(c.Workers)
}

// Fits returns for how many workers of the job a pilot has slots, if its offer
// is true, and for how many it may claim some now. That bounds a pilot to twice
// what it offers: the ends of its workers, and of its claims, may still be on their
// way. An offer of no slots is one that is not known, and bounds nothing.
func (p *Primary) Fits(pilot wire.NodeID, o *wire.Offer) (all, more int) {
	if o.Slots == 0 {
		return wire.MaxRanks, wire.MaxRanks
	}
	if per, ok := flood.PerWorker(o, &p.spec.Needs); ok {
		all = int(o.Slots) / per
	}
	left := 2 * all
	if m := p.pilots[pilot]; m != nil {
		left -= len(m.live)
		for i := range m.claims {
			left -= m.claims[i].workers
		}
	}
	return all, max(0, min(all, left))
}

// room returns for how many workers claims are taken: a gang that has invited
// more than it needs takes them, to choose among them.
func (p *Primary) room(now time.Duration) int {
	if p.started || p.spec.Min < p.spec.Want || p.stopping != nil || p.end != nil || now < p.pausedTo {
		return p.wanted(now)
	}
	return max(0, len(p.open)+p.spare-p.held)
}

// complete reports whether what is held can be granted.
func (p *Primary) complete(now time.Duration) bool {
	switch {
	case p.started:
		return true
	case p.held < p.spec.Min:
		p.settleAt = 0
		return false
	case p.spec.Min < p.spec.Want || p.held >= len(p.open)+p.spare:
		return true
	case p.settleAt == 0:
		p.settleAt = now + settleTime
	}
	return now >= p.settleAt
}

// take counts the slots of a claim among those that are held from now on.
func (p *Primary) take(now time.Duration, h held) { p.shift(now, h.workers, h.cores) }

// untake counts them no more.
func (p *Primary) untake(now time.Duration, h held) { p.shift(now, -h.workers, -h.cores) }

// takeNone counts none.
func (p *Primary) takeNone(now time.Duration) { p.shift(now, -p.held, -p.heldCores) }

// shift changes how much is held, and adds up what was until now.
func (p *Primary) shift(now time.Duration, workers, cores int) {
	p.idle += time.Duration(p.heldCores) * (now - p.heldAt)
	p.held, p.heldCores, p.heldAt = p.held+workers, p.heldCores+cores, now
}

// Weigh says how many cores a worker takes on a pilot. Without it that is as
// many as it asks for.
func (p *Primary) Weigh(cores func(pilot wire.NodeID) int) { p.weigh = cores }

func (p *Primary) coresOf(pilot wire.NodeID) int {
	if p.weigh != nil {
		return p.weigh(pilot)
	}
	return max(1, int(p.spec.Needs.Cores))
}

// tell sends a Hold for the claims that have waited for a while.
func (p *Primary) tell(fx *Effects) {
	p.holdAt = 0
	for _, m := range p.list {
		for i := range m.claims {
			if h := &m.claims[i]; !h.told {
				h.told = true
				fx.send(m.id, p.hold(h.seq, h.workers))
			}
		}
	}
}

func (p *Primary) hold(seq uint64, workers int) *wire.Hold {
	return &wire.Hold{Job: p.spec.ID, Epoch: p.epoch, Seq: seq, Workers: uint32(workers), TTL: p.spec.Lease}
}

// answerAgain answers a claim that was heard before.
func (p *Primary) answerAgain(now time.Duration, m *member, seq uint64, fx *Effects) {
	for i := range m.claims {
		if h := &m.claims[i]; h.seq == seq {
			h.told = true
			fx.send(m.id, p.hold(seq, h.workers))
			return
		}
	}
	if g := p.grant(m, seq); g != nil {
		fx.send(m.id, g)
		return
	}
	for _, r := range m.live {
		if p.ranks[r].claim == seq {
			return // the pilot knows by now
		}
	}
	fx.send(m.id, &wire.Refuse{Job: p.spec.ID, Epoch: p.epoch, Seq: seq})
}

// grantAll gives ranks to held claims, in the order of sites and nodes. Of more
// than are needed it takes those that are close together.
func (p *Primary) grantAll(now time.Duration, fx *Effects) {
	away := p.trim()
	type one struct {
		m *member
		held
	}
	var claims []one
	for _, m := range p.list {
		for _, h := range m.claims {
			claims = append(claims, one{m, h})
		}
		m.claims = nil
	}
	sort.SliceStable(claims, func(i, j int) bool { return claims[i].m.site < claims[j].m.site })
	p.takeNone(now)
	p.started, p.gathering, p.holdAt, p.settleAt, p.wounds = true, 0, 0, 0, 0
	p.Open()
	for _, c := range claims {
		k := min(away[c.m.hub], c.workers)
		if k > 0 {
			away[c.m.hub] -= k
		}
		n := min(c.workers-k, len(p.open))
		if n == 0 {
			fx.send(c.m.id, &wire.Refuse{Job: p.spec.ID, Epoch: p.epoch, Seq: c.seq})
			continue
		}
		if !p.unconfirmed(c.m) {
			c.m.granted = now
		}
		for _, i := range p.open[:n] {
			r := &p.ranks[i]
			r.attempt++
			r.state, r.confirmed, r.node, r.claim, r.result = rankGranted, false, c.m.id, c.seq, nil
			c.m.live = insert(c.m.live, i)
			p.live++
			p.update(fx, i, Granted, "")
		}
		p.open = slices.Delete(p.open, 0, n)
		fx.send(c.m.id, p.grant(c.m, c.seq))
		p.repeat(now, c.m)
	}
}

// trim returns, for each hub, how many of the workers claimed there a gang that
// holds more than it needs does without.
func (p *Primary) trim() map[wire.NodeID]int {
	over := p.held - len(p.open)
	if over <= 0 || p.where == nil {
		return nil
	}
	places := p.places(true, false)
	if len(places) > maxPlaces {
		return nil
	}
	away := make(map[wire.NodeID]int)
	for i, n := range flood.Trim(places, len(p.open)) {
		away[places[i].Hub] = n
	}
	return away
}

// maxPlaces bounds the work of choosing among claims.
const maxPlaces = 1024

// places returns where the job has claims, or attempts, by hub.
func (p *Primary) places(claims, live bool) []flood.Place {
	if p.where == nil {
		return nil
	}
	index := make(map[wire.NodeID]int)
	var list []flood.Place
	for _, m := range p.list {
		n := 0
		if claims {
			for _, h := range m.claims {
				n += h.workers
			}
		}
		if live {
			n += len(m.live)
		}
		if n == 0 {
			continue
		}
		i, ok := index[m.hub]
		if !ok {
			i = len(list)
			index[m.hub] = i
			list = append(list, p.where(m.hub, m.site))
		}
		list[i].Workers += n
	}
	return list
}

// wounded lets a gang back off from which an older one took slots, instead of
// having it look for others at once and lose those, too.
func (p *Primary) wounded(now time.Duration) {
	if !p.started {
		p.woundedTo = now + min(woundFirst<<min(p.wounds, 8), woundMax)
		p.wounds++
	}
}

// grant returns the grant for those workers of a claim that the pilot has not
// told of, or nil.
func (p *Primary) grant(m *member, seq uint64) *wire.Grant {
	if p.stopping != nil {
		return nil
	}
	var workers []wire.Attempt
	for _, i := range m.live {
		if r := &p.ranks[i]; r.claim == seq && !r.confirmed {
			workers = append(workers, wire.Attempt{Rank: i, Attempt: r.attempt})
		}
	}
	if workers == nil {
		return nil
	}
	return &wire.Grant{Job: p.spec.ID, Epoch: p.epoch, Seq: seq, Lease: p.spec.Lease,
		Size: uint32(p.spec.Want), Workers: workers, Program: p.spec.Program}
}

// Release takes a pilot's word that claims are no more.
func (p *Primary) Release(now time.Duration, from wire.NodeID, rel *wire.Release, fx *Effects) {
	m := p.pilots[from]
	if m == nil {
		return
	}
	why := cmp.Or(rel.Reason, "its claim was released")
	switch {
	case rel.Ask:
		p.giveUp(now, m, rel.Seq, fx)
	case rel.All:
		p.forgotten(now, m, rel.Seq, why, fx)
		m.claim = max(m.claim, rel.Seq)
		m.stops = nil
	default:
		p.unhold(now, m, rel.Seq)
		for _, i := range slices.Clone(m.live) {
			if r := &p.ranks[i]; r.claim == rel.Seq && !r.confirmed {
				p.lost(now, i, wire.Exit{Reason: wire.ExitLost, Text: why}, false, fx)
			}
		}
	}
	p.changed(now)
	p.finish(now, fx)
}

// giveUp lets a claim go for an older job, unless it was granted: a gang that
// was complete is not torn apart.
func (p *Primary) giveUp(now time.Duration, m *member, seq uint64, fx *Effects) {
	if !p.unhold(now, m, seq) && slices.ContainsFunc(m.live, func(i uint32) bool { return p.ranks[i].claim == seq }) {
		return
	}
	p.wounded(now)
	fx.send(m.id, &wire.Refuse{Job: p.spec.ID, Epoch: p.epoch, Seq: seq})
}

// unhold drops a held claim, and reports whether there was one.
func (p *Primary) unhold(now time.Duration, m *member, seq uint64) bool {
	i := slices.IndexFunc(m.claims, func(h held) bool { return h.seq == seq })
	if i < 0 {
		return false
	}
	p.untake(now, m.claims[i])
	m.claims = slices.Delete(m.claims, i, i+1)
	return true
}

// forgotten drops what a pilot had by claims up to seq.
func (p *Primary) forgotten(now time.Duration, m *member, seq uint64, why string, fx *Effects) {
	m.claims = slices.DeleteFunc(m.claims, func(h held) bool {
		if h.seq <= seq {
			p.untake(now, h)
			return true
		}
		return false
	})
	for _, i := range slices.Clone(m.live) {
		if p.ranks[i].claim <= seq {
			p.lost(now, i, wire.Exit{Reason: wire.ExitLost, Text: why}, false, fx)
		}
	}
}
