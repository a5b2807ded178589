package pilot

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/staging"
)

// maxNap is the longest an agent sleeps: timers stand still while a machine is
// suspended, the core's clock does not.
const maxNap = 5 * time.Second

// followEvery is how often an agent looks whether links go another way.
const followEvery = time.Second

// ErrStopped is returned for calls to an agent whose loop has ended.
var ErrStopped = errors.New("the agent has stopped")

// Home is the part of an agent that a primary's user provides: what becomes of
// events and of what workers leave behind.
type Home interface {
	// Collect brings home what a worker left. It is called on a goroutine of
	// its own and returns when everything is there, or with what was missing.
	Collect(ctx context.Context, c core.Collect) error
	// Event is called on the agent's loop, in order; it must not block.
	Event(e core.Event)
}

// An Agent is one node at work: a core driven by real time, links and
// processes. Its methods may be called from any goroutine.
type Agent struct {
	log     *slog.Logger
	home    Home // nil: never a primary
	crew    *crew
	library staging.Library

	ep       *transport.Endpoint
	node     *core.Node // the loop's own
	calls    chan func(now time.Duration, n *core.Node)
	done     chan struct{}             // closed when the loop has ended
	left     string                    // why the node has left; to be read when the loop has ended
	paths    map[wire.NodeID]wire.Path // of the links; the loop's own
	followAt time.Duration
	early    []transport.Event // came before the loop was run

	tokens func([]wire.Token) // what to do with join tokens; nil for all but hubs
	silent func()             // what to do when a hub is not heard; nil for all but pilots that call theirs
	tasks  sync.WaitGroup     // goroutines that answer effects
	sent   tally              // by the core, as far as it goes; the loop's own
	blamed []string           // who was named in the log, and why; the loop's own
}

// NewAgent returns an agent that is yet to be run. Home may be nil for nodes
// that manage no job.
func NewAgent(home Home, log *slog.Logger) *Agent {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Agent{
		log:   log,
		home:  home,
		calls: make(chan func(time.Duration, *core.Node), 64),
		done:  make(chan struct{}),
		paths: make(map[wire.NodeID]wire.Path),
	}
}

// Handlers returns the streams that every agent serves, for the endpoint's
// configuration. The caller may add others.
func (a *Agent) Handlers() map[wire.StreamKind]transport.Handler {
	return map[wire.StreamKind]transport.Handler{
		wire.StreamFetch: a.serveFetch,
	}
}

// Library is what the agent serves to others.
func (a *Agent) Library() *staging.Library { return &a.library }

// Run runs the node until it leaves (nil) or ctx ends (the context's error).
// It is called once. The endpoint stays open. What was begun for effects is
// told to end, and waited for.
func (a *Agent) Run(ctx context.Context, ep *transport.Endpoint, cfg core.Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer a.tasks.Wait()
	defer close(a.done) // before the wait: tasks that answer must not wait for the loop
	defer cancel()

	a.ep = ep
	a.node = core.New(cfg, bootTime())
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer func() { a.log.Debug("messages sent", "counts", a.sent.String()) }()
	for _, e := range a.early {
		a.event(bootTime(), e)
	}
	a.early = nil
	events := ep.Events()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return transport.ErrClosed
			}
			a.event(bootTime(), e)
		case call := <-a.calls:
			call(bootTime(), a.node)
		case <-timer.C:
			a.node.Tick(bootTime())
		case <-ctx.Done():
			return ctx.Err()
		}
		a.followPaths(bootTime())
		if a.apply(ctx, a.node.Ready()) {
			return nil
		}
		timer.Reset(min(max(a.node.Next()-bootTime(), 0), maxNap))
	}
}

// Do has f called on the agent's loop, soon. It may block for as long as the
// loop is busy; it does nothing once the agent has stopped.
func (a *Agent) Do(f func(now time.Duration, n *core.Node)) {
	select {
	case a.calls <- f:
	case <-a.done:
	}
}

// Call is Do that waits until f has returned.
func (a *Agent) Call(ctx context.Context, f func(now time.Duration, n *core.Node)) error {
	ran := make(chan struct{})
	a.Do(func(now time.Duration, n *core.Node) { f(now, n); close(ran) })
	select {
	case <-ran:
		return nil
	case <-a.done:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Done is closed when the agent's loop has ended.
func (a *Agent) Done() <-chan struct{} { return a.done }

// event tells the core what the network did.
func (a *Agent) event(now time.Duration, e transport.Event) {
	switch e := e.(type) {
	case transport.LinkUp:
		a.linkUp(now, e.Peer)
	case transport.LinkDown:
		a.log.Info("link down", "peer", e.ID.Short(), "error", e.Err)
		delete(a.paths, e.ID)
		a.node.LinkDown(now, e.ID)
	case transport.Received:
		a.node.Receive(now, e.From, e.Message)
	}
}

// linkUp tells the core of a link, and how it was made.
func (a *Agent) linkUp(now time.Duration, p transport.Peer) {
	a.log.Debug("link up", "peer", p.ID.Short(), "role", p.Role, "path", p.Path)
	a.paths[p.ID] = p.Path
	peer := wire.Peer{ID: p.ID, Role: p.Role, Site: p.Site, Path: p.Path}
	if p.Direct {
		a.node.LinkUp(now, peer)
	} else {
		a.node.LinkRouted(now, peer)
	}
}

// followPaths tells the core of links whose path has changed: from hubs to a
// carrier of their own, or back.
func (a *Agent) followPaths(now time.Duration) {
	if now < a.followAt {
		return
	}
	a.followAt = now + followEvery
	for _, p := range a.ep.Peers() {
		if old, ok := a.paths[p.ID]; ok && old != p.Path {
			a.linkUp(now, p)
		}
	}
}

// apply does what the core wants done, and reports whether it wants to leave.
func (a *Agent) apply(ctx context.Context, fx core.Effects) (leave bool) {
	if fx.Routes != nil {
		a.ep.SetRoutes(fx.Routes)
	}
	if fx.Gate != nil {
		a.ep.SetDefaultRoute(*fx.Gate)
	}
	for _, to := range fx.Dials {
		a.ep.SetHubs(to.ID, to.Hubs)
		a.ep.Improve(to.ID)
	}
	for _, at := range fx.Wheres {
		a.ep.SetHubs(at.ID, at.Hubs)
	}
	for _, id := range fx.Silent {
		a.ep.HangUp(id)
	}
	for _, s := range fx.Sends {
		a.sent.count(s.Msg)
		if err := a.ep.Send(s.To, s.Msg); err != nil {
			a.log.Debug("message not sent", "to", s.To.Short(), "kind", s.Msg.Kind(), "error", err)
		}
	}
	if a.crew != nil {
		a.crew.apply(ctx, fx)
	}
	for _, c := range fx.Collects {
		a.tasks.Go(func() { a.collect(ctx, c) })
	}
	if len(fx.Silent) > 0 && a.silent != nil {
		a.silent()
	}
	for _, list := range fx.Tokens {
		if a.tokens != nil {
			a.tokens(list)
		}
	}
	for _, e := range fx.Events {
		if m, ok := e.(core.Misbehaved); ok {
			a.misbehaved(m)
		}
		if a.home != nil {
			a.home.Event(e)
		}
	}
	if fx.Leave != nil {
		a.log.Info("leaving", "reason", fx.Leave.Reason)
		a.left = fx.Leave.Reason
		return true
	}
	return false
}

func (a *Agent) collect(ctx context.Context, c core.Collect) {
	text := ""
	if a.home == nil {
		text = "this node collects nothing"
	} else if err := a.home.Collect(ctx, c); err != nil {
		text = err.Error()
	}
	a.Do(func(now time.Duration, n *core.Node) { n.Collected(now, c.Key, short(text)) })
}

func (a *Agent) serveFetch(ctx context.Context, s *transport.Stream) {
	if err := staging.Serve(ctx, s, a.library.Lookup); err != nil && ctx.Err() == nil {
		a.log.Debug("serving files", "peer", s.Peer().ID.Short(), "error", err)
		s.Reset()
	}
}

// short makes a text of anything that fits in a message.
func short(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= wire.MaxReason {
		return s
	}
	cut := wire.MaxReason - len("...")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}
