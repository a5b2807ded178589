package launcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/launcher/queue"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// Bounds on conversations with a scheduler.
const (
	submitTimeout = 2 * time.Minute
	submitHalt    = 3 * time.Second // for a submission under way when the run ends
	cancelTimeout = time.Minute
	cancelAgain   = 10 * time.Second // after it failed
	firstLook     = 5 * time.Second  // from a submission to the first question about it: a free queue has started it by then
	maxBatchToken = 64               // submissions whose pilots may still join for the first time
)

// keep does what the queue's state asks for, until ctx ends.
func (b *batchRun) keep(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		full := b.r.s.supply.full()
		b.mu.Lock()
		now := time.Now()
		b.queue.Full(now, full)
		d := b.queue.Next(now)
		b.mu.Unlock()
		b.do(ctx, d)
		b.tell()
		hub := b.r.hubLinked(b.head)
		b.mu.Lock()
		o, order := b.mayOrder(now, hub)
		b.mu.Unlock()
		if order {
			b.r.s.deploys.Go(func() { b.giveOrder(ctx, hub, o) })
		}
		if d.Next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(d.Next))
		}
	}
}

// do does what is to be done now.
func (b *batchRun) do(ctx context.Context, d queue.Do) {
	if d.Drain {
		b.r.s.events.emit(Warned{Site: b.r.site.Name, Text: fmt.Sprintf("max_core_hours = %g is reached: its pilots leave", b.r.site.MaxCoreHours)})
		b.mu.Lock()
		d.Cancel = b.queue.Unfinished()
		b.mu.Unlock()
	}
	if len(d.Cancel) > 0 {
		b.r.s.deploys.Go(func() { b.cancel(ctx, d.Cancel) })
	}
	switch {
	case len(d.Late) == 0:
	case b.isInside():
		for _, id := range d.Late {
			b.mu.Lock()
			nodes := b.queue.Pilots(id)
			b.mu.Unlock()
			for node := range nodes {
				b.r.wg.Go(func() { b.stayInside(b.r.s.life, id, node) })
			}
		}
	default:
		b.r.s.deploys.Go(func() { b.late(ctx, d.Late) })
	}
	for _, id := range d.Ended {
		b.failed(ctx, id, fmt.Errorf("job %s ended before its pilot called", id))
	}
	if d.Submit > 0 {
		b.r.s.deploys.Go(func() { b.submit(ctx, d.Submit) })
	}
}

// failed takes it that a job brought no pilot, with what is known about why.
func (b *batchRun) failed(ctx context.Context, id gat.JobID, err error) {
	b.mu.Lock()
	st := b.queue.Status(id)
	b.mu.Unlock()
	if st.Exit > 0 {
		err = fmt.Errorf("%w, with exit status %d", err, st.Exit)
	}
	if st.Reason != "" {
		err = fmt.Errorf("%w (%s)", err, st.Reason)
	}
	text := b.said(ctx)
	if text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	b.r.s.log.Info("no pilot", "site", b.r.site.Name, "error", err)
	b.mu.Lock()
	b.queue.Fail(time.Now(), id, err)
	b.mu.Unlock()
	if err := denied(b.r.site.Name, "the node of job "+string(id), text, st.Exit); err != nil {
		b.refused(err)
	}
	b.nudge()
}

// said returns the last line that pilots wrote to their standard error where we can
// read it.
func (b *batchRun) said(ctx context.Context) string {
	if b.shared == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var text bytes.Buffer
	if err := b.head.gat.Get(ctx, b.complaints(), &text, 4096); err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// complaints is the file that takes what pilots write to their standard error, in the
// directory that they share with the head node.
func (b *batchRun) complaints() string {
	return path.Join(b.shared.sessionDir(b.r.s.id), b.r.own("stderr-pilots"))
}

// submit submits n pilots.
func (b *batchRun) submit(ctx context.Context, n int) {
	// A submission under way is let finish when the run ends: what it made must be known.
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), submitTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(submitHalt, cancel) })
	defer stop()
	ids, each, err := b.lost(sctx)
	if len(ids) == 0 && err == nil {
		ids, each, err = b.trySubmit(ctx, sctx, n)
	}
	b.mu.Lock()
	now := time.Now()
	switch class := gat.ClassOf(err); {
	case err == nil:
		b.queue.Submitted(now, ids, each)
	case ctx.Err() != nil || errors.Is(err, gat.ErrDetached) || errors.Is(err, gat.ErrClosed):
		b.queue.Submitted(now, ids, each)
		b.queue.Postpone(now)
	default:
		b.queue.Submitted(now, ids, each)
		b.queue.Refused(now, err, class == gat.Invalid || class == gat.Denied || class == gat.NotFound)
	}
	b.mu.Unlock()
	if len(ids) > 0 {
		b.r.change(func(c *SiteChanged) { c.Submitted += each * len(ids) })
		b.r.wg.Go(func() { b.watch(b.r.s.life, ids) })
	}
	if err != nil && ctx.Err() == nil {
		b.r.s.log.Info("not submitted", "site", b.r.site.Name, "error", err)
		b.r.change(func(c *SiteChanged) { c.Reason = oneLine(err) })
	}
	b.nudge()
}

// trySubmit submits n pilots in jobs of so many each. The ledger knows of them before
// the scheduler does.
func (b *batchRun) trySubmit(ctx, sctx context.Context, n int) (ids []gat.JobID, each int, err error) {
	r := b.r
	spec := b.job(n)
	each = n / spec.Count
	token := newToken(wire.RolePilot, 3*n)
	number, err := b.admit(ctx, token)
	if err != nil {
		return nil, each, err
	}
	if err := b.equip(ctx, &spec, token, number); err != nil {
		return nil, each, err
	}
	seq, err := r.record(KindJob, "", What{Name: spec.Name})
	if err != nil {
		return nil, each, err
	}
	ids, err = r.gat.Submit(sctx, spec)
	if errors.Is(err, gat.ErrUnsure) {
		b.mu.Lock()
		b.doubt = doubt{time.Now(), each}
		b.mu.Unlock()
	}
	switch {
	case len(ids) > 0:
		err = errors.Join(err, r.s.run.Ledger.Confirm(seq, func(w *What) {
			for _, id := range ids {
				w.Jobs = append(w.Jobs, string(id))
			}
		}))
	case err != nil && gat.ClassOf(err) != gat.Transient && sctx.Err() == nil:
		err = errors.Join(err, r.s.run.Ledger.Remove(seq, "refused by the scheduler"))
	}
	return ids, each, err
}

// job is a submission of n pilots, without the command.
func (b *batchRun) job(n int) gat.JobSpec {
	spec := b.r.site.PilotJob(b.r.s.id, n)
	if w := b.r.s.job.Walltime; w > 0 && spec.Resources.Walltime == 0 {
		spec.Resources.Walltime = w + walltimeMargin
	}
	spec.Resources.Inside = b.isInside() // which can begin in the middle of a run
	return spec
}

// admit has the site's hub, or this node that calls them, admit pilots by one more token, and
// returns its number.
func (b *batchRun) admit(ctx context.Context, t wire.Token) (number int, err error) {
	b.mu.Lock()
	b.submissions++
	number = b.submissions
	b.tokens = append(b.tokens, t)
	b.tokens = b.tokens[max(0, len(b.tokens)-maxBatchToken):]
	tokens := append([]wire.Token(nil), b.tokens...)
	b.mu.Unlock()
	if b.isInside() {
		return number, b.r.s.admit(b.r.site.Name, t)
	}
	return number, b.r.s.agent.Call(ctx, func(now time.Duration, n *core.Node) { n.Admit(now, b.r.site.Name, tokens) })
}

// equip gives a submission its command, and what that needs: in the shared directory, or
// to be carried along.
func (b *batchRun) equip(ctx context.Context, spec *gat.JobSpec, t wire.Token, number int) error {
	boot := pilot.Boot{Role: "pilot", Scratch: b.r.site.Scratch}
	if b.isInside() {
		boot.Socket = insideSocket
	} else {
		for _, address := range b.listening() {
			boot.Hubs = append(boot.Hubs, "tcp:"+address)
		}
	}
	session := string(b.r.s.id)
	if b.shared == nil {
		data, err := b.r.brief(boot, t)
		if err != nil {
			return err
		}
		binary, err := b.r.s.pilots.Find(ctx, b.head.Platform)
		if err != nil {
			return fmt.Errorf("site %s: %w", b.r.site.Name, err)
		}
		content, err := readBinary(binary)
		if err != nil {
			return err
		}
		spec.Files = []gat.JobFile{{Name: "pilot", Mode: 0o700, Data: content.raw}, {Name: "boot", Mode: 0o600, Data: data}}
		spec.Argv = []string{"./pilot", "agent", session, "boot"}
		return nil
	}
	if boot.Keep = true; boot.Socket == "" {
		boot.HubsFile = b.hubsFile()
	}
	if b.shared == b.head {
		boot.Scratch = "" // that directory is shared; what a pilot makes is its node's alone
	}
	data, err := b.r.brief(boot, t)
	if err != nil {
		return err
	}
	file := path.Join(b.shared.sessionDir(b.r.s.id), b.r.own(bootName, number))
	if err := b.head.gat.Put(ctx, file, 0o600, bytes.NewReader(data)); err != nil {
		return fmt.Errorf("site %s: %w", b.r.site.Name, err)
	}
	spec.Argv = []string{b.shared.binary, "agent", session, file}
	spec.Stderr = b.complaints()
	return nil
}

// watch takes the queue's word on jobs, for what it is worth.
func (b *batchRun) watch(ctx context.Context, ids []gat.JobID) {
	if b.r.s.opts.Poll == 0 {
		// The next question may be a minute later.
		select {
		case <-time.After(firstLook):
		case <-ctx.Done():
			return
		}
	}
	for st, err := range b.r.gat.Watch(ctx, ids...) {
		if ctx.Err() != nil {
			return
		}
		b.mu.Lock()
		silent := b.silent
		b.silent = err != nil
		if err == nil {
			b.queue.Told(time.Now(), st)
		}
		b.mu.Unlock()
		switch {
		case err != nil && !silent && !b.r.ending():
			b.r.s.log.Info("the queue does not answer", "site", b.r.site.Name, "error", err)
		case err == nil:
			b.nudge()
		}
	}
}

// cancel ends jobs that are not wanted any more. What could not be cancelled is, later.
func (b *batchRun) cancel(ctx context.Context, ids []gat.JobID) {
	b.cancelling.Lock()
	defer b.cancelling.Unlock()
	for ctx.Err() == nil {
		cctx, done := context.WithTimeout(ctx, cancelTimeout)
		err := b.r.gat.Cancel(cctx, ids...)
		done()
		if err == nil {
			return
		}
		b.r.s.log.Info("not cancelled", "site", b.r.site.Name, "error", err)
		select {
		case <-time.After(cancelAgain):
		case <-ctx.Done():
		}
	}
}

// tell tells how the queue does, where that is news, and what became of the site.
func (b *batchRun) tell() {
	b.mu.Lock()
	c := b.queue.Counts()
	err := b.queue.Err()
	news := err != nil && !b.told
	b.told = b.told || news
	hours := b.queue.Spent(time.Now()).Hours()
	over := !b.queue.MayGrow()
	b.mu.Unlock()
	if news {
		if !strings.Contains(err.Error(), "site "+b.r.site.Name+":") {
			err = fmt.Errorf("site %s: %w", b.r.site.Name, err)
		}
		b.r.s.supply.update(func() {
			b.r.mu.Lock()
			b.r.err = err
			b.r.mu.Unlock()
		})
	} else {
		b.r.s.supply.update(func() {})
	}
	b.r.mu.Lock()
	old := b.r.status
	b.r.mu.Unlock()
	change := func(s *SiteChanged) {
		s.Queued, s.Held = c.Queued, c.Held
		if c.Queued > 0 || c.Up > 0 {
			s.Reason = c.Reason
		}
		if math.Abs(hours-s.CoreHours) >= 0.1 {
			s.CoreHours = rounded3(hours)
		}
		switch {
		case news && c.Up == 0 && over:
			s.State, s.Error = "failed", oneLine(err)
		case news:
			s.Error = oneLine(err)
		case c.Up == 0 && c.Queued+c.Starting > 0 && (s.State == "starting" || s.State == "up"):
			s.State = "queued"
		}
	}
	now := old
	if change(&now); now != old {
		b.r.change(change)
	}
}

// rounded3 keeps three digits after the point.
func rounded3(x float64) float64 { return math.Round(x*1000) / 1000 }
