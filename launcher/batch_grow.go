package launcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Times of grow orders.
const (
	growTimeout = 45 * time.Second // for the hub's answer: it lets a command under way end
	growPause   = 2 * time.Second  // between two orders
	growFirst   = 20 * time.Second // before the first: many runs are over by then
	growEvery   = time.Minute      // between two commands of the hub's of a kind
	growAway    = 30 * time.Second // the launcher is silent before the hub acts for it
	growLife    = 24 * time.Hour   // of an order, as long as a hub may admit pilots
)

// growName is the name of the script that a hub submits.
const growName = "grow"

// growth is what is known of the order that the site's hub has.
type growth struct {
	texts  *gat.Growth // nil before they were rendered
	never  bool        // nothing can be rendered for this queueing system
	order  wire.GrowOrder
	hub    wire.NodeID // that has it
	first  time.Time   // when it is to get one
	sent   time.Time   // when one was to get the last one
	to     wire.NodeID // who that was
	asking bool
}

// mayOrder reports whether the hub is to get a new order, and takes it that it
// will. The lock is held.
func (b *batchRun) mayOrder(now time.Time, hub wire.NodeID) (*wire.GrowOrder, bool) {
	g := &b.growth
	if g.never || g.asking || b.inside || hub.IsZero() || b.submissions == 0 {
		return nil, false
	}
	if g.first.IsZero() {
		g.first = now
		if b.r.s.opts.Poll == 0 {
			g.first = now.Add(growFirst)
			time.AfterFunc(growFirst, b.nudge)
		}
	}
	if now.Before(g.first) {
		return nil, false
	}
	o := b.orderNow()
	if o == nil || g.hub == hub && same(o, &g.order) || g.to == hub && now.Sub(g.sent) < growPause {
		return nil, false
	}
	o.Seq = g.order.Seq + 1
	g.asking, g.sent, g.to = true, now, hub
	return o, true
}

// orderNow is what the hub should do if it were alone now; nil when that cannot be said. The
// lock is held.
func (b *batchRun) orderNow() *wire.GrowOrder {
	o := &wire.GrowOrder{Every: growEvery, Away: growAway, TTL: growLife}
	if b.r.s.opts.Poll > 0 {
		o.Every, o.Away = b.r.s.opts.Poll, growAway/2
	}
	for _, id := range b.queue.Unfinished() {
		if !wire.IsGrowJob(string(id)) || len(o.Jobs) == wire.MaxGrowJobs {
			return nil
		}
		o.Jobs = append(o.Jobs, string(id))
	}
	pilots, most := b.queue.Wanted()
	if b.r.site.MaxCoreHours > 0 || b.r.site.Shape == ShapeMulti {
		most = 0 // a hub counts neither core hours nor the pilots of a job
	}
	o.Pilots, o.Most = uint32(pilots), uint32(most)
	return o
}

// same reports whether two orders ask for the same.
func same(a, b *wire.GrowOrder) bool {
	return a.Pilots == b.Pilots && a.Most == b.Most && slices.Equal(a.Jobs, b.Jobs)
}

// giveOrder sees to it that the hub knows what to do for us while we are away: to replace
// pilots that are lost, and to cancel those in the queue that nobody wants. What it has
// done is taken over first.
func (b *batchRun) giveOrder(ctx context.Context, hub wire.NodeID, o *wire.GrowOrder) {
	done, err := b.tryOrder(ctx, hub, o)
	b.mu.Lock()
	g := &b.growth
	g.asking = false
	if done {
		g.order, g.hub = *o, hub
	}
	if errors.Is(err, gat.ErrCannot) {
		g.never = true
	}
	wait := growPause
	if err != nil {
		g.sent = time.Now().Add(growFirst)
		wait += growFirst
		time.AfterFunc(growPause, b.nudge) // there may be another hub
	}
	b.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		b.r.s.log.Info("no order for the hub", "site", b.r.site.Name, "error", err)
	}
	time.AfterFunc(wait, b.nudge)
}

// tryOrder gives one order, and reports whether the hub has it. It does not when what the
// hub has done meanwhile makes another one necessary.
func (b *batchRun) tryOrder(ctx context.Context, hub wire.NodeID, o *wire.GrowOrder) (bool, error) {
	told, err := b.askHub(ctx, hub, &wire.GrowOrder{})
	if err != nil {
		return false, err
	}
	if news, err := b.takeOver(told); err != nil || news {
		return false, err
	}
	texts, err := b.growTexts(ctx)
	if err != nil {
		return false, err
	}
	o.Submit, o.Status, o.Cancel = texts.Submit, texts.Status, texts.Cancel
	o.Seq = max(o.Seq, told.Seq+1)
	told, err = b.askHub(ctx, hub, o)
	if err != nil {
		return false, err
	}
	if told.Seq != o.Seq {
		return false, fmt.Errorf("the hub has order %d, not %d", told.Seq, o.Seq)
	}
	return true, nil
}

// askHub gives the hub an order, or asks what it has done under the last one.
func (b *batchRun) askHub(ctx context.Context, hub wire.NodeID, o *wire.GrowOrder) (*wire.Grown, error) {
	ctx, cancel := context.WithTimeout(ctx, growTimeout)
	defer cancel()
	s, err := b.r.s.ep.OpenStream(ctx, hub, wire.StreamGrow)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	told := new(wire.Grown)
	if err := ask(ctx, s, o, told); err != nil {
		return nil, err
	}
	if told.Error != "" {
		b.r.s.log.Info("a command of the hub's failed", "site", b.r.site.Name, "error", told.Error)
	}
	return told, nil
}

// takeOver makes the jobs that the hub has submitted ours, and notes those it has
// cancelled. It reports whether there was anything new.
func (b *batchRun) takeOver(told *wire.Grown) (news bool, err error) {
	var grown, cancelled []gat.JobID
	b.mu.Lock()
	for _, j := range told.Jobs {
		id := gat.JobID(j.ID)
		switch {
		case j.Cancelled && !b.queue.Dropped(id):
			cancelled = append(cancelled, id)
		case j.Ours && !j.Cancelled && j.State != wire.GrowDone && !slices.Contains(b.grown, id):
			grown = append(grown, id)
		}
	}
	b.mu.Unlock()
	if len(grown)+len(cancelled) == 0 {
		return false, nil
	}
	r := b.r
	if len(grown) > 0 {
		what := What{Name: r.site.PilotJob(r.s.id, 1).Name}
		for _, id := range grown {
			what.Jobs = append(what.Jobs, string(id))
		}
		seq, err := r.record(KindJob, "", what)
		if err == nil {
			err = r.s.run.Ledger.Confirm(seq, nil)
		}
		if err != nil {
			return false, err
		}
	}
	b.mu.Lock()
	b.grown = append(b.grown, grown...)
	b.queue.Adopt(time.Now(), grown)
	b.queue.Drop(cancelled)
	b.mu.Unlock()
	r.s.events.emit(Warned{Site: r.site.Name, Text: fmt.Sprintf("while the connection was away the hub submitted %d %s and cancelled %d",
		len(grown), plural(len(grown), "pilot"), len(cancelled))})
	if len(grown) > 0 {
		r.change(func(c *SiteChanged) { c.Submitted += len(grown) })
		r.wg.Go(func() { b.watch(r.s.life, grown) })
	}
	return true, nil
}

// growTexts renders, once, what the hub needs to submit a pilot, and puts the script at the
// head node.
func (b *batchRun) growTexts(ctx context.Context) (*gat.Growth, error) {
	b.mu.Lock()
	texts, most := b.growth.texts, b.queue.Limit()
	b.mu.Unlock()
	if texts != nil {
		return texts, nil
	}
	r := b.r
	spec := b.job(1)
	spec.Resources.Shape, spec.Resources.Nodes = gat.Single, 0
	script := path.Join(b.head.sessionDir(r.s.id), r.own(growName))
	// Whether there is any is known before anything is made for it.
	probe := spec
	probe.Argv = []string{"/bin/true"}
	if _, err := r.gat.Grow(ctx, probe, script); err != nil {
		return nil, err
	}
	token := newToken(wire.RolePilot, 3*most)
	number, err := b.admit(ctx, token)
	if err != nil {
		return nil, err
	}
	if err := b.equip(ctx, &spec, token, number); err != nil {
		return nil, err
	}
	g, err := r.gat.Grow(ctx, spec, script)
	if err != nil {
		return nil, err
	}
	if err := b.head.gat.Put(ctx, script, 0o600, bytes.NewReader(g.Script)); err != nil {
		return nil, fmt.Errorf("site %s: %w", r.site.Name, err)
	}
	g.Script = nil
	b.mu.Lock()
	b.growth.texts = &g
	b.mu.Unlock()
	return &g, nil
}
