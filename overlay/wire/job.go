package wire

import (
	"cmp"
	"slices"
	"time"
)

// Kinds of the job protocol, spoken between a job's primary and pilots; Advert
// and Closed are passed on by every node.
const (
	KindAdvert  Kind = 0x10
	KindClaim   Kind = 0x11
	KindHold    Kind = 0x12
	KindGrant   Kind = 0x13
	KindRefuse  Kind = 0x14
	KindRelease Kind = 0x15
	KindReport  Kind = 0x16
	KindAck     Kind = 0x17
	KindStop    Kind = 0x18
	KindClosed  Kind = 0x19
	KindRenew   Kind = 0x1a
)

// Limits of the job protocol.
const (
	MaxRanks    = 1 << 20   // workers of a job
	MaxWorkers  = 64        // workers in one message
	MaxArgs     = 4096      // arguments, and environment variables, of a program
	MaxText     = 128 << 10 // bytes in one of them
	MaxProgram  = 160 << 10 // bytes of all texts of a program together
	MaxHolders  = 64        // holders in a grant
	MaxOutputs  = 64        // output globs
	MaxWarnings = 16        // warnings about one attempt
	MaxWarned   = 2 << 10   // bytes in all of them
	MaxPlatform = 8         // platforms in requirements
	MaxAsks     = 128       // hubs, or pilots, that one advert is for
)

// Requirements say what each worker of a job needs.
type Requirements struct {
	Cores     uint32   `cbor:"1,keyasint,omitempty"` // 0 means one slot's
	Memory    int64    `cbor:"2,keyasint,omitempty"` // bytes; 0 means one slot's
	Disk      int64    `cbor:"3,keyasint,omitempty"` // bytes of scratch
	GPUs      uint32   `cbor:"4,keyasint,omitempty"`
	Platforms []string `cbor:"5,keyasint,omitempty"` // such as "linux/amd64"; none means any
	Runtime   string   `cbor:"6,keyasint,omitempty"` // kind of runtime, a hint: a pilot that knows it lacks it makes no claim
	// Walltime is how long a worker may need: a pilot that leaves sooner makes
	// no claim. 0 means that it is not known.
	Walltime time.Duration `cbor:"7,keyasint,omitempty"`
}

// Validate reports the first field that is out of its limits.
func (r *Requirements) Validate() error {
	if r.Cores > MaxCores || r.GPUs > MaxCores || r.Memory < 0 || r.Memory > MaxBytes || r.Disk < 0 || r.Disk > MaxBytes {
		return invalidf("requirements of %d cores, %d GPUs, %d bytes of memory, %d of disk", r.Cores, r.GPUs, r.Memory, r.Disk)
	}
	return firstError(
		checkList("platforms", r.Platforms, MaxPlatform, MaxName),
		checkText("runtime", r.Runtime, 64),
		checkTime("wall time", r.Walltime))
}

// Advert says that a job wants workers. Without To it floods: a node that sees
// a Seq newer than it knows passes it on and keeps it for those that come
// later. With To it goes to some hubs only, each node on the way passing on to
// every next one what is for hubs behind it.
type Advert struct {
	Job     JobID         `cbor:"1,keyasint"`
	Epoch   uint32        `cbor:"2,keyasint"` // grows when another node becomes the job's primary
	Seq     uint64        `cbor:"3,keyasint"` // grows with every change of the advert
	Primary NodeID        `cbor:"4,keyasint"`
	Order   uint64        `cbor:"5,keyasint"` // a Lamport clock's time at submission: of two jobs the lower one is older and goes first
	Open    uint32        `cbor:"6,keyasint"` // workers wanted now; 0 while the job has all it wants
	Needs   Requirements  `cbor:"7,keyasint"`
	Lease   time.Duration `cbor:"8,keyasint"` // the job's lease: life without a sign of the primary

	Hubs []NodeID `cbor:"9,keyasint,omitempty"`  // those that relay to the primary, best first
	To   []Ask    `cbor:"10,keyasint,omitempty"` // whom it is for; none means everybody
	Hops uint8    `cbor:"11,keyasint,omitempty"` // with To: how many more nodes may pass it on
}

// Ask names a hub that an advert is for or, from there on, a pilot.
type Ask struct {
	Node NodeID `cbor:"1,keyasint"`
	// Workers is how many workers are asked of it, once, whatever else is
	// open; 0 opens the advert there as if it had flooded.
	Workers uint32 `cbor:"2,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Advert) Kind() Kind { return KindAdvert }

// Validate implements [Message].
func (m *Advert) Validate() error {
	if m.Primary.IsZero() || m.Open > MaxRanks {
		return invalidf("advert for %d workers", m.Open)
	}
	if len(m.To) > MaxAsks || m.Hops > MaxHops {
		return invalidf("advert for %d hubs over %d hops", len(m.To), m.Hops)
	}
	for i := range m.To {
		if a := &m.To[i]; a.Node.IsZero() || a.Workers > MaxRanks {
			return invalidf("advert that asks for %d workers of %s", a.Workers, a.Node.Short())
		}
	}
	return firstError(m.Needs.Validate(), checkTime("lease", m.Lease), checkHubs(m.Primary, m.Hubs))
}

// Claim offers a pilot's slots to a job. It is repeated until it is answered
// or has expired.
type Claim struct {
	Job     JobID         `cbor:"1,keyasint"`
	Epoch   uint32        `cbor:"2,keyasint"`
	Seq     uint64        `cbor:"3,keyasint"`           // the claim's number, unique for the pilot
	Workers uint32        `cbor:"4,keyasint"`           // how many workers the offered slots hold
	TTL     time.Duration `cbor:"5,keyasint"`           // how long the slots stay offered
	Hubs    []NodeID      `cbor:"6,keyasint,omitempty"` // those that relay to the pilot, best first
}

// Kind implements [Message].
func (*Claim) Kind() Kind { return KindClaim }

// Validate implements [Message].
func (m *Claim) Validate() error {
	if m.Workers == 0 || m.Workers > MaxSlots {
		return invalidf("claim for %d workers", m.Workers)
	}
	return firstError(checkTime("claim's time", m.TTL), checkHubs(NodeID{}, m.Hubs))
}

// Hold answers a claim that waits for the rest of a gang: the pilot keeps
// Workers workers' slots for the job until TTL, and frees the others.
type Hold struct {
	Job     JobID         `cbor:"1,keyasint"`
	Epoch   uint32        `cbor:"2,keyasint"`
	Seq     uint64        `cbor:"3,keyasint"` // the claim's
	Workers uint32        `cbor:"4,keyasint"`
	TTL     time.Duration `cbor:"5,keyasint"`
}

// Kind implements [Message].
func (*Hold) Kind() Kind { return KindHold }

// Validate implements [Message].
func (m *Hold) Validate() error {
	if m.Workers == 0 || m.Workers > MaxSlots {
		return invalidf("hold for %d workers", m.Workers)
	}
	return checkTime("hold's time", m.TTL)
}

// Attempt is one start of the worker with a rank.
type Attempt struct {
	Rank    uint32 `cbor:"1,keyasint"`
	Attempt uint32 `cbor:"2,keyasint"` // from 1 on
}

// Compare orders attempts by rank, then by attempt.
func (a Attempt) Compare(b Attempt) int {
	return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Attempt, b.Attempt))
}

// Key names one start of one worker in a session.
type Key struct {
	Job     JobID
	Rank    uint32
	Attempt uint32
}

// Compare orders keys by job, rank and attempt.
func (k Key) Compare(o Key) int {
	return cmp.Or(k.Job.Compare(o.Job), cmp.Compare(k.Rank, o.Rank), cmp.Compare(k.Attempt, o.Attempt))
}

// Grant gives ranks to a claim's slots. It is repeated until a report tells of
// its workers. Slots of the claim that it does not need are free.
type Grant struct {
	Job     JobID         `cbor:"1,keyasint"`
	Epoch   uint32        `cbor:"2,keyasint"`
	Seq     uint64        `cbor:"3,keyasint"` // the claim's
	Lease   time.Duration `cbor:"4,keyasint"` // the job's
	Size    uint32        `cbor:"5,keyasint"` // workers the job wants in all
	Workers []Attempt     `cbor:"6,keyasint"` // in order
	Program Program       `cbor:"7,keyasint"`
}

// Kind implements [Message].
func (*Grant) Kind() Kind { return KindGrant }

// Validate implements [Message].
func (m *Grant) Validate() error {
	if m.Size > MaxRanks {
		return invalidf("job of %d workers", m.Size)
	}
	if len(m.Workers) == 0 {
		return invalidf("grant of nothing")
	}
	return firstError(checkAttempts(m.Workers), checkTime("lease", m.Lease), m.Program.Validate())
}

// Refuse answers a claim, offered or held, that the primary has no use for.
// The pilot frees its slots.
type Refuse struct {
	Job   JobID         `cbor:"1,keyasint"`
	Epoch uint32        `cbor:"2,keyasint"`
	Seq   uint64        `cbor:"3,keyasint"`           // the claim's
	Shun  time.Duration `cbor:"4,keyasint,omitempty"` // make no other claim for this job before this time has passed
}

// Kind implements [Message].
func (*Refuse) Kind() Kind { return KindRefuse }

// Validate implements [Message].
func (m *Refuse) Validate() error { return checkTime("shun", m.Shun) }

// Release takes a claim back: an older job wants its slots (then it asks), they
// expired, or the pilot leaves. It also answers a Hold or Grant for a claim that is no
// more.
type Release struct {
	Job    JobID  `cbor:"1,keyasint"`
	Epoch  uint32 `cbor:"2,keyasint"`
	Seq    uint64 `cbor:"3,keyasint"` // the claim's
	Reason string `cbor:"4,keyasint,omitempty"`
	// All says that nothing of the job is left here: no claim up to Seq, nor a
	// worker granted to one.
	All bool `cbor:"5,keyasint,omitempty"`
	// Ask says that the claim is held until the primary refuses it, or does not
	// answer in time: what it has granted meanwhile is granted.
	Ask bool `cbor:"6,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Release) Kind() Kind { return KindRelease }

// Validate implements [Message].
func (m *Release) Validate() error { return checkText("reason", m.Reason, MaxReason) }

// Ack acknowledges a Report to the pilot, and a Renew or a Closed to the primary.
type Ack struct {
	Job   JobID  `cbor:"1,keyasint"`
	Epoch uint32 `cbor:"2,keyasint"`
	Of    Kind   `cbor:"3,keyasint"` // kind of the acknowledged message
	Seq   uint64 `cbor:"4,keyasint"` // its Seq
	// Before, in the acknowledgement of a Renew, says that no claim with a lower
	// number, and no worker granted to one, is here (any more).
	Before uint64 `cbor:"5,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Ack) Kind() Kind { return KindAck }

// Validate implements [Message].
func (m *Ack) Validate() error {
	if m.Of != KindReport && m.Of != KindRenew && m.Of != KindClosed {
		return invalidf("acknowledgement of kind %d", m.Of)
	}
	return nil
}

// Stop ends attempts. It is repeated until a report says that they are gone,
// or, with Keep, that they have exited.
type Stop struct {
	Job     JobID     `cbor:"1,keyasint"`
	Epoch   uint32    `cbor:"2,keyasint"`
	Workers []Attempt `cbor:"3,keyasint"`
	// Keep keeps what they have written until it is collected. Without it the
	// primary has no more use for the attempts: they were collected, or a
	// newer one counts.
	Keep   bool   `cbor:"4,keyasint,omitempty"`
	Now    bool   `cbor:"5,keyasint,omitempty"` // without grace
	Reason string `cbor:"6,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Stop) Kind() Kind { return KindStop }

// Validate implements [Message].
func (m *Stop) Validate() error {
	if len(m.Workers) == 0 {
		return invalidf("stop of nothing")
	}
	return firstError(checkAttempts(m.Workers), checkText("reason", m.Reason, MaxReason))
}

// Closed says that a job has ended. It floods like an advert; a node keeps it
// for a while in the job's place, and answers what comes late for the job
// with it. A pilot that had workers of the job ends and forgets them.
type Closed struct {
	Job   JobID  `cbor:"1,keyasint"`
	Epoch uint32 `cbor:"2,keyasint"`
	Ack   bool   `cbor:"3,keyasint,omitempty"` // to be acknowledged: it comes from the primary itself
}

// Kind implements [Message].
func (*Closed) Kind() Kind { return KindClosed }

// Validate implements [Message].
func (*Closed) Validate() error { return nil }

// Renew is a primary's sign of life to the pilots that hold or run something
// for its job.
type Renew struct {
	Job   JobID         `cbor:"1,keyasint"`
	Epoch uint32        `cbor:"2,keyasint"`
	Seq   uint64        `cbor:"3,keyasint"`
	Lease time.Duration `cbor:"4,keyasint"` // the job's, from now on
}

// Kind implements [Message].
func (*Renew) Kind() Kind { return KindRenew }

// Validate implements [Message].
func (m *Renew) Validate() error { return checkTime("lease", m.Lease) }

func checkAttempts(list []Attempt) error {
	if len(list) > MaxSlots {
		return invalidf("%d attempts", len(list))
	}
	for _, a := range list {
		if a.Attempt == 0 || a.Rank >= MaxRanks {
			return invalidf("attempt %d of rank %d", a.Attempt, a.Rank)
		}
	}
	if !slices.IsSortedFunc(list, Attempt.Compare) {
		return invalidf("attempts not in order")
	}
	return nil
}
