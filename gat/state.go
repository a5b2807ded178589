package gat

// State is the state of a job as its middleware knows it. States are ordered:
// a job's state never moves to a lower one, whatever a confused queue says
// (see [Site]). The one exception is a job that was held and is released.
type State int

// The states of a job, in order.
const (
	Unknown   State = iota // no record of it
	Queued                 // accepted, waiting
	Held                   // accepted, will not start without intervention
	Running                // started
	Done                   // ended with exit status 0
	Failed                 // ended otherwise
	Cancelled              // ended by request
)

func (s State) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Queued:
		return "queued"
	case Held:
		return "held"
	case Running:
		return "running"
	case Done:
		return "done"
	case Failed:
		return "failed"
	case Cancelled:
		return "cancelled"
	}
	return "invalid"
}

// Final reports whether a job in this state has ended for good.
func (s State) Final() bool { return s >= Done }
