package job

import (
	"fmt"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits and rhythms of a Primary.
const (
	MaxPilots = 64 << 10 // pilots that may claim for one job
	MaxFails  = 6        // attempts of one rank that may fail through us before the job ends
	ShunAfter = 3        // failed starts in a row after which a pilot is shunned

	repeatFirst = time.Second
	repeatMax   = 30 * time.Second
	floodPause  = 250 * time.Millisecond // between changes of an advert
	stuckPause  = 10 * time.Second       // with nothing but shunned pilots, before the job ends
	holdPause   = 400 * time.Millisecond // a gang that is complete by then needs no Hold
	settleTime  = 100 * time.Millisecond // for claims over a gang's size, so that it can choose
	woundFirst  = time.Second            // before a wounded gang looks for other slots
	woundMax    = 16 * time.Second
	answerTime  = 60 * time.Second // of a pilot that is heard of, to tell of what it was granted
	collectTime = 30 * time.Second // for outputs, when a job is stopped
)

// RenewEvery returns how often a primary gives a sign of life under a lease.
func RenewEvery(lease time.Duration) time.Duration {
	return min(max(lease/6, 2*time.Second), 30*time.Second, lease/3)
}

// Primary manages one job: it gives ranks to claims, follows the attempts, and
// decides what becomes of those that are lost.
type Primary struct {
	spec  Spec
	self  wire.NodeID
	order uint64
	epoch uint32
	born  time.Duration // when the job was submitted

	ranks  []rank
	open   []uint32 // ranks that want an attempt, ascending
	held   int      // workers in held claims
	live   int      // attempts that are granted and not final
	left   int      // ranks that are not final
	pilots map[wire.NodeID]*member
	list   []*member // the pilots, by identity

	started   bool          // the gang was granted
	gathering time.Duration // since when claims are held
	pausedTo  time.Duration // no gathering before this time
	holdAt    time.Duration // when claims that wait are told so; 0: all are
	settleAt  time.Duration // when a gang that is complete waits no longer for better claims; 0: it is not
	invited   bool          // the claims that come were asked for
	spare     int           // how many of them beyond what is wanted
	wounds    int           // since the gang began to gather
	woundedTo time.Duration // no new advert before
	idle      time.Duration // for which cores were held, all together
	heldCores int           // of the workers in held claims
	heldAt    time.Duration // when held changed

	weigh func(pilot wire.NodeID) int                    // cores of a worker there; nil: as many as it asks for
	where func(hub wire.NodeID, site string) flood.Place // nil: any set of pilots is as good as another

	seq      uint64 // of the advert
	said     int    // Open in the latest advert
	saidAt   time.Duration
	floodAt  time.Duration
	refloods int
	stuckAt  time.Duration // 0: not stuck

	stopping *End
	deadline time.Duration
	end      *End
	endedAt  time.Duration
	why      string // the latest failure, for people
}

type rankState uint8

const (
	rankOpen    rankState = 0
	rankGranted           = rankState(wire.WorkerGranted)
	rankStaging           = rankState(wire.WorkerStaging)
	rankRunning           = rankState(wire.WorkerRunning)
	rankExited            = rankState(wire.WorkerExited)
	rankDone    rankState = 10 // collected, counts
	rankIgnored rankState = 11 // lost, and nobody minds
	rankStopped rankState = 12
)

type rank struct {
	attempt   uint32
	state     rankState
	confirmed bool // the pilot has told of it
	retries   int32
	fails     int32
	node      wire.NodeID
	claim     uint64
	result    *wire.Result
}

// member is a pilot, as one job's primary knows it.
type member struct {
	id       wire.NodeID
	site     string
	hub      wire.NodeID // that relays to it; zero is not known
	heard    time.Duration
	granted  time.Duration // when it was granted something, or told of some of that
	claim    uint64        // the highest claim number seen
	claims   []held
	live     []uint32 // its ranks, ascending
	stops    []stop   // by attempt
	involved bool     // it has, or had, something of the job
	fails    int
	shunned  bool
	gone     bool // and so not to be told anything

	due     time.Duration // when to repeat what is not answered
	backoff time.Duration
	renewAt time.Duration
	renewed uint64
}

type held struct {
	seq     uint64
	workers int
	cores   int  // of all of them
	told    bool // that it waits
}

type stop struct {
	wire.Attempt
	keep, now bool
	reason    string
}

// NewPrimary returns the primary of a new job. Order is the job's age, see
// [wire.Advert].
func NewPrimary(now time.Duration, spec Spec, self wire.NodeID, order uint64) (*Primary, error) {
	spec, err := spec.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Primary{spec: spec, self: self, order: order, epoch: 1, born: now,
		ranks: make([]rank, spec.Want), open: make([]uint32, spec.Want), left: spec.Want,
		pilots: make(map[wire.NodeID]*member), floodAt: now}
	for i := range p.open {
		p.open[i] = uint32(i)
	}
	return p, nil
}

// wanted returns how many more workers claims are wanted for.
func (p *Primary) wanted(now time.Duration) int {
	if p.stopping != nil || p.end != nil || now < p.pausedTo {
		return 0
	}
	return max(0, len(p.open)-p.held)
}

func (p *Primary) member(now time.Duration, id wire.NodeID) *member {
	m := p.pilots[id]
	if m == nil {
		if len(p.pilots) >= MaxPilots {
			return nil
		}
		m = &member{id: id, heard: now, backoff: repeatFirst}
		p.pilots[id] = m
		i, _ := slices.BinarySearchFunc(p.list, id, func(m *member, id wire.NodeID) int { return m.id.Compare(id) })
		p.list = slices.Insert(p.list, i, m)
	}
	return m
}

func (p *Primary) drop(m *member) {
	delete(p.pilots, m.id)
	p.list = slices.DeleteFunc(p.list, func(x *member) bool { return x == m })
}

// Heard tells that something came from a node: it is alive.
func (p *Primary) Heard(now time.Duration, from wire.NodeID) {
	if m := p.pilots[from]; m != nil {
		m.heard = now
	}
}

// repeat sees to it that what was sent to a pilot is sent again.
func (p *Primary) repeat(now time.Duration, m *member) {
	m.backoff = repeatFirst
	m.due = now + m.backoff
}

func (p *Primary) update(fx *Effects, i uint32, c Change, reason string) {
	r := &p.ranks[i]
	u := Update{Key: wire.Key{Job: p.spec.ID, Rank: i, Attempt: r.attempt}, Change: c, Node: r.node, Reason: reason}
	if r.result != nil {
		u.Result = *r.result
	}
	fx.Updates = append(fx.Updates, u)
}

// Report takes a pilot's report and acknowledges it.
func (p *Primary) Report(now time.Duration, from wire.NodeID, rep *wire.Report, fx *Effects) {
	m := p.member(now, from)
	if m == nil {
		return
	}
	m.involved = true
	for i := range rep.Workers {
		p.status(now, m, &rep.Workers[i], fx)
	}
	if rep.Seq > 0 {
		fx.send(from, &wire.Ack{Job: p.spec.ID, Epoch: p.epoch, Of: wire.KindReport, Seq: rep.Seq})
	}
	p.changed(now)
	p.finish(now, fx)
}

func (p *Primary) status(now time.Duration, m *member, s *wire.Status, fx *Effects) {
	a := s.Attempt
	if int(a.Rank) >= len(p.ranks) {
		return
	}
	r := &p.ranks[a.Rank]
	if s.State == wire.WorkerGone {
		m.stops = slices.DeleteFunc(m.stops, func(x stop) bool { return x.Attempt == a })
	}
	current := r.attempt == a.Attempt && r.node == m.id && r.state >= rankGranted && r.state <= rankExited
	if !current {
		if s.State != wire.WorkerGone {
			p.stop(now, m, stop{Attempt: a, now: true, reason: "superseded"}, fx)
		}
		return
	}
	r.confirmed, m.granted = true, now
	if rankState(s.State) <= r.state {
		return
	}
	switch s.State {
	case wire.WorkerStaging:
		r.state = rankStaging
		p.update(fx, a.Rank, Staging, "")
	case wire.WorkerRunning:
		m.fails = 0
		r.state = rankRunning
		p.update(fx, a.Rank, Running, "")
		fx.Updates[len(fx.Updates)-1].PID = int(s.PID)
	case wire.WorkerExited:
		m.stops = slices.DeleteFunc(m.stops, func(x stop) bool { return x.Attempt == a && x.keep })
		p.exited(now, m, a.Rank, s.Result, fx)
	case wire.WorkerGone:
		p.lost(now, a.Rank, wire.Exit{Reason: wire.ExitLost, Text: "the pilot does not know it"}, false, fx)
	}
}

// exited decides on an attempt that has ended.
func (p *Primary) exited(now time.Duration, m *member, i uint32, res *wire.Result, fx *Effects) {
	r := &p.ranks[i]
	r.result = res
	own := res.Exit.Reason == wire.ExitProgram
	switch {
	case p.stopping != nil || own && (res.Exit.OK() || int(r.retries) >= p.spec.Retries):
		r.state = rankExited
		p.update(fx, i, Exited, "")
		fx.Collects = append(fx.Collects, Collect{wire.Key{Job: p.spec.ID, Rank: i, Attempt: r.attempt}, m.id, *res})
	case own:
		r.retries++
		p.update(fx, i, Failed, "")
		p.leave(now, i, true, fx)
		p.reopen(i)
	default:
		if res.Exit.Reason == wire.ExitStartFailed || res.Exit.Reason == wire.ExitStagingFailed {
			p.failed(now, m, res.Exit.Text, fx)
		}
		count := res.Exit.Reason != wire.ExitDrained && res.Exit.Reason != wire.ExitLease
		p.lost(now, i, res.Exit, count, fx)
	}
}

// failed counts a failed start against a pilot.
func (p *Primary) failed(now time.Duration, m *member, why string, fx *Effects) {
	m.fails++
	if m.fails < ShunAfter || m.shunned {
		return
	}
	m.shunned = true
	fx.Shunned = append(fx.Shunned, Shunned{m.id, why})
	for _, h := range m.claims {
		p.untake(now, h)
		fx.send(m.id, &wire.Refuse{Job: p.spec.ID, Epoch: p.epoch, Seq: h.seq, Shun: p.spec.Lease})
	}
	m.claims = nil
}

// leave takes a rank's attempt from its pilot; tell says whether to stop it there.
func (p *Primary) leave(now time.Duration, i uint32, tell bool, fx *Effects) {
	r := &p.ranks[i]
	p.live--
	m := p.pilots[r.node]
	if m == nil {
		return
	}
	m.live = slices.DeleteFunc(m.live, func(x uint32) bool { return x == i })
	if tell {
		p.stop(now, m, stop{Attempt: wire.Attempt{Rank: i, Attempt: r.attempt}, now: true}, fx)
	}
}

func (p *Primary) reopen(i uint32) {
	p.ranks[i].state = rankOpen
	p.open = insert(p.open, i)
}

// lost follows the policy for an attempt that ended through no doing of the
// program. Count says that it counts against the rank.
func (p *Primary) lost(now time.Duration, i uint32, exit wire.Exit, count bool, fx *Effects) {
	r := &p.ranks[i]
	if r.result == nil {
		r.result = &wire.Result{Exit: exit}
	}
	why := exit.Text
	if why == "" {
		why = exit.Reason.String()
	}
	p.why = fmt.Sprintf("worker %d: %s", i, why)
	p.update(fx, i, Lost, why)
	p.leave(now, i, true, fx)
	if count {
		r.fails++
	}
	switch {
	case p.stopping != nil:
		r.state = rankStopped
		p.left--
	case p.spec.OnFailure == Ignore:
		r.state = rankIgnored
		p.left--
	case p.spec.OnFailure == Cancel || r.fails >= MaxFails:
		r.state = rankStopped
		p.left--
		p.halt(now, End{Outcome: Sites, Exit: ExitSites, Reason: p.why}, fx)
	default:
		p.reopen(i)
	}
}

// stop sends a pilot a Stop, and keeps it to be repeated.
func (p *Primary) stop(now time.Duration, m *member, s stop, fx *Effects) {
	if m.gone {
		return
	}
	i, found := slices.BinarySearchFunc(m.stops, s, func(a, b stop) int { return a.Compare(b.Attempt) })
	if found {
		m.stops[i] = s
	} else {
		m.stops = slices.Insert(m.stops, i, s)
	}
	fx.send(m.id, p.stopMessage(s))
	p.repeat(now, m)
}

func (p *Primary) stopMessage(s stop) *wire.Stop {
	return &wire.Stop{Job: p.spec.ID, Epoch: p.epoch, Workers: []wire.Attempt{s.Attempt}, Keep: s.keep, Now: s.now, Reason: s.reason}
}

// PilotUp tells that a pilot can be reached (again): what it has not answered
// is repeated at once.
func (p *Primary) PilotUp(now time.Duration, id wire.NodeID, fx *Effects) {
	if m := p.pilots[id]; m != nil {
		m.backoff = repeatFirst
		m.renewAt = now
		m.due = now
		p.tend(now, m, fx)
	}
}

// PilotDown tells that a pilot is no more: its attempts are lost.
func (p *Primary) PilotDown(now time.Duration, id wire.NodeID, reason string, fx *Effects) {
	p.PilotsDown(now, []wire.NodeID{id}, reason, fx)
}

// PilotsDown tells that pilots are no more, all at once: it is one change to
// the job, and one new advert asks for what they had.
func (p *Primary) PilotsDown(now time.Duration, ids []wire.NodeID, reason string, fx *Effects) {
	some := false
	for _, id := range ids {
		if m := p.pilots[id]; m != nil {
			p.down(now, m, reason, fx)
			some = true
		}
	}
	if some {
		p.changed(now)
		p.finish(now, fx)
	}
}

func (p *Primary) down(now time.Duration, m *member, reason string, fx *Effects) {
	for _, h := range m.claims {
		p.untake(now, h)
	}
	m.claims, m.stops = nil, nil
	m.gone = true
	for _, i := range slices.Clone(m.live) {
		p.lost(now, i, wire.Exit{Reason: wire.ExitLost, Text: reason}, false, fx)
	}
	m.gone = false
	if !m.shunned {
		p.drop(m)
	}
	m.involved = false
}

// Collected tells that everything an attempt left is home or, when err is not empty,
// that it cannot be had, which loses the worker.
func (p *Primary) Collected(now time.Duration, key wire.Key, err string, fx *Effects) {
	if int(key.Rank) >= len(p.ranks) {
		return
	}
	r := &p.ranks[key.Rank]
	if r.attempt != key.Attempt || r.state != rankExited {
		return
	}
	switch {
	case err != "" && p.stopping == nil:
		r.result = nil
		p.lost(now, key.Rank, wire.Exit{Reason: wire.ExitLost, Text: "collect outputs: " + err}, true, fx)
	case r.result.Exit.Reason == wire.ExitProgram && err == "":
		p.leave(now, key.Rank, true, fx)
		r.state = rankDone
		p.left--
		p.update(fx, key.Rank, Done, "")
	default:
		p.leave(now, key.Rank, true, fx)
		r.state = rankStopped
		p.left--
		p.update(fx, key.Rank, Stopped, err)
	}
	p.changed(now)
	p.finish(now, fx)
}

// Ack takes an acknowledgement of a Renew or a Closed.
func (p *Primary) Ack(now time.Duration, from wire.NodeID, a *wire.Ack, fx *Effects) {
	m := p.pilots[from]
	switch {
	case m == nil:
	case a.Of == wire.KindClosed && p.end != nil:
		m.involved = false
	case a.Of == wire.KindRenew && p.end == nil && a.Before > 1:
		p.forgotten(now, m, a.Before-1, "its pilot has forgotten it", fx)
		p.changed(now)
		p.finish(now, fx)
	}
}

func insert(list []uint32, v uint32) []uint32 {
	i, found := slices.BinarySearch(list, v)
	if found {
		return list
	}
	return slices.Insert(list, i, v)
}
