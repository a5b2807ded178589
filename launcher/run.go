package launcher

import "context"

// Result is how a run ended.
type Result struct {
	Run     string // the session's name
	Out     string // the output directory
	Outcome Outcome
	Exit    int   // the exit status the command should end with
	Err     error // what went wrong, for people; nil when all went well
	Report  Report
}

// Stopper lets the caller end a run early.
type Stopper struct {
	// Graceful is closed to stop the workers, collect what there is, and clean up.
	Graceful <-chan struct{}
	// Now is closed to only clean up.
	Now <-chan struct{}
}

// Run runs one job in a session of its own and leaves nothing behind. When ctx
// ends everything is cleaned up as if Stopper.Now were closed.
func Run(ctx context.Context, job Job, opts Options, stop Stopper) Result {
	s := newSession(job, opts)
	return s.main(ctx, stop)
}
