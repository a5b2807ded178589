package ssh

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/gat"
)

const (
	maxTries = 3        // passphrases asked for one key
	maxKey   = 64 << 10 // bytes of a key file
)

// A key is one key or certificate to offer. Its secret part is read when a server
// takes it. Encrypted ones are shared by the logins of a session.
type key struct {
	name  string // where it is from
	path  string // of its file, without .pub
	agent string // the socket of the agent that holds it, or empty
	of    *key   // of a certificate whose secret part is elsewhere: its key

	asking turn // held by the login that asks for the passphrase

	mu      sync.Mutex
	pub     gossh.PublicKey // nil while it is hidden in a locked file without .pub
	signer  gossh.Signer    // nil while locked
	pem     []byte          // the locked file
	locked  error           // why it could not be unlocked
	refused time.Time       // when
}

// public returns the public half, nil while it is hidden.
func (k *key) public() gossh.PublicKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pub
}

// is reports whether k is the same key or certificate as another.
func (k *key) is(pub gossh.PublicKey) bool {
	own := k.public()
	return own != nil && pub != nil && bytes.Equal(own.Marshal(), pub.Marshal())
}

// signWith signs for one attempt. The user may be asked for the passphrase, or to
// confirm by the agent.
func (k *key) signWith(ctx context.Context, r *keyring, clock *alarm, rand io.Reader, data []byte, algorithm string) (*gossh.Signature, error) {
	if k.of != nil {
		return k.of.signWith(ctx, r, clock, rand, data, algorithm)
	}
	if k.agent != "" {
		defer clock.pause()()
		return k.agentSign(ctx, data, algorithm)
	}
	signer, err := k.unlock(ctx, r, clock)
	if err != nil {
		return nil, err
	}
	if as, ok := signer.(gossh.AlgorithmSigner); ok {
		return as.SignWithAlgorithm(rand, data, algorithm)
	}
	return signer.Sign(rand, data)
}

// readKey reads a key file; of a locked one, the public half. A file that is a public
// key itself names one that an agent holds.
func (s *Shared) readKey(path, name string) (*key, error) {
	data, err := readFile(path, maxKey)
	if err != nil {
		return nil, fmt.Errorf("the key: %w", err)
	}
	k := &key{name: name, path: path}
	signer, err := gossh.ParsePrivateKey(data)
	if err == nil {
		k.signer, k.pub = signer, signer.PublicKey()
		return k, nil
	}
	if missing, ok := errors.AsType[*gossh.PassphraseMissingError](err); ok {
		return s.lockedKey(path, name, data, missing.PublicKey), nil
	}
	if k.pub = parsePublic(data); k.pub == nil {
		// Hardware keys have a file that only their public half can be taken from.
		k.pub = readPublic(path + ".pub")
	}
	if k.pub == nil {
		return nil, fmt.Errorf("the key %s: %w", name, err)
	}
	return k, nil
}

// lockedKey returns the key of an encrypted file.
func (s *Shared) lockedKey(path, name string, data []byte, pub gossh.PublicKey) *key {
	k := s.locked(path, data, func() *key {
		return &key{name: name, path: path, pem: data, pub: pub, asking: newTurn()}
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pub == nil {
		k.pub = readPublic(path + ".pub")
	}
	return k
}

// readPublic reads the public half of a key from a file of its own; nil if there is none.
func readPublic(path string) gossh.PublicKey {
	text, err := readFile(path, maxKey)
	if err != nil {
		return nil
	}
	return parsePublic(text)
}

func parsePublic(text []byte) gossh.PublicKey {
	pub, _, _, _, err := gossh.ParseAuthorizedKey(text)
	if err != nil {
		return nil
	}
	return pub
}

// secret reports whether the key can sign, as far as is known.
func (k *key) secret() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.of != nil || k.agent != "" || k.signer != nil || k.asking != nil
}

// absent says why there is no secret half.
func (k *key) absent() error {
	if pub := k.public(); pub != nil && strings.HasPrefix(pub.Type(), "sk-") {
		return fmt.Errorf("the key %s is in a security key and not in the agent: ssh-add it, or use openssh://", k.name)
	}
	return fmt.Errorf("the key %s has its secret half neither there nor in the agent", k.name)
}

// unlock returns the key ready to sign, asking for its passphrase if it is
// locked: once for all who share it, whatever comes of it. A refusal is good for a while.
func (k *key) unlock(ctx context.Context, r *keyring, clock *alarm) (gossh.Signer, error) {
	ready := func() (gossh.Signer, error, bool) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.locked != nil && time.Since(k.refused) < refusalTime {
			return nil, k.locked, true
		}
		return k.signer, nil, k.signer != nil
	}
	if signer, err, ok := ready(); ok {
		return signer, err
	}
	locked := func(err error) error { return fmt.Errorf("the key %s is locked: %w", k.name, err) }
	if k.asking == nil {
		return nil, k.absent()
	}
	if r.ask == nil {
		return nil, locked(errors.New("its passphrase is needed and nobody can be asked: ssh-add it to the agent"))
	}
	if err := k.asking.take(ctx, clock, r.pause); err != nil {
		return nil, fmt.Errorf("wait for the passphrase of %s: %w", k.name, err)
	}
	defer k.asking.give()
	if signer, err, ok := ready(); ok { // another login was told
		return signer, err
	}
	defer clock.pause()()
	signer, err := k.open(ctx, r)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil && k.pub != nil && !bytes.Equal(k.pub.Marshal(), signer.PublicKey().Marshal()) {
		err = fmt.Errorf("%s.pub is the public half of another key", k.name)
	}
	if err != nil {
		err = locked(err)
		if again, ok := errors.AsType[*gat.Error](err); ctx.Err() == nil && !(ok && again.Class == gat.Transient) {
			k.locked, k.refused = err, time.Now()
		} // else nobody saw the question: the next login may ask
		return nil, err
	}
	k.signer, k.pub, k.pem, k.locked = signer, signer.PublicKey(), nil, nil
	return signer, nil
}

// open asks for the passphrase until it is right.
func (k *key) open(ctx context.Context, r *keyring) (gossh.Signer, error) {
	question := "passphrase of " + k.name + ":"
	for range maxTries {
		answer, err := r.ask(ctx, r.site, question, true)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, fmt.Errorf("ask for its passphrase (ssh-add gives it to the agent): %w", plainly(err))
		}
		raw, err := gossh.ParseRawPrivateKeyWithPassphrase(k.pem, []byte(answer))
		if errors.Is(err, x509.IncorrectPasswordError) || err != nil && unchecked(k.pem) {
			question = "wrong, again: passphrase of " + k.name + ":"
			continue
		}
		if err != nil {
			return nil, err
		}
		return newSigner(raw)
	}
	return nil, fmt.Errorf("wrong passphrase, %d times", maxTries)
}

// plainly is the error of a question that came to nothing, without what is said around
// it, unless the question may be put again.
func plainly(err error) error {
	if e, ok := errors.AsType[*gat.Error](err); ok && e.Class != gat.Transient {
		return e.Err
	}
	return err
}

// unchecked reports whether a locked key is of the old form (RFC 1421), which has no
// check of the passphrase: one wrong passphrase in some hundred yields nonsense.
func unchecked(key []byte) bool {
	block, _ := pem.Decode(key)
	return block != nil && block.Headers["DEK-Info"] != ""
}

func newSigner(raw any) (gossh.Signer, error) {
	if s, ok := raw.(crypto.Signer); ok {
		return gossh.NewSignerFromSigner(s)
	}
	return gossh.NewSignerFromKey(raw)
}
