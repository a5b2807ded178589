package wire

import "time"

// Kinds of the search for slots: a pilot tells its hub how many are free, hubs
// tell each other, and a primary asks its hub.
const (
	KindFree   Kind = 0x60
	KindTables Kind = 0x61
	KindFind   Kind = 0x62
	KindFound  Kind = 0x63
)

// Limits of the search for slots.
const (
	MaxClasses = 8       // of one table
	MaxRows    = 64      // in one message
	MaxCounted = 1 << 16 // pilots of one table
)

// Free tells a hub how many slots of a pilot nobody has. It is sent to one hub
// only, so that they are counted once, when the number has changed.
type Free struct {
	Seq   uint64        `cbor:"1,keyasint"` // grows
	Slots uint32        `cbor:"2,keyasint,omitempty"`
	Left  time.Duration `cbor:"3,keyasint,omitempty"` // until the pilot leaves; 0 is not known
}

// Kind implements [Message].
func (*Free) Kind() Kind { return KindFree }

// Validate implements [Message].
func (m *Free) Validate() error {
	if m.Slots > MaxSlots {
		return invalidf("%d free slots", m.Slots)
	}
	return checkTime("time left", m.Left)
}

// Table is what a hub says of the free slots of its pilots. It does not change
// once it is sent, so that it can be shared; a newer one has a greater Seq.
// It is a hint: who believes it loses a round at most.
type Table struct {
	Hub        NodeID      `cbor:"1,keyasint"`
	Site       string      `cbor:"2,keyasint,omitempty"`
	Seq        uint64      `cbor:"3,keyasint"` // from 1 on
	Pilots     uint32      `cbor:"4,keyasint,omitempty"`
	Classes    []Class     `cbor:"5,keyasint,omitempty"` // pilots that are alike, those with the most free slots first
	Coordinate *Coordinate `cbor:"6,keyasint,omitempty"` // of the hub, and so of its site
}

// Class sums up those pilots of a hub that are alike and have free slots.
type Class struct {
	Offer    Offer  `cbor:"1,keyasint"` // of each of them, about
	Platform string `cbor:"2,keyasint,omitempty"`
	Pilots   uint32 `cbor:"3,keyasint"`
	Slots    uint32 `cbor:"4,keyasint"` // free, of all together
	// Left is how long each of them is there at least, about; 0 is for as long
	// as is known.
	Left time.Duration `cbor:"5,keyasint,omitempty"`
}

// Row is a table on its way, with the time since its hub wrote it.
type Row struct {
	Table *Table        `cbor:"1,keyasint"`
	Age   time.Duration `cbor:"2,keyasint,omitempty"`
}

// Validate reports the first field that is out of its limits.
func (t *Table) Validate() error {
	if t.Hub.IsZero() || t.Seq == 0 || t.Pilots > MaxCounted || len(t.Classes) > MaxClasses {
		return invalidf("table of %s with %d pilots in %d classes", t.Hub.Short(), t.Pilots, len(t.Classes))
	}
	for i := range t.Classes {
		c := &t.Classes[i]
		if c.Pilots == 0 || c.Pilots > t.Pilots || c.Slots < c.Pilots || uint64(c.Slots) > uint64(c.Pilots)*uint64(c.Offer.Slots) {
			return invalidf("class of %d pilots with %d free slots", c.Pilots, c.Slots)
		}
		if err := firstError(c.Offer.Validate(), checkText("platform", c.Platform, MaxName), checkTime("time left", c.Left)); err != nil {
			return err
		}
	}
	if t.Coordinate != nil {
		if err := t.Coordinate.Validate(); err != nil {
			return err
		}
	}
	return checkText("site", t.Site, MaxName)
}

// Tables passes news of hubs on to another hub, or to a launcher.
type Tables struct {
	Rows []Row `cbor:"1,keyasint"`
}

// Kind implements [Message].
func (*Tables) Kind() Kind { return KindTables }

// Validate implements [Message].
func (m *Tables) Validate() error { return checkRows(m.Rows) }

// Find asks a hub where workers could run. It is answered with [Found].
type Find struct {
	Seq     uint64       `cbor:"1,keyasint"` // the answer carries it
	Needs   Requirements `cbor:"2,keyasint"`
	Workers uint32       `cbor:"3,keyasint"`
}

// Kind implements [Message].
func (*Find) Kind() Kind { return KindFind }

// Validate implements [Message].
func (m *Find) Validate() error {
	if m.Workers == 0 || m.Workers > MaxRanks {
		return invalidf("search for %d workers", m.Workers)
	}
	return m.Needs.Validate()
}

// Found answers a Find with the tables of hubs, the asked one's among them,
// that have fitting slots; with those of other hubs after them, for who they
// are and where.
type Found struct {
	Seq  uint64 `cbor:"1,keyasint"`
	Rows []Row  `cbor:"2,keyasint,omitempty"`
	More bool   `cbor:"3,keyasint,omitempty"` // another message of the same answer follows
}

// Kind implements [Message].
func (*Found) Kind() Kind { return KindFound }

// Validate implements [Message].
func (m *Found) Validate() error { return checkRows(m.Rows) }

func checkRows(rows []Row) error {
	if len(rows) > MaxRows {
		return invalidf("%d tables", len(rows))
	}
	for i := range rows {
		if rows[i].Table == nil {
			return invalidf("empty table")
		}
		if err := firstError(rows[i].Table.Validate(), checkTime("age", rows[i].Age)); err != nil {
			return err
		}
	}
	return nil
}
