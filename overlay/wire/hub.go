package wire

// Kinds of the conversation on a listen stream.
const (
	KindListen    Kind = 0x22
	KindListening Kind = 0x23
)

// Listen asks a hub to accept the pilots of its site on an address of its own
// host. Only a launcher may ask. It is asked with the address that a host of
// the site sees the hub's host come from, so that nothing listens where it
// need not, or with a host that pilots will be on: then the hub takes the
// address it would call that host from. The port is the hub's choice, unless
// another hub has to be stood in for whose address pilots know.
type Listen struct {
	Host   string `cbor:"1,keyasint,omitempty"` // an IP address, or with a port HOST:PORT
	Toward string `cbor:"2,keyasint,omitempty"` // without Host: a host's name as the hub's host knows it, or its address; nothing is sent there
}

// Kind implements [Message].
func (*Listen) Kind() Kind { return KindListen }

// Validate implements [Message].
func (m *Listen) Validate() error {
	if (m.Host == "") == (m.Toward == "") {
		return invalidf("listening on %.64q and toward %.64q", m.Host, m.Toward)
	}
	return firstError(checkText("host", m.Host, MaxName), checkText("host", m.Toward, MaxName))
}

// Listening answers a Listen.
type Listening struct {
	Address string `cbor:"1,keyasint,omitempty"` // HOST:PORT
	Error   string `cbor:"2,keyasint,omitempty"` // why not
}

// Kind implements [Message].
func (*Listening) Kind() Kind { return KindListening }

// Validate implements [Message].
func (m *Listening) Validate() error {
	if err := checkText("address", m.Address, MaxName+8); err != nil {
		return err
	}
	return checkText("error", m.Error, MaxReason)
}

// Dial is the first frame of the acceptor's own on a dial stream: where the
// bytes that follow go. The acceptor answers with [Accepted].
type Dial struct {
	Address string `cbor:"1,keyasint"` // HOST:PORT as the acceptor resolves it
}

// KindDial is the kind of [Dial].
const KindDial Kind = 0x24

// Kind implements [Message].
func (*Dial) Kind() Kind { return KindDial }

// Validate implements [Message].
func (m *Dial) Validate() error { return checkText("address", m.Address, MaxName+8) }
