package transport

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

const (
	// backdate is how far certificates reach into the past: two machines of a
	// session may disagree about the time by this much before they know better.
	backdate = 24 * time.Hour
	// defaultValidity is how long a session's certificates last.
	defaultValidity = 30 * 24 * time.Hour
	// hubValidity is how long a hub may admit pilots without the launcher.
	hubValidity = 24 * time.Hour
)

// Authority is the CA of one session: an Ed25519 key and a self-signed
// certificate that carries the session's name. It is immutable and safe for
// concurrent use.
type Authority struct {
	issuer  issuer
	session wire.SessionID
}

// issuer signs certificates with the key of a CA or of a site's intermediate.
type issuer struct {
	cert    *x509.Certificate
	key     ed25519.PrivateKey
	clock   clock
	warrant []byte // of a hub's signer, by the CA; nil for the CA
}

// NewAuthority makes the CA of a session. Nothing it signs lasts longer than
// validity; zero means 30 days.
func NewAuthority(session wire.SessionID, validity time.Duration) (*Authority, error) {
	if err := session.Validate(); err != nil {
		return nil, err
	}
	if validity <= 0 {
		validity = defaultValidity
	}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the session's key: %w", err)
	}
	now := time.Now()
	t := &x509.Certificate{
		Subject:               pkix.Name{CommonName: string(session)},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(validity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLen:            1,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, pub, key)
	if err != nil {
		return nil, fmt.Errorf("sign the session's certificate: %w", err)
	}
	return newAuthority(der, key)
}

func newAuthority(der []byte, key ed25519.PrivateKey) (*Authority, error) {
	cert, err := parseCA(der)
	if err != nil {
		return nil, err
	}
	session, err := sessionOf(cert)
	if err != nil {
		return nil, err
	}
	if pub, ok := cert.PublicKey.(ed25519.PublicKey); !ok || !pub.Equal(key.Public()) {
		return nil, errors.New("certificate and key do not belong together")
	}
	now := time.Now()
	return &Authority{issuer: issuer{cert: cert, key: key, clock: clock{now, now}}, session: session}, nil
}

// parseCA reads a certificate that must have signed itself: otherwise anybody
// could write other names around the CA's public key.
func parseCA(der []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the session's certificate: %w", err)
	}
	if err := cert.CheckSignatureFrom(cert); err != nil {
		return nil, fmt.Errorf("%w: the session's certificate: %w", ErrUntrusted, err)
	}
	return cert, nil
}

// ParseAuthority is the inverse of MarshalPEM.
func ParseAuthority(b []byte) (*Authority, error) {
	var der []byte
	var key ed25519.PrivateKey
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		switch block.Type {
		case "CERTIFICATE":
			der = block.Bytes
		case "PRIVATE KEY":
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("read the session's key: %w", err)
			}
			key, _ = k.(ed25519.PrivateKey)
		}
	}
	if der == nil || key == nil {
		return nil, errors.New("read the session's CA: want a certificate and an Ed25519 key in PEM")
	}
	return newAuthority(der, key)
}

// MarshalPEM returns certificate and key. The key is the whole session: keep
// the result in a file of mode 0600 or nowhere.
func (a *Authority) MarshalPEM() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.issuer.key)
	if err != nil {
		return nil, fmt.Errorf("write the session's key: %w", err)
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.issuer.cert.Raw})
	return append(b, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), nil
}

// Pin returns the digest by which others know the session.
func (a *Authority) Pin() Pin { return pinOf(a.issuer.cert) }

// Session returns the session's name.
func (a *Authority) Session() wire.SessionID { return a.session }

// Identity makes a key in this process and certifies it: the launcher's own
// way in.
func (a *Authority) Identity(role wire.Role, site string) (*Identity, error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a node's key: %w", err)
	}
	leaf, err := a.issuer.node(pub, role, site, a.session)
	if err != nil {
		return nil, err
	}
	return newIdentity(key, []*x509.Certificate{leaf}, a.issuer.cert, a.issuer.clock.now(), a.issuer.prove(pub, role, site, a.session))
}

// Signer returns a signer that admits nodes of any role and site with the
// CA's key. It shows id, which must be of this session, to those who join. A
// nil log discards.
func (a *Authority) Signer(id *Identity, log *slog.Logger) *Signer {
	return newSigner(id, a.issuer, nil, log)
}

// node certifies a node's key.
func (i issuer) node(pub ed25519.PublicKey, role wire.Role, site string, session wire.SessionID) (*x509.Certificate, error) {
	if err := validSite(site); err != nil {
		return nil, err
	}
	if _, err := wire.ParseRole(role.String()); err != nil {
		return nil, err
	}
	pkixKey, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("encode a node's key: %w", err)
	}
	return i.sign(&x509.Certificate{
		NotBefore:             i.cert.NotBefore,
		NotAfter:              i.cert.NotAfter,
		URIs:                  []*url.URL{nodeURI(site, session, wire.NodeIDOf(pkixKey)), roleURI(site, session, role)},
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, pub)
}

// hub certifies a hub's second key as a signer of its own site's pilots.
func (i issuer) hub(pub ed25519.PublicKey, site string, session wire.SessionID) (*x509.Certificate, error) {
	end := i.clock.now().Add(hubValidity)
	if end.After(i.cert.NotAfter) {
		end = i.cert.NotAfter
	}
	return i.sign(&x509.Certificate{
		Subject:                     pkix.Name{CommonName: hostOf(site, session)},
		NotBefore:                   i.cert.NotBefore,
		NotAfter:                    end,
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign,
		PermittedURIDomains:         []string{hostOf(site, session)},
		PermittedDNSDomainsCritical: true, // the whole extension
	}, pub)
}

func (i issuer) sign(t *x509.Certificate, pub ed25519.PublicKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, i.cert, pub, i.key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}
