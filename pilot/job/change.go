package job

// Change is what happened to an attempt, as its job's user sees it.
type Change uint8

// The changes, in the order in which an attempt goes through them. Exited is
// followed by Done once everything is collected; Lost, Failed and Stopped are final.
const (
	Granted Change = iota + 1 // it has slots
	Staging                   // its files are on their way
	Running                   // its process runs
	Exited                    // its process has ended; its outputs are on their way home
	Done                      // final: its outputs are home, it counts
	Failed                    // final: the program failed by itself and is tried again
	Lost                      // final: node, pilot or start failed; see the policy
	Stopped                   // final: the job has no more use for it
)

func (c Change) String() string {
	switch c {
	case Granted:
		return "granted"
	case Staging:
		return "staging"
	case Running:
		return "running"
	case Exited:
		return "exited"
	case Done:
		return "done"
	case Failed:
		return "failed"
	case Lost:
		return "lost"
	case Stopped:
		return "stopped"
	}
	return "invalid"
}

// Final reports whether nothing more is told of the attempt.
func (c Change) Final() bool { return c >= Done }
