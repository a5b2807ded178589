package detect

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of the flooding of notices.
const (
	gather     = 200 * time.Millisecond // to tell of several suspicions at once: links to nodes that die together do not end in one moment
	resend     = time.Second            // until what was not acknowledged is sent again
	resends    = 10
	maxPending = 256              // notices for one neighbour
	maxLogged  = 128              // notices of deaths that a new neighbour is told
	loggedFor  = 30 * time.Minute //
	maxOrigins = 2048             // whose notices are told apart
	maxVouches = 256
	window     = 1024 // of an origin's latest notices
)

// flood passes notices on between hubs and launchers.
type flood struct {
	seq    uint64
	draft  *wire.Notice  // of this call, or of suspicions that wait for others
	since  time.Duration // when the draft was begun
	peers  []*flooded    // by identity
	seen   map[wire.NodeID]*seen
	log    []logged
	wakeAt time.Duration // 0: nothing is pending
	fresh  bool          // there is something that was not sent yet
	// vouches are nodes on a link here that others suspect, and the incarnation
	// that they must surpass.
	vouches map[wire.NodeID]uint32
}

type flooded struct {
	id      wire.NodeID
	pending []pending
	acks    []wire.Held
}

type pending struct {
	n     *wire.Notice
	at    time.Duration // when it is to be sent, or sent again
	tries int
}

type logged struct {
	n  *wire.Notice
	at time.Duration
}

// seen says which notices of an origin have come.
type seen struct {
	top  uint64
	bits [window / 64]uint64
}

// mark notes a number and reports whether it is new. Numbers far below the
// greatest are old.
func (s *seen) mark(seq uint64) bool {
	if seq > s.top {
		for n := s.top + 1; n <= seq && n <= s.top+window; n++ {
			s.bits[n%window/64] &^= 1 << (n % 64)
		}
		if seq-s.top > window {
			s.bits = [window / 64]uint64{}
		}
		s.top = seq
	}
	if s.top-seq >= window || s.bits[seq%window/64]&(1<<(seq%64)) != 0 {
		return false
	}
	s.bits[seq%window/64] |= 1 << (seq % 64)
	return true
}

// announce adds to what this node tells all hubs and launchers.
func (d *Detector) announce(add func(*wire.Notice)) {
	if d.flood == nil {
		return
	}
	if d.flood.draft == nil {
		d.flood.draft, d.flood.since = &wire.Notice{Origin: d.cfg.ID}, d.time
	}
	add(d.flood.draft)
	n := d.flood.draft
	if max(len(n.Suspects), len(n.Clears), len(n.Accuses), len(n.Recants), len(n.Dead)) >= wire.MaxSubjects/2 {
		d.publish()
	}
}

// publish sends the draft on its way.
func (d *Detector) publish() {
	if d.flood == nil {
		return
	}
	n := d.flood.draft
	d.flood.draft = nil
	if n == nil {
		return
	}
	d.stats.Notices++
	d.flood.seq++
	n.Seq = d.flood.seq
	d.pass(n, wire.NodeID{})
}

// pass gives a notice to all neighbours but one.
func (d *Detector) pass(n *wire.Notice, but wire.NodeID) {
	if len(n.Dead) > 0 {
		d.flood.log = slices.DeleteFunc(d.flood.log, func(l logged) bool { return d.time-l.at > loggedFor })
		if len(d.flood.log) >= maxLogged {
			d.flood.log = slices.Delete(d.flood.log, 0, 1)
		}
		d.flood.log = append(d.flood.log, logged{n, d.time})
	}
	d.flood.fresh = true
	for _, p := range d.flood.peers {
		if p.id != but && p.id != n.Origin {
			p.add(n, d.time)
		}
	}
}

// add puts a notice behind those that a neighbour is to get. When there are
// too many, news of deaths is dropped last.
func (p *flooded) add(n *wire.Notice, now time.Duration) {
	if len(p.pending) >= maxPending {
		i := max(slices.IndexFunc(p.pending, func(x pending) bool { return len(x.n.Dead) == 0 }), 0)
		p.pending = slices.Delete(p.pending, i, i+1)
	}
	p.pending = append(p.pending, pending{n, now, 0})
}

// met takes a notice off those that a neighbour is to get, for it has that one,
// and reports whether it was on its way: the two have met, and the neighbour knows
// as well.
func (p *flooded) met(n *wire.Notice) bool {
	i := slices.IndexFunc(p.pending, func(x pending) bool { return x.n.Origin == n.Origin && x.n.Seq == n.Seq })
	if i < 0 {
		return false
	}
	sent := p.pending[i].tries > 0
	p.pending = slices.Delete(p.pending, i, i+1)
	return sent
}

// meet begins to pass notices on to a neighbour, deaths that it may have missed first.
func (d *Detector) meet(id wire.NodeID) {
	d.part(id)
	p := &flooded{id: id}
	for _, l := range d.flood.log {
		p.add(l.n, d.time)
	}
	i, _ := slices.BinarySearchFunc(d.flood.peers, id, func(p *flooded, id wire.NodeID) int { return p.id.Compare(id) })
	d.flood.peers = slices.Insert(d.flood.peers, i, p)
	d.flood.fresh = true
}

// part ends that.
func (d *Detector) part(id wire.NodeID) {
	if d.flood == nil {
		return
	}
	d.flood.peers = slices.DeleteFunc(d.flood.peers, func(p *flooded) bool { return p.id == id })
}

// flush sends what is due.
func (d *Detector) flush() {
	if d.flood == nil {
		return
	}
	if n := d.flood.draft; n != nil && (d.time >= d.flood.since+gather || len(n.Clears)+len(n.Accuses)+len(n.Recants)+len(n.Dead) > 0) {
		d.publish()
	}
	if !d.flood.fresh && (d.flood.wakeAt == 0 || d.time < d.flood.wakeAt) {
		return
	}
	d.flood.fresh, d.flood.wakeAt = false, 0
	for _, p := range d.flood.peers {
		if len(p.pending) == 0 && len(p.acks) == 0 {
			continue
		}
		m := new(wire.Notices)
		subjects := 0
		send := func() {
			if len(m.List)+len(m.Held) > 0 {
				d.send(p.id, m)
			}
			m = new(wire.Notices)
			subjects = 0
		}
		m.Held, p.acks = p.acks, nil
		p.pending = slices.DeleteFunc(p.pending, func(x pending) bool { return x.tries > resends })
		for i := range p.pending {
			x := &p.pending[i]
			if d.time >= x.at {
				size := len(x.n.Suspects) + len(x.n.Clears) + len(x.n.Accuses) + len(x.n.Recants) + len(x.n.Dead) + len(x.n.By)
				if len(m.List) == wire.MaxNotices || subjects+size > 2*wire.MaxSubjects {
					send()
				}
				m.List = append(m.List, x.n)
				subjects += size
				x.tries++
				x.at = d.time + resend
			}
			if d.flood.wakeAt == 0 || x.at < d.flood.wakeAt {
				d.flood.wakeAt = x.at
			}
		}
		send()
	}
}

// notices takes what a neighbour passes on.
func (d *Detector) notices(from wire.NodeID, m *wire.Notices) {
	if d.flood == nil {
		return
	}
	i, found := slices.BinarySearchFunc(d.flood.peers, from, func(p *flooded, id wire.NodeID) int { return p.id.Compare(id) })
	if !found {
		return
	}
	p := d.flood.peers[i]
	if len(m.Held) > 0 {
		p.pending = slices.DeleteFunc(p.pending, func(x pending) bool {
			return slices.Contains(m.Held, wire.Held{Origin: x.n.Origin, Seq: x.n.Seq})
		})
	}
	for _, n := range m.List {
		if n.Origin != d.cfg.ID && !d.knows(n.Origin) {
			continue // it is not acknowledged, and comes again when the node is known
		}
		if !p.met(n) {
			d.flood.fresh = true
			p.acks = append(p.acks, wire.Held{Origin: n.Origin, Seq: n.Seq})
		}
		if n.Origin == d.cfg.ID {
			continue
		}
		s := d.flood.seen[n.Origin]
		if s == nil {
			if d.flood.seen == nil {
				d.flood.seen = make(map[wire.NodeID]*seen)
			}
			if len(d.flood.seen) >= maxOrigins {
				clear(d.flood.seen) // what comes twice is taken twice
			}
			s = new(seen)
			d.flood.seen[n.Origin] = s
		}
		if s.mark(n.Seq) {
			d.pass(n, from)
			d.notice(n)
		}
	}
}

// knows reports whether a node is, or was, a hub or launcher.
func (d *Detector) knows(id wire.NodeID) bool {
	m := d.member(id)
	return m != nil && m.Role != wire.RolePilot || d.flood.seen[id] != nil
}

func (d *Detector) knowsHub(id wire.NodeID) bool {
	m := d.member(id)
	return m != nil && m.Role == wire.RoleHub
}

// share takes another hub's suspicion of a hub. Two of them are as good as the
// end of a link of our own: an observer without one asks at once, and no
// longer than those that had one.
func (d *Detector) share(m *member, origin wire.NodeID) {
	if d.hubs.doubted(origin, m.ID) >= 2 && !m.linked && m.downAt == 0 && d.watches(m) {
		m.downAt = d.time
		d.scanAt = d.time
	}
}

// notice takes what another hub or launcher tells.
func (d *Detector) notice(n *wire.Notice) {
	for _, s := range n.Suspects {
		d.batch.doubtful(s.ID, d.time)
		if m := d.member(s.ID); m != nil && m.Role == wire.RoleHub && s.Incarnation >= m.inc && d.knowsHub(n.Origin) {
			d.share(m, n.Origin)
		}
		switch {
		case s.ID == d.cfg.ID:
			if s.Incarnation >= d.inc {
				d.inc = min(s.Incarnation, d.inc+1000) + 1
				d.worsen(1)
			}
			d.announce(func(n *wire.Notice) { n.Clears = append(n.Clears, wire.Subject{ID: d.cfg.ID, Incarnation: d.inc}) })
		case d.links.role(s.ID) != 0:
			if d.flood.vouches == nil || len(d.flood.vouches) >= maxVouches {
				d.flood.vouches = make(map[wire.NodeID]uint32)
			}
			d.flood.vouches[s.ID] = s.Incarnation
			d.send(s.ID, &wire.Beat{Incarnation: d.inc, Health: uint8(d.health), Ask: d.ask(), Suspected: s.Incarnation + 1})
		}
	}
	for _, s := range n.Clears {
		d.batch.settled(s.ID)
		delete(d.hubs.doubters, s.ID)
		if m := d.member(s.ID); m != nil && m.suspect != nil && s.Incarnation > m.inc {
			d.vouched(m, s.Incarnation)
		}
	}
	for _, id := range n.Recants {
		d.hubs.recanted(n.Origin, id)
	}
	if len(n.Accuses) > 0 && d.knowsHub(n.Origin) {
		for _, id := range n.Accuses {
			if d.knowsHub(id) {
				d.hubs.accused(n.Origin, id)
			}
		}
		d.count(n.Accuses)
	}
	d.told(n)
}

// vouch tells others of a node on a link here that has answered to a suspicion of theirs.
func (d *Detector) vouch(id wire.NodeID, inc uint32) {
	if d.flood == nil {
		return
	}
	if than, found := d.flood.vouches[id]; found && inc > than {
		delete(d.flood.vouches, id)
		d.announce(func(n *wire.Notice) { n.Clears = append(n.Clears, wire.Subject{ID: id, Incarnation: inc}) })
	}
}
