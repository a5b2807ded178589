package transport

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of joins.
const (
	joinTimeout = 10 * time.Second // for one whole join
	maxJoins    = 64               // at once, per signer and per hub that pipes them
)

// Signer admits nodes: the CA of a session, or a hub for pilots of its own
// site. It is safe for concurrent use.
type Signer struct {
	slots chan struct{}

	mu     sync.Mutex
	with   credentials
	log    *slog.Logger
	once   *onceLog
	tokens map[string]*Token
}

// credentials are what a signer signs with. They are immutable.
type credentials struct {
	id     *Identity // shown to those who join
	issuer issuer
	own    *x509.Certificate // a hub's intermediate; nil for the CA
}

func newSigner(id *Identity, by issuer, own *x509.Certificate, log *slog.Logger) *Signer {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Signer{with: credentials{id, by, own}, log: log, once: newOnceLog(log),
		slots: make(chan struct{}, maxJoins), tokens: make(map[string]*Token)}
}

// Expires returns until when the signer can admit nodes, in the CA's time.
func (s *Signer) Expires() time.Time { return s.credentials().issuer.cert.NotAfter }

func (s *Signer) credentials() credentials {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.with
}

// renew takes over a newer signer's credentials and keeps the tokens.
func (s *Signer) renew(newer *Signer) {
	with := newer.credentials()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.with = with
}

// logTo sends what the signer has to say to an endpoint's log.
func (s *Signer) logTo(log *slog.Logger, once *onceLog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.once = log, once
}

// refused logs a join that came to nothing.
func (s *Signer) refused(c net.Conn, err error) {
	s.mu.Lock()
	once := s.once
	s.mu.Unlock()
	once.warn("join refused", c, err)
}

// ServeJoin runs the signer's side of one join on a fresh byte stream and
// closes it. It takes at most 10 seconds and 16 KiB each way; the 65th at once
// is refused. The error, which matches [ErrRefused] when the node was refused,
// has been logged, once per reason.
func (s *Signer) ServeJoin(ctx context.Context, conn io.ReadWriteCloser) error {
	c := asConn(conn)
	defer c.Close()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		err := fmt.Errorf("%w: %d joins at once", ErrRefused, maxJoins)
		s.refused(c, err)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if err := s.serveJoin(ctx, &limitedConn{Conn: c, in: wire.MaxJoin, out: wire.MaxJoin}); err != nil {
		err = fmt.Errorf("serve a join: %w", err)
		s.refused(c, err)
		return err
	}
	return nil
}

func (s *Signer) serveJoin(ctx context.Context, raw net.Conn) error {
	id := s.credentials().id
	chain := append(append([][]byte(nil), id.chain...), id.ca.Raw)
	c := tls.Server(raw, &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{{Certificate: chain, PrivateKey: id.key}},
		NextProtos:             []string{alpnJoin},
		SessionTicketsDisabled: true,
	})
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	if p := c.ConnectionState().NegotiatedProtocol; p != alpnJoin {
		return fmt.Errorf("protocol %q", p)
	}
	m, err := wire.ReadFrame(c, wire.MaxJoin)
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	req, ok := m.(*wire.Join)
	if !ok {
		return fmt.Errorf("%w: a %T instead of a join", wire.ErrInvalid, m)
	}
	answer, err := s.admit(req, c.ConnectionState())
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrRefused, err)
		answer = &wire.Admitted{Error: reason(err)}
	}
	if werr := wire.WriteFrame(c, answer); err == nil && werr != nil {
		return fmt.Errorf("write the answer: %w", werr)
	}
	if cerr := c.CloseWrite(); err == nil && cerr != nil {
		return fmt.Errorf("write the answer: %w", cerr)
	}
	// The other end closes when it has read the answer: closing first could
	// take the answer back on some paths.
	_, _ = io.Copy(io.Discard, c)
	return err
}

// admit decides about one request.
func (s *Signer) admit(req *wire.Join, cs tls.ConnectionState) (*wire.Admitted, error) {
	with := s.credentials()
	now := with.issuer.clock.now()
	if now.After(with.issuer.cert.NotAfter) {
		return nil, errSignerOld
	}
	pub, err := requestedKey(req.CSR)
	if err != nil {
		return nil, err
	}
	var hubKey ed25519.PublicKey
	if len(req.HubCSR) > 0 {
		if hubKey, err = requestedKey(req.HubCSR); err != nil {
			return nil, err
		}
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	t, err := s.redeem(req.Token, wire.NodeIDOf(spki), func(secret []byte) bool {
		want, err := joinProof(secret, cs)
		return err == nil && hmac.Equal(want, req.Proof)
	})
	if err != nil {
		return nil, err
	}
	if hubKey != nil && (t.Role != wire.RoleHub || with.own != nil) {
		return nil, errNoHub
	}
	leaf, err := with.issuer.node(pub, t.Role, t.Site, with.id.Session)
	if err != nil {
		return nil, err
	}
	a := &wire.Admitted{Chain: [][]byte{leaf.Raw}, Time: now.Unix(), Proof: with.issuer.prove(pub, t.Role, t.Site, with.id.Session)}
	if with.own != nil {
		a.Chain = append(a.Chain, with.own.Raw)
	}
	a.Chain = append(a.Chain, with.id.ca.Raw)
	if hubKey != nil {
		hub, err := with.issuer.hub(hubKey, t.Site, with.id.Session)
		if err != nil {
			return nil, err
		}
		a.Hub = hub.Raw
		a.Warrant = with.issuer.warrantFor(hubKey, t.Site, with.id.Session, hub.NotAfter)
	}
	s.mu.Lock()
	log := s.log
	s.mu.Unlock()
	log.Info("node admitted", "node", wire.NodeIDOf(leaf.RawSubjectPublicKeyInfo), "role", t.Role, "site", t.Site, "token", t.Name)
	return a, nil
}

// requestedKey returns the key of a certificate request, whose holder has
// proven to have its private part. Whatever names it carries are ignored.
func requestedKey(der []byte) (ed25519.PublicKey, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	pub, ok := csr.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("certificate request: not an Ed25519 key")
	}
	return pub, nil
}

// joinProof ties a token's secret to one TLS session.
func joinProof(secret []byte, cs tls.ConnectionState) ([]byte, error) {
	exported, err := cs.ExportKeyingMaterial("EXPORTER-zorilla-join", nil, 32)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(exported)
	return mac.Sum(nil), nil
}
