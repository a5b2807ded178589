package detect

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Defaults of a Config.
const (
	DefaultPeriod    = 400 * time.Millisecond
	DefaultPause     = 8 * time.Second
	DefaultRedial    = 4 * time.Second
	DefaultConfirmed = 2500 * time.Millisecond
	DefaultLease     = 10 * time.Minute
)

// Observers is how many nodes are asked about a pilot that is suspected, and
// how many hubs watch a hub: K of the paper, and enough is H of it, for every 8.
const (
	Observers = 8
	enough    = 6
)

// Limits of a Detector.
const (
	MaxMembers = 64 << 10
	maxGone    = 1024 // nodes remembered to be gone
	maxEnded   = 64   // links remembered to have ended
)

// Times of the protocol that do not depend on the Config.
const (
	slack       = 50 * time.Millisecond  // that a timer may be late
	unwell      = 250 * time.Millisecond // lateness that is worth a point of health
	ill         = time.Second            // and one more
	healEvery   = 2 * time.Second        // to get a point back
	hubEvery    = 2 * time.Second        // between beats of a hub to a pilot, and of a pilot to another hub than its own
	routedEvery = 2 * time.Second        // between questions to a hub without a link
	askEvery    = time.Second            // between questions to a suspect
	urgently    = 3                      // beats in a row after a long silence of our own
	fine        = 100 * time.Millisecond // between looks while there are suspects
	gapFades    = 16                     // a subject's longest silence fades by its age divided by this
	hearsay     = time.Minute            // that other pilots' words keep a pilot alive
	endedFor    = 30 * time.Second       // that the end of a link is evidence
	closedMost  = 8 * time.Second        // that a node whose link has ended gets because this one is not well
	stallMost   = time.Second            // of a pause of this node that counts in this
	batchWait   = 500 * time.Millisecond // that a decision waits for others of this node's
	mergeWait   = time.Second            // that news of it wait for others' decisions
)

// Config describes a node's part in failure detection.
type Config struct {
	ID   wire.NodeID
	Role wire.Role
	Site string

	// Period is the time between a pilot's beats to its hub, and between hubs.
	// 0 means [DefaultPeriod].
	Period time.Duration
	// Pause is how long a living node may say nothing at all. Silence of Pause
	// and three Periods is death. 0 means [DefaultPause].
	Pause time.Duration
	// Redial is how long a node whose connection has ended is given to come
	// back, and Confirmed how long when others have lost theirs too; each is
	// more for those that were silent for long before. 0 means
	// [DefaultRedial], [DefaultConfirmed].
	Redial, Confirmed time.Duration
	// Lease is how long pilots without a hub live on, see [Detector.Join].
	// 0 means [DefaultLease].
	Lease time.Duration

	Seed uint64 // keeps nodes from doing the same things at the same time; any number
}

// Member is a node to know of.
type Member struct {
	ID   wire.NodeID
	Role wire.Role
	Site string
	// Home is the hub or launcher that serves a pilot, and decides about it.
	// Of others it is zero.
	Home wire.NodeID
}

// Send is a message to hand to the transport: over the link to the node when
// there is one, else through hubs, by way of Relay when it is not zero.
type Send struct {
	To    wire.NodeID
	Relay wire.NodeID
	Msg   wire.Message
}

// Batch is a group of nodes that are dead, as of one change.
type Batch struct {
	Nodes  []wire.NodeID // by identity
	Reason string        // for people
}

// Effects are what a Detector wants done, and told.
type Effects struct {
	Sends []Send
	// Suspected are members that this node watches and does not hear, or
	// whose link has ended; Refuted are those of them that it hears again.
	Suspected []wire.NodeID
	Refuted   []wire.NodeID
	// Deaths are final. A pilot is told of none, its hub is.
	Deaths []Batch
	// Condemned says that others have declared this very node dead.
	Condemned bool
}

// Stats count what happened since the start.
type Stats struct {
	Suspicions uint64 // of nodes that this one watches
	Refuted    uint64
	Late       uint64 // times that this node ran late
	Inquiries  uint64 // sent
	Notices    uint64 // own ones
	Batches    uint64
}

// Detector is one node's part in failure detection. Its methods must be called
// by one goroutine at a time, with a now that never decreases.
type Detector struct {
	cfg   Config
	fx    Effects
	stats Stats

	// The machine's own time: that of the caller without what it missed.
	time time.Duration
	real time.Duration // the same with most of what it missed, see closedMost
	last time.Duration // the caller's, at the last call
	due  time.Duration // the caller's, when Tick is wanted

	scanAt   time.Duration
	healedAt time.Duration // when health was last changed
	health   int32
	urgent   int32 // beats to send in a row, since nobody has heard of this node for long
	inc      uint32
	asks     uint64

	members  []*member               // by identity
	index    map[wire.NodeID]*member // the same, when there are many
	watched  []*member               // by identity
	orphanAt time.Duration           // when the first one's lease ends, or earlier; 0: never
	links    links
	ended    []ended
	gone     nodeSet

	probes    []probe
	inquiries []inquiry
	hubs      council
	flood     *flood // nil for a pilot
	batch     batches
}

// member is what is known of a node.
type member struct {
	Member
	inc      uint32
	linked   bool          // there is a link to it
	unheard  bool          // a hub to which there is no route
	heard    time.Duration // by this node, or when it joined
	spoken   time.Duration // the last word over a link, not others' words
	beatAt   time.Duration
	beatenAt time.Duration // to a pilot: when this hub's own last Beat came; 0: never
	downAt   time.Duration // when its link ended; 0: it has not
	orphan   time.Duration // when it counts as dead for want of a hub; 0: it has one
	gap      *gap          // nil: it was never silent for long
	suspect  *suspicion
}

// gap is the longest silence that a member came back from, and when.
type gap struct {
	silence time.Duration
	at      time.Duration
}

// fading returns what is left of it.
func (g *gap) fading(now time.Duration) time.Duration {
	if g == nil {
		return 0
	}
	return max(g.silence-(now-g.at)/gapFades, 0)
}

// suspicion is what is known of a member that is not heard.
type suspicion struct {
	askAt     time.Duration
	ask       uint64
	inquired  bool
	announced bool
	accused   bool
	confirmed []wire.NodeID
	closedAt  time.Duration // when it was seen, as Detector.real counts, that the link has ended; 0: it has not
	ripe      time.Duration // when its time was over; 0: it is not
}

type ended struct {
	id wire.NodeID
	at time.Duration
}

// New returns a detector that knows of no node.
func New(cfg Config, now time.Duration) *Detector {
	cfg.Period = cmp.Or(cfg.Period, DefaultPeriod)
	cfg.Pause = cmp.Or(cfg.Pause, DefaultPause)
	cfg.Redial = cmp.Or(cfg.Redial, DefaultRedial)
	cfg.Confirmed = cmp.Or(cfg.Confirmed, DefaultConfirmed)
	cfg.Lease = cmp.Or(cfg.Lease, DefaultLease)
	d := &Detector{
		cfg:  cfg,
		time: 1, real: 1, last: now, due: now,
		asks: cfg.Seed << 16,
	}
	if cfg.Role != wire.RolePilot {
		d.flood = new(flood)
	}
	d.scanAt = d.time + time.Duration(cfg.Seed%uint64(cfg.Period))
	d.hubs.join(cfg.ID, cfg.Role)
	d.settle()
	return d
}

// enter begins every call: it sees how much time has passed, and how much of
// it this node did not run.
func (d *Detector) enter(now time.Duration) {
	now = max(now, d.last)
	d.real += min(now-d.last, stallMost)
	if late := now - d.due; late > slack {
		d.time += max(d.due+slack-d.last, 0)
		d.due = now
		d.stats.Late++
		if late > unwell {
			d.worsen(1)
		}
		if late > ill {
			d.worsen(1)
			d.urgent, d.scanAt = urgently, d.time
		}
	} else {
		d.time += now - d.last
	}
	d.last = now
}

// limit is the silence of a node that is dead.
func (d *Detector) limit() time.Duration { return d.cfg.Pause + 3*d.cfg.Period }

// begin is the silence after which a node that is well is suspected.
func (d *Detector) begin() time.Duration { return 6 * d.cfg.Period }

// worsen lowers this node's opinion of itself.
func (d *Detector) worsen(points int32) {
	d.health = min(d.health+points, wire.MaxHealth)
	d.healedAt = d.time
}

// settle ends every call: it tells what is known by now, and plans the next
// Tick.
func (d *Detector) settle() {
	d.tell()
	d.flush()
	next := d.scanAt
	if d.flood != nil && d.flood.wakeAt != 0 {
		next = min(next, d.flood.wakeAt)
	}
	if d.flood != nil && d.flood.draft != nil {
		next = min(next, d.flood.since+gather)
	}
	if at := d.batch.due(); at != 0 {
		next = min(next, at)
	}
	d.due = d.last + max(next-d.time, 1)
}

// Tick lets time pass. It is wanted at [Detector.Next], and allowed at any
// time; one that comes late says that this node starves.
func (d *Detector) Tick(now time.Duration) {
	d.enter(now)
	if d.time >= d.scanAt {
		d.scan()
	}
	d.settle()
}

// Next returns the time at which Tick is wanted. It changes with every call.
func (d *Detector) Next() time.Duration { return d.due }

// Ready returns what is to be done since the last call of Ready.
func (d *Detector) Ready() Effects {
	fx := d.fx
	d.fx = Effects{}
	return fx
}

// Stats returns the counters.
func (d *Detector) Stats() Stats { return d.stats }

// Health returns this node's opinion of itself: 0 is well, [wire.MaxHealth] is
// the worst.
func (d *Detector) Health() int { return int(d.health) }

// LinkUp tells of a link to a node, whether it is a member or not. Its role
// must be proven.
func (d *Detector) LinkUp(now time.Duration, id wire.NodeID, role wire.Role) {
	d.enter(now)
	d.links.add(id, role)
	d.ended = slices.DeleteFunc(d.ended, func(e ended) bool { return e.id == id })
	if d.gone.has(id) {
		d.send(id, &wire.Beat{Dead: true})
	}
	if role != wire.RolePilot && d.cfg.Role != wire.RolePilot {
		d.meet(id)
	}
	if m := d.member(id); m != nil {
		m.linked = true
		m.downAt = 0
		m.beatAt = d.time
		d.hear(m)
		d.rewatch(m)
	}
	d.settle()
}

// LinkDown tells that a link has ended.
func (d *Detector) LinkDown(now time.Duration, id wire.NodeID) {
	d.enter(now)
	if d.links.role(id) == 0 {
		return
	}
	d.links.remove(id)
	d.part(id)
	if len(d.ended) >= maxEnded {
		d.ended = slices.Delete(d.ended, 0, 1)
	}
	d.ended = append(d.ended, ended{id, d.time})
	if m := d.member(id); m != nil {
		m.linked = false
		m.downAt = d.time
		d.rewatch(m)
		d.scanAt = d.time
	}
	d.settle()
}

// Heard tells that a message has come over the link to a node: a sign of life.
func (d *Detector) Heard(now time.Duration, id wire.NodeID) {
	d.enter(now)
	if m := d.member(id); m != nil && m.linked {
		d.hear(m)
	}
}

// Receive takes a message of a node: over the link to it, or, a Beat, through
// hubs. It reports false for messages that are another's.
func (d *Detector) Receive(now time.Duration, from wire.NodeID, m wire.Message) bool {
	switch m := m.(type) {
	case *wire.Beat:
		d.enter(now)
		d.beat(from, m)
	case *wire.Inquiry:
		d.enter(now)
		d.inquire(from, m)
	case *wire.Finding:
		d.enter(now)
		d.found(from, m)
	case *wire.Notices:
		d.enter(now)
		d.notices(from, m)
	default:
		return false
	}
	d.settle()
	return true
}

func (d *Detector) send(to wire.NodeID, m wire.Message) {
	d.fx.Sends = append(d.fx.Sends, Send{To: to, Msg: m})
}

// mix hashes an identity, which is a digest already, with a number.
func mix(id wire.NodeID, seed uint64) uint64 {
	x := binary.LittleEndian.Uint64(id[:8]) ^ binary.LittleEndian.Uint64(id[8:])*0x9e3779b97f4a7c15 ^ seed
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return x ^ x>>32
}

// nodeSet is a set of nodes that forgets the oldest.
type nodeSet struct {
	set  map[wire.NodeID]bool
	list []wire.NodeID
}

func (s *nodeSet) has(id wire.NodeID) bool { return s.set[id] }

func (s *nodeSet) add(id wire.NodeID) {
	if s.set[id] {
		return
	}
	if s.set == nil {
		s.set = make(map[wire.NodeID]bool)
	}
	if len(s.list) >= maxGone {
		delete(s.set, s.list[0])
		s.list = slices.Delete(s.list, 0, 1)
	}
	s.set[id] = true
	s.list = append(s.list, id)
}

func (s *nodeSet) remove(id wire.NodeID) {
	if s.set[id] {
		delete(s.set, id)
		s.list = slices.DeleteFunc(s.list, func(x wire.NodeID) bool { return x == id })
	}
}
