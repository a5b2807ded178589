package wire

import (
	"net/netip"
	"time"
)

// Kinds of the conversation about a direct connection.
const (
	KindReach    Kind = 0x2c
	KindPunch    Kind = 0x2d
	KindObserved Kind = 0x2e
)

// Limits of the conversation about a direct connection.
const (
	MaxCandidates = 16 // addresses of one node, seen and its own together
	ReachSecret   = 16 // bytes of an attempt's secret
)

// Reach is what each end of a reach stream says first, at the same time: where
// it could be called. Everything in it is the node's own word.
type Reach struct {
	Secret   []byte           `cbor:"1,keyasint,omitempty"` // what this end shows on the attempt's connections
	Port     uint16           `cbor:"2,keyasint,omitempty"` // its local port
	Listens  bool             `cbor:"3,keyasint,omitempty"` // it takes calls there while the attempt lasts
	Local    []netip.Prefix   `cbor:"4,keyasint,omitempty"` // addresses of its interfaces with their networks
	Observed []netip.AddrPort `cbor:"5,keyasint,omitempty"` // how others see its port
	Error    string           `cbor:"6,keyasint,omitempty"` // why there will be no attempt; then nothing else is set
}

// Kind implements [Message].
func (*Reach) Kind() Kind { return KindReach }

// Validate implements [Message].
func (m *Reach) Validate() error {
	if err := checkText("error", m.Error, MaxReason); err != nil {
		return err
	}
	if m.Error != "" {
		return nil
	}
	if len(m.Secret) != ReachSecret {
		return invalidf("secret of %d bytes", len(m.Secret))
	}
	if m.Port == 0 {
		return invalidf("no port")
	}
	if n := len(m.Local) + len(m.Observed); n > MaxCandidates {
		return invalidf("%d candidates", n)
	}
	for _, p := range m.Local {
		if !p.IsValid() || !isPlain(p.Addr()) {
			return invalidf("local address %v", p)
		}
	}
	for _, o := range m.Observed {
		if err := checkEndpoint(o); err != nil {
			return err
		}
	}
	return nil
}

// isPlain reports whether an address is IPv4 or IPv6, without a zone and in
// its own form.
func isPlain(a netip.Addr) bool { return a.IsValid() && a.Zone() == "" && !a.Is4In6() }

func checkEndpoint(o netip.AddrPort) error {
	if !isPlain(o.Addr()) || o.Port() == 0 {
		return invalidf("endpoint %v", o)
	}
	return nil
}

// Punch keeps the two ends of an attempt in time. The end that asked sends one
// without Go, which the other returns at once, and half a round trip before it
// begins itself one with Go: the other begins when that arrives.
type Punch struct {
	Go    bool          `cbor:"1,keyasint,omitempty"`
	Bound time.Duration `cbor:"2,keyasint,omitempty"` // how long both go on, with Go
}

// Kind implements [Message].
func (*Punch) Kind() Kind { return KindPunch }

// MaxPunch is how long an attempt may go on.
const MaxPunch = 10 * time.Second

// Validate implements [Message].
func (m *Punch) Validate() error {
	if m.Bound < 0 || m.Bound > MaxPunch {
		return invalidf("attempt for %v", m.Bound)
	}
	return nil
}

// Observed tells whoever has made a connection as what it is seen.
type Observed struct {
	Endpoint netip.AddrPort `cbor:"1,keyasint"`
}

// Kind implements [Message].
func (*Observed) Kind() Kind { return KindObserved }

// Validate implements [Message].
func (m *Observed) Validate() error { return checkEndpoint(m.Endpoint) }
