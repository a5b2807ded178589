package launcher

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

//go:embed inside.sh
var insideScript string

// insideSocket is the name of the socket of a pilot that is called through the
// scheduler; the pilot adds its process id.
const insideSocket = "pilot.sock"

// callSoon is how long after the start of a job its pilot is called through the
// scheduler, where no pilot calls.
const callSoon = time.Second

// late takes it that jobs run whose pilots do not call. Where no pilot has called yet nodes
// and head node may have no way to each other: then those of the site are called through
// the scheduler from now on, if it lets us.
func (b *batchRun) late(ctx context.Context, ids []gat.JobID) {
	b.mu.Lock()
	reached := b.reached
	b.mu.Unlock()
	err := error(nil)
	if !reached {
		if err = b.looksInside(ctx, ids[0]); err == nil {
			b.callInside(ctx, ids)
			return
		}
		b.r.s.log.Info("no way through the scheduler", "site", b.r.site.Name, "error", err)
	}
	for _, id := range ids {
		b.failed(ctx, id, fmt.Errorf("job %s runs, and its pilot did not call the head node (%s) within %v", id, strings.Join(b.listening(), ", "), joinPatience))
	}
}

// looksInside runs a command that does nothing where a job runs.
func (b *batchRun) looksInside(ctx context.Context, id gat.JobID) error {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	p, err := b.r.gat.Inside(ctx, id, 0, gat.Command{Argv: []string{"/bin/sh", "-c", "exit 0"}})
	if err != nil {
		return err
	}
	defer p.Close()
	p.Stdin().Close()
	go io.Copy(io.Discard, p.Stdout())
	go io.Copy(io.Discard, p.Stderr())
	status, err := p.Wait()
	if err == nil && status != 0 {
		err = fmt.Errorf("a command in job %s: exit status %d", id, status)
	}
	return err
}

// callInside has the site's pilots called through the scheduler from now on. Jobs that
// run already cannot be called; they are cancelled, and are no failure.
func (b *batchRun) callInside(ctx context.Context, running []gat.JobID) {
	b.mu.Lock()
	b.inside = true
	b.queue.Drop(running)
	b.queue.SetJoin(callSoon)
	b.mu.Unlock()
	b.r.s.events.emit(Warned{Site: b.r.site.Name, Text: "the compute nodes do not reach the head node: pilots are submitted again and called through the scheduler"})
	b.nudge()
	b.cancel(ctx, running)
}

// isInside reports whether pilots are called through the scheduler.
func (b *batchRun) isInside() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inside
}

// stayInside keeps a connection, through the scheduler, to the pilot of a job on one of
// its nodes. The job has failed when there never is one to any of its pilots.
func (b *batchRun) stayInside(ctx context.Context, id gat.JobID, node int) {
	wait := redialFirst
	began, linked := time.Now(), wire.NodeID{} // the pilot, once it was
	for ctx.Err() == nil {
		closed := make(chan error, 4)
		peer, err := b.attachInside(ctx, id, node, closed)
		if err == nil {
			wait, linked = redialFirst, peer.ID
			if err = b.r.whileAttached(ctx, peer, closed); ctx.Err() != nil {
				return
			}
			b.r.s.log.Info("connection through the scheduler lost", "site", b.r.site.Name, "job", id, "node", node, "error", err)
			began = time.Now()
		}
		switch {
		case b.r.ending():
			return
		case errors.Is(err, gat.ErrCannot) || linked.IsZero() && time.Since(began) > joinPatience:
			b.failed(ctx, id, fmt.Errorf("the pilot of job %s cannot be called through the scheduler: %w", id, err))
			return
		case errors.Is(err, errNoAgent) && !linked.IsZero():
			b.r.s.agent.Do(func(now time.Duration, n *core.Node) { n.Gone(now, linked, "it was killed") })
			return
		case time.Since(began) > b.r.s.leaseOf(b.r.site):
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, redialMost)
	}
}

// attachInside connects this node to the pilot of a job on one of its nodes by a bridge
// that the scheduler runs beside it.
func (b *batchRun) attachInside(ctx context.Context, id gat.JobID, node int, closed chan<- error) (transport.Peer, error) {
	r := b.r
	tctx, stopWaiting := context.WithTimeout(ctx, attachTimeout)
	defer stopWaiting()
	// The command outlives this call: it ends with the connection.
	cctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(tctx, cancel)
	p, err := r.gat.Inside(cctx, id, node, gat.Command{Argv: []string{"/bin/sh", "-c", insideScript, "zorilla", string(r.s.id), string(id), insideSocket}})
	if err != nil {
		cancel()
		return transport.Peer{}, err
	}
	conn := newBridgeConn(p, r.moved)
	peer, err := r.s.ep.Connect(tctx, conn, transport.Local, transport.Options{Admit: true, Path: wire.PathSSH, OnClose: func(err error) {
		cancel()
		closed <- err
	}})
	if err != nil {
		if conn.noAgent() {
			err = errNoAgent
		}
		conn.Close()
		cancel()
		return peer, fmt.Errorf("site %s: attach to job %s: %w", r.site.Name, id, err)
	}
	stop()
	return peer, nil
}
