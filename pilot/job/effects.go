package job

import (
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Send is a message to hand to the transport. To need not have a link: then
// the shell opens one, direct or through hubs, and tells the node; until then
// it may drop messages for it.
type Send struct {
	To  wire.NodeID
	Msg wire.Message // not to be changed: other Sends may share it
}

// Fetch asks for a job's files, to be answered once.
type Fetch struct {
	Job  wire.JobID
	Root wire.Digest   // of the manifest
	From []wire.NodeID // holders, the origin last
}

// Start asks for a worker's process. It is answered when the process runs, and
// once more when it has ended; a start that fails is answered with its end alone.
type Start struct {
	Key     wire.Key
	Primary wire.NodeID   // where its output goes
	Slots   []int         // numbers of the slots it takes, ascending
	Size    int           // workers the job wants in all
	Program *wire.Program // not to be changed
}

// Kill ends a worker's process; its end is told as for every worker. A second
// Kill for a worker shortens the grace.
type Kill struct {
	Key    wire.Key
	Grace  time.Duration // from the polite signal to the other one
	Reason string
}

// Collect asks the primary's shell to bring home what a worker left: its
// output files and the bytes of its output streams up to the given sizes. It is void
// once the worker is told to be [Lost], or the job to have ended.
type Collect struct {
	Key    wire.Key
	Node   wire.NodeID // its pilot
	Result wire.Result
}

// Update is a [Change] of an attempt.
type Update struct {
	Key    wire.Key
	Change Change
	Node   wire.NodeID // its pilot
	PID    int         // while it runs
	Result wire.Result // from Exited on
	Reason string      // of a loss, for people
}

// End says how a job ended.
type End struct {
	Outcome Outcome
	Exit    int    // exit status for the user
	Reason  string // for people; empty when all went well
}

// Shunned tells that a job takes no more claims of a pilot.
type Shunned struct {
	Node   wire.NodeID
	Reason string
}

// Dispersed tells that a gang has let go of what was held for it.
type Dispersed struct {
	Held    int           // workers that there were slots for
	Missing int           // and that there were not
	Waited  time.Duration // since the first of them
	Pause   time.Duration // before it tries again
}

// Effects are what a machine of this package wants done. Its methods append to
// the Effects they are given.
type Effects struct {
	Sends    []Send
	Fetches  []Fetch
	Starts   []Start
	Kills    []Kill
	Collects []Collect
	Discards []wire.Key     // sandboxes and outputs to remove
	Drops    []wire.JobID   // jobs whose files to forget
	Freed    []int          // slots that workers no longer take
	Adverts  []*wire.Advert // to flood
	Updates  []Update
	Shunned  []Shunned
	Ended    *End

	Dispersed *Dispersed
}

func (fx *Effects) send(to wire.NodeID, m wire.Message) {
	fx.Sends = append(fx.Sends, Send{to, m})
}
