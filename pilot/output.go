package pilot

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/staging"
)

// How long the empty pipe of a worker that has ended may be held open by
// somebody: a process that could not be killed, or that is no descendant of
// the worker and was handed the pipe.
const (
	holdProbe    = time.Second
	holdPatience = 5 // probes in a row
)

// An output is what a worker prints on one descriptor, on its way home.
type output struct {
	fd    uint8
	pipe  *os.File
	spool *staging.Spool
	over  chan struct{} // closed when the spool has nothing more to do
}

// output takes one of the worker's outputs home.
func (t *attempt) output(fd uint8, pipe *os.File) *output {
	key := t.start.Key
	o := &output{fd: fd, pipe: pipe, over: make(chan struct{})}
	o.spool = staging.NewSpool(wire.Output{Job: key.Job, Rank: key.Rank, Attempt: key.Attempt, FD: fd}, pipe,
		staging.SpoolOptions{Dir: t.crew.dir, Log: t.crew.log})
	t.crew.running.Go(func() {
		defer close(o.over)
		err := o.spool.Run(t.ctx, func(ctx context.Context) (staging.Stream, error) {
			return t.crew.agent.ep.OpenStream(ctx, t.start.Primary, wire.StreamOutput)
		})
		if err != nil && t.ctx.Err() == nil && !errors.Is(err, staging.ErrSuperseded) {
			t.log.Warn("output lost", "fd", fd, "error", err)
		}
	})
	return o
}

// rest waits until all that a worker that has ended had printed was read. When
// somebody holds the pipe open without a word, for holdPatience looks in a row,
// it is closed and the result is false. Output that is not read because home is away is waited for.
func (o *output) rest(ctx context.Context, every time.Duration) bool {
	probe := time.NewTicker(every)
	defer probe.Stop()
	held := 0
	for {
		select {
		case <-o.spool.Ended():
			return held < holdPatience
		case <-o.over:
			return held < holdPatience
		case <-ctx.Done():
			return true
		case <-probe.C:
			switch {
			case held == holdPatience: // closed: what was read may still wait for memory
			case !isDrained(o.pipe):
				held = 0
			default:
				if held++; held == holdPatience {
					o.pipe.Close()
				}
			}
		}
	}
}
