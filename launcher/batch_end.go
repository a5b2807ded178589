package launcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// Times of emptying a queue.
const (
	emptyLook   = 500 * time.Millisecond // before the second look; it doubles
	emptyLookTo = 4 * time.Second
)

// empty ends the site's pilots, those that wait in the queue too, and waits until the
// queue holds nothing of ours.
func (b *batchRun) empty(ctx context.Context) error {
	r := b.r
	b.mu.Lock()
	waiting := b.queue.Idle()
	b.mu.Unlock()
	cancelled := make(chan error, 1)
	go func() {
		var err error
		if len(waiting) > 0 {
			err = r.gat.Cancel(ctx, waiting...)
		}
		cancelled <- err
	}()
	// Pilots that are up leave by themselves, and take what they made with them.
	r.s.agent.Call(ctx, func(now time.Duration, n *core.Node) { n.Retire(now, r.site.Name, "the run is over") })
	b.awaitLeaving(ctx)
	b.mu.Lock()
	hours := b.queue.Spent(time.Now()).Hours()
	b.mu.Unlock()
	r.change(func(c *SiteChanged) { c.Queued, c.Held, c.CoreHours = 0, 0, rounded3(hours) })
	if err := <-cancelled; err != nil {
		return err
	}
	var open []Made
	for _, m := range r.s.run.Ledger.Open() {
		if m.Site == r.site.Name && m.Kind == KindJob {
			open = append(open, m)
		}
	}
	if len(open) == 0 {
		return nil
	}
	b.mu.Lock()
	up := b.queue.Unfinished()
	idle := b.queue.Idle()
	b.mu.Unlock()
	up = slices.DeleteFunc(up, func(id gat.JobID) bool { return slices.Contains(idle, id) })
	if err := emptyQueue(ctx, r.gat, r.s.polls, open, func(id gat.JobID) bool { return !slices.Contains(up, id) }); err != nil {
		return err
	}
	for _, m := range open {
		if err := r.s.run.Ledger.Remove(m.Seq, "not in the queue any more"); err != nil {
			return err
		}
	}
	return nil
}

// awaitLeaving waits until the pilots that are up have left, but not for long.
func (b *batchRun) awaitLeaving(ctx context.Context) {
	late := time.NewTimer(leavePatience)
	defer late.Stop()
	for {
		b.mu.Lock()
		up := b.queue.Counts().Up
		b.mu.Unlock()
		if up == 0 {
			return
		}
		select {
		case <-b.wake:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// emptyQueue sees to it that no jobs of the ledger's entries are in a site's queue any more:
// it looks, and cancels those that are, until they are gone. Jobs that are about to go
// by themselves, if they are given, are cancelled only if they are seen again.
func emptyQueue(ctx context.Context, site *gat.Site, polls *pollStore, made []Made, going func(gat.JobID) bool) error {
	var ids []gat.JobID
	var names []string
	for _, m := range made {
		if m.Kind != KindJob {
			continue
		}
		for _, id := range m.What.Jobs {
			ids = append(ids, gat.JobID(id))
		}
		if m.What.Name != "" && !slices.Contains(names, m.What.Name) {
			names = append(names, m.What.Name)
		}
	}
	if len(ids) == 0 && len(names) == 0 {
		return nil
	}
	for wait := emptyLook; ; wait = min(2*wait, emptyLookTo) {
		polls.refresh()
		live, err := inQueue(ctx, site, ids, names)
		if err == nil && len(live) == 0 {
			return nil
		}
		var left []gat.JobID
		for _, st := range live {
			if going == nil || !going(st.ID) {
				left = append(left, st.ID)
			}
		}
		going = nil
		if err == nil && len(left) > 0 {
			err = site.Cancel(ctx, left...)
		}
		select {
		case <-time.After(wait):
			continue
		case <-ctx.Done():
		}
		if err != nil {
			return err
		}
		return fmt.Errorf("site %s: %s still in the queue", site.Name(), jobNames(live))
	}
}

// inQueue returns those of the jobs that the queue has, and those that have one of the
// names: of these the answer to a submission may have been lost.
func inQueue(ctx context.Context, site *gat.Site, ids []gat.JobID, names []string) ([]gat.JobStatus, error) {
	var live []gat.JobStatus
	if len(ids) > 0 {
		list, err := site.Status(ctx, ids...)
		if err != nil {
			return nil, err
		}
		live = slices.DeleteFunc(list, func(st gat.JobStatus) bool { return st.State == gat.Unknown || st.State.Final() })
	}
	for _, name := range names {
		found, err := site.Find(ctx, name, time.Time{})
		if errors.Is(err, gat.ErrCannot) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, st := range found {
			if !slices.ContainsFunc(live, func(l gat.JobStatus) bool { return l.ID == st.ID }) {
				live = append(live, st)
			}
		}
	}
	return live, nil
}

// jobNames names a few jobs, for people.
func jobNames(list []gat.JobStatus) string {
	var names []string
	for _, st := range list[:min(len(list), 3)] {
		names = append(names, fmt.Sprintf("%s (%s)", st.ID, st.State))
	}
	text := plural(len(list), "job") + " " + strings.Join(names, ", ")
	if n := len(list) - len(names); n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}
