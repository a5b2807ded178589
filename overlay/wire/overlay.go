package wire

import (
	"strings"
	"time"
)

// Kinds of the overlay protocol, spoken on links.
const (
	KindHello        Kind = 0x01
	KindWelcome      Kind = 0x02
	KindPeersChanged Kind = 0x03
	KindPing         Kind = 0x04
	KindPong         Kind = 0x05
	KindLeave        Kind = 0x06
	KindTokens       Kind = 0x07
	KindRetire       Kind = 0x08
)

// ProtocolVersion is the version of the messages on links. Nodes of different
// versions do not form a link.
const ProtocolVersion = 1

// Limits of the overlay protocol.
const (
	MaxPeers   = 128            // peers in one message
	MaxAdverts = 32             // adverts in one Welcome
	MaxTokens  = 256            // tokens of one site
	MaxSlots   = 4096           // slots of one node
	MaxCores   = 1 << 16        // cores of one node
	MaxBytes   = int64(1) << 50 // memory or disk of one node, in bytes
	MaxName    = 255            // bytes in the name of a host, a site or a platform
	MaxReason  = 1024           // bytes in a reason meant for people
	MaxWhy     = 128            // bytes in one of many reasons
	MaxPart    = 1 << 20        // hosts of one job of a scheduler
	MaxTime    = 400 * 24 * time.Hour
)

// Offer is what a node offers to jobs. A node without slots runs no workers.
type Offer struct {
	Slots  uint32 `cbor:"1,keyasint,omitempty"`
	Cores  uint32 `cbor:"2,keyasint,omitempty"` // in all slots together
	Memory int64  `cbor:"3,keyasint,omitempty"` // bytes in all slots together; 0 is unknown
	Disk   int64  `cbor:"4,keyasint,omitempty"` // bytes of scratch in all slots together; 0 is unknown
	GPUs   uint32 `cbor:"5,keyasint,omitempty"`
}

// Validate reports the first quantity that is out of its limits.
func (o *Offer) Validate() error {
	switch {
	case o.Slots > MaxSlots:
		return invalidf("offer of %d slots", o.Slots)
	case o.Cores > MaxCores || o.GPUs > MaxCores:
		return invalidf("offer of %d cores, %d GPUs", o.Cores, o.GPUs)
	case o.Memory < 0 || o.Memory > MaxBytes || o.Disk < 0 || o.Disk > MaxBytes:
		return invalidf("offer of %d bytes of memory, %d of disk", o.Memory, o.Disk)
	}
	return nil
}

// Peer describes a node. ID, Role and Site are what its certificate says; the
// others are its own words.
type Peer struct {
	ID       NodeID `cbor:"1,keyasint"`
	Site     string `cbor:"3,keyasint,omitempty"`
	Name     string `cbor:"4,keyasint,omitempty"` // its host, for people
	Offer    Offer  `cbor:"5,keyasint"`
	Platform string `cbor:"6,keyasint,omitempty"` // such as "linux/amd64"
	Role     Role   `cbor:"2,keyasint"`
	// Path and RTT are of its link to the node that tells of it, which says so.
	Path Path   `cbor:"7,keyasint,omitempty"`
	RTT  uint32 `cbor:"8,keyasint,omitempty"`  // microseconds; 0 is unknown
	Part uint32 `cbor:"10,keyasint,omitempty"` // which of Job's hosts the node is on, if it has several
	// Job is the scheduler's name of the job that the node runs in, if any. A
	// job that a scheduler runs again has a new node under the same name.
	Job string `cbor:"9,keyasint,omitempty"`
}

// Validate reports the first field that is out of its limits.
func (p *Peer) Validate() error {
	if p.ID.IsZero() {
		return invalidf("peer without identity")
	}
	if p.Role < RolePilot || p.Role > RoleLauncher {
		return invalidf("role %d", p.Role)
	}
	if p.Part > MaxPart {
		return invalidf("part %d of a job", p.Part)
	}
	return firstError(
		checkText("site", p.Site, MaxName),
		checkText("name", p.Name, MaxName),
		checkText("platform", p.Platform, MaxName),
		checkText("job", p.Job, MaxName),
		p.Offer.Validate())
}

// Hello is the first message of both ends of a link.
type Hello struct {
	Version  uint16 `cbor:"1,keyasint"`
	Offer    Offer  `cbor:"2,keyasint"`
	Platform string `cbor:"3,keyasint,omitempty"`
	Name     string `cbor:"4,keyasint,omitempty"`
	// Hubs are those that relay to the sender, best first, as far as it knows:
	// the first one speaks for it. Said again when they change.
	Hubs []NodeID `cbor:"5,keyasint,omitempty"`
	Job  string   `cbor:"6,keyasint,omitempty"` // as in [Peer], and so is Part
	Part uint32   `cbor:"7,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Hello) Kind() Kind { return KindHello }

// Validate implements [Message].
func (m *Hello) Validate() error {
	if m.Part > MaxPart {
		return invalidf("part %d of a job", m.Part)
	}
	return firstError(
		checkText("platform", m.Platform, MaxName),
		checkText("name", m.Name, MaxName),
		checkText("job", m.Job, MaxName),
		checkHubs(NodeID{}, m.Hubs),
		m.Offer.Validate())
}

// Welcome answers a Hello: what a node that was not there has missed. Peers
// that do not fit follow in [PeersChanged].
type Welcome struct {
	Peers   []Peer        `cbor:"1,keyasint,omitempty"` // nodes reached through the sender
	Down    []NodeID      `cbor:"2,keyasint,omitempty"` // nodes known to be gone, the latest ones
	Adverts []*Advert     `cbor:"3,keyasint,omitempty"` // jobs that still want workers, oldest first; none with To
	Quiet   time.Duration `cbor:"4,keyasint,omitempty"` // as in [Ping]
	Place   *Coordinate   `cbor:"5,keyasint,omitempty"` // where the sender is: a start for one that knows nothing yet
}

// Kind implements [Message].
func (*Welcome) Kind() Kind { return KindWelcome }

// Validate implements [Message].
func (m *Welcome) Validate() error {
	if len(m.Adverts) > MaxAdverts {
		return invalidf("%d adverts", len(m.Adverts))
	}
	for _, a := range m.Adverts {
		if a == nil || len(a.To) > 0 {
			return invalidf("empty advert, or one for others")
		}
		if err := a.Validate(); err != nil {
			return err
		}
	}
	if m.Place != nil {
		if err := m.Place.Validate(); err != nil {
			return err
		}
	}
	return firstError(checkPeers(m.Peers, m.Down), checkTime("quiet", m.Quiet))
}

// PeersChanged tells of nodes that are now reached through the sender, and of
// nodes that are gone for good: the process is known to have ended.
type PeersChanged struct {
	Up   []Peer   `cbor:"1,keyasint,omitempty"`
	Down []NodeID `cbor:"2,keyasint,omitempty"`
	Why  []string `cbor:"3,keyasint,omitempty"` // for each of Down, or none at all, for people; an empty one is not known
}

// Kind implements [Message].
func (*PeersChanged) Kind() Kind { return KindPeersChanged }

// Validate implements [Message].
func (m *PeersChanged) Validate() error {
	if len(m.Why) > 0 && len(m.Why) != len(m.Down) {
		return invalidf("%d peers down for %d reasons", len(m.Down), len(m.Why))
	}
	return firstError(checkPeers(m.Up, m.Down), checkList("reasons", m.Why, MaxPeers, MaxWhy))
}

// Ping is a sign of life, asked to be answered with [Pong]. It carries the
// lease: Quiet is how long ago the sender itself had a sign of life from those
// the session works for (0 for a launcher).
type Ping struct {
	Seq   uint64        `cbor:"1,keyasint"`
	Quiet time.Duration `cbor:"2,keyasint,omitempty"` // nanoseconds
}

// Kind implements [Message].
func (*Ping) Kind() Kind { return KindPing }

// Validate implements [Message].
func (m *Ping) Validate() error { return checkTime("quiet", m.Quiet) }

// Pong answers a Ping.
type Pong struct {
	Seq uint64 `cbor:"1,keyasint"` // that of the Ping
}

// Kind implements [Message].
func (*Pong) Kind() Kind { return KindPong }

// Validate implements [Message].
func (*Pong) Validate() error { return nil }

// Leave is a node's last message on a link: its process ends now.
type Leave struct {
	Reason string `cbor:"1,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Leave) Kind() Kind { return KindLeave }

// Validate implements [Message].
func (m *Leave) Validate() error { return checkText("reason", m.Reason, MaxReason) }

// Token admits nodes to a session, see [Join]. The secret is as long as it
// must be to be worth nothing to guess.
type Token struct {
	Name   string        `cbor:"1,keyasint"` // public
	Secret []byte        `cbor:"2,keyasint"` // 16 to 64 bytes
	Role   Role          `cbor:"3,keyasint"` // what it admits as; never a launcher
	Joins  uint32        `cbor:"4,keyasint"` // how many nodes it admits
	TTL    time.Duration `cbor:"5,keyasint"` // how long it is good for, from its receipt on
}

// Tokens gives a hub the join tokens of its site, all of them: those that are
// missing are revoked. Only a launcher may send it.
type Tokens struct {
	Tokens []Token `cbor:"1,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Tokens) Kind() Kind { return KindTokens }

// Validate implements [Message].
func (m *Tokens) Validate() error {
	if len(m.Tokens) > MaxTokens {
		return invalidf("%d tokens", len(m.Tokens))
	}
	for i := range m.Tokens {
		t := &m.Tokens[i]
		if t.Name == "" || len(t.Secret) < 16 || len(t.Secret) > 64 {
			return invalidf("token %q with a secret of %d bytes", t.Name, len(t.Secret))
		}
		if t.Role != RolePilot && t.Role != RoleHub {
			return invalidf("token for role %d", t.Role)
		}
		if err := firstError(checkText("token", t.Name, 64), checkTime("token's time", t.TTL)); err != nil {
			return err
		}
	}
	return nil
}

// Retire asks a hub or a pilot to leave now, cleanly. A hub passes it on to
// the pilots of its site first. Only a launcher, or the site's own hub, may
// send it.
type Retire struct {
	Reason string `cbor:"1,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Retire) Kind() Kind { return KindRetire }

// Validate implements [Message].
func (m *Retire) Validate() error { return checkText("reason", m.Reason, MaxReason) }

func checkPeers(up []Peer, down []NodeID) error {
	if len(up) > MaxPeers || len(down) > MaxPeers {
		return invalidf("%d peers up, %d down", len(up), len(down))
	}
	for i := range up {
		if err := up[i].Validate(); err != nil {
			return err
		}
	}
	return nil
}

// checkTime bounds a duration.
func checkTime(field string, d time.Duration) error {
	if d < 0 || d > MaxTime {
		return invalidf("%s of %v", field, d)
	}
	return nil
}

// checkList bounds a list of texts, which hold no NUL.
func checkList(field string, list []string, max, maxText int) error {
	if len(list) > max {
		return invalidf("%d of %s", len(list), field)
	}
	for _, s := range list {
		if strings.ContainsRune(s, 0) {
			return invalidf("NUL in %s", field)
		}
		if err := checkText(field, s, maxText); err != nil {
			return err
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
