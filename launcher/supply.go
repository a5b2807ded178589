package launcher

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/flood"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// A supply knows what pilots there are and what may still come, and ends a job
// that cannot get what it needs any more: a user waits for a queue, but never
// for nothing.
type supply struct {
	s     *session
	needs wire.Requirements

	mu      sync.Mutex
	sites   []*siteRun
	peers   map[wire.NodeID]wire.Peer // pilots that are up
	shunned map[wire.NodeID]string    // pilots the job takes no more claims of, with reasons
	opened  bool                      // the job was submitted
	began   bool                      // it got its first workers
	ranks   map[uint32]job.Change     // how the newest attempt of each rank does
	failed  error                     // why the job was ended
	changed chan struct{}             // closed and replaced whenever something changed
}

func newSupply(s *session) *supply {
	return &supply{
		s:       s,
		needs:   s.needs(),
		peers:   make(map[wire.NodeID]wire.Peer),
		shunned: make(map[wire.NodeID]string),
		ranks:   make(map[uint32]job.Change),
		changed: make(chan struct{}),
	}
}

func (u *supply) add(r *siteRun) { u.sites = append(u.sites, r) }

// open says that the job is there.
func (u *supply) open() { u.update(func() { u.opened = true }) }

func (u *supply) granted() { u.update(func() { u.began = true }) }

// worker takes what happened to the newest attempt of a rank.
func (u *supply) worker(rank uint32, c job.Change) {
	u.mu.Lock()
	u.ranks[rank] = c
	u.mu.Unlock()
	for _, r := range u.sites {
		if b := r.queued(); b != nil {
			b.nudge()
		}
	}
}

// full reports whether the job has all the workers that it wants, so that it has no
// use for more pilots.
func (u *supply) full() bool {
	if u.s.over() {
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 0
	for _, c := range u.ranks {
		if c == job.Running || c == job.Exited || c == job.Done {
			n++
		}
	}
	return n >= u.s.job.Workers
}

func (u *supply) peerUp(p wire.Peer) {
	if p.Role != wire.RolePilot {
		return
	}
	// It is here before it is no more to come: others may look in between.
	u.mu.Lock()
	u.peers[p.ID] = p
	u.mu.Unlock()
	if r := u.site(p.Site); r != nil {
		r.pilotUp(p)
	}
	u.update(func() {})
}

func (u *supply) peerDown(p wire.Peer, reason string) {
	if p.Role != wire.RolePilot {
		return
	}
	if r := u.site(p.Site); r != nil {
		r.pilotDown(p, reason)
	}
	u.update(func() { delete(u.peers, p.ID) })
}

func (u *supply) shun(p wire.Peer, reason string) {
	u.update(func() {
		u.shunned[p.ID] = fmt.Sprintf("site %s: workers do not start on %s: %s", p.Site, p.Name, reason)
	})
}

func (u *supply) site(name string) *siteRun {
	for _, r := range u.sites {
		if r.site.Name == name {
			return r
		}
	}
	return nil
}

// update changes the supply and looks whether the job can still be had.
func (u *supply) update(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f()
	close(u.changed)
	u.changed = make(chan struct{})
	if !u.opened || u.failed != nil {
		return
	}
	for _, r := range u.sites {
		if r.mayGrow() {
			return
		}
	}
	room := u.room()
	need := u.s.job.Min
	if u.began {
		need = 1 // what is lost now can take the slots of those that end
	}
	if room >= need {
		return
	}
	u.failed = u.explain(room, need)
	// Not from here: we may be on the agent's loop.
	go u.s.agent.Do(func(now time.Duration, n *core.Node) { n.Cancel(now, u.s.jobID, job.Sites, false) })
}

// room is how many workers fit on the pilots that are up.
func (u *supply) room() (n int) {
	for id, p := range u.peers {
		if u.shunned[id] == "" {
			n += u.fit(p)
		}
	}
	return n
}

// fit is how many workers fit on a pilot when it is empty.
func (u *supply) fit(p wire.Peer) int {
	if len(u.needs.Platforms) > 0 && !slices.Contains(u.needs.Platforms, p.Platform) {
		return 0
	}
	per, ok := flood.NewSlots(p.Offer).PerWorker(&u.needs)
	if !ok {
		return 0
	}
	return int(p.Offer.Slots) / per
}

// explain tells why there is no room for a job.
func (u *supply) explain(room, need int) error {
	errs := []error{fmt.Errorf("the sites gave room for %d of the %d workers needed", room, need)}
	for _, r := range u.sites {
		if err := r.failure(); err != nil {
			errs = append(errs, err)
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(u.shunned), wire.NodeID.Compare) {
		errs = append(errs, errors.New(u.shunned[id]))
	}
	return errors.Join(errs...)
}

// why returns what is behind the end of a job, nil when it speaks for itself.
func (u *supply) why(end core.JobEnded) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if end.Outcome == job.Sites && u.failed != nil {
		return u.failed
	}
	return nil
}

// gaveUp reports whether the job was ended because it could not be had.
func (u *supply) gaveUp() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failed != nil
}

// pilotOf returns a pilot of a site that is up.
func (u *supply) pilotOf(site string) (wire.Peer, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, id := range slices.SortedFunc(maps.Keys(u.peers), wire.NodeID.Compare) {
		if u.peers[id].Site == site {
			return u.peers[id], true
		}
	}
	return wire.Peer{}, false
}

// short reports whether fewer workers fit than the job wants, and gives a channel
// that is closed when that may have changed.
func (u *supply) short() (bool, <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.room() < u.s.job.Workers, u.changed
}
