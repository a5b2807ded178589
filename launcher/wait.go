package launcher

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// interrupted is the end of a job that the user wanted ended at once.
var interrupted = core.JobEnded{Outcome: job.Interrupted, Exit: ExitInterrupted}

// wait waits for the end of the job, by itself or by the user's wish.
func (s *session) wait(ctx context.Context, stop Stopper) (core.JobEnded, error) {
	var limit, patience <-chan time.Time
	if s.job.Walltime > 0 {
		timer := time.NewTimer(s.job.Walltime)
		defer timer.Stop()
		limit = timer.C
	}
	outcome := job.Interrupted
	graceful, asked := stop.Graceful, s.wishes.graceful
	end := func(o job.Outcome) {
		if patience == nil {
			outcome = o
			patience = time.After(stopPatience)
			s.stop(o, true)
		}
	}
	for {
		select {
		case over := <-s.ended:
			return over, s.supply.why(over)
		case <-limit:
			limit = nil
			end(job.Limit)
		case <-graceful:
			graceful = nil
			end(job.Interrupted)
		case <-asked:
			asked = nil
			end(job.Interrupted)
		case <-patience:
			s.stop(outcome, false)
		case <-stop.Now:
			return interrupted, nil
		case <-s.wishes.now:
			return interrupted, nil
		case <-ctx.Done():
			return interrupted, nil
		}
	}
}

// interruptible runs f with a context that ends with any wish to stop: there
// are no workers yet that could be stopped gracefully.
func (s *session) interruptible(ctx context.Context, stop Stopper, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	go func() {
		select {
		case <-stop.Graceful:
		case <-stop.Now:
		case <-s.wishes.graceful:
		case <-s.wishes.now:
		case <-done:
			return
		}
		cancel(errInterrupted)
	}()
	defer close(done)
	err := f(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return errInterrupted
	}
	return err
}

var errInterrupted = errors.New("interrupted")

// stop ends the job with an outcome.
func (s *session) stop(outcome job.Outcome, graceful bool) {
	s.agent.Do(func(now time.Duration, n *core.Node) { n.Cancel(now, s.jobID, outcome, graceful) })
}

// wishes are what others want over the control socket: channels that are
// closed once.
type wishes struct{ graceful, now chan struct{} }

// cancel is what others may ask for over the control socket.
func (s *session) cancel(now bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wish := s.wishes.graceful
	if now {
		wish = s.wishes.now
	}
	select {
	case <-wish:
	default:
		close(wish)
	}
}

// redial logs in again to the sites that were lost. Questions go to whoever
// wanted it.
func (s *session) redial(ctx context.Context, ask AskFunc) error {
	s.mu.Lock()
	if s.redialer != nil {
		s.mu.Unlock()
		return errors.New("somebody else is logging in again")
	}
	s.redialer = ask
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.redialer = nil
		s.mu.Unlock()
	}()
	errs := make([]error, len(s.sites))
	var wg sync.WaitGroup
	for i, r := range s.sites {
		wg.Go(func() { errs[i] = r.redial(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// ask puts a backend's question to the user: to the one who logs in again, or
// to the one who started the run.
func (s *session) ask(ctx context.Context, site, question string, secret bool) (string, error) {
	s.mu.Lock()
	ask := s.redialer
	if ask == nil {
		ask = s.opts.Ask
	}
	s.mu.Unlock()
	if ask == nil {
		return "", errors.New("nobody can be asked")
	}
	return ask(ctx, site, question, secret)
}

var _ gat.Asker = (*session)(nil).ask
