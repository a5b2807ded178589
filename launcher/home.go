package launcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
	"github.com/zorilla-grid/zorilla/staging"
)

// Event implements [pilot.Home]: it turns what the primary tells into what the
// user is told.
func (s *session) Event(e core.Event) {
	switch e := e.(type) {
	case core.PeerUp:
		s.supply.peerUp(e.Peer)
		if e.Peer.Role != wire.RoleLauncher {
			s.events.emit(PilotChanged{Site: e.Peer.Site, Node: e.Peer.ID.String(), Name: e.Peer.Name, Role: e.Peer.Role.String(), State: "up", Slots: int(e.Peer.Offer.Slots), Cores: int(e.Peer.Offer.Cores)})
		}
	case core.PeersDown:
		for _, p := range e.Peers {
			s.sink.lost(p.ID)
			s.supply.peerDown(p, e.Reason)
			if p.Role != wire.RoleLauncher {
				s.events.emit(PilotChanged{Site: p.Site, Node: p.ID.String(), Name: p.Name, Role: p.Role.String(), State: "gone", Reason: e.Reason})
			}
		}
	case core.PilotShunned:
		s.supply.shun(e.Peer, e.Reason)
		s.events.emit(Warned{Site: e.Peer.Site, Text: fmt.Sprintf("%s gets no more workers: %s", e.Peer.Name, e.Reason)})
	case core.GangDispersed:
		s.events.emit(Warned{Text: fmt.Sprintf("%d of %d workers had slots for %v and the others had none (--gang-wait): the slots are free for others for %v",
			e.Held, e.Held+e.Missing, e.Waited.Round(time.Second), e.Pause.Round(time.Second))})
	case core.WorkerChanged:
		s.worker(e)
	case core.JobEnded:
		s.isOver.Store(true)
		select {
		case s.ended <- e:
		default:
		}
	}
}

// warned tells a warning about a worker: the first of its text at once, how
// many others there were at the end. It is the loop's own.
func (s *session) warned(rank uint32, site, text string) {
	if s.warnings == nil {
		s.warnings = make(map[string]int)
	}
	s.warnings[text]++
	if s.warnings[text] == 1 {
		s.events.emit(Warned{Site: site, Text: fmt.Sprintf("worker %d: %s", rank, text)})
	}
}

// countWarnings tells of the warnings that were held back. The loop has ended.
func (s *session) countWarnings() {
	for _, text := range slices.Sorted(maps.Keys(s.warnings)) {
		if n := s.warnings[text] - 1; n > 0 {
			s.events.emit(Warned{Text: fmt.Sprintf("%d more %s: %s", n, plural(n, "worker"), text)})
		}
	}
}

func (s *session) worker(e core.WorkerChanged) {
	switch e.Change {
	case job.Granted:
		s.sink.grant(e.Key, e.Peer.ID)
		s.supply.granted()
	case job.Exited:
		for _, text := range e.Result.Warnings {
			s.warned(e.Key.Rank, e.Peer.Site, text)
		}
	}
	s.supply.worker(e.Key.Rank, e.Change)
	w := WorkerChanged{
		Rank:    int(e.Key.Rank),
		Attempt: int(e.Key.Attempt),
		Site:    e.Peer.Site,
		Host:    e.Peer.Name,
		State:   e.Change.String(),
		Reason:  e.Reason,
	}
	if e.Change == job.Failed {
		w.State = "stopped"
	}
	if !e.Peer.ID.IsZero() {
		w.Node = e.Peer.ID.String()
	}
	if x := e.Result.Exit; e.Change >= job.Exited && x.Reason == wire.ExitProgram {
		code := int(x.Code)
		if x.Signal != 0 {
			code = 128 + int(x.Signal)
			w.Signal = signalName(int(x.Signal))
		}
		w.Exit = &code
	}
	if w.Reason == "" && e.Change >= job.Exited {
		w.Reason = e.Result.Exit.Text
	}
	s.events.emit(w)
}

// Collect implements [pilot.Home]: it waits until all that a worker printed is
// in its files, and fetches the files it left.
func (s *session) Collect(ctx context.Context, c core.Collect) error {
	return s.sink.collect(ctx, c)
}

// outputs brings home what workers print and leave behind, from the pilot
// that a rank's newest attempt was granted to and from nobody else.
type outputs struct {
	s    *session
	sink *staging.Sink

	mu      sync.Mutex
	granted map[uint32]grantee             // by rank
	waiting map[*collection]struct{}       // collections under way
	streams map[*transport.Stream]struct{} // outputs coming in
}

type grantee struct {
	attempt uint32
	node    wire.NodeID
}

type collection struct {
	node   wire.NodeID
	cancel context.CancelCauseFunc
}

func newOutputs(s *session) *outputs {
	o := &outputs{s: s, granted: make(map[uint32]grantee), waiting: make(map[*collection]struct{}), streams: make(map[*transport.Stream]struct{})}
	o.sink = staging.NewSink(s.jobID, s.out.root, staging.SinkOptions{
		Tee: func(rank uint32, fd uint8, p []byte) {
			s.events.output(OutputWritten{Rank: int(rank), Stream: streamName(fd), Data: p})
		},
		Failed: func(rank uint32, fd uint8, err error) {
			s.events.emit(Warned{Text: fmt.Sprintf("the %s of worker %d cannot be written: %v", streamName(fd), rank, err)})
		},
		Log: s.log,
	})
	return o
}

func streamName(fd uint8) string {
	if fd == 2 {
		return "stderr"
	}
	return "stdout"
}

// grant makes an attempt its rank's newest.
func (o *outputs) grant(key wire.Key, node wire.NodeID) {
	o.mu.Lock()
	o.granted[key.Rank] = grantee{key.Attempt, node}
	o.mu.Unlock()
	if err := o.sink.Advance(key.Rank, key.Attempt); err != nil {
		o.s.log.Warn("output of an older attempt", "rank", key.Rank, "error", err)
	}
}

// serve takes one output stream.
func (o *outputs) serve(ctx context.Context, st *transport.Stream) {
	out, err := staging.ReadOutput(ctx, st)
	if err != nil {
		st.Reset()
		return
	}
	o.mu.Lock()
	g, ok := o.granted[out.Rank]
	o.streams[st] = struct{}{}
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		delete(o.streams, st)
		o.mu.Unlock()
	}()
	if !ok || out.Job != o.s.jobID || g.attempt < out.Attempt || g.attempt == out.Attempt && g.node != st.Peer().ID {
		o.s.log.Warn("output refused", "rank", out.Rank, "attempt", out.Attempt, "peer", st.Peer().ID.Short())
		st.Reset()
		return
	}
	if err := o.sink.Accept(ctx, st, out); err != nil && ctx.Err() == nil {
		o.s.log.Debug("output stream ended", "rank", out.Rank, "fd", out.FD, "error", err)
		st.Reset()
	}
}

// errNodeGone is why a collection is given up.
var errNodeGone = errors.New("its node is gone")

// collect waits for the bytes of both streams and fetches the files.
func (o *outputs) collect(ctx context.Context, c core.Collect) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &collection{c.Node, cancel}
	o.mu.Lock()
	o.waiting[w] = struct{}{}
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		delete(o.waiting, w)
		o.mu.Unlock()
	}()

	key := wire.Output{Job: c.Key.Job, Rank: c.Key.Rank, Attempt: c.Key.Attempt}
	for fd, size := range map[uint8]int64{1: c.Result.Stdout, 2: c.Result.Stderr} {
		key.FD = fd
		if err := o.sink.Wait(ctx, key, size); err != nil {
			return fmt.Errorf("%s: %w", streamName(fd), errors.Join(err, context.Cause(ctx)))
		}
	}
	if c.Result.Root.IsZero() {
		return nil
	}
	_, err := staging.FetchInto(ctx, staging.Request{
		Job:     c.Key.Job,
		Root:    c.Result.Root,
		Holders: []wire.NodeID{c.Node},
		Open: func(ctx context.Context, holder wire.NodeID) (staging.Stream, error) {
			return o.s.ep.OpenStream(ctx, holder, wire.StreamFetch)
		},
		Log: o.s.log,
	}, o.s.out.root, c.Key.Rank)
	if err != nil {
		o.s.events.emit(Warned{Text: fmt.Sprintf("output files of worker %d: %v", c.Key.Rank, err)})
		return fmt.Errorf("output files: %w", err)
	}
	return nil
}

// moved has a node send its outputs anew, from where they are, because there is
// a better path to it now.
func (o *outputs) moved(node wire.NodeID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for st := range o.streams {
		if st.Peer().ID == node {
			st.Reset()
		}
	}
}

// lost gives up what was to be collected from a node.
func (o *outputs) lost(node wire.NodeID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for w := range o.waiting {
		if w.node == node {
			w.cancel(errNodeGone)
		}
	}
}

func (o *outputs) close() {
	o.sink.Close()
}
