package core

import (
	"slices"
	"sort"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Rhythms and limits of the tables of free slots.
const (
	freePause  = 250 * time.Millisecond // to gather changes of a pilot's free slots
	freeEvery  = time.Minute            // they are told again, for a message may have been lost
	tablePause = 500 * time.Millisecond // to gather changes of a hub's table
	tableLook  = 2 * time.Second        // a hub looks for changes that nobody tells of

	maxKinds  = 64   // of pilots at one hub that are told apart
	tableRate = 2000 // tables that are taken over one link, a second
	tableRoom = 8192
)

// tables is what a node knows of free slots: a pilot of its own, told to one hub;
// a hub of its pilots', summed up, told to all hubs and launchers; those of
// everybody's.
type tables struct {
	known   flood.Tables
	seen    flood.Seen
	authors map[wire.NodeID]*bucket // of adverts
	*census                         // nil for a pilot that has never relayed

	// Of a pilot.
	freeTo   *link
	freeSeq  uint64
	freeTold int
	freeAt   time.Duration // 0: there is nothing to tell
	question uint64
}

// census is what those who relay have of the tables.
type census struct {
	seats    []*seat // pilots whose slots are counted here, by identity
	own      *wire.Table
	toldAt   time.Duration
	moveAt   time.Duration // when another coordinate alone is worth a table
	moved    time.Duration // the pause before that
	lookAt   time.Duration
	lookedAt time.Duration
	rumours  []rumour
	synced   map[wire.NodeID]*neighbour

	// Of a hub.
	exploreAt time.Duration
	turn      uint64
	direct    int // links to other hubs
}

// seat is a pilot as its hub counts it.
type seat struct {
	id      wire.NodeID
	seq     uint64
	free    int
	until   time.Duration // when it leaves; 0 is not known
	asked   int           // of the free slots, that an advert asks for
	askedTo time.Duration // until then
}

// rumour is a table to be passed on to all but the one it came from.
type rumour struct{ hub, from wire.NodeID }

// neighbour is a hub or launcher that has been told all tables.
type neighbour struct {
	link  *link
	spent bucket
}

// countFree notes that the number of free slots has changed, or the hub that is to know.
func (n *Node) countFree(now time.Duration) {
	t := &n.tab
	if n.slots == nil || n.relaying() || t.freeAt != 0 && t.freeAt <= now+freePause {
		return
	}
	l := n.freeHub()
	if l == nil {
		t.freeAt = 0
	} else if l != t.freeTo || n.freeSlots() != t.freeTold {
		t.freeAt = now + freePause
	}
}

// freeHub is the one that counts this pilot's slots.
func (n *Node) freeHub() *link {
	if len(n.at.Hubs) == 0 {
		return nil
	}
	if l := n.link(n.at.Hubs[0]); l != nil && l.met {
		return l
	}
	return nil
}

func (n *Node) freeSlots() int {
	if n.exit.reason != "" {
		return 0
	}
	return n.slots.Count(flood.Free)
}

// tellFree tells the hub.
func (n *Node) tellFree(now time.Duration) {
	t := &n.tab
	t.freeAt = 0
	if l := n.freeHub(); l != nil {
		t.freeTo, t.freeTold = l, n.freeSlots()
		t.freeSeq++
		n.send(l.peer.ID, &wire.Free{Seq: t.freeSeq, Slots: uint32(t.freeTold), Left: n.left(now, n.cfg.Until)})
		t.freeAt = now + freeEvery
	}
}

// takeFree takes a pilot's word on its slots.
func (n *Node) takeFree(now time.Duration, from wire.NodeID, m *wire.Free) {
	l := n.link(from)
	if l == nil || l.peer.Role != wire.RolePilot || !n.relaying() {
		return
	}
	t := &n.tab
	i, found := slices.BinarySearchFunc(t.seats, from, func(s *seat, id wire.NodeID) int { return s.id.Compare(id) })
	if !found {
		if len(t.seats) >= wire.MaxCounted {
			return
		}
		t.seats = slices.Insert(t.seats, i, &seat{id: from})
	}
	s := t.seats[i]
	if m.Seq <= s.seq {
		return
	}
	s.seq, s.asked, s.until = m.Seq, 0, 0
	if m.Left > 0 {
		s.until = now + m.Left
	}
	if free := int(m.Slots); free != s.free || !found {
		s.free = free
		n.lookSoon(now)
	}
}

// fit returns how many workers a pilot has slots for that nobody was asked for.
func (n *Node) fit(now time.Duration, s *seat, needs *wire.Requirements) (workers, per int) {
	l := n.link(s.id)
	if l == nil || !flood.Runs(needs, l.peer.Platform) || !flood.Lasts(needs, n.left(now, s.until)) {
		return 0, 1
	}
	per, ok := flood.PerWorker(&l.peer.Offer, needs)
	if !ok {
		return 0, 1
	}
	return n.unasked(now, s, l) / per, per
}

// left returns how long it is until a time, one nanosecond at least, for 0 is
// that there is no such time.
func (n *Node) left(now, until time.Duration) time.Duration {
	if until == 0 {
		return 0
	}
	return min(max(until-now, 1), wire.MaxTime)
}

// unasked returns how many slots of a pilot are free, as far as it offers so
// many, and not asked for.
func (n *Node) unasked(now time.Duration, s *seat, l *link) int {
	free := min(s.free, int(l.peer.Offer.Slots))
	if now < s.askedTo {
		free -= s.asked
	}
	return max(0, free)
}

// lookSoon looks for changes of the table before long.
func (n *Node) lookSoon(now time.Duration) {
	t := &n.tab
	t.lookAt = min(t.lookAt, max(now+freePause/2, t.lookedAt+tablePause))
}

// sumUp makes this hub's table.
func (n *Node) sumUp(now time.Duration) *wire.Table {
	t := &n.tab
	t.seats = slices.DeleteFunc(t.seats, func(s *seat) bool { return n.link(s.id) == nil })
	sum := &wire.Table{Hub: n.cfg.ID, Site: n.cfg.Site, Pilots: uint32(len(t.seats))}
	add := func(o wire.Offer, platform string, free int, until time.Duration) {
		o = flood.Alike(o)
		left := flood.About(n.left(now, until))
		i := slices.IndexFunc(sum.Classes, func(c wire.Class) bool { return c.Offer == o && c.Platform == platform && c.Left == left })
		if i < 0 && len(sum.Classes) < maxKinds {
			i = len(sum.Classes)
			sum.Classes = append(sum.Classes, wire.Class{Offer: o, Platform: platform, Left: left})
		}
		if i >= 0 {
			sum.Classes[i].Pilots++
			sum.Classes[i].Slots += uint32(free)
		}
	}
	for _, s := range t.seats {
		l := n.link(s.id)
		if free := n.unasked(now, s, l); free > 0 {
			add(l.peer.Offer, l.peer.Platform, free, s.until)
		}
	}
	if n.slots != nil {
		sum.Pilots++
		if free := n.freeSlots(); free > 0 {
			add(n.cfg.Offer, n.cfg.Platform, free, n.cfg.Until)
		}
	}
	sort.SliceStable(sum.Classes, func(i, j int) bool { return sum.Classes[i].Slots > sum.Classes[j].Slots })
	sum.Classes = sum.Classes[:min(len(sum.Classes), wire.MaxClasses)]
	if c, ok := n.Place(); ok {
		sum.Coordinate = &c
	}
	return sum
}

func sameSlots(a, b *wire.Table) bool {
	return a != nil && a.Pilots == b.Pilots && slices.Equal(a.Classes, b.Classes)
}

// sameCoordinate compares where the hub is. It finds its place in ever smaller
// steps, and on a busy network keeps finding it: of that others are told more and
// more seldom.
func sameCoordinate(a, b *wire.Table) bool {
	return a != nil && (a.Coordinate == nil) == (b.Coordinate == nil) && (a.Coordinate == nil || *a.Coordinate == *b.Coordinate)
}

// tickTables lets time pass for the tables.
func (n *Node) tickTables(now time.Duration) {
	t := &n.tab
	if !n.relaying() {
		if t.freeAt != 0 && now >= t.freeAt {
			n.tellFree(now)
		}
		return
	}
	if now < t.lookAt {
		return
	}
	t.lookedAt, t.lookAt = now, now+tableLook
	if n.cfg.Role == wire.RoleHub || len(t.seats) > 0 || n.slots != nil || t.own != nil {
		sum := n.sumUp(now)
		moved := !sameCoordinate(t.own, sum) && now >= t.moveAt
		if moved || !sameSlots(t.own, sum) || now >= t.toldAt+flood.TableEvery {
			if moved {
				t.moved = min(max(2*t.moved, tableLook), flood.TableEvery)
				t.moveAt = now + t.moved
			}
			sum.Seq = 1
			if old := t.known.Get(n.cfg.ID); old != nil {
				sum.Seq = old.Seq + 1
			}
			t.own, t.toldAt = sum, now
			t.known.Hear(now, sum, 0)
			t.rumours = append(t.rumours, rumour{hub: n.cfg.ID})
		}
	}
	t.known.Expire(now)
	n.tellTables(now)
	n.explore(now)
}

// tellTables passes on what is news to the hubs and launchers next to this one;
// one that is new there gets everything.
func (n *Node) tellTables(now time.Duration) {
	t := &n.tab
	if t.synced == nil {
		t.synced = make(map[wire.NodeID]*neighbour)
	}
	for _, l := range n.order {
		if !n.relays(l) || l.routed || !l.met {
			continue
		}
		var hubs []wire.NodeID
		s := t.neighbour(now, l)
		if s.link != l {
			s.link = l
		} else {
			hubs = make([]wire.NodeID, 0, len(t.rumours))
			for _, r := range t.rumours {
				if r.from != l.peer.ID && !n.linked(r.from, l.peer.ID) {
					hubs = append(hubs, r.hub)
				}
			}
			if len(hubs) == 0 {
				continue
			}
		}
		for rows := range slices.Chunk(t.known.Rows(now, hubs), wire.MaxRows) {
			n.send(l.peer.ID, &wire.Tables{Rows: rows})
		}
	}
	t.rumours = t.rumours[:0]
	for id := range t.synced {
		if n.link(id) == nil {
			delete(t.synced, id)
		}
	}
}

// linked reports whether two hubs say to have a link, so that one tells the
// other what it has told this node.
func (n *Node) linked(a, b wire.NodeID) bool {
	list, _ := n.graph.Links(a)
	return slices.ContainsFunc(list, func(h wire.HubLink) bool { return h.ID == b })
}

func (t *tables) neighbour(now time.Duration, l *link) *neighbour {
	s := t.synced[l.peer.ID]
	if s == nil {
		s = &neighbour{spent: bucket{tokens: tableRoom, at: now}}
		if t.synced == nil {
			t.synced = make(map[wire.NodeID]*neighbour)
		}
		t.synced[l.peer.ID] = s
	}
	return s
}

// takeTables takes another hub's news of who has free slots.
func (n *Node) takeTables(now time.Duration, from wire.NodeID, m *wire.Tables) {
	l := n.link(from)
	if l == nil || !n.relays(l) || !n.relaying() {
		return
	}
	t := &n.tab
	s := t.neighbour(now, l)
	for _, r := range m.Rows {
		if !s.spent.take(now, tableRate, tableRoom) {
			n.blame(l, blameTables, "too many tables come over it")
			return
		}
		switch {
		case r.Table.Hub == n.cfg.ID:
			if t.own == nil || r.Table.Seq > t.own.Seq { // from before a restart, or a lie
				t.known.Hear(now, r.Table, r.Age)
				t.own = nil
				n.lookSoon(now)
			}
		case t.known.Hear(now, r.Table, r.Age):
			t.rumours = append(t.rumours, rumour{r.Table.Hub, from})
			n.lookSoon(now)
		}
	}
}

// nextTables returns when tickTables is wanted.
func (n *Node) nextTables(now time.Duration) time.Duration {
	switch {
	case n.relaying():
		return n.tab.lookAt
	case n.tab.freeAt == 0:
		return now + time.Hour
	}
	return n.tab.freeAt
}
