package sim

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/sim"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// worldConfig describes a world.
type worldConfig struct {
	Seed   uint64
	Layout layout
	Noise  float64 // probability that a message is lost; as many come twice, three times as many late
	Skew   bool    // every node's clock has an origin and a speed of its own
	Blind  bool    // jobs are searched for in rings, without tables of free slots
	Calm   bool    // nothing goes wrong, which checkers rely on
	Log    func(now time.Duration, text string)
	Trace  func(Message)
}

// world is a session: machines at sites, the nodes on them, and the links
// between those.
type world struct {
	cfg   worldConfig
	k     *sim.Kernel
	sites []*siteState // of the layout, and home at the end
	spots []*spot      // the launcher, the hubs, the pilots
	hubs  int          // how many spots of hubs there are
	byID  map[wire.NodeID]*node
	ids   uint64
	noise float64
	over  bool // the session ends
	net   netState
	codec uint64 // every so many messages one goes through its encoding

	jobs       []*jobState
	jobOf      map[wire.JobID]*jobState
	looks      int // of the checkers
	faults     int
	deaths     int // told of nodes that had not left
	traffic    traffic
	violations []string
	onSend     func(n, to *node, m wire.Message)
	onEvent    func(n *node, e core.Event)
}

// siteState is a site as it is now.
type siteState struct {
	index  int
	name   string
	lan    time.Duration // round trip
	rtt    []time.Duration
	hubs   []*spot
	pilots int  // how many
	cut    bool // nothing leaves it and nothing enters
	group  int  // sites of different groups do not reach each other
}

// spot is a place for one node at a time: a machine.
type spot struct {
	index   int
	role    wire.Role
	number  int // among those of its role at its site
	site    *siteState
	reach   reach
	parents []*spot // whom its nodes dial
	cut     bool    // nothing leaves it and nothing enters
	slow    bool    // the machine does everything late
	bad     bool    // no worker starts here
	offer   wire.Offer
	origin  time.Duration // of its clock
	drift   time.Duration // of its clock, nanoseconds in a millisecond
	paused  time.Duration // it does nothing until then
	trouble time.Duration // when it was last hard to reach for a reason
	node    *node
}

// node is one process on a spot, with its shell.
type node struct {
	w      *world
	id     wire.NodeID
	key    uint64 // of its signatures
	spot   *spot
	core   *machine
	alive  bool
	leaves bool // it has said goodbye
	links  map[wire.NodeID]*link
	order  []*link                     // the same, the oldest first
	calls  map[wire.NodeID][]core.Send // on their way, and what waits for them
	tickAt time.Duration               // when its next Tick is planned; 0: not
	routes routes
	shell
}

// machine is the core node with what the world wants to know of it.
type machine struct {
	*core.Node
	role wire.Role
}

// jobState is a job as the checkers see it.
type jobState struct {
	spec      job.Spec
	primary   *node
	last      time.Duration // how long a worker runs
	steady    bool          // all of them the same time
	fails     float64       // probability that the program fails
	submitted time.Duration
	started   map[wire.Attempt]wire.NodeID
	newest    map[uint32]uint32
	granted   map[uint32]wire.NodeID // who has a rank now
	grants    []time.Duration
	done      map[uint32]bool
	lost      int
	ended     bool
	endedAt   time.Duration
	end       core.JobEnded
	orphaned  time.Duration // when its primary died; 0: it did not
}

func newJobState(spec job.Spec, runs time.Duration) *jobState {
	return &jobState{spec: spec, last: runs, started: make(map[wire.Attempt]wire.NodeID),
		newest: make(map[uint32]uint32), granted: make(map[uint32]wire.NodeID), done: make(map[uint32]bool)}
}

// newWorld makes the places of a world; nobody is there yet. The layout must
// be valid.
func newWorld(cfg worldConfig) *world {
	w := &world{cfg: cfg, k: sim.New(cfg.Seed), byID: make(map[wire.NodeID]*node), jobOf: make(map[wire.JobID]*jobState), noise: cfg.Noise}
	l := cfg.Layout
	l.complete()
	for i, s := range l.Sites {
		rtt := append(append([]time.Duration(nil), l.WAN[i]...), l.Home[i])
		w.sites = append(w.sites, &siteState{index: i, name: s.Name, lan: s.LAN, rtt: rtt})
	}
	home := &siteState{index: len(l.Sites), name: "home", rtt: append([]time.Duration(nil), l.Home...)}
	w.sites = append(w.sites, home)
	launcher := w.addSpot(wire.RoleLauncher, home, closed)
	for i, s := range l.Sites {
		for range s.Hubs {
			h := w.addSpot(wire.RoleHub, w.sites[i], s.Reach)
			w.sites[i].hubs = append(w.sites[i].hubs, h)
			if h.parents = []*spot{launcher}; s.Behind >= 0 {
				h.parents = w.sites[s.Behind].hubs
			}
			w.hubs++
		}
	}
	for i, s := range l.Sites {
		for _, g := range s.Groups {
			for range g.Count {
				p := w.addSpot(wire.RolePilot, w.sites[i], g.Reach)
				p.offer, p.bad, p.parents = g.Offer, g.Bad, w.sites[i].hubs
			}
		}
	}
	w.codec = 7
	if len(w.spots) > 1000 {
		w.codec = 61
	}
	return w
}

func (w *world) addSpot(role wire.Role, at *siteState, r reach) *spot {
	s := &spot{index: len(w.spots), role: role, site: at, reach: r}
	if role == wire.RolePilot {
		s.number = at.pilots
		at.pilots++
	} else {
		s.number = len(at.hubs)
	}
	if w.cfg.Skew {
		s.origin = w.k.Between(time.Second, 1000*time.Hour)
		s.drift = time.Duration(w.k.Rand().IntN(201) - 100)
	}
	w.spots = append(w.spots, s)
	return s
}

// build boots everybody within a time, the launcher at once.
func (w *world) build(within time.Duration) {
	w.boot(w.spots[0])
	for _, s := range w.spots[1:] {
		w.k.At(w.k.Between(0, within), func() { w.boot(s) })
	}
}

// boot starts a process on a spot, unless there is one.
func (w *world) boot(s *spot) {
	if s.node != nil && s.node.alive {
		return
	}
	w.ids++
	n := &node{w: w, spot: s, alive: true, key: w.k.Rand().Uint64(), links: make(map[wire.NodeID]*link)}
	binary.BigEndian.PutUint64(n.id[:], w.k.Rand().Uint64())
	binary.BigEndian.PutUint64(n.id[8:], w.ids)
	n.shell.init(int(s.offer.Slots))
	n.core = &machine{core.New(w.coreConfig(n), w.local(n)), s.role}
	s.node = n
	w.byID[n.id] = n
	w.settle(n)
	for _, p := range s.parents {
		w.dialParent(n, p)
	}
}

func (w *world) coreConfig(n *node) core.Config {
	s := n.spot
	return core.Config{ID: n.id, Role: s.role, Site: s.site.name, Name: s.name(), Offer: s.offer,
		Platform: "linux/amd64", Lease: nodeLease, Idle: core.Forever, Sign: n.sign, Verify: verifier{w}, Seed: w.k.Rand().Uint64(), Blind: w.cfg.Blind}
}

func (n *node) peer() wire.Peer {
	return wire.Peer{ID: n.id, Role: n.spot.role, Site: n.spot.site.name}
}

// home returns the launcher's node.
func (w *world) home() *node { return w.spots[0].node }

// pilots returns the live pilots, by place.
func (w *world) pilots() []*node { return live(w.spots[1+w.hubs:]) }

func live(spots []*spot) []*node {
	var list []*node
	for _, s := range spots {
		if s.node != nil && s.node.alive {
			list = append(list, s.node)
		}
	}
	return list
}

// submit makes a node the primary of a new job whose workers run for a time.
func (w *world) submit(n *node, spec job.Spec, runs time.Duration) *jobState {
	j := newJobState(spec, runs)
	j.steady = true
	w.jobs = append(w.jobs, j)
	w.jobOf[spec.ID] = j
	w.lead(n, j)
	return j
}

// lead submits a job that is known.
func (w *world) lead(n *node, j *jobState) {
	j.primary, j.submitted = n, w.k.Now()
	w.logf("job %s: %d workers (at least %d), lease %v, primary %s", j.spec.ID.Short(), j.spec.Want, j.spec.Min, j.spec.Lease, n.id.Short())
	w.input(n, func(n *node) {
		if err := n.core.Submit(w.local(n), j.spec); err != nil {
			w.violate("submit: %v", err)
		}
	})
}

// jobID makes up a name of a job.
func (w *world) jobID() (id wire.JobID) {
	for i := range id {
		id[i] = byte(w.k.Rand().Uint32())
	}
	return id
}

func (w *world) logf(format string, args ...any) {
	if w.cfg.Log != nil {
		w.cfg.Log(w.k.Now(), fmt.Sprintf(format, args...))
	}
}

// input gives a node something to think about, and does what it wants done. A
// machine that stands still thinks about it when it goes on.
func (w *world) input(n *node, f func(*node)) {
	if !n.alive {
		return
	}
	if to := n.spot.paused; to > w.k.Now() {
		w.k.At(to, func() { w.input(n, f) })
		return
	}
	f(n)
	w.settle(n)
}

// settle does what a node wants done and plans its next Tick.
func (w *world) settle(n *node) {
	w.apply(n, n.core.Ready())
	if !n.alive {
		return
	}
	next := n.core.Next()
	if next <= w.local(n) {
		// What it ignores changes nothing about a Tick that is late already.
		if n.tickAt == 0 {
			w.violate("node %s wants to tick in the past", n.id.Short())
		}
		return
	}
	at := w.global(n, next)
	if n.spot.slow {
		at += w.k.Between(0, time.Second)
	}
	w.tickAt(n, at)
}

// tickAt sees to it that a node ticks no later than at a time. A Tick that is
// planned earlier finds out that it is not wanted yet.
func (w *world) tickAt(n *node, at time.Duration) {
	if n.tickAt != 0 && n.tickAt <= at {
		return
	}
	n.tickAt = at
	w.k.Plan(at, n)
}

// Happen is a node's Tick.
func (n *node) Happen() {
	w := n.w
	now := w.k.Now()
	if !n.alive || n.tickAt != now {
		return
	}
	n.tickAt = 0
	if to := n.spot.paused; to > now {
		w.tickAt(n, to)
		return
	}
	local := w.local(n)
	if next := n.core.Next(); next > local {
		w.tickAt(n, w.global(n, next))
		return
	}
	n.core.Tick(local)
	w.settle(n)
}

// local is what a node's clock says now.
func (w *world) local(n *node) time.Duration { return n.spot.local(w.k.Now()) }

func (s *spot) local(t time.Duration) time.Duration {
	return s.origin + t + t/time.Millisecond*s.drift
}

// global is the first time at which a node's clock says at least so much.
func (w *world) global(n *node, local time.Duration) time.Duration {
	s := n.spot
	if s.drift == 0 {
		return max(local-s.origin, w.k.Now())
	}
	t := local - s.origin
	t = max(t-t/(time.Millisecond+s.drift)*s.drift, w.k.Now())
	for {
		short := local - s.local(t)
		if short <= 0 {
			return t
		}
		t += short
	}
}

// rttSpots is the true round trip between two machines, without any hub.
func (w *world) rttSpots(a, b *spot) time.Duration {
	switch {
	case a == b:
		return 0
	case a.site == b.site:
		return a.site.lan
	}
	return a.site.rtt[b.site.index]
}
