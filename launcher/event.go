package launcher

import "time"

// Event is one thing that happened in a run. The Data's type tells which; its
// JSON form is part of the command line's contract.
type Event struct {
	Time time.Time
	Run  string // the session's name
	Data EventData
}

// EventData is one of the event types of this package.
type EventData interface {
	// EventType returns the value of "type" in the JSON form.
	EventType() string
}

// RunStarted is the first event of a run.
type RunStarted struct {
	App     string   `json:"app"`
	Workers int      `json:"workers"`
	Min     int      `json:"min"`
	Cores   int      `json:"cores,omitempty"` // of each worker; 0: a slot's
	Out     string   `json:"out"`
	Sites   []string `json:"sites"`
}

// EventType implements [EventData].
func (RunStarted) EventType() string { return "run" }

// SiteChanged tells how a site does.
type SiteChanged struct {
	Site string `json:"site"`
	// State is "connecting", "probing", "uploading", "starting", "queued" (no
	// pilot has left the queue yet), "up", "detached" (connection lost, work goes
	// on), "failed", "cleaning", "clean" or "unclean".
	State     string `json:"state"`
	Wanted    int    `json:"wanted"`             // pilots wanted
	Submitted int    `json:"submitted"`          // pilots submitted
	Up        int    `json:"up"`                 // pilots up
	Slots     int    `json:"slots"`              // slots of the pilots that are up
	Error     string `json:"error,omitempty"`    // why it failed
	Platform  string `json:"platform,omitempty"` // such as "linux/amd64"
	Leftovers int    `json:"leftovers,omitempty"`

	// Of sites with a queueing system.
	Files     string  `json:"files,omitempty"`      // where nodes get the pilot from: a directory, or "carried in the job"
	Queued    int     `json:"queued,omitempty"`     // pilots that wait in the queue
	Held      int     `json:"held,omitempty"`       // of them that will not start by themselves
	Reason    string  `json:"reason,omitempty"`     // the scheduler's own words about one of them
	CoreHours float64 `json:"core_hours,omitempty"` // what the pilots have taken so far, cores times hours
}

// EventType implements [EventData].
func (SiteChanged) EventType() string { return "site" }

// PilotChanged tells of one pilot or hub.
type PilotChanged struct {
	Site   string `json:"site"`
	Node   string `json:"node"`  // its identity
	Name   string `json:"name"`  // its host
	Role   string `json:"role"`  // "pilot" or "hub"
	State  string `json:"state"` // "up" or "gone"
	Slots  int    `json:"slots,omitempty"`
	Cores  int    `json:"cores,omitempty"` // of all slots together
	Reason string `json:"reason,omitempty"`
}

// EventType implements [EventData].
func (PilotChanged) EventType() string { return "pilot" }

// WorkerChanged tells of one attempt of one worker.
type WorkerChanged struct {
	Rank    int    `json:"rank"`
	Attempt int    `json:"attempt"`
	Site    string `json:"site,omitempty"`
	Node    string `json:"node,omitempty"`
	Host    string `json:"host,omitempty"`
	// State is "granted", "staging", "running", "exited" (outputs on their
	// way home), "done", "lost" or "stopped".
	State  string `json:"state"`
	Exit   *int   `json:"exit,omitempty"`   // exit status, once it is known
	Signal string `json:"signal,omitempty"` // such as "SIGKILL", when one ended it
	Reason string `json:"reason,omitempty"`
}

// EventType implements [EventData].
func (WorkerChanged) EventType() string { return "worker" }

// OutputWritten is a piece of a worker's output, as it arrives. Data is valid during
// the call only.
type OutputWritten struct {
	Rank   int
	Stream string // "stdout" or "stderr"
	Data   []byte
}

// EventType implements [EventData].
func (OutputWritten) EventType() string { return "output" }

// Transferred counts bytes moved to or from a site since the run began.
type Transferred struct {
	Site string `json:"site"`
	Up   int64  `json:"up"`   // bytes sent to the site
	Down int64  `json:"down"` // bytes received from it
}

// EventType implements [EventData].
func (Transferred) EventType() string { return "transfer" }

// Warned is something the user should know.
type Warned struct {
	Site string `json:"site,omitempty"`
	Text string `json:"text"`
}

// EventType implements [EventData].
func (Warned) EventType() string { return "warning" }

// RunEnded is the last event of a run.
type RunEnded struct {
	Outcome Outcome `json:"outcome"`
	Exit    int     `json:"exit"`
	Error   string  `json:"error,omitempty"`
	Out     string  `json:"out,omitempty"`
	Wall    float64 `json:"wall_s"`
	Idle    float64 `json:"held_idle_core_s,omitempty"` // see [Report]
}

// EventType implements [EventData].
func (RunEnded) EventType() string { return "end" }
