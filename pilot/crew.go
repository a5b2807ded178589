package pilot

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/worker"
	"github.com/zorilla-grid/zorilla/pilot/worker/runtimes"
	"github.com/zorilla-grid/zorilla/staging"
)

// closePatience bounds the wait for attempts to come to rest when an agent ends.
const closePatience = 15 * time.Second

// A crew is the workers of one pilot: it does what the core wants done with
// files and processes. Its maps belong to the agent's loop; everything slow
// runs on goroutines that answer through [Agent.Do].
type crew struct {
	agent  *Agent
	log    *slog.Logger
	dir    string
	memory int64 // bytes a slot may use
	yard   *worker.Yard
	rack   *rack
	files  shelf
	finder *runtimes.Finder
	notice *notice // of the scheduler that started the pilot; nil if none did

	attempts map[wire.Key]*attempt
	running  sync.WaitGroup
}

// newCrew makes the directories of a pilot's workers in the session's. Of cfg
// it takes how guards are started.
func newCrew(a *Agent, dir *sessionDir, cfg worker.Config, offer wire.Offer, gpus []worker.GPU, log *slog.Logger) (*crew, error) {
	cfg.Root, cfg.Slots, cfg.Logger = dir.own("workers"), int(offer.Slots), log
	yard, err := worker.Open(cfg)
	if err != nil {
		return nil, fmt.Errorf("workers' directory: %w", err)
	}
	store, err := staging.OpenStore(dir.own("files"), 0)
	if err != nil {
		yard.Close()
		return nil, fmt.Errorf("files' directory: %w", err)
	}
	open := func(ctx context.Context, holder wire.NodeID) (staging.Stream, error) {
		return a.ep.OpenStream(ctx, holder, wire.StreamFetch)
	}
	return &crew{
		agent:    a,
		log:      log,
		dir:      dir.path,
		memory:   offer.Memory / int64(max(offer.Slots, 1)),
		yard:     yard,
		rack:     newRack(gpus),
		files:    shelf{store: store, library: &a.library, open: open, log: log},
		finder:   new(runtimes.Finder),
		attempts: make(map[wire.Key]*attempt),
	}, nil
}

// apply does the part of the core's effects that is the crew's.
func (c *crew) apply(ctx context.Context, fx core.Effects) {
	for _, f := range fx.Fetches {
		fetch := c.files.expect(ctx, f)
		c.agent.tasks.Go(func() { c.fetch(f, fetch) })
	}
	for _, s := range fx.Starts {
		t := newAttempt(ctx, c, s)
		c.attempts[s.Key] = t
		c.running.Go(t.run)
	}
	for _, k := range fx.Kills {
		if t := c.attempts[k.Key]; t != nil {
			t.kill(k.Grace)
		}
	}
	for _, key := range fx.Discards {
		if t := c.attempts[key]; t != nil {
			delete(c.attempts, key)
			c.running.Go(t.discard)
		}
	}
	for _, id := range fx.Drops {
		if remove := c.files.drop(id); remove != nil {
			c.agent.tasks.Go(remove)
		}
	}
}

func (c *crew) fetch(f core.Fetch, fetch func() error) {
	text := ""
	if err := fetch(); err != nil {
		text = short(err.Error())
		c.log.Warn("staging in failed", "job", f.Job.Short(), "error", err)
	}
	c.agent.Do(func(now time.Duration, n *core.Node) { n.Fetched(now, f.Job, f.Root, text) })
}

// close ends all workers and removes everything the crew made. The agent's
// loop has ended by then.
func (c *crew) close() {
	for _, t := range c.attempts {
		t.cancel()
		t.kill(0)
	}
	rested := make(chan struct{})
	go func() { c.running.Wait(); close(rested) }()
	select {
	case <-rested:
	case <-time.After(closePatience):
		c.log.Warn("workers do not come to rest")
	}
	if err := c.yard.Close(); err != nil {
		c.log.Warn("ending workers", "error", err)
	}
	if err := c.files.store.Close(); err != nil {
		c.log.Warn("removing files", "error", err)
	}
}
