package job

import (
	"fmt"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Cancel ends the job with an outcome. Graceful lets the workers end within
// their grace and collects what they wrote; otherwise it ends at once.
func (p *Primary) Cancel(now time.Duration, outcome Outcome, graceful bool, fx *Effects) {
	if p.end != nil {
		return
	}
	end := End{Outcome: outcome, Exit: exitOf(outcome)}
	if !graceful {
		p.stopping = &end
		p.close(now, fx)
		return
	}
	if p.stopping == nil {
		p.halt(now, end, fx)
	} else {
		p.stopping = &end
	}
	p.finish(now, fx)
}

func exitOf(o Outcome) int {
	switch o {
	case OK:
		return 0
	case Limit:
		return ExitLimit
	case Interrupted:
		return ExitInterrupted
	case Sites:
		return ExitSites
	}
	return 1
}

// halt stops everything: workers that run get their grace, the others are not
// started.
func (p *Primary) halt(now time.Duration, end End, fx *Effects) {
	if p.stopping != nil || p.end != nil {
		return
	}
	p.stopping = &end
	grace := p.spec.Program.KillGrace
	if grace == 0 {
		grace = DefaultKillGrace
	}
	p.deadline = now + grace + collectTime
	for _, i := range p.open {
		p.ranks[i].state = rankStopped
		p.left--
	}
	p.open = nil
	for _, m := range p.list {
		for _, h := range m.claims {
			fx.send(m.id, &wire.Refuse{Job: p.spec.ID, Epoch: p.epoch, Seq: h.seq})
		}
		m.claims = nil
		for _, i := range m.live {
			if r := &p.ranks[i]; r.state != rankExited {
				p.stop(now, m, stop{Attempt: wire.Attempt{Rank: i, Attempt: r.attempt}, keep: true, reason: end.Outcome.String()}, fx)
			}
		}
	}
	p.takeNone(now)
	p.gathering, p.holdAt, p.settleAt = 0, 0, 0
	p.changed(now)
}

// finish ends the job when nothing is left to be done.
func (p *Primary) finish(now time.Duration, fx *Effects) {
	if p.end == nil && p.left == 0 {
		p.close(now, fx)
	}
}

// close ends the job now.
func (p *Primary) close(now time.Duration, fx *Effects) {
	if p.stopping != nil {
		p.end = p.stopping
	} else {
		p.end = p.verdict()
	}
	fx.Ended = p.end
	for _, m := range p.list {
		for _, i := range m.live {
			p.ranks[i].state = rankStopped
			p.live--
			p.update(fx, i, Stopped, "")
		}
		m.claims, m.live, m.stops = nil, nil, nil
		if m.involved {
			p.again(m, fx)
			p.repeat(now, m)
		}
	}
	p.takeNone(now)
	p.open, p.left = nil, 0
	p.endedAt = now
}

// verdict is the outcome of a job whose ranks have all come to an end.
func (p *Primary) verdict() *End {
	status, failures, done := 0, 0, 0
	for i := range p.ranks {
		r := &p.ranks[i]
		if r.state != rankDone {
			continue
		}
		done++
		if r.result.Exit.OK() {
			continue
		}
		s := int(r.result.Exit.Code)
		if r.result.Exit.Signal != 0 {
			s = 128 + int(r.result.Exit.Signal)
		}
		if failures > 0 && s != status {
			s = 1
			status = 1
		}
		if failures == 0 {
			status = s
		}
		failures++
	}
	switch {
	case done == 0:
		return &End{Outcome: Sites, Exit: ExitSites, Reason: p.why}
	case failures > 0:
		return &End{Outcome: App, Exit: status, Reason: fmt.Sprintf("%d of %d workers failed", failures, done)}
	}
	return &End{Outcome: OK}
}

// Ended returns how the job ended, or nil.
func (p *Primary) Ended() *End { return p.end }

// Finished reports whether the job has ended and every pilot that had
// something of it knows, or can be waited for no longer.
func (p *Primary) Finished() bool {
	if p.end == nil {
		return false
	}
	for _, m := range p.list {
		if m.involved {
			return false
		}
	}
	return true
}

// Epoch returns the primary's epoch.
func (p *Primary) Epoch() uint32 { return p.epoch }

// Counts says how many of a job's workers are where.
type Counts struct {
	Want, Open, Held, Live, Done, Waiting int // Waiting: pilots that have something to answer

	// Idle is the core time for which slots were held, or offered, while the
	// job waited for others, up to the latest change.
	Idle time.Duration
}

// Counts returns the job's counts.
func (p *Primary) Counts() Counts {
	c := Counts{Want: p.spec.Want, Open: len(p.open), Held: p.held, Live: p.live, Idle: p.idle}
	for i := range p.ranks {
		if p.ranks[i].state == rankDone {
			c.Done++
		}
	}
	for _, m := range p.list {
		if p.waiting(m) {
			c.Waiting++
		}
	}
	return c
}
