package job

import (
	"cmp"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Claim takes a pilot's claim. Site is where the pilot is; ranks next to each other
// are given within a site if possible.
func (p *Primary) Claim(now time.Duration, from wire.NodeID, site string, c *wire.Claim, fx *Effects) {
	m := p.member(now, from)
	if m == nil {
		return
	}
	m.site = site
	if c.Seq <= m.claim {
		p.answerAgain(now, m, c.Seq, fx)
		return
	}
	m.claim = c.Seq
	if m.shunned {
		fx.send(from, &wire.Refuse{Job: p.spec.ID, Epoch: p.epoch, Seq: c.Seq, Shun: p.spec.Lease})
		return
	}
	n := min(int(c.Workers), p.wanted(now))
	if n == 0 {
		fx.send(from, &wire.Refuse{Job: p.spec.ID, Epoch: p.epoch, Seq: c.Seq})
		return
	}
	if len(m.claims) == 0 && len(m.live) == 0 {
		m.renewAt = now + RenewEvery(p.spec.Lease)
	}
	m.involved = true
	m.claims = append(m.claims, held{c.Seq, n})
	p.held += n
	p.stuckAt = 0
	if !p.started && p.held < p.spec.Min {
		if p.gathering == 0 {
			p.gathering = max(now, 1)
		}
		fx.send(from, p.hold(c.Seq, n))
	} else {
		p.grantAll(now, fx)
	}
	p.changed(now)
}

func (p *Primary) hold(seq uint64, workers int) *wire.Hold {
	return &wire.Hold{Job: p.spec.ID, Epoch: p.epoch, Seq: seq, Workers: uint32(workers), TTL: p.spec.Lease}
}

// answerAgain answers a claim that was heard before.
func (p *Primary) answerAgain(now time.Duration, m *member, seq uint64, fx *Effects) {
	for _, h := range m.claims {
		if h.seq == seq {
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

// grantAll gives ranks to all held claims, in the order of sites and nodes.
func (p *Primary) grantAll(now time.Duration, fx *Effects) {
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
	slices.SortStableFunc(claims, func(a, b one) int { return cmp.Compare(a.m.site, b.m.site) })
	p.held, p.started, p.gathering = 0, true, 0
	for _, c := range claims {
		n := min(c.workers, len(p.open))
		if n == 0 {
			fx.send(c.m.id, &wire.Refuse{Job: p.spec.ID, Epoch: p.epoch, Seq: c.seq})
			continue
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
	if rel.All {
		p.forgotten(now, m, rel.Seq, why, fx)
		m.claim = max(m.claim, rel.Seq)
		m.stops = nil
	} else {
		m.claims = slices.DeleteFunc(m.claims, func(h held) bool {
			if h.seq == rel.Seq {
				p.held -= h.workers
				return true
			}
			return false
		})
		for _, i := range slices.Clone(m.live) {
			if r := &p.ranks[i]; r.claim == rel.Seq && !r.confirmed {
				p.lost(now, i, wire.Exit{Reason: wire.ExitLost, Text: why}, false, fx)
			}
		}
	}
	p.changed(now)
	p.finish(now, fx)
}

// forgotten drops what a pilot had by claims up to seq.
func (p *Primary) forgotten(now time.Duration, m *member, seq uint64, why string, fx *Effects) {
	m.claims = slices.DeleteFunc(m.claims, func(h held) bool {
		if h.seq <= seq {
			p.held -= h.workers
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
