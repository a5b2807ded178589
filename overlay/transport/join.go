package transport

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// JoinRequest is what a process knows before it is admitted: its boot file.
type JoinRequest struct {
	Pin        Pin    // of the session's CA
	Token      string // the token's name
	Secret     []byte // the token's secret
	WantSigner bool   // ask to admit pilots of the own site; for hubs
	// Renew, if not nil, keeps the key and so the node's identity: for a new
	// certificate before the old one's end. It takes no further join of the
	// token from the signer that admitted the node, one from any other.
	Renew *Identity
}

// Join gets an identity from the hub or launcher at the other end of a fresh
// connection of the given kind; a hub that is no signer passes the request on.
// The connection is used up and closed. A refusal matches [ErrRefused]. It
// takes at most 10 seconds. The signer is nil unless one was asked for.
func Join(ctx context.Context, conn io.ReadWriteCloser, kind CarrierKind, req JoinRequest) (*Identity, *Signer, error) {
	c := asConn(conn)
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	if kind == TCP {
		return join(ctx, c, req)
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	session, err := newMux(c, true, smallWindow)
	if err != nil {
		return nil, nil, fmt.Errorf("join: %w", err)
	}
	defer session.Close()
	st, err := session.OpenStream()
	if err != nil {
		return nil, nil, fmt.Errorf("join: %w", err)
	}
	if err := offerStream(st, &wire.Open{Stream: wire.StreamJoin, Hops: wire.MaxHops}); err != nil {
		return nil, nil, fmt.Errorf("join: %w", err)
	}
	return join(ctx, st, req)
}

// join runs the candidate's side on a byte stream to a signer and closes it.
func join(ctx context.Context, raw net.Conn, req JoinRequest) (*Identity, *Signer, error) {
	defer raw.Close()
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	id, s, err := joinOver(ctx, &limitedConn{Conn: raw, in: wire.MaxJoin, out: wire.MaxJoin}, req)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", ctx.Err(), err)
		}
		return nil, nil, fmt.Errorf("join: %w", err)
	}
	return id, s, nil
}

func joinOver(ctx context.Context, raw net.Conn, req JoinRequest) (*Identity, *Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if req.Renew != nil {
		key = req.Renew.key
	}
	m := &wire.Join{Token: req.Token}
	if m.CSR, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key); err != nil {
		return nil, nil, err
	}
	var hubKey ed25519.PrivateKey
	if req.WantSigner {
		if _, hubKey, err = ed25519.GenerateKey(rand.Reader); err != nil {
			return nil, nil, err
		}
		if m.HubCSR, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, hubKey); err != nil {
			return nil, nil, err
		}
	}
	c := tls.Client(raw, &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{alpnJoin},
		InsecureSkipVerify: true, // verified against the pin instead
		VerifyConnection:   func(cs tls.ConnectionState) error { return verifySigner(cs, req.Pin) },
	})
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	if m.Proof, err = joinProof(req.Secret, c.ConnectionState()); err != nil {
		return nil, nil, err
	}
	if err := m.Validate(); err != nil {
		return nil, nil, err
	}
	if err := wire.WriteFrame(c, m); err != nil {
		return nil, nil, err
	}
	got, err := wire.ReadFrame(c, wire.MaxJoin)
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	_, _ = io.Copy(io.Discard, c) // the signer ends first
	_ = c.CloseWrite()
	a, ok := got.(*wire.Admitted)
	if !ok {
		return nil, nil, fmt.Errorf("%w: a %T instead of an answer", wire.ErrInvalid, got)
	}
	if a.Error != "" {
		return nil, nil, fmt.Errorf("%w by the signer: %s", ErrRefused, a.Error)
	}
	return admitted(a, req.Pin, key, hubKey)
}

// verifySigner accepts whoever the pinned CA has made a hub or a launcher, at
// any date: this machine does not know yet what time it is.
func verifySigner(cs tls.ConnectionState, pin Pin) error {
	certs := cs.PeerCertificates
	if cs.NegotiatedProtocol != alpnJoin || len(certs) < 2 {
		return fmt.Errorf("%w: no signer of joins", ErrUntrusted)
	}
	ca := certs[len(certs)-1]
	if pinOf(ca) != pin {
		return fmt.Errorf("%w: signer of another session: its CA has the pin %s, not %s", ErrUntrusted, pinOf(ca), pin)
	}
	if err := ca.CheckSignatureFrom(ca); err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	session, err := sessionOf(ca)
	if err != nil {
		return err
	}
	at := ca.NotBefore
	for _, c := range certs {
		if c.NotBefore.After(at) {
			at = c.NotBefore
		}
	}
	p, err := verify(certs[:len(certs)-1], ca, session, at)
	if err != nil {
		return err
	}
	if p.Role != wire.RoleHub && p.Role != wire.RoleLauncher {
		return fmt.Errorf("%w: a %s cannot admit", ErrUntrusted, p.Role)
	}
	return nil
}

// admitted checks a signer's answer and makes an identity of it.
func admitted(a *wire.Admitted, pin Pin, key, hubKey ed25519.PrivateKey) (*Identity, *Signer, error) {
	if len(a.Chain) < 2 {
		return nil, nil, fmt.Errorf("%w: chain of %d certificates", wire.ErrInvalid, len(a.Chain))
	}
	ca, err := parseCA(a.Chain[len(a.Chain)-1])
	if err != nil {
		return nil, nil, err
	}
	if pinOf(ca) != pin {
		return nil, nil, fmt.Errorf("%w: admitted to another session", ErrUntrusted)
	}
	var chain []*x509.Certificate
	for _, der := range a.Chain[:len(a.Chain)-1] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", wire.ErrInvalid, err)
		}
		chain = append(chain, c)
	}
	id, err := newIdentity(key, chain, ca, time.Unix(a.Time, 0), a.Proof)
	if err != nil || hubKey == nil {
		return id, nil, err
	}
	own, err := x509.ParseCertificate(a.Hub)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: the hub's certificate: %w", wire.ErrInvalid, err)
	}
	if err := own.CheckSignatureFrom(ca); err != nil {
		return nil, nil, fmt.Errorf("%w: the hub's certificate: %w", ErrUntrusted, err)
	}
	if pub, ok := own.PublicKey.(ed25519.PublicKey); !ok || !pub.Equal(hubKey.Public()) {
		return nil, nil, errors.New("the hub's certificate is for another key")
	}
	if err := id.checkWarrant(a.Warrant, hubKey.Public().(ed25519.PublicKey)); err != nil {
		return nil, nil, err
	}
	return id, newSigner(id, issuer{own, hubKey, id.clock, a.Warrant}, own, slog.New(slog.DiscardHandler)), nil
}
