package ssh

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/zorilla-grid/zorilla/gat"
)

const (
	agentTime = 2 * time.Second  // to connect to the agent and list its keys
	touchTime = 60 * time.Second // to sign: the user may have to confirm or touch a device
	maxTries  = 3                // passphrases asked for one key
	maxKeys   = 32               // keys offered to one server
	maxKey    = 64 << 10         // bytes of a key file
)

// usual lists the identity files tried when a URL names none.
var usual = [...]string{"id_ed25519", "id_ecdsa", "id_rsa"}

// A keyring holds the keys of a login and of all logins made through it, so
// that a passphrase is asked once. It is filled when the first server asks.
type keyring struct {
	site      string
	home      string
	identity  string // the one key to use; empty means all
	agentPath string
	ask       gat.Asker
	prompted  func(context.Context) // told of an answer that cannot be given again; may be nil

	mu     sync.Mutex
	loaded bool
	keys   []*key
	notes  []string // what was looked for and not usable
}

// A key is one key to offer. Its secret part is read when a server takes it.
type key struct {
	name string // where it is from

	mu     sync.Mutex
	pub    gossh.PublicKey // nil while it is hidden in a locked file without .pub
	signer gossh.Signer    // nil while locked
	pem    []byte          // the locked file
	locked error           // why it could not be unlocked: it is asked for only once
	agent  string          // the socket of the agent that holds it, or empty
}

// list returns the keys in the order they are offered: the agent's first.
func (r *keyring) list() ([]*key, []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.loaded {
		r.loaded = true
		r.load()
	}
	return r.keys, r.notes
}

func (r *keyring) load() {
	held := r.loadAgent()
	if r.identity != "" {
		path := r.identity
		if rest, ok := strings.CutPrefix(path, "~/"); ok {
			path = filepath.Join(r.home, rest)
		}
		k, err := readKey(path)
		if err != nil {
			r.notes = append(r.notes, err.Error())
			return
		}
		// The agent may hold the same key unlocked.
		for _, h := range held {
			if k.pub != nil && bytes.Equal(h.pub.Marshal(), k.pub.Marshal()) {
				r.keys = append(r.keys, h)
				return
			}
		}
		r.keys = append(r.keys, k)
		return
	}
	seen := map[string]bool{}
	add := func(k *key) {
		if k.pub != nil {
			blob := string(k.pub.Marshal())
			if seen[blob] {
				return
			}
			seen[blob] = true
		}
		if len(r.keys) < maxKeys {
			r.keys = append(r.keys, k)
		}
	}
	for _, k := range held {
		add(k)
	}
	for _, name := range usual {
		k, err := readKey(filepath.Join(r.home, ".ssh", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			r.notes = append(r.notes, err.Error())
			continue
		}
		add(k)
	}
}

// loadAgent lists the agent's keys. An agent that does not answer is done without.
func (r *keyring) loadAgent() []*key {
	path := r.agentPath
	if path == "" {
		path = os.Getenv("SSH_AUTH_SOCK")
	}
	if path == "" || path == "none" {
		return nil
	}
	conn, err := net.DialTimeout("unix", path, agentTime)
	if err != nil {
		r.notes = append(r.notes, fmt.Sprintf("the agent: %v", err))
		return nil
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(agentTime))
	list, err := agent.NewClient(conn).List()
	if err != nil {
		r.notes = append(r.notes, fmt.Sprintf("the agent at %s: %v", path, err))
		return nil
	}
	var keys []*key
	for _, held := range list {
		pub, err := gossh.ParsePublicKey(held.Blob)
		if err != nil {
			r.notes = append(r.notes, fmt.Sprintf("the agent's key %s: %v", printable(held.Comment), err))
			continue
		}
		name := "agent key"
		if held.Comment != "" {
			name += " " + printable(held.Comment)
		}
		keys = append(keys, &key{name: name, pub: pub, agent: path})
	}
	return keys
}

// agentSign has the agent sign. The user may have to confirm.
func (k *key) agentSign(ctx context.Context, pub gossh.PublicKey, data []byte, algorithm string) (*gossh.Signature, error) {
	ctx, cancel := context.WithTimeout(ctx, touchTime)
	defer cancel()
	conn, err := (&net.Dialer{Timeout: agentTime}).DialContext(ctx, "unix", k.agent)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var flags agent.SignatureFlags
	switch algorithm {
	case gossh.KeyAlgoRSASHA256:
		flags = agent.SignatureFlagRsaSha256
	case gossh.KeyAlgoRSASHA512:
		flags = agent.SignatureFlagRsaSha512
	}
	return agent.NewClient(conn).SignWithFlags(pub, data, flags)
}

// readKey reads a key file; of a locked one, the public half.
func readKey(path string) (*key, error) {
	data, err := readFile(path, maxKey)
	if err != nil {
		return nil, fmt.Errorf("the key: %w", err)
	}
	k := &key{name: path}
	signer, err := gossh.ParsePrivateKey(data)
	if err == nil {
		k.signer, k.pub = signer, signer.PublicKey()
		return k, nil
	}
	missing, ok := errors.AsType[*gossh.PassphraseMissingError](err)
	if !ok {
		return nil, fmt.Errorf("the key %s: %w", path, err)
	}
	k.pem, k.pub = data, missing.PublicKey
	if k.pub == nil {
		if text, err := readFile(path+".pub", maxKey); err == nil {
			if pub, _, _, _, err := gossh.ParseAuthorizedKey(text); err == nil {
				k.pub = pub
			}
		}
	}
	return k, nil
}

// unlock returns the key ready to sign, asking for its passphrase if it is
// locked: once, whatever comes of it.
func (k *key) unlock(ctx context.Context, r *keyring, clock *alarm) (gossh.Signer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.signer != nil || k.locked != nil {
		return k.signer, k.locked
	}
	fail := func(err error) (gossh.Signer, error) {
		k.locked = fmt.Errorf("the key %s is locked: %w", k.name, err)
		return nil, k.locked
	}
	if r.ask == nil {
		return fail(errors.New("its passphrase is needed and nobody can be asked: ssh-add it to the agent"))
	}
	defer clock.pause()()
	question := "passphrase of " + k.name
	for range maxTries {
		answer, err := r.ask(ctx, r.site, question, true)
		if err != nil {
			if ctx.Err() != nil { // the next login may ask again
				return nil, fmt.Errorf("ask for the passphrase of %s: %w", k.name, context.Cause(ctx))
			}
			return fail(fmt.Errorf("ask for its passphrase: %w", err))
		}
		raw, err := gossh.ParseRawPrivateKeyWithPassphrase(k.pem, []byte(answer))
		if errors.Is(err, x509.IncorrectPasswordError) || err != nil && unchecked(k.pem) {
			question = "wrong, again: passphrase of " + k.name
			continue
		}
		if err != nil {
			return fail(err)
		}
		signer, err := newSigner(raw)
		if err != nil {
			return fail(err)
		}
		if k.pub != nil && !bytes.Equal(k.pub.Marshal(), signer.PublicKey().Marshal()) {
			return fail(fmt.Errorf("%s.pub is the public half of another key", k.name))
		}
		k.signer, k.pub, k.pem = signer, signer.PublicKey(), nil
		return signer, nil
	}
	return fail(fmt.Errorf("wrong passphrase, %d times", maxTries))
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
