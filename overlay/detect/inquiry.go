package detect

import (
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of indirect probes (SWIM, section 3.1).
const (
	maxInquiries = 256             // asked and not answered
	maxProbes    = 256             // being made for others
	probeFor     = time.Second     // until a node that does not answer counts as silent
	inquireFor   = 3 * time.Second // until observers that do not report back are a bad sign for ourselves
	badSign      = 3               // if there are so many of them at once
)

// inquiry is one that this node has asked an observer.
type inquiry struct {
	seq      uint64
	observer wire.NodeID
	at       time.Duration
}

// probe is one that this node makes for another.
type probe struct {
	client  wire.NodeID
	seq     uint64
	subject wire.Subject
	ask     uint64
	until   time.Duration
	linked  bool // it was asked over a link
	result  result
}

type result uint8

const (
	waiting result = iota
	alive
	silent
	noWay
)

// inquireOf asks other pilots of this hub about a suspect: K of them, the same
// ones whenever the same pilots are there.
func (d *Detector) inquireOf(m *member) {
	var able []*member
	for _, o := range d.watched {
		if o != m && o.Role == wire.RolePilot && o.suspect == nil && o.linked {
			able = append(able, o)
		}
	}
	var asked []wire.NodeID
	for ring := uint64(0); len(asked) < min(Observers, len(able)); ring++ {
		i := int(mix(m.ID, ring) % uint64(len(able)))
		for slices.Contains(asked, able[i].ID) {
			i = (i + 1) % len(able)
		}
		asked = append(asked, able[i].ID)
	}
	for _, id := range asked {
		if len(d.inquiries) >= maxInquiries {
			return
		}
		d.stats.Inquiries++
		q := inquiry{d.ask(), id, d.time}
		d.inquiries = append(d.inquiries, q)
		d.send(id, &wire.Inquiry{Seq: q.seq, Subjects: []wire.Subject{{ID: m.ID, Incarnation: m.inc}}})
	}
}

// inquire begins to find out what another node wants to know.
func (d *Detector) inquire(from wire.NodeID, m *wire.Inquiry) {
	if l := d.links.role(from); l == 0 || l == wire.RolePilot {
		return
	}
	for _, s := range m.Subjects {
		if len(d.probes) >= maxProbes {
			break
		}
		p := probe{client: from, seq: m.Seq, subject: s, ask: d.ask(), until: d.time + probeFor}
		b := &wire.Beat{Incarnation: d.inc, Health: uint8(d.health), Ask: p.ask}
		switch relay := d.otherWay(from); {
		case s.ID == d.cfg.ID:
			p.result = alive
			p.subject.Incarnation = max(d.inc, s.Incarnation+1)
			d.inc = p.subject.Incarnation
		case d.links.role(s.ID) != 0:
			p.linked = true
			d.send(s.ID, b)
		case slices.ContainsFunc(d.ended, func(e ended) bool { return e.id == s.ID && d.time-e.at < endedFor }):
			p.result = silent
		case !relay.IsZero():
			d.fx.Sends = append(d.fx.Sends, Send{To: s.ID, Relay: relay, Msg: b})
		default:
			p.result = noWay
		}
		d.probes = append(d.probes, p)
	}
	d.answerInquiries()
	d.scanAt = min(d.scanAt, d.time+fine)
}

// otherWay returns a hub or launcher besides one to which there is a link;
// zero when there is none.
func (d *Detector) otherWay(besides wire.NodeID) wire.NodeID {
	for _, l := range d.links {
		if l.id != besides && l.role != wire.RolePilot {
			return l.id
		}
	}
	return wire.NodeID{}
}

// probed takes an answer.
func (d *Detector) probed(from wire.NodeID, b *wire.Beat) {
	for i := range d.probes {
		p := &d.probes[i]
		if p.ask == b.Answer && p.subject.ID == from && p.result == waiting {
			p.result = alive
			p.subject.Incarnation = b.Incarnation
			d.answerInquiries()
			return
		}
	}
}

// answerInquiries reports back what is known by now, each inquiry in whole.
func (d *Detector) answerInquiries() {
	if len(d.probes) > 0 {
		for i := range d.probes {
			p := &d.probes[i]
			if p.result == waiting && d.time >= p.until {
				// A way through hubs that brings no answer says nothing about the subject.
				p.result = noWay
				if p.linked {
					p.result = silent
				}
			}
		}
		for i := 0; i < len(d.probes); {
			first := d.probes[i]
			same := func(p probe) bool { return p.client == first.client && p.seq == first.seq }
			if slices.ContainsFunc(d.probes, func(p probe) bool { return same(p) && p.result == waiting }) {
				i++
				continue
			}
			d.report(first.client, first.seq)
			d.probes = slices.DeleteFunc(d.probes, same)
		}
	}
	missing := 0
	d.inquiries = slices.DeleteFunc(d.inquiries, func(q inquiry) bool {
		if d.time-q.at < inquireFor {
			return false
		}
		if m := d.member(q.observer); m != nil && m.suspect == nil && m.linked {
			missing++
		}
		return true
	})
	if missing >= badSign {
		d.worsen(1) // nodes that are well do not answer: perhaps we do not hear
	}
}

func (d *Detector) report(to wire.NodeID, seq uint64) {
	f := &wire.Finding{Seq: seq, Health: uint8(d.health)}
	for i := range d.probes {
		p := &d.probes[i]
		if p.client != to || p.seq != seq {
			continue
		}
		switch p.result {
		case alive:
			f.Alive = append(f.Alive, p.subject)
		case silent:
			f.Silent = append(f.Silent, p.subject.ID)
		case noWay:
			f.NoWay = append(f.NoWay, p.subject.ID)
		}
	}
	d.send(to, f)
}

// found takes an observer's answer.
func (d *Detector) found(from wire.NodeID, f *wire.Finding) {
	i := slices.IndexFunc(d.inquiries, func(q inquiry) bool { return q.seq == f.Seq && q.observer == from })
	if i < 0 {
		return
	}
	d.inquiries = slices.Delete(d.inquiries, i, i+1)
	for _, s := range f.Alive {
		m := d.member(s.ID)
		if m == nil || m.suspect == nil || !d.decides(m) || d.time-m.spoken > hearsay {
			continue // or it should have found a way by now
		}
		if !m.linked {
			d.vouched(m, s.Incarnation)
		} else {
			// The link is there and silent, the node lives.
			m.inc, m.heard = max(m.inc, s.Incarnation), d.time
		}
	}
	for _, id := range f.Silent {
		m := d.member(id)
		if m != nil && m.suspect != nil && f.Health == 0 && !slices.Contains(m.suspect.confirmed, from) {
			m.suspect.confirmed = append(m.suspect.confirmed, from)
		}
	}
}
