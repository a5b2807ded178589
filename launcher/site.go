package launcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Bounds on what is done for one site.
const (
	maxReason    = 600              // bytes of why something is left, which each host may add to
	maxRestarts  = 3                // of pilots and hubs that died, for each host
	joinPatience = 60 * time.Second // from the start of a pilot to its joining, where there is no queue
	maxParallel  = 10               // hosts behind a site's own that are brought up at once
	maxUploads   = 2                // of them that are sent the pilot at once: all goes over one login, and what pilots that are up say waits behind it
)

// A siteRun is one site's part in a run: its login, the hosts used there, and
// how many pilots are wanted, submitted and up.
type siteRun struct {
	s      *session
	site   *Site
	number int // of the site in the session, from 0
	gat    *gat.Site
	wg     sync.WaitGroup // what was started for the site beside run

	uploads chan struct{} // has a value for each host behind that is sent the pilot

	logging sync.Mutex // held while a log of the site is brought here

	mu        sync.Mutex
	status    SiteChanged
	sent, got int64
	batch     *batchRun // its pilots in a queue; nil without one, or before it is known
	hosts     []*host   // where something was or may have been made
	deploying bool
	joined    int   // pilots that have ever been up
	gaveUp    int   // pilots that never came up
	restarts  int   // pilots submitted again
	err       error // why the site failed
	unclean   error // why something may have stayed behind
	finishing bool
	again     chan struct{} // closed, and replaced, when somebody logged in again
}

func newSiteRun(s *session, site *Site) (*siteRun, error) {
	g, err := gat.NewSite(gat.SiteConfig{
		Name:      site.Name,
		URLs:      site.URLs,
		Backends:  s.opts.Backends,
		Dial:      s.opts.Dial,
		Ask:       s.ask,
		Home:      s.opts.Home,
		Logger:    s.log,
		PollEvery: s.pollEvery(site),
		Polls:     s.polls,
		Grace:     grace(site),
		Gate:      s.gate,
		Observe:   s.run.operations.observe,

		Turn:       s.turn,
		AskTimeout: s.opts.AskTimeout,
	})
	if err != nil {
		return nil, &usageError{err}
	}
	return &siteRun{
		s: s, site: site, number: len(s.sites), gat: g, deploying: true, again: make(chan struct{}),
		uploads: make(chan struct{}, maxUploads),
		status:  SiteChanged{Site: site.Name, Wanted: site.PilotCount()},
	}, nil
}

// pollEvery is how often a site is asked for the states of its jobs. A shell
// can be asked often; a queueing system says itself how often it may be.
func (s *session) pollEvery(site *Site) time.Duration {
	switch {
	case site.Local():
		return time.Second
	case site.Batch():
		return s.opts.Poll
	}
	return 5 * time.Second
}

// grace is how many polls in a row may not know a job: a queue forgets for a moment,
// a shell does not forget what runs.
func grace(site *Site) int {
	if site.Batch() {
		return gat.DefaultGrace
	}
	return 1
}

// run brings the site up and tells how that went.
func (r *siteRun) run(ctx context.Context) {
	err := r.deploy(ctx)
	r.s.supply.update(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.deploying = false
		if err != nil && ctx.Err() == nil && !r.finishing {
			r.err = err
		}
	})
	if err != nil && ctx.Err() == nil {
		r.change(func(c *SiteChanged) { c.State, c.Error = "failed", err.Error() })
	}
}

// deploy waits until the site is wanted and brings it up.
func (r *siteRun) deploy(ctx context.Context) error {
	if r.site.After > 0 {
		select {
		case <-time.After(r.site.After):
		case <-ctx.Done():
			return ctx.Err()
		}
		for {
			short, changed := r.s.supply.short()
			if short {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	if _, err := r.record(KindLogin, "", What{URLs: urlTexts(r.site.URLs), Hosts: r.site.Hosts, Path: r.site.Scratch}); err != nil {
		return err
	}
	switch {
	case r.site.Local():
		return r.deployLocal(ctx)
	case r.site.Batch():
		return r.deployBatch(ctx)
	}
	return r.deployRemote(ctx)
}

// queued returns the site's pilots in a queue, nil if there are none.
func (r *siteRun) queued() *batchRun {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.batch
}

// change changes what is told of the site, and tells it.
func (r *siteRun) change(f func(*SiteChanged)) {
	r.mu.Lock()
	f(&r.status)
	status := r.status
	r.mu.Unlock()
	r.s.events.emit(status)
}

func (r *siteRun) state(name string) { r.change(func(c *SiteChanged) { c.State = name }) }

// record writes down what is about to be made.
func (r *siteRun) record(kind Kind, host string, what What) (int, error) {
	return r.s.run.Ledger.Make(Made{Site: r.site.Name, Host: host, Kind: kind, Local: r.site.Local(), What: what})
}

// pilotUp counts a pilot that joined.
func (r *siteRun) pilotUp(p wire.Peer) {
	if p.Offer.Slots == 0 {
		return // it only came to say why there is no pilot
	}
	r.mu.Lock()
	r.joined++
	if h := r.hostNamed(p.Name); h != nil && !r.finishing {
		r.wg.Go(func() { r.direct(r.s.life, h) })
	}
	r.mu.Unlock()
	b := r.queued()
	if b != nil {
		b.up(p)
	}
	r.change(func(c *SiteChanged) {
		c.State = "up"
		c.Up++
		c.Slots += int(p.Offer.Slots)
		if b != nil {
			c.Queued, c.Held = b.waiting()
		}
	})
}

// pilotDown counts a pilot that is gone, and has another one started in its
// place while the job goes on.
func (r *siteRun) pilotDown(p wire.Peer, reason string) {
	if p.Offer.Slots == 0 {
		if err := denied(r.site.Name, p.Name, reason, 0); err != nil && r.queued() != nil {
			r.queued().refused(err)
		}
		return
	}
	r.change(func(c *SiteChanged) {
		c.Up = max(0, c.Up-1)
		c.Slots = max(0, c.Slots-int(p.Offer.Slots))
	})
	if b := r.queued(); b != nil {
		b.down(p, reason)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.finishing || r.s.over() {
		return
	}
	r.s.deploys.Go(func() { r.keepLog(r.s.work) })
	if r.batch != nil {
		r.s.events.emit(Warned{Site: r.site.Name, Text: fmt.Sprintf("a pilot on %s is gone (%s)", p.Name, cmp.Or(reason, "no reason known"))})
		return
	}
	h := r.hostNamed(p.Name)
	if h == nil || h.restarts >= maxRestarts {
		return
	}
	h.restarts++
	r.restarts++
	r.deploying = true
	r.s.events.emit(Warned{Site: r.site.Name, Text: fmt.Sprintf("a pilot on %s is gone (%s); starting another", p.Name, cmp.Or(reason, "no reason known"))})
	r.s.deploys.Go(func() {
		err := r.restore(r.s.work, h)
		if err == nil {
			err = r.startPilot(r.s.work, h)
		}
		if err != nil && r.s.work.Err() == nil {
			r.s.events.emit(Warned{Site: r.site.Name, Text: oneLine(err)})
		}
		r.s.supply.update(func() {
			r.mu.Lock()
			r.deploying = false
			r.mu.Unlock()
		})
	})
}

// hostNamed returns the host that gives itself a name. The lock is held.
func (r *siteRun) hostNamed(name string) *host {
	for _, h := range r.hosts {
		if h.Host == name && h.pilots > 0 {
			return h
		}
	}
	return nil
}

// gaveUpOn counts a pilot that was submitted and never joined.
func (r *siteRun) gaveUpOn(err error) {
	r.s.supply.update(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.gaveUp++
		r.err = err
	})
	r.change(func(c *SiteChanged) {
		if c.Up == 0 {
			c.State = "failed"
		}
		c.Error = err.Error()
	})
}

// mayGrow reports whether more pilots may still come up.
func (r *siteRun) mayGrow() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.batch != nil {
		return !r.finishing && r.batch.mayGrow()
	}
	return !r.finishing && (r.deploying || r.status.Submitted > r.joined+r.gaveUp)
}

// failure is why the site gave less than it should.
func (r *siteRun) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *siteRun) uncleanReason() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unclean == nil {
		return ""
	}
	return shortened(oneLine(r.unclean), maxReason)
}

// moved counts bytes to and from the site.
func (r *siteRun) moved(sent, got int) {
	r.mu.Lock()
	r.sent += int64(sent)
	r.got += int64(got)
	r.mu.Unlock()
}

func (r *siteRun) transferred() Transferred {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Transferred{Site: r.site.Name, Up: r.sent, Down: r.got}
}

// redial logs in again to a site that was lost, and to hosts behind it that need
// the user for it too.
func (r *siteRun) redial(ctx context.Context) error {
	lost := r.gat.Detached()
	select {
	case <-r.gat.Broken():
		lost = true
	default:
	}
	if lost {
		if err := r.gat.Login(ctx); err != nil {
			return err
		}
	}
	r.mu.Lock()
	hosts := slices.Clone(r.hosts)
	r.mu.Unlock()
	var errs []error
	for _, h := range hosts {
		if h.gat != r.gat && h.gat.Detached() {
			lost = true
			errs = append(errs, h.gat.Login(ctx))
		}
	}
	if lost {
		r.mu.Lock()
		close(r.again)
		r.again = make(chan struct{})
		r.mu.Unlock()
	}
	return errors.Join(errs...)
}

// loggedIn returns a channel that is closed when somebody has logged in again.
func (r *siteRun) loggedIn() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.again
}

// detached tells that the connection to the site was lost at a time, and who
// brings it back.
func (r *siteRun) detached(err error, lost time.Time) {
	text := oneLine(err)
	if errors.Is(err, gat.ErrDetached) || r.gat.Detached() {
		text = fmt.Sprintf("\"zorilla attach %s\" brings it back, its login needs you; what runs there goes on until %s",
			r.s.id, lost.Add(r.s.leaseOf(r.site)).Format("15:04"))
	}
	r.mu.Lock()
	told := r.status.State == "detached" && r.status.Error == text
	r.mu.Unlock()
	if !told {
		r.change(func(c *SiteChanged) { c.State, c.Error = "detached", text })
	}
}

func urlTexts(urls []*url.URL) []string {
	var texts []string
	for _, u := range urls {
		texts = append(texts, u.String())
	}
	return texts
}
