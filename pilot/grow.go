package pilot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// Limits of the commands of grow orders.
const (
	growPatience = 30 * time.Second // for a command
	maxGrowOut   = 256 << 10        // bytes that it prints
	growTick     = 5 * time.Second  // at most, between looks at the site
)

// A grower runs the commands of a launcher's grow order on a hub's host.
type grower struct {
	mu     sync.Mutex // held while a command runs, so that who asks hears the outcome
	now    *growth    // nil: there was no order yet
	closed bool       // no more orders are taken
	ticks  sync.WaitGroup
}

// serveGrow takes a launcher's order, or its question, and answers what was
// done. A command that is under way is waited for.
func (r *resident) serveGrow(ctx context.Context, s *transport.Stream) {
	o := requestedUpTo[wire.GrowOrder](r, s, wire.MaxFrame)
	if o == nil {
		return
	}
	g := &r.grow
	g.mu.Lock()
	if o.Seq > 0 && !g.closed && (g.now == nil || o.Seq > g.now.order.Seq) {
		first := g.now == nil
		g.now = newGrowth(bootTime(), *o)
		r.keepGrowth()
		if first {
			g.ticks.Go(func() { r.growOn(r.ctx) })
		}
		r.log.Info("grow order", "seq", o.Seq, "pilots", o.Pilots, "most", o.Most, "jobs", len(o.Jobs))
	}
	report := g.now.report()
	g.mu.Unlock()
	wire.WriteFrame(s, report) // a lost answer is asked for again
}

// growOn follows orders until the agent leaves.
func (r *resident) growOn(ctx context.Context) {
	for ctx.Err() == nil {
		every := r.growOnce(ctx)
		if !pause(ctx, min(max(every/8, 50*time.Millisecond), growTick)) {
			return
		}
	}
}

// growOnce does what is to be done now. It returns the order's own pace.
func (r *resident) growOnce(ctx context.Context) time.Duration {
	v := siteView{joined: make(map[string]bool)}
	err := r.agent.Call(ctx, func(now time.Duration, n *core.Node) {
		v.now, v.quiet, v.work = now, n.LauncherQuiet(now), n.Stats(now).Jobs > 0
		for _, p := range n.Peers() {
			if p.Role == wire.RolePilot && p.Site == r.boot.Site {
				v.pilots++
				v.joined[p.Job] = true
			}
		}
	})
	g := &r.grow
	g.mu.Lock()
	defer g.mu.Unlock()
	every := g.now.order.Every
	if err != nil {
		return every
	}
	step := g.now.next(v)
	text, args := "", []string(nil)
	switch {
	case step.submit > 0:
		text, args = g.now.order.Submit, []string{strconv.Itoa(step.submit)}
		ctx = context.WithoutCancel(ctx) // what is submitted must be known
	case len(step.cancel) > 0:
		text, args = g.now.order.Cancel, step.cancel
	case len(step.status) > 0:
		text, args = g.now.order.Status, step.status
	default:
		return every
	}
	out, err := runText(ctx, text, args)
	g.now.ran(step, out, err)
	r.keepGrowth()
	if step.submit > 0 || len(step.cancel) > 0 || err != nil {
		r.log.Info("grow command", "submit", step.submit, "cancel", step.cancel, "status", len(step.status), "error", err)
	}
	return every
}

// cancelRest cancels what is in the queue for a session that is over: its
// launcher will not come back.
func (r *resident) cancelRest() {
	r.grow.mu.Lock()
	r.grow.closed = true
	r.grow.mu.Unlock()
	r.grow.ticks.Wait()
	if r.grow.now == nil {
		return
	}
	for part := range slices.Chunk(r.grow.now.rest(), growBatch) {
		if _, err := runText(context.Background(), r.grow.now.order.Cancel, part); err != nil {
			r.log.Warn("jobs not cancelled", "jobs", part, "error", err)
		}
	}
}

// runText has /bin/sh read a text and run it with arguments, for no longer than
// growPatience.
func runText(ctx context.Context, text string, args []string) (string, error) {
	ctx, stop := context.WithTimeout(ctx, growPatience)
	defer stop()
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-s", "--"}, args...)...)
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(text)
	out, said := &head{most: maxGrowOut}, &head{most: wire.MaxReason / 2}
	cmd.Stdout, cmd.Stderr = out, said
	cmd.WaitDelay = time.Second
	inGroup(cmd)
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("it was ended after %v", growPatience)
	}
	if text := strings.TrimSpace(said.String()); err != nil && text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	if err == nil && out.over {
		err = errors.New("it printed too much")
	}
	return out.String(), err
}

// A head keeps the first bytes of what is written to it.
type head struct {
	text bytes.Buffer
	most int
	over bool
}

func (h *head) String() string { return h.text.String() }

// Write implements io.Writer.
func (h *head) Write(p []byte) (int, error) {
	keep := min(len(p), h.most-h.text.Len())
	h.over = h.over || keep < len(p)
	h.text.Write(p[:keep])
	return len(p), nil
}
