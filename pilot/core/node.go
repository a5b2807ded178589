package core

import (
	"cmp"
	"fmt"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/gossip"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// Defaults of a Config.
const (
	DefaultLease = 10 * time.Minute
	// Forever, as Config.Idle, keeps a pilot without a job.
	Forever = time.Duration(-1)
)

// Config describes the node itself.
type Config struct {
	ID       wire.NodeID // of this process: a restarted node has another one
	Role     wire.Role
	Site     string
	Name     string     // the host's, for people
	Offer    wire.Offer // without slots no workers
	Platform string     // such as "linux/amd64"
	Job      string     // the scheduler's job that the node runs in, and Part as in [wire.Peer]
	Part     uint32

	// Until is when the node is to have left, on the clock of its methods; 0 is
	// never. It claims for no job whose workers may need longer. To leave in
	// time is the shell's part, by [Node.Drain].
	Until time.Duration

	// Lease is how long a pilot or hub lives without a sign of life from those
	// it works for: a launcher, directly or through hubs, or the primary of a
	// job it has workers of. 0 means [DefaultLease].
	Lease time.Duration
	// Idle is how long a pilot lives without a job once it has had one; 0
	// means that it leaves with its last job, [Forever] that it stays.
	Idle time.Duration
	// Near are sites whose pilots run on this launcher's own machine: when the
	// link of one ends it is as suspect as those of a hub are.
	Near []string

	// Runtimes are the kinds of runtimes that this pilot can serve; nil means
	// that it takes jobs of any kind and sees.
	Runtimes []string

	// Blind lets jobs of this node be searched for in rings, without a look at
	// which slots are known to be free; for comparison.
	Blind bool

	// Sign signs bytes as the node, Verify tells whose word a card is, and
	// Proof is what the node's own cards carry for those who verify them. A
	// node without Sign takes no part in gossip and has no coordinate.
	Sign   func(signed []byte) []byte
	Verify gossip.Verifier
	Proof  []byte

	// Seed keeps nodes from doing the same things at the same time, and is all
	// the chance there is: any number that others do not know.
	Seed uint64
}

// The effects that belong to jobs.
type (
	Send    = job.Send    // a message to hand to the transport
	Fetch   = job.Fetch   // answered with [Node.Fetched]
	Start   = job.Start   // answered with [Node.Started] and, at the end, [Node.Exited]
	Kill    = job.Kill    // ends in [Node.Exited]
	Collect = job.Collect // answered with [Node.Collected]
)

// Leave asks the shell to end: what it has to tell others was sent, its
// workers have ended. Nothing comes after it.
type Leave struct {
	Reason string
}

// Effects are what a Node wants done: first what it says of the network, then the
// rest in this order.
type Effects struct {
	Sends    []Send
	Fetches  []Fetch
	Starts   []Start
	Kills    []Kill
	Collects []Collect
	Discards []wire.Key                    // remove these workers' sandboxes and outputs
	Drops    []wire.JobID                  // forget these jobs' files
	Routes   map[wire.NodeID][]wire.NodeID // for each hub the hubs to cross after this node, that one last; nil: no change
	Gate     *wire.NodeID                  // who relays for this node from now on; zero: nobody
	Wheres   []wire.Address                // by which hubs nodes are found
	Dials    []wire.Address                // nodes that a direct link is wanted to, if it can be had
	Silent   []wire.NodeID                 // nodes that are not heard any more: hubs, to which another connection may do better, and those whose link through hubs is to be given up
	Tokens   [][]wire.Token                // a hub's join tokens from now on, the last one counts
	Events   []Event                       // for the user of this node
	Leave    *Leave
}

// Node is one member of the overlay: a pilot, a hub or a launcher, and the
// primary of any number of jobs. Its methods must be called by one goroutine at a time,
// with a now that never decreases.
type Node struct {
	cfg  Config
	fx   Effects
	jx   *job.Effects   // see doing
	self []wire.Message // from this node to itself
	next time.Duration

	overlay
	carrier
	hubs
	watch
	gossips
	places
	work
	jobs
	exit leaving
}

// New returns a node that has just started.
func New(cfg Config, now time.Duration) *Node {
	cfg.Lease = cmp.Or(cfg.Lease, DefaultLease)
	cfg.Name = cfg.Name[:min(len(cfg.Name), wire.MaxName)]
	n := &Node{cfg: cfg}
	n.overlay.init(cfg, now)
	n.initWatch(now)
	n.initHubs(now)
	n.moved()
	n.initGossip(now)
	n.initPlaces(now)
	n.jobs.next = now + time.Hour
	if cfg.Offer.Slots > 0 {
		n.slots = flood.NewSlots(cfg.Offer)
	}
	n.settle(now)
	return n
}

// Ready returns what is to be done since the last call of Ready.
func (n *Node) Ready() Effects {
	fx := n.fx
	n.fx = Effects{}
	return fx
}

// Next returns the time at which Tick is wanted.
func (n *Node) Next() time.Duration { return n.next }

// Tick lets time pass. It is wanted at [Node.Next], and allowed at any time.
func (n *Node) Tick(now time.Duration) {
	if n.exit.done {
		return
	}
	n.tickOverlay(now)
	n.tickWatch(now)
	n.tickHubs(now)
	n.tickGossip(now)
	n.tickPlaces(now)
	n.tickWork(now)
	n.tickJobs(now)
	n.tickLeaving(now)
	n.settle(now)
}

// settle ends every input: it delivers what the node has to tell itself, looks
// for work, and plans the next Tick.
func (n *Node) settle(now time.Duration) {
	for range 1000 { // a bound, never met: each message answers a fact that only grows
		if len(n.self) == 0 {
			break
		}
		m := n.self[0]
		n.self = n.self[1:]
		for _, j := range n.primaries {
			j.Heard(now, n.cfg.ID)
		}
		n.receiveJob(now, n.cfg.ID, n.cfg.Site, m)
	}
	n.absorbHubs(now)
	n.absorbWatch(now)
	n.absorbHubs(now) // what it has done to the graph
	n.seek(now)
	n.rest(now)
	if n.exit.done {
		n.next = now + wire.MaxTime
		return
	}
	next := min(n.nextOverlay(now), n.nextHubs(now), n.detector.Next(), n.nextGossip(now), n.nextPlaces(now), n.nextWork(now), n.jobs.next, n.nextLeaving(now))
	n.next = (max(next, now+1) + grain - 1) / grain * grain
}

// grain is the resolution of the node's timers: what is due at about the same
// time is done in one Tick.
const grain = 10 * time.Millisecond

// send hands a message to the transport, or to the node itself.
func (n *Node) send(to wire.NodeID, m wire.Message) {
	if to == n.cfg.ID {
		n.self = append(n.self, m)
		return
	}
	n.fx.Sends = append(n.fx.Sends, Send{To: to, Msg: m})
}

// Receive takes a message that came over the link to from.
func (n *Node) Receive(now time.Duration, from wire.NodeID, m wire.Message) {
	l := n.link(from)
	if l == nil || n.exit.done {
		return
	}
	l.heard = now
	if l.buried {
		n.revive(now, l)
	}
	if !l.routed {
		n.detector.Heard(now, from)
	}
	if l.peer.Role == wire.RoleLauncher {
		n.life, n.led = now, now
	}
	for _, j := range n.primaries {
		j.Heard(now, from)
	}
	if !n.receiveOverlay(now, l, m) && !n.receiveHubs(now, l, m) && !n.receiveWatch(now, l, m) && !n.receiveCarrier(now, l, m) {
		n.receiveJob(now, from, l.peer.Site, m)
	}
	n.settle(now)
}

// Submit makes this node the primary of a new job.
func (n *Node) Submit(now time.Duration, spec job.Spec) error {
	if n.exit.reason != "" {
		return fmt.Errorf("submit job %s: the node is leaving: %s", spec.ID.Short(), n.exit.reason)
	}
	if n.primary(spec.ID) != nil || n.board.Closed(spec.ID) || n.board.Advert(spec.ID) != nil {
		return fmt.Errorf("submit job %s: there is a job of that name", spec.ID.Short())
	}
	if len(n.primaries) >= MaxJobs {
		return fmt.Errorf("submit job %s: %d jobs already", spec.ID.Short(), len(n.primaries))
	}
	p, err := job.NewPrimary(now, spec, n.cfg.ID, n.board.NextOrder())
	if err != nil {
		return fmt.Errorf("submit job %s: %w", spec.ID.Short(), err)
	}
	p.Weigh(func(pilot wire.NodeID) int { return n.coresOf(pilot, &spec.Needs) })
	n.primaries = append(n.primaries, &primary{Primary: p, id: spec.ID})
	n.jobs.next = now
	n.tickJobs(now)
	n.settle(now)
	return nil
}
