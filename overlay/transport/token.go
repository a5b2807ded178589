package transport

import (
	"errors"
	"fmt"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Token admits up to Joins nodes, whose role and site it alone decides.
type Token struct {
	Name    string // public; 1 to 64 bytes
	Secret  []byte // 16 to 64 bytes
	Role    wire.Role
	Site    string
	Joins   int       // how many nodes it admits in all; one that comes again with the same key is the same node
	Expires time.Time // in the CA's time; zero means with the signer

	admitted map[wire.NodeID]struct{} // no more than Joins was
}

func (t *Token) validate() error {
	if t.Name == "" || len(t.Name) > 64 {
		return fmt.Errorf("token name of %d bytes", len(t.Name))
	}
	if len(t.Secret) < 16 || len(t.Secret) > 64 {
		return fmt.Errorf("token %s: secret of %d bytes, want 16 to 64", t.Name, len(t.Secret))
	}
	if _, err := wire.ParseRole(t.Role.String()); err != nil {
		return fmt.Errorf("token %s: %w", t.Name, err)
	}
	if err := validSite(t.Site); err != nil {
		return fmt.Errorf("token %s: %w", t.Name, err)
	}
	if t.Joins < 1 {
		return fmt.Errorf("token %s: admits nobody", t.Name)
	}
	return nil
}

// maxTokens bounds the tokens of one signer.
const maxTokens = 4096

// AddToken makes the signer accept a token, or replaces the one of that name.
// A hub's signer takes tokens for pilots of its own site only.
func (s *Signer) AddToken(t Token) error {
	if err := t.validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.with.own != nil && (t.Role != wire.RolePilot || t.Site != s.with.id.Site) {
		return fmt.Errorf("token %s: a hub of %s cannot admit a %s of %s", t.Name, s.with.id.Site, t.Role, t.Site)
	}
	if _, ok := s.tokens[t.Name]; !ok && len(s.tokens) >= maxTokens {
		return fmt.Errorf("token %s: the signer holds %d already", t.Name, maxTokens)
	}
	t.Secret = append([]byte(nil), t.Secret...)
	t.admitted = make(map[wire.NodeID]struct{})
	s.tokens[t.Name] = &t
	return nil
}

// Revoke makes the signer forget a token. Nodes that it admitted stay.
func (s *Signer) Revoke(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, name)
}

// Reasons for which a join is refused.
var (
	errUnknownToken = errors.New("token is unknown or revoked")
	errExpiredToken = errors.New("token has expired")
	errUsedUpToken  = errors.New("token is used up")
	errWrongProof   = errors.New("proof does not match: wrong secret or a replayed join")
	errNoHub        = errors.New("token does not make a hub")
	errSignerOld    = errors.New("signer's own certificate has expired")
)

// redeem takes one join from a token for a node, if proof is good for it; a
// node that was admitted by the token before takes none.
func (s *Signer) redeem(name string, node wire.NodeID, good func(secret []byte) bool) (Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[name]
	again := false
	if ok {
		_, again = t.admitted[node]
	}
	switch {
	case !ok:
		return Token{}, errUnknownToken
	case !good(t.Secret):
		return Token{}, errWrongProof
	case !t.Expires.IsZero() && s.with.issuer.clock.now().After(t.Expires):
		return Token{}, errExpiredToken
	case again:
		return *t, nil
	case t.Joins <= 0:
		return Token{}, errUsedUpToken
	}
	t.Joins--
	t.admitted[node] = struct{}{}
	return *t, nil
}
