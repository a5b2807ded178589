package wire

// WorkerState is where an attempt is in its life, as its pilot sees it. States
// only grow, so that of two reports about an attempt the higher one is right.
type WorkerState uint8

// The states of an attempt, in order.
const (
	WorkerGranted WorkerState = 1 // it has slots
	WorkerStaging WorkerState = 2 // its files are on their way
	WorkerRunning WorkerState = 3 // its process runs
	WorkerExited  WorkerState = 4 // its process has ended; outputs wait to be collected
	WorkerGone    WorkerState = 5 // its pilot knows nothing of it (any more)
)

func (s WorkerState) String() string {
	switch s {
	case WorkerGranted:
		return "granted"
	case WorkerStaging:
		return "staging"
	case WorkerRunning:
		return "running"
	case WorkerExited:
		return "exited"
	case WorkerGone:
		return "gone"
	}
	return "invalid"
}

// ExitReason says why an attempt ended. Only the first is the program's own
// doing.
type ExitReason uint8

// The reasons.
const (
	ExitProgram       ExitReason = 1 // the program ended by itself
	ExitStagingFailed ExitReason = 2 // its files could not be had
	ExitStartFailed   ExitReason = 3 // it could not be started here
	ExitKilled        ExitReason = 4 // we killed it: stopped, superseded, or over its memory
	ExitDrained       ExitReason = 5 // its pilot leaves
	ExitLost          ExitReason = 6 // its process, or its node, vanished
	ExitLease         ExitReason = 7 // its primary was silent for the job's lease
)

func (r ExitReason) String() string {
	switch r {
	case ExitProgram:
		return "exited"
	case ExitStagingFailed:
		return "staging-failed"
	case ExitStartFailed:
		return "start-failed"
	case ExitKilled:
		return "killed"
	case ExitDrained:
		return "drained"
	case ExitLost:
		return "lost"
	case ExitLease:
		return "lease"
	}
	return "invalid"
}

// Exit says how an attempt ended.
type Exit struct {
	Reason ExitReason `cbor:"1,keyasint"`
	Code   int32      `cbor:"2,keyasint,omitempty"` // exit status of the program
	Signal uint8      `cbor:"3,keyasint,omitempty"` // signal that ended it, as Linux numbers them; 0 means none
	Text   string     `cbor:"4,keyasint,omitempty"` // for people
}

// OK reports whether the program ended by itself with status 0.
func (e Exit) OK() bool { return e.Reason == ExitProgram && e.Code == 0 && e.Signal == 0 }

// Validate reports the first field that is out of its limits.
func (e *Exit) Validate() error {
	if e.Reason < ExitProgram || e.Reason > ExitLease {
		return invalidf("exit reason %d", e.Reason)
	}
	if e.Signal > 64 {
		return invalidf("signal %d", e.Signal)
	}
	return checkText("exit", e.Text, MaxReason)
}

// Result is what an attempt that has ended leaves behind, to be collected.
type Result struct {
	Exit   Exit   `cbor:"1,keyasint"`
	Root   Digest `cbor:"2,keyasint"`           // of the manifest of its output files; zero means none
	Stdout int64  `cbor:"3,keyasint,omitempty"` // bytes written to standard output in all
	Stderr int64  `cbor:"4,keyasint,omitempty"` // and to standard error

	Warnings []string `cbor:"5,keyasint,omitempty"` // what the user should know, such as a glob that matched nothing
}

// Validate reports the first field that is out of its limits.
func (r *Result) Validate() error {
	if r.Stdout < 0 || r.Stderr < 0 {
		return invalidf("output of %d and %d bytes", r.Stdout, r.Stderr)
	}
	warned := 0
	for _, w := range r.Warnings {
		warned += len(w)
	}
	if warned > MaxWarned {
		return invalidf("warnings of %d bytes", warned)
	}
	return firstError(checkList("warnings", r.Warnings, MaxWarnings, MaxReason), r.Exit.Validate())
}

// Status is the state of one attempt.
type Status struct {
	Attempt Attempt     `cbor:"1,keyasint"`
	State   WorkerState `cbor:"2,keyasint"`
	PID     int32       `cbor:"3,keyasint,omitempty"` // while it runs
	Result  *Result     `cbor:"4,keyasint,omitempty"` // present when it has exited
}

// Report tells the primary of the attempts of a job at a pilot that have
// changed since the last Report that was acknowledged, the earliest first.
type Report struct {
	Job     JobID    `cbor:"1,keyasint"`
	Epoch   uint32   `cbor:"2,keyasint"`
	Seq     uint64   `cbor:"3,keyasint"` // number of the latest change in it; 0 asks for no Ack
	Workers []Status `cbor:"4,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Report) Kind() Kind { return KindReport }

// Validate implements [Message].
func (m *Report) Validate() error {
	if len(m.Workers) > MaxWorkers {
		return invalidf("report of %d workers", len(m.Workers))
	}
	for i := range m.Workers {
		s := &m.Workers[i]
		if s.Attempt.Attempt == 0 || s.Attempt.Rank >= MaxRanks {
			return invalidf("attempt %d of rank %d", s.Attempt.Attempt, s.Attempt.Rank)
		}
		if s.State < WorkerGranted || s.State > WorkerGone || s.PID < 0 {
			return invalidf("worker state %d", s.State)
		}
		if (s.State == WorkerExited) != (s.Result != nil) {
			return invalidf("worker %v with and without result", s.State)
		}
		if s.Result != nil {
			if err := s.Result.Validate(); err != nil {
				return err
			}
		}
	}
	return nil
}
