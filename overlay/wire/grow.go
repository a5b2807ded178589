package wire

import (
	"strings"
	"time"
)

// Kinds of the conversation on a grow stream.
const (
	KindGrowOrder Kind = 0x25
	KindGrown     Kind = 0x26
)

// Limits of grow orders.
const (
	MaxGrowText = 16 << 10 // bytes of each of its texts
	MaxGrowJobs = 512      // jobs in one message
)

// GrowOrder tells a hub how to do for its launcher, while that is away, what
// the launcher does for a site with a queueing system: to replace pilots that
// are lost, and to cancel those in the queue that nobody wants. Only a launcher
// may send it; the hub answers with [Grown]. With a Seq that is not newer than
// the latest it is but a question.
//
// The texts are for /bin/sh on the hub's host, which reads them on standard
// input, with arguments. They hold everything that is the queueing system's or
// the user's: the hub makes no text of its own.
type GrowOrder struct {
	Seq uint64 `cbor:"1,keyasint,omitempty"`

	Submit string `cbor:"2,keyasint,omitempty"` // submits as many pilots as the argument says; prints the name of each job, one a line
	Status string `cbor:"3,keyasint,omitempty"` // prints "NAME STATE" for those of the jobs named by its arguments that are known, see [GrowState]
	Cancel string `cbor:"4,keyasint,omitempty"` // cancels the jobs named by its arguments

	Pilots uint32        `cbor:"5,keyasint,omitempty"` // wanted, in the queue and at work together
	Most   uint32        `cbor:"6,keyasint,omitempty"` // that may be submitted under this order
	Every  time.Duration `cbor:"7,keyasint,omitempty"` // at least, between two commands of a kind
	Away   time.Duration `cbor:"8,keyasint,omitempty"` // nothing is done before the launcher was silent for so long
	TTL    time.Duration `cbor:"9,keyasint,omitempty"` // nothing is submitted later than this after the receipt

	Jobs []string `cbor:"10,keyasint,omitempty"` // that the launcher has submitted and that are not over
}

// Kind implements [Message].
func (*GrowOrder) Kind() Kind { return KindGrowOrder }

// Validate implements [Message].
func (m *GrowOrder) Validate() error {
	for _, text := range []string{m.Submit, m.Status, m.Cancel} {
		if strings.ContainsRune(text, 0) || m.Seq > 0 && text == "" {
			return invalidf("grow order without a text, or with a NUL in one")
		}
		if err := checkText("text of a grow order", text, MaxGrowText); err != nil {
			return err
		}
	}
	if m.Seq > 0 && m.Every <= 0 || m.Pilots > MaxCounted || m.Most > MaxCounted {
		return invalidf("grow order for %d pilots, %d more, every %v", m.Pilots, m.Most, m.Every)
	}
	for _, id := range m.Jobs {
		if err := checkGrowJob(id); err != nil {
			return err
		}
	}
	if len(m.Jobs) > MaxGrowJobs {
		return invalidf("grow order with %d jobs", len(m.Jobs))
	}
	return firstError(checkTime("grow order's pause", m.Every), checkTime("absence", m.Away), checkTime("grow order's time", m.TTL))
}

// GrowState is what a hub knows of a job in a queue.
type GrowState uint8

// The states of a job in a queue, and their words in the output of a status text.
const (
	GrowUnknown GrowState = 0 // not asked for, or not answered
	GrowQueued  GrowState = 1 // "queued"
	GrowHeld    GrowState = 2 // "held": it will not start without intervention
	GrowRunning GrowState = 3 // "running"
	GrowDone    GrowState = 4 // "done": it is over, however it ended
)

// ParseGrowState reads the word of a state.
func ParseGrowState(s string) (GrowState, bool) {
	switch s {
	case "queued":
		return GrowQueued, true
	case "held":
		return GrowHeld, true
	case "running":
		return GrowRunning, true
	case "done":
		return GrowDone, true
	}
	return GrowUnknown, false
}

// GrowJob is a job in a queue, as a hub knows it.
type GrowJob struct {
	ID        string    `cbor:"1,keyasint"`
	State     GrowState `cbor:"2,keyasint,omitempty"`
	Ours      bool      `cbor:"3,keyasint,omitempty"` // the hub has submitted it
	Cancelled bool      `cbor:"4,keyasint,omitempty"` // the hub has cancelled it
}

// Grown tells what a hub has done under a [GrowOrder].
type Grown struct {
	Seq       uint64    `cbor:"1,keyasint,omitempty"` // of the latest order; 0: there was none
	Jobs      []GrowJob `cbor:"2,keyasint,omitempty"` // of the order and since, those that are over included
	Submitted uint32    `cbor:"3,keyasint,omitempty"` // by the hub
	Cancelled uint32    `cbor:"4,keyasint,omitempty"` // by the hub
	Commands  uint32    `cbor:"5,keyasint,omitempty"` // that it has run
	Error     string    `cbor:"6,keyasint,omitempty"` // of the latest that failed, for people
}

// Kind implements [Message].
func (*Grown) Kind() Kind { return KindGrown }

// Validate implements [Message].
func (m *Grown) Validate() error {
	if len(m.Jobs) > MaxGrowJobs {
		return invalidf("%d grown jobs", len(m.Jobs))
	}
	for i := range m.Jobs {
		if err := checkGrowJob(m.Jobs[i].ID); err != nil {
			return err
		}
		if m.Jobs[i].State > GrowDone {
			return invalidf("state %d of a job", m.Jobs[i].State)
		}
	}
	return checkText("error", m.Error, MaxReason)
}

// IsGrowJob reports whether a word can be the name of a job: it is given to
// commands as an argument, so it must not look like an option.
func IsGrowJob(id string) bool { return checkGrowJob(id) == nil }

func checkGrowJob(id string) error {
	if id == "" || len(id) > MaxName {
		return invalidf("name of a job of %d bytes", len(id))
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		case i > 0 && strings.IndexByte("._-@:;[]+", c) >= 0:
		default:
			return invalidf("name of a job %.64q", id)
		}
	}
	return nil
}
