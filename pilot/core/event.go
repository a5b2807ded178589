package core

import (
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// Event is something a user of a node wants to know: [PeerUp], [PeersDown],
// [Misbehaved], [WorkerChanged], [PilotShunned],
// [GangDispersed] or [JobEnded].
type Event interface{ event() }

// PeerUp tells of a node that became part of the session.
type PeerUp struct{ Peer wire.Peer }

// PeersDown tells of nodes that are no longer part of it. Those that died
// together are one event.
type PeersDown struct {
	Peers  []wire.Peer
	Reason string
}

// WorkerChanged tells of an attempt in a job of this node.
type WorkerChanged struct {
	Key    wire.Key
	Change job.Change
	Peer   wire.Peer   // its pilot, as far as it is known
	PID    int         // while it runs
	Result wire.Result // from Exited on
	Reason string      // of a loss, for people
}

// PilotShunned tells that a job takes no more claims of a pilot, because
// workers keep failing to start there.
type PilotShunned struct {
	Job    wire.JobID
	Peer   wire.Peer
	Reason string
}

// GangDispersed tells that slots for a job's first workers were held for as long as
// they may be, and are free again: the job tries again after a pause.
type GangDispersed struct {
	Job           wire.JobID
	Held, Missing int           // workers that there were slots for, and not
	Waited, Pause time.Duration // how long they were held, and will not be
	Idle          time.Duration // core time held in vain, or waited, by the job so far
}

// JobEnded is the last event of a job.
type JobEnded struct {
	Job     wire.JobID
	Outcome job.Outcome
	Exit    int    // exit status for the user
	Reason  string // for people; empty when all went well

	// Idle is the core time for which slots were held for the job while it
	// waited for others.
	Idle time.Duration
}

// Misbehaved tells, once for each link and reason, of a peer that breaks the rules
// and is bounded.
type Misbehaved struct {
	Peer   wire.Peer
	Reason string
}

func (Misbehaved) event()    {}
func (PeerUp) event()        {}
func (PeersDown) event()     {}
func (WorkerChanged) event() {}
func (PilotShunned) event()  {}
func (GangDispersed) event() {}
func (JobEnded) event()      {}
