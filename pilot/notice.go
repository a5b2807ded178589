package pilot

import (
	"context"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// noticeTime is how long a worker's failure waits for a notice that explains it.
// A scheduler signals the processes of a job one after the other, milliseconds
// apart: the rest is for a host so busy that this agent hears of it late.
const noticeTime = 500 * time.Millisecond

// A notice is the word of a scheduler, given by a signal, that it takes the job
// this agent runs in back. Schedulers signal every process of a job, workers
// included, and a program that does not expect it ends there and then: that was
// not its own doing, and another worker is to take its place. What a scheduler
// has not started gets no such notice.
type notice struct {
	once   sync.Once
	given  chan struct{} // closed when reason is set
	reason string
}

func newNotice() *notice { return &notice{given: make(chan struct{})} }

// give tells of the notice; the first reason counts.
func (n *notice) give(reason string) {
	n.once.Do(func() {
		n.reason = reason
		close(n.given)
	})
}

// explain returns the exit of a worker whose process ended at a time: a failure
// that came less than noticeTime before the notice, or after it, is its pilot's
// leaving. To find out it waits, with failures only, until that time is over or
// ctx ends.
func (n *notice) explain(ctx context.Context, e wire.Exit, ended time.Time) wire.Exit {
	if e.Reason != wire.ExitProgram || e.OK() {
		return e
	}
	late := time.NewTimer(noticeTime - time.Since(ended))
	defer late.Stop()
	select {
	case <-n.given:
	case <-late.C:
	case <-ctx.Done():
	}
	select {
	case <-n.given:
		e.Reason, e.Text = wire.ExitDrained, short(n.reason)
	default:
	}
	return e
}
