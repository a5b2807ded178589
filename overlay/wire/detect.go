package wire

// Kinds of the failure-detection protocol.
const (
	KindBeat    Kind = 0x5c
	KindInquiry Kind = 0x5d
	KindFinding Kind = 0x5e
	KindNotices Kind = 0x5f
)

// Limits of failure detection.
const (
	MaxSubjects = 1024 // nodes of one kind in one Notice
	MaxInquired = 64   // nodes in one Inquiry
	MaxNotices  = 16   // notices in one message
	MaxHealth   = 8    // of a node's local health: the worst
)

// Beat is a sign of life, over a link or through hubs.
type Beat struct {
	Incarnation uint32 `cbor:"1,keyasint,omitempty"` // of the sender, raised by it when it is suspected
	Ask         uint64 `cbor:"2,keyasint,omitempty"` // asks for a Beat with this in Answer
	Answer      uint64 `cbor:"3,keyasint,omitempty"`
	// Suspected tells the receiver that it is suspected, as of that
	// incarnation plus 1: it must raise its own to be believed. 0: it is not.
	Suspected uint32 `cbor:"4,keyasint,omitempty"`
	Dead      bool   `cbor:"5,keyasint,omitempty"` // the receiver was declared dead
	Health    uint8  `cbor:"6,keyasint,omitempty"` // of the sender, 0 (well) to MaxHealth
}

// Kind implements [Message].
func (*Beat) Kind() Kind { return KindBeat }

// Validate implements [Message].
func (m *Beat) Validate() error {
	if m.Health > MaxHealth {
		return invalidf("health %d", m.Health)
	}
	return nil
}

// Subject is a node that is spoken of, as of an incarnation.
type Subject struct {
	ID          NodeID `cbor:"1,keyasint"`
	Incarnation uint32 `cbor:"2,keyasint,omitempty"`
}

// Inquiry asks a node to find out whether others live that the sender does
// not hear.
type Inquiry struct {
	Seq      uint64    `cbor:"1,keyasint"` // the answer carries it
	Subjects []Subject `cbor:"2,keyasint"`
}

// Kind implements [Message].
func (*Inquiry) Kind() Kind { return KindInquiry }

// Validate implements [Message].
func (m *Inquiry) Validate() error {
	if len(m.Subjects) == 0 {
		return invalidf("inquiry about nobody")
	}
	return checkSubjects(m.Subjects, MaxInquired)
}

// Finding answers an Inquiry.
type Finding struct {
	Seq    uint64    `cbor:"1,keyasint"`           // that of the Inquiry
	Alive  []Subject `cbor:"2,keyasint,omitempty"` // they have just answered the sender
	Silent []NodeID  `cbor:"3,keyasint,omitempty"` // they did not, or their links to the sender have ended
	NoWay  []NodeID  `cbor:"4,keyasint,omitempty"` // the sender has no way to ask them
	Health uint8     `cbor:"5,keyasint,omitempty"` // of the sender
}

// Kind implements [Message].
func (*Finding) Kind() Kind { return KindFinding }

// Validate implements [Message].
func (m *Finding) Validate() error {
	if m.Health > MaxHealth {
		return invalidf("health %d", m.Health)
	}
	return firstError(checkSubjects(m.Alive, MaxInquired),
		checkNodes(m.Silent, MaxInquired), checkNodes(m.NoWay, MaxInquired))
}

// Notice is what one node tells all hubs and launchers about who lives. It is
// numbered by its origin, from 1 on.
type Notice struct {
	Origin   NodeID    `cbor:"1,keyasint"`
	Seq      uint64    `cbor:"2,keyasint"`
	Suspects []Subject `cbor:"3,keyasint,omitempty"` // who hears from them, say so
	Clears   []Subject `cbor:"4,keyasint,omitempty"` // alive, by their own word
	Accuses  []NodeID  `cbor:"5,keyasint,omitempty"` // hubs that the origin holds for dead
	Recants  []NodeID  `cbor:"6,keyasint,omitempty"` // and those that it no longer does
	Dead     []NodeID  `cbor:"7,keyasint,omitempty"` // it is decided
	By       []NodeID  `cbor:"8,keyasint,omitempty"` // the hubs that have accused the dead; empty for pilots
	Reason   string    `cbor:"9,keyasint,omitempty"` // why the dead are, for people
}

// Validate reports the first field that is out of its limits.
func (m *Notice) Validate() error {
	if m.Origin.IsZero() || m.Seq == 0 || m.Seq > maxSeq {
		return invalidf("notice %d of %s", m.Seq, m.Origin.Short())
	}
	return firstError(
		checkSubjects(m.Suspects, MaxSubjects), checkSubjects(m.Clears, MaxSubjects),
		checkNodes(m.Accuses, MaxSubjects), checkNodes(m.Recants, MaxSubjects),
		checkNodes(m.Dead, MaxSubjects), checkNodes(m.By, MaxSubjects),
		checkText("reason", m.Reason, MaxReason))
}

// Notices passes notices on, and says which ones the sender has.
type Notices struct {
	List []*Notice `cbor:"1,keyasint,omitempty"`
	Held []Held    `cbor:"2,keyasint,omitempty"` // these very ones, not all before them
}

// Kind implements [Message].
func (*Notices) Kind() Kind { return KindNotices }

// Validate implements [Message].
func (m *Notices) Validate() error {
	if len(m.List) > MaxNotices || len(m.Held) > MaxHeld || len(m.List)+len(m.Held) == 0 {
		return invalidf("%d notices, %d held", len(m.List), len(m.Held))
	}
	subjects := 0
	for _, n := range m.List {
		if n == nil {
			return invalidf("empty notice")
		}
		if err := n.Validate(); err != nil {
			return err
		}
		subjects += len(n.Suspects) + len(n.Clears) + len(n.Accuses) + len(n.Recants) + len(n.Dead) + len(n.By)
	}
	if subjects > 4*MaxSubjects {
		return invalidf("notices about %d nodes", subjects)
	}
	return (&LinksHeld{Held: m.Held}).Validate()
}

func checkSubjects(list []Subject, max int) error {
	if len(list) > max {
		return invalidf("%d nodes", len(list))
	}
	for i := range list {
		if list[i].ID.IsZero() {
			return invalidf("node without identity")
		}
	}
	return nil
}

func checkNodes(list []NodeID, max int) error {
	if len(list) > max {
		return invalidf("%d nodes", len(list))
	}
	for i := range list {
		if list[i].IsZero() {
			return invalidf("node without identity")
		}
	}
	return nil
}
