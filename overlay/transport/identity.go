package transport

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Pin is the SHA-256 digest of the session CA's public key (PKIX form). It is
// all that a node needs to know a session by before it joins.
type Pin [sha256.Size]byte

// ParsePin is the inverse of String.
func ParsePin(s string) (Pin, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(Pin{}) {
		return Pin{}, fmt.Errorf("invalid pin %q", s)
	}
	return Pin(b), nil
}

// String returns the pin as 64 hexadecimal digits.
func (p Pin) String() string { return hex.EncodeToString(p[:]) }

func pinOf(cert *x509.Certificate) Pin { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// Identity is a node's certified key. It is immutable and safe for concurrent
// use.
type Identity struct {
	ID      wire.NodeID
	Role    wire.Role
	Site    string
	Session wire.SessionID

	key   ed25519.PrivateKey
	chain [][]byte // leaf first, the CA not included; DER
	ca    *x509.Certificate
	clock clock
	proof []byte
}

// Pin returns the digest of the key of the session's CA.
func (id *Identity) Pin() Pin { return pinOf(id.ca) }

// Now returns the CA's time as learned when the node was admitted: what
// certificates are verified against, however wrong this machine's clock is.
func (id *Identity) Now() time.Time { return id.clock.now() }

// Expires returns the end of the certificate's validity, in the CA's time.
func (id *Identity) Expires() time.Time {
	leaf, err := x509.ParseCertificate(id.chain[0])
	if err != nil {
		return time.Time{} // cannot be: it was parsed when the identity was made
	}
	return leaf.NotAfter
}

// Sign signs b with the node's key. Whoever has the node's certificate can
// verify it.
func (id *Identity) Sign(b []byte) []byte { return ed25519.Sign(id.key, b) }

// clock tells the CA's time: a known moment and the time that passed since.
// The monotonic reading of start stands still while a laptop sleeps, the wall
// clock does not; the larger of the two counts.
type clock struct {
	ca    time.Time
	start time.Time
}

func (c clock) now() time.Time {
	now := time.Now()
	passed := max(now.Sub(c.start), now.Round(0).Sub(c.start.Round(0)))
	return c.ca.Add(max(passed, 0))
}

// nodeURI and roleURI are the two names in a node's certificate.
func nodeURI(site string, session wire.SessionID, id wire.NodeID) *url.URL {
	return &url.URL{Scheme: "zorilla", Host: hostOf(site, session), Path: "/node/" + id.String()}
}

func roleURI(site string, session wire.SessionID, role wire.Role) *url.URL {
	return &url.URL{Scheme: "zorilla", Host: hostOf(site, session), Path: "/role/" + role.String()}
}

func hostOf(site string, session wire.SessionID) string { return site + "." + string(session) }

// validSite reports whether a site's name can be the first label of a host:
// 1 to 63 letters, digits, dashes and underscores.
func validSite(site string) error {
	if len(site) == 0 || len(site) > 63 {
		return fmt.Errorf("invalid site name %q: want 1 to 63 characters", site)
	}
	for _, c := range site {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return fmt.Errorf("invalid site name %q: want letters, digits, '-' and '_'", site)
		}
	}
	return nil
}

// peerOf reads who a verified leaf belongs to.
func peerOf(leaf *x509.Certificate, session wire.SessionID) (Peer, error) {
	id := wire.NodeIDOf(leaf.RawSubjectPublicKeyInfo)
	if len(leaf.URIs) != 2 {
		return Peer{}, fmt.Errorf("%w: %d names", ErrUntrusted, len(leaf.URIs))
	}
	node, role := leaf.URIs[0], leaf.URIs[1]
	site, rest, ok := strings.Cut(node.Host, ".")
	if !ok || rest != string(session) || validSite(site) != nil {
		return Peer{}, fmt.Errorf("%w: host %q is not of session %s", ErrUntrusted, node.Host, session)
	}
	if *node != *nodeURI(site, session, id) {
		return Peer{}, fmt.Errorf("%w: name %q does not belong to its key", ErrUntrusted, node)
	}
	name, ok := strings.CutPrefix(role.Path, "/role/")
	r, err := wire.ParseRole(name)
	if !ok || err != nil || *role != *roleURI(site, session, r) {
		return Peer{}, fmt.Errorf("%w: role %q", ErrUntrusted, role)
	}
	return Peer{ID: id, Role: r, Site: site}, nil
}

// verify checks a chain, leaf first, against a session's CA at a time and
// returns who it names. A node admitted by a hub has one intermediate and can
// only be a pilot of the hub's own site.
func verify(chain []*x509.Certificate, ca *x509.Certificate, session wire.SessionID, at time.Time) (Peer, error) {
	if len(chain) == 0 {
		return Peer{}, fmt.Errorf("%w: none given", ErrUntrusted)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(ca)
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	paths, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if bad, ok := errors.AsType[x509.CertificateInvalidError](err); ok && bad.Reason == x509.Expired {
		// Without the time of day: it is the same whenever it is said.
		bad.Detail = fmt.Sprintf("good from %s to %s", bad.Cert.NotBefore.UTC().Format(time.RFC3339), bad.Cert.NotAfter.UTC().Format(time.RFC3339))
		err = bad
	}
	if err != nil {
		return Peer{}, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	leaf, path := chain[0], paths[0]
	if leaf.IsCA || len(path) > 3 {
		return Peer{}, fmt.Errorf("%w: not a node's certificate", ErrUntrusted)
	}
	p, err := peerOf(leaf, session)
	if err != nil {
		return Peer{}, err
	}
	if len(path) == 3 {
		if hub := path[1]; len(hub.PermittedURIDomains) != 1 || hub.PermittedURIDomains[0] != hostOf(p.Site, session) {
			return Peer{}, fmt.Errorf("%w: admitted to %s by a hub of another site", ErrUntrusted, p.Site)
		}
		if p.Role != wire.RolePilot {
			return Peer{}, fmt.Errorf("%w: a hub cannot make a %s", ErrUntrusted, p.Role)
		}
	}
	return p, nil
}

// ALPN names. A stream's TLS names its kind, so that a hub cannot pass one off
// as another.
const (
	alpnCarrier = "zorilla/1"
	alpnJoin    = "zorilla-join/1"
)

func alpnStream(k wire.StreamKind) string { return fmt.Sprintf("zorilla-stream-%d/1", k) }

// tlsConfig returns the mutual TLS 1.3 configuration of a node, for either end.
func (id *Identity) tlsConfig(alpn string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{{Certificate: id.chain, PrivateKey: id.key}},
		NextProtos:             []string{alpn},
		SessionTicketsDisabled: true,
		ClientAuth:             tls.RequireAnyClientCert,
		// The names are URIs of the session and the roots its CA alone: checked
		// by VerifyConnection, which runs on both ends and always.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := id.verify(cs, alpn)
			return err
		},
	}
}

func (id *Identity) verify(cs tls.ConnectionState, alpn string) (Peer, error) {
	if cs.NegotiatedProtocol != alpn {
		return Peer{}, fmt.Errorf("%w: protocol %q, want %q", ErrUntrusted, cs.NegotiatedProtocol, alpn)
	}
	return verify(cs.PeerCertificates, id.ca, id.Session, id.Now())
}

// newIdentity completes an identity from the chain and the proof that a signer
// sent.
func newIdentity(key ed25519.PrivateKey, chain []*x509.Certificate, ca *x509.Certificate, at time.Time, proof []byte) (*Identity, error) {
	session, err := sessionOf(ca)
	if err != nil {
		return nil, err
	}
	p, err := verify(chain, ca, session, at)
	if err != nil {
		return nil, err
	}
	pub, ok := chain[0].PublicKey.(ed25519.PublicKey)
	if !ok || !bytes.Equal(pub, key.Public().(ed25519.PublicKey)) {
		return nil, errors.New("certificate is for another key")
	}
	id := &Identity{ID: p.ID, Role: p.Role, Site: p.Site, Session: session, key: key, ca: ca,
		clock: clock{ca: at, start: time.Now()}, proof: proof}
	for _, c := range chain {
		id.chain = append(id.chain, c.Raw)
	}
	if err := id.checkProof(); err != nil {
		return nil, err
	}
	return id, nil
}

// sessionOf returns the session that a CA's certificate is for.
func sessionOf(ca *x509.Certificate) (wire.SessionID, error) {
	s := wire.SessionID(ca.Subject.CommonName)
	if err := s.Validate(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return s, nil
}
