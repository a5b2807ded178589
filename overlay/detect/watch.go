package detect

import (
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// watches reports whether this node has an eye on a member.
func (d *Detector) watches(m *member) bool {
	switch {
	case d.decides(m):
		return true
	case m.Role == wire.RolePilot:
		return false
	case d.cfg.Role == wire.RolePilot || m.linked:
		return true
	case m.Role == wire.RoleHub && m.downAt != 0:
		return true // until it is known what became of it
	}
	return d.hubs.observes(d.cfg.ID, m.ID)
}

// decides reports whether it is for this node alone to say that a member is dead.
func (d *Detector) decides(m *member) bool {
	return m.Role == wire.RolePilot && m.Home == d.cfg.ID
}

// rewatch brings the list of those that are watched up to date with a member.
func (d *Detector) rewatch(m *member) {
	i, found := slices.BinarySearchFunc(d.watched, m.ID, func(m *member, id wire.NodeID) int { return m.ID.Compare(id) })
	switch yes := d.watches(m); {
	case yes && !found:
		d.watched = slices.Insert(d.watched, i, m)
		m.heard = d.time // from now on
	case !yes && found:
		d.clear(m)
		d.watched = slices.Delete(d.watched, i, i+1)
	}
}

func (d *Detector) unwatch(m *member) {
	d.watched = slices.DeleteFunc(d.watched, func(o *member) bool { return o == m })
}

// rewatchHubs does so for all hubs: there is one more of them, or one less.
func (d *Detector) rewatchHubs() {
	for _, id := range d.hubs.ids {
		if m := d.member(id); m != nil {
			d.rewatch(m)
		}
	}
}

// hear takes a member's own word.
func (d *Detector) hear(m *member) {
	if silence := d.time - m.heard; silence > d.begin() {
		m.gap = &gap{max(m.gap.fading(d.time), silence), d.time}
	}
	m.heard, m.spoken = d.time, d.time
	if m.suspect != nil && m.linked {
		d.refute(m)
	}
}

// vouched takes a suspect's own word that came by way of others.
func (d *Detector) vouched(m *member, inc uint32) {
	m.inc = max(m.inc, inc)
	m.heard = d.time
	if m.suspect == nil {
		return
	}
	if m.downAt != 0 && !m.linked && d.decides(m) {
		// It lives, and stays suspected: as long as it has no link here, all
		// there is are others' words.
		m.downAt = d.time
		d.batch.settled(m.ID)
		*m.suspect = suspicion{askAt: d.time + askEvery}
		return
	}
	m.downAt = 0
	d.refute(m)
	d.rewatch(m)
}

// refute ends a suspicion.
func (d *Detector) refute(m *member) {
	if m.suspect != nil {
		d.stats.Refuted++
		d.fx.Refuted = append(d.fx.Refuted, m.ID)
		d.clear(m)
	}
}

// clear forgets a suspicion.
func (d *Detector) clear(m *member) {
	if m.suspect == nil {
		return
	}
	if m.suspect.announced {
		d.batch.settled(m.ID)
		d.announce(func(n *wire.Notice) { n.Clears = append(n.Clears, wire.Subject{ID: m.ID, Incarnation: m.inc}) })
	}
	if m.suspect.accused {
		d.recant(m.ID)
	}
	m.suspect = nil
}

// suspects begins a suspicion.
func (d *Detector) suspects(m *member) {
	if m.suspect != nil {
		return
	}
	d.stats.Suspicions++
	m.suspect = new(suspicion)
	d.fx.Suspected = append(d.fx.Suspected, m.ID)
}

// silent reports whether a member has said nothing for too long. A pilot
// expects words only of those that are responsible for it.
func (d *Detector) silent(m *member) bool {
	return d.time-m.heard >= d.doubtAfter(m) && (d.cfg.Role != wire.RolePilot || m.beatenAt != 0)
}

// doubtAfter returns how long a member may be silent before it is suspected.
func (d *Detector) doubtAfter(m *member) time.Duration {
	switch {
	case d.cfg.Role == wire.RolePilot:
		return d.silentFor(3 * hubEvery)
	case !m.linked && m.Role == wire.RoleHub:
		return d.silentFor(d.begin() + 2*routedEvery)
	}
	return d.silentFor(d.begin())
}

// silentFor returns how long silence must last before a thing happens that
// would happen after a time to others if this node were well.
func (d *Detector) silentFor(after time.Duration) time.Duration {
	return after + time.Duration(d.health)*d.begin()
}

// over returns when a suspicion has lasted long enough.
func (d *Detector) over(m *member) time.Duration {
	at := m.heard + d.silentFor(d.limit())
	if !m.linked && m.Role == wire.RoleHub {
		at += 2 * routedEvery
	}
	if m.downAt == 0 || m.linked {
		return at
	}
	// As long as it was silent when it was known to live, and a bit; not more than others get.
	least := min(m.gap.fading(d.time)*5/4, d.limit())
	slow, fast := max(d.cfg.Redial, least), max(d.cfg.Confirmed, least)
	const all = 3 // that confirm
	c := min(len(m.suspect.confirmed), all)
	wait := slow - (slow-fast)*time.Duration(log2(c+1))/time.Duration(log2(all+1))
	at = min(at, m.downAt+d.silentFor(wait))
	if m.suspect.closedAt != 0 {
		// The end of a link is more than silence: how this node is does not matter for long.
		left := m.suspect.closedAt + max(wait, closedMost) - d.real
		at = min(at, d.time+max(left, 0))
	}
	return at
}

// log2 returns the logarithm of a small number in hundredths.
func log2(n int) int {
	whole := bits.Len(uint(n)) - 1
	return 100*whole + 100*(n-1<<whole)/(1<<whole)
}

// scan sends the beats that are due and looks at everybody who is watched.
func (d *Detector) scan() {
	if d.health > 0 && d.time-d.healedAt >= healEvery {
		d.health--
		d.healedAt = d.time
	}
	d.scanAt = d.time + d.cfg.Period
	beat := &wire.Beat{Incarnation: d.inc, Health: uint8(d.health)}
	suspects := 0
	for _, m := range d.watched {
		d.greet(m, beat)
		if m.suspect == nil && (d.silent(m) || m.downAt != 0 && !m.linked) {
			d.suspects(m)
		}
		if m.suspect != nil {
			d.doubt(m)
			if m.suspect.ripe == 0 || d.decides(m) {
				suspects++
			}
		}
	}
	d.batch.forget(d.time - d.limit())
	d.expire()
	d.judge()
	d.answerInquiries()
	if d.urgent > 0 {
		d.urgent--
		d.scanAt = d.time + min(fine, d.cfg.Period)
	}
	if suspects > 0 && d.cfg.Role != wire.RolePilot || len(d.probes) > 0 {
		d.scanAt = d.time + min(fine, d.cfg.Period)
	}
}

// greet sends a member the beat that is due.
func (d *Detector) greet(m *member, beat *wire.Beat) {
	if d.time < m.beatAt && (d.urgent == 0 || m.Role == wire.RolePilot) {
		return
	}
	every := d.cfg.Period
	switch {
	case m.linked:
		if m.Role == wire.RolePilot || d.cfg.Role == wire.RolePilot && d.time-m.beatenAt > 3*hubEvery {
			every = hubEvery // to a pilot; or to a hub that is not responsible for this one
		}
		d.send(m.ID, beat)
	case m.Role == wire.RoleHub && d.cfg.Role == wire.RoleHub && !m.unheard && m.suspect == nil:
		every = routedEvery
		d.send(m.ID, &wire.Beat{Incarnation: d.inc, Health: uint8(d.health), Ask: d.ask()})
	}
	if m.beatAt += every; m.beatAt <= d.time || m.beatAt > d.time+every {
		m.beatAt = d.time + every
	}
}

func (d *Detector) ask() uint64 {
	d.asks++
	return d.asks
}

// doubt does what is to be done about a suspect: it is asked, others are
// asked, others are told.
func (d *Detector) doubt(m *member) {
	s := m.suspect
	if d.time >= s.askAt {
		s.askAt = d.time + askEvery
		if s.ask == 0 {
			s.ask = d.ask()
		}
		d.question(m)
	}
	closed := m.downAt != 0 && !m.linked
	if closed && s.closedAt == 0 {
		s.closedAt = d.real
	}
	if d.decides(m) && !s.inquired && (closed || d.time-m.heard >= d.silentFor(d.limit()/2)) {
		s.inquired = true
		d.inquireOf(m)
	}
	if d.cfg.Role != wire.RolePilot && !s.announced && m.Role != wire.RoleLauncher &&
		(closed || d.time-m.heard >= d.silentFor(d.limit()-time.Second)) {
		s.announced = true
		d.batch.doubtful(m.ID, d.time)
		d.announce(func(n *wire.Notice) { n.Suspects = append(n.Suspects, wire.Subject{ID: m.ID, Incarnation: m.inc}) })
	}
	if s.ripe == 0 && d.time >= d.over(m) {
		s.ripe = d.time
	}
}

// question asks a suspect for a word: over the link, or by way of others.
func (d *Detector) question(m *member) {
	b := &wire.Beat{Incarnation: d.inc, Health: uint8(d.health), Ask: m.suspect.ask, Suspected: m.inc + 1}
	if m.linked {
		d.send(m.ID, b)
		if m.Role == wire.RolePilot {
			return
		}
	}
	if m.Role != wire.RoleHub || d.cfg.Role == wire.RolePilot {
		return
	}
	sent := 0
	for _, id := range d.hubs.observers(m.ID) {
		if d.links.role(id) != 0 && sent < 3 {
			sent++
			d.fx.Sends = append(d.fx.Sends, Send{To: m.ID, Relay: id, Msg: b})
		}
	}
	if sent == 0 && !m.linked && !m.unheard {
		d.send(m.ID, b)
	}
}

// beat takes a sign of life.
func (d *Detector) beat(from wire.NodeID, b *wire.Beat) {
	m := d.member(from)
	role := d.links.role(from) // 0: it came through hubs
	linked := role != 0
	if !linked && m == nil && b.Ask == 0 && b.Answer == 0 {
		return
	}
	if !linked && m != nil {
		role = m.Role
	}
	above := role == wire.RoleHub || role == wire.RoleLauncher
	if b.Dead && above && linked {
		d.fx.Condemned = true
	}
	if b.Suspected > d.inc && above {
		// One that speaks of a far incarnation cannot take away all the numbers there are.
		d.inc = min(b.Suspected, d.inc+1000)
		d.worsen(1)
	}
	if b.Ask != 0 {
		d.send(from, &wire.Beat{Incarnation: d.inc, Health: uint8(d.health), Answer: b.Ask})
	}
	if b.Answer != 0 {
		d.probed(from, b)
	}
	if linked {
		d.vouch(from, b.Incarnation)
	}
	if m == nil {
		if linked && d.gone.has(from) && b.Ask == 0 && b.Answer == 0 {
			d.send(from, &wire.Beat{Dead: true})
		}
		return
	}
	if linked {
		m.inc = max(m.inc, b.Incarnation)
		if d.cfg.Role == wire.RolePilot {
			m.beatAt = min(m.beatAt, d.time+d.cfg.Period)
			m.beatenAt = d.time
		}
		d.hear(m)
		return
	}
	// What came through hubs is its own word when it answers what it alone was
	// asked, or has raised its incarnation.
	switch s := m.suspect; {
	case s != nil && (b.Answer == s.ask && b.Answer != 0 || b.Incarnation > m.inc):
		d.vouched(m, b.Incarnation)
	case s == nil && b.Answer != 0 && d.watches(m):
		m.inc = max(m.inc, b.Incarnation)
		m.heard = d.time
	}
}

// judge looks for suspects whose time is over. It waits a moment for those
// whose time is about to come, so that nodes that died together are one
// change.
func (d *Detector) judge() {
	var ripe []*member
	var oldest time.Duration
	soon := false
	for _, m := range d.watched {
		s := m.suspect
		switch {
		case s == nil || m.Role == wire.RoleLauncher:
		case s.ripe != 0 && !s.accused:
			ripe = append(ripe, m)
			if oldest == 0 || s.ripe < oldest {
				oldest = s.ripe
			}
		case s.ripe == 0:
			soon = soon || d.over(m) <= d.time+batchWait
		}
	}
	if len(ripe) == 0 || soon && d.time < oldest+batchWait || d.cfg.Role == wire.RolePilot {
		return
	}
	var dead, accused []wire.NodeID
	reason := ""
	for _, m := range ripe {
		switch {
		case d.decides(m):
			dead = append(dead, m.ID)
			if reason == "" {
				reason = d.why(m)
			}
		case d.cfg.Role == wire.RoleHub:
			m.suspect.accused = true
			accused = append(accused, m.ID)
		}
	}
	d.decide(dead, nil, reason)
	d.accuse(accused)
}

// why says for people why a member is dead.
func (d *Detector) why(m *member) string {
	if m.downAt != 0 && !m.linked {
		return "its connection has ended and it did not come back"
	}
	return fmt.Sprintf("it was silent for %v", (d.time - m.heard).Round(100*time.Millisecond))
}

// expire ends the pilots that nobody has joined for their lease.
func (d *Detector) expire() {
	if d.orphanAt == 0 || d.time < d.orphanAt {
		return
	}
	d.orphanAt = 0
	var dead []wire.NodeID
	for _, m := range d.members {
		switch {
		case m.orphan == 0:
		case d.time >= m.orphan:
			dead = append(dead, m.ID)
		default:
			d.orphaned(m, m.orphan)
		}
	}
	if len(dead) > 0 {
		slices.SortFunc(dead, wire.NodeID.Compare)
		d.bury(dead, "its hub is gone and it did not come back")
	}
}
