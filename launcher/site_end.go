package launcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// finish ends what is left of the site's agents and sees to it that nothing
// stays behind.
func (r *siteRun) finish(ctx context.Context) {
	r.mu.Lock()
	r.finishing = true
	hosts := r.hosts
	r.mu.Unlock()
	if len(hosts) == 0 {
		return
	}
	if r.failure() != nil || r.s.supply.gaveUp() {
		r.keepLog(ctx)
	}
	r.state("cleaning")
	var emptied error
	if b := r.queued(); b != nil {
		emptied = b.empty(ctx)
	}
	// The hosts behind go first: the hub may be the only way there.
	errs := []error{emptied}
	var left []string
	for _, behind := range []bool{true, false} {
		ctx, cancel := ctx, func() {}
		if behind {
			ctx, cancel = context.WithTimeout(ctx, patienceFor(len(hosts)))
		} else {
			r.s.agent.Call(ctx, func(now time.Duration, n *core.Node) { n.Retire(now, r.site.Name, "the run is over") })
		}
		l, err := r.cleanHosts(ctx, behind)
		cancel()
		left = append(left, l...)
		errs = append(errs, err)
	}
	r.s.events.emit(r.transferred())
	for _, text := range left {
		errs = append(errs, errors.New("left behind: "+text))
	}
	err := errors.Join(errs...)
	r.mu.Lock()
	r.unclean = err
	r.mu.Unlock()
	if err == nil {
		r.state("clean")
		return
	}
	r.change(func(c *SiteChanged) {
		c.State, c.Leftovers, c.Error = "unclean", max(1, len(left)), shortened(oneLine(err), maxReason)
	})
	r.s.events.emit(Warned{Site: r.site.Name, Text: fmt.Sprintf("%s; what is left there ends with its lease; \"zorilla gc %s\" finishes it sooner", shortened(oneLine(err), maxReason), r.s.id)})
}

// patienceFor is for how long so many hosts may be cleaned, most of them behind
// another: all are talked to over its login, and it has to be cleaned after them.
func patienceFor(hosts int) time.Duration {
	return min(innerPatience+time.Duration(hosts)*50*time.Millisecond, cleanTimeout-3*time.Second)
}

// cleanHosts cleans the hosts behind the site's own, or that one, at once.
func (r *siteRun) cleanHosts(ctx context.Context, behind bool) (left []string, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, h := range r.hosts {
		if (h.behind != "") != behind {
			continue
		}
		wg.Go(func() {
			l, err := r.cleanHost(ctx, h)
			mu.Lock()
			defer mu.Unlock()
			left = append(left, l...)
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return left, errors.Join(errs...)
}

// close ends the logins, and waits for what watched over the site's agents.
func (r *siteRun) close() {
	for _, h := range r.hosts {
		if h.gat != r.gat {
			h.gat.Close()
		}
	}
	r.gat.Close()
	r.wg.Wait()
}

// cleanHost cleans one host and writes down what is gone.
func (r *siteRun) cleanHost(ctx context.Context, h *host) (left []string, err error) {
	if ids := r.submitted(h); len(r.site.Setup) > 0 && !r.site.Batch() && len(ids) > 0 {
		// Setup lines may still run, and there is no agent yet that would leave by itself.
		if err := h.gat.Cancel(ctx, ids...); err != nil {
			return nil, err
		}
	}
	if !r.site.Local() || !r.leftByItself(ctx, h) {
		if left, err = h.clean(ctx, r.s.id, "", leavePatience); err != nil || len(left) > 0 {
			return left, err
		}
	}
	if h.store != nil {
		if left, err = h.store.clean(ctx, r.s.id, "", 0); err != nil || len(left) > 0 {
			return left, err
		}
	}
	for _, m := range r.s.run.Ledger.Open() {
		if m.Site == r.site.Name && m.Host == h.behind && m.Leftover() && m.Kind != KindJob {
			if err := r.s.run.Ledger.Remove(m.Seq, "clean at the end"); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

// leftByItself waits for the agents on this machine to leave: their directory
// goes with the last one. It is quicker than a script that looks. An agent signs
// as soon as it starts: where none has, there is soon none to wait for.
func (r *siteRun) leftByItself(ctx context.Context, h *host) bool {
	dir := h.sessionDir(r.s.id)
	ctx, cancel := context.WithTimeout(ctx, leavePatience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) && !r.anyRuns(ctx, h) {
			return true
		}
		if time.Since(began) > leavePatience/6 {
			if signs, _ := filepath.Glob(filepath.Join(dir, "agent-*")); len(signs) == 0 {
				return false
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// anyRuns reports whether something that was started on a host still runs:
// an agent lives for a moment after its directory is gone.
func (r *siteRun) anyRuns(ctx context.Context, h *host) bool {
	ids := r.submitted(h)
	if len(ids) == 0 {
		return false
	}
	list, err := h.gat.Status(ctx, ids...)
	return err != nil || slices.ContainsFunc(list, func(s gat.JobStatus) bool { return s.State == gat.Queued || s.State == gat.Running })
}

// submitted lists what was started on a host, as the ledger has it.
func (r *siteRun) submitted(h *host) (ids []gat.JobID) {
	for _, m := range r.s.run.Ledger.Open() {
		if m.Site == r.site.Name && m.Host == h.behind && m.What.Job != "" {
			ids = append(ids, gat.JobID(m.What.Job))
		}
	}
	return ids
}
