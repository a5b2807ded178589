package pilot

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
)

// When certificates are renewed. Those that a hub gives out end with the hub's
// own right to admit, after 24 hours at most; those of the CA last as long as
// the session.
const (
	renewMost  = 8 * time.Hour    // between renewals of a certificate near its end
	renewNear  = 24 * time.Hour   // before its end, a certificate is near it
	renewLeast = time.Minute      // between tries
	renewRetry = 10 * time.Minute // between tries that failed, at most
	renewNap   = 5 * time.Minute  // between looks at the clock, which runs through suspend
)

// A renewal keeps a node's certificate good for as long as the node lives.
type renewal struct {
	log   *slog.Logger
	join  func(context.Context, *transport.Identity) (*transport.Identity, error) // again, with the same key
	admit func(*transport.Identity) error                                         // to the endpoint
}

// run renews an identity again and again until ctx ends. Links and streams that
// are open go on whatever becomes of it; a certificate that has ended is
// renewed as well as one that has not.
func (r *renewal) run(ctx context.Context, id *transport.Identity) {
	wait := renewIn(id.Expires().Sub(id.Now()))
	retry := renewLeast
	for sleepUntil(ctx, id, id.Now().Add(jitter(wait))) {
		newer, err := r.join(ctx, id)
		if err == nil {
			err = r.admit(newer)
		}
		if ctx.Err() != nil {
			return
		}
		left := id.Expires().Sub(id.Now())
		if err != nil {
			r.log.Warn("certificate not renewed", "left", left.Round(time.Second), "error", err)
			wait, retry = retry, min(2*retry, renewRetry)
			continue
		}
		id, retry = newer, renewLeast
		left = id.Expires().Sub(id.Now())
		r.log.Info("certificate renewed", "left", left.Round(time.Second))
		wait = renewIn(left)
	}
}

// renewIn returns when to renew a certificate that has so much time left: far
// from its end nothing is done, near it a third of the time is let pass.
func renewIn(left time.Duration) time.Duration {
	return max(min(left/3, renewMost), left-renewNear, renewLeast)
}

// sleepUntil waits for a moment in the CA's time; false when ctx ends first.
func sleepUntil(ctx context.Context, id *transport.Identity, at time.Time) bool {
	for {
		left := at.Sub(id.Now())
		if left <= 0 {
			return ctx.Err() == nil
		}
		if !pause(ctx, min(left, renewNap)) {
			return false
		}
	}
}

// pause waits; false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// jitter shortens a wait by up to a quarter, so that the agents of a site do
// not all come at the same moment.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}
