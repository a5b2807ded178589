package job

import (
	"errors"
	"fmt"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits and defaults of a job.
const (
	MaxRetries       = 1000
	DefaultLease     = 10 * time.Minute
	DefaultGangWait  = 10 * time.Minute
	DefaultKillGrace = 5 * time.Second
)

// Policy says what happens when a worker is lost: its node died, its pilot
// left, we killed it, or it could not be started.
type Policy uint8

// The policies.
const (
	Replace Policy = iota // start the rank again on other slots
	Ignore                // go on without it
	Cancel                // end the job
)

func (p Policy) String() string {
	switch p {
	case Replace:
		return "replace"
	case Ignore:
		return "ignore"
	case Cancel:
		return "cancel"
	}
	return "invalid"
}

// ParsePolicy is the inverse of String.
func ParsePolicy(s string) (Policy, error) {
	for _, p := range []Policy{Replace, Ignore, Cancel} {
		if p.String() == s {
			return p, nil
		}
	}
	return 0, fmt.Errorf("invalid policy %q: want replace, ignore or cancel", s)
}

// Spec describes a job to its primary.
type Spec struct {
	ID      wire.JobID
	Want    int               // workers wanted, at least 1
	Min     int               // workers without which nothing starts; 0 means Want
	Needs   wire.Requirements // Walltime counts from the submission: a worker that starts later has less to go
	Program wire.Program

	OnFailure Policy
	Retries   int // how often, for each rank, a program that failed by itself is started again

	// Lease is how long the job's workers live without a sign of life from
	// the primary, and how long the primary waits for a node that is cut off
	// before its workers are lost. 0 means [DefaultLease].
	Lease time.Duration
	// GangWait is the longest time for which claims are held while there are
	// fewer than Min; then they are refused and the job starts to gather again.
	// 0 means [DefaultGangWait].
	GangWait time.Duration
}

// withDefaults fills in what is unset and checks the rest.
func (s Spec) withDefaults() (Spec, error) {
	if s.Min == 0 {
		s.Min = s.Want
	}
	if s.Lease == 0 {
		s.Lease = DefaultLease
	}
	if s.GangWait == 0 {
		s.GangWait = DefaultGangWait
	}
	switch {
	case s.ID == wire.JobID{}:
		return s, errors.New("job without identity")
	case s.Want < 1 || s.Want > wire.MaxRanks:
		return s, fmt.Errorf("job of %d workers", s.Want)
	case s.Min < 1 || s.Min > s.Want:
		return s, fmt.Errorf("at least %d of %d workers", s.Min, s.Want)
	case s.OnFailure > Cancel:
		return s, fmt.Errorf("policy %d", s.OnFailure)
	case s.Retries < 0 || s.Retries > MaxRetries:
		return s, fmt.Errorf("%d retries", s.Retries)
	case s.Lease < time.Second || s.Lease > wire.MaxTime:
		return s, fmt.Errorf("lease of %v", s.Lease)
	case s.GangWait < 0 || s.GangWait > wire.MaxTime:
		return s, fmt.Errorf("gang wait of %v", s.GangWait)
	}
	if err := s.Needs.Validate(); err != nil {
		return s, err
	}
	s.Program.GPUs = s.Needs.GPUs
	return s, s.Program.Validate()
}

// Outcome says how a job ended.
type Outcome uint8

// The outcomes.
const (
	OK          Outcome = iota + 1 // every worker that counts exited with status 0
	App                            // the program failed
	Sites                          // there were no resources, or they failed
	Limit                          // a limit of the user ended it
	Interrupted                    // the user ended it
)

func (o Outcome) String() string {
	switch o {
	case OK:
		return "ok"
	case App:
		return "app"
	case Sites:
		return "sites"
	case Limit:
		return "limit"
	case Interrupted:
		return "interrupted"
	}
	return "invalid"
}

// Exit statuses that the program itself does not decide.
const (
	ExitSites       = 3
	ExitLimit       = 4
	ExitInterrupted = 130
)
