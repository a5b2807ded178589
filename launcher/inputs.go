package launcher

import (
	"context"
	"errors"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
	"github.com/zorilla-grid/zorilla/staging"
)

// promised are the job's inputs. Their digests are in the grant, so every worker
// gets what was there when the run began, or none starts: an input that the
// user changes or removes while it is still being sent ends the run as an
// error of usage, rather than pilot after pilot failing to fetch it.
type promised struct {
	staging.Source
	changed func(error)
}

// Blob implements [staging.Source].
func (p promised) Blob(ctx context.Context, d wire.Digest, buf []byte) ([]byte, error) {
	b, err := p.Source.Blob(ctx, d, buf)
	if errors.Is(err, staging.ErrChanged) {
		p.changed(err)
	}
	return b, err
}

// abandon ends the job because of what the user gave.
func (u *supply) abandon(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.failed != nil {
		return
	}
	u.failed = &usageError{err}
	go u.s.agent.Do(func(now time.Duration, n *core.Node) { n.Cancel(now, u.s.jobID, job.Sites, false) })
}
