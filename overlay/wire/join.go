package wire

// Kinds of the join protocol, spoken inside a TLS session of its own
// (ALPN "zorilla-join/1") between a node without a certificate and a signer.
const (
	KindJoin     Kind = 0x30
	KindAdmitted Kind = 0x31
)

// MaxJoin bounds the bytes of one join in each direction.
const MaxJoin = 16 << 10

// Join asks a signer for a certificate.
type Join struct {
	Token string `cbor:"1,keyasint"` // the token's public name
	// Proof is HMAC-SHA-256 with the token's secret over the TLS exporter of
	// this very session, so that it is worth nothing anywhere else.
	Proof []byte `cbor:"2,keyasint"`
	CSR   []byte `cbor:"3,keyasint"` // PKCS #10, DER, Ed25519; its names are ignored
	// HubCSR is present when the node asks to become a signer for its site.
	HubCSR []byte `cbor:"4,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Join) Kind() Kind { return KindJoin }

// Validate implements [Message].
func (m *Join) Validate() error {
	if err := checkText("token", m.Token, 64); err != nil {
		return err
	}
	if len(m.Proof) != 32 {
		return invalidf("proof of %d bytes", len(m.Proof))
	}
	if len(m.CSR) == 0 || len(m.CSR) > 2048 || len(m.HubCSR) > 2048 {
		return invalidf("certificate request of %d and %d bytes", len(m.CSR), len(m.HubCSR))
	}
	return nil
}

// Admitted answers a Join.
type Admitted struct {
	Error string   `cbor:"1,keyasint,omitempty"` // why not; the rest is then empty
	Chain [][]byte `cbor:"2,keyasint,omitempty"` // the node's certificate and those above it, the CA's last; DER
	// Hub is the site's intermediate, for hubs.
	Hub []byte `cbor:"3,keyasint,omitempty"`
	// Time is the CA's time, in seconds since 1970: what certificates are
	// verified against from now on.
	Time int64 `cbor:"4,keyasint,omitempty"`
	// Proof ties the node to the session in few bytes, for its cards.
	Proof []byte `cbor:"5,keyasint,omitempty"`
	// Warrant ties the hub's intermediate to the session likewise, for the
	// proofs of those whom it admits.
	Warrant []byte `cbor:"6,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Admitted) Kind() Kind { return KindAdmitted }

// Validate implements [Message].
func (m *Admitted) Validate() error {
	if err := checkText("error", m.Error, 1024); err != nil {
		return err
	}
	if len(m.Proof) > MaxProof || len(m.Warrant) > MaxProof {
		return invalidf("proof of %d bytes, warrant of %d", len(m.Proof), len(m.Warrant))
	}
	if len(m.Chain) > 4 || len(m.Hub) > 4096 {
		return invalidf("chain of %d certificates", len(m.Chain))
	}
	for _, c := range m.Chain {
		if len(c) > 4096 {
			return invalidf("certificate of %d bytes", len(c))
		}
	}
	return nil
}
