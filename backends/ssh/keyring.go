package ssh

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/backends/ssh/sshconfig"
	"github.com/zorilla-grid/zorilla/gat"
)

const maxKeys = 32 // offered to one server

// A keyring holds the keys for one server, in the order they are offered. It is
// filled when the server asks for one.
type keyring struct {
	site     string
	home     string
	identity string // the one key to use; empty means as configured
	jump     bool   // the server is on the way only: identity comes before what is configured
	agent    string // the agent's socket, "none", or empty for the environment's
	config   sshconfig.Host
	shared   *Shared

	ask      gat.Asker
	prompted func(context.Context)
	pause    func(context.Context, func())

	mu     sync.Mutex
	loaded bool
	keys   []*key
	notes  []string // what was looked for and not usable
}

// keyring makes the keyring for a server.
func (c *connector) keyring(h *hop) *keyring {
	r := &keyring{site: c.target.Site, home: c.home, identity: c.identity, agent: c.backend.Agent, config: h.config, shared: c.shared,
		ask: c.target.Ask, prompted: c.target.Prompted, pause: c.target.Pause}
	if r.agent == "" {
		r.agent = h.config.IdentityAgent
	}
	return r
}

// list returns the keys in the order they are offered, and what was not usable.
func (r *keyring) list() ([]*key, []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.loaded {
		r.loaded = true
		r.load()
	}
	return r.keys, r.notes
}

// load fills the keyring in the order of ssh(1), which matters to servers that hang
// up after some keys (MaxAuthTries of sshd_config(5), 6 by default): certificates that
// are configured, the agent's keys that are configured, its other keys unless
// IdentitiesOnly, and then what is configured and not in the agent.
func (r *keyring) load() {
	if v := r.config.Value("pubkeyauthentication"); (v == "no" || v == "false") && r.identity == "" {
		r.notes = append(r.notes, "no keys are used, for the ssh configuration says PubkeyAuthentication no")
		return
	}
	held, errs := agentKeys(r.agent)
	for _, err := range errs {
		r.notes = append(r.notes, err.Error())
	}
	files, only := r.files()
	have := slices.Concat(held, files)
	for _, path := range r.config.CertificateFiles {
		k, err := r.certificate(path, have)
		if err != nil {
			r.notes = append(r.notes, err.Error())
			continue
		}
		r.add(k)
	}
	if len(r.config.CertificateFiles) == 0 {
		files = r.withCertificates(files, have)
	}
	configured := func(k *key) bool {
		return slices.ContainsFunc(files, func(f *key) bool { return f.is(k.public()) })
	}
	for _, k := range held {
		if configured(k) {
			r.add(k)
		}
	}
	for _, k := range held {
		if !only {
			r.add(k)
		}
	}
	for _, k := range files {
		if k.secret() {
			r.add(k)
		} else if !slices.ContainsFunc(held, func(h *key) bool { return h.is(k.public()) }) {
			r.notes = append(r.notes, k.absent().Error())
		}
	}
}

// add adds a key that is not there yet.
func (r *keyring) add(k *key) {
	pub := k.public()
	if len(r.keys) < maxKeys && !slices.ContainsFunc(r.keys, func(o *key) bool { return o == k || o.is(pub) }) {
		r.keys = append(r.keys, k)
	}
}

// files reads the key files there are, and reports whether the agent may add none.
func (r *keyring) files() (keys []*key, only bool) {
	paths, usual, only := r.config.IdentityFiles, r.config.UsualIdentities, r.config.IdentitiesOnly
	if r.identity != "" {
		path := r.identity
		if rest, ok := strings.CutPrefix(path, "~/"); ok {
			path = filepath.Join(r.home, rest)
		}
		if r.jump {
			paths = append([]string{path}, paths...)
		} else {
			paths, usual, only = []string{path}, false, true
		}
	}
	for _, path := range paths {
		k, err := r.shared.readKey(path, r.short(path))
		switch {
		case err == nil:
			keys = append(keys, k)
		case errors.Is(err, fs.ErrNotExist) && readPublic(path+".pub") != nil:
			keys = append(keys, &key{name: r.short(path) + ".pub", path: path, pub: readPublic(path + ".pub")})
		case !errors.Is(err, fs.ErrNotExist) || !usual && !slices.Contains(usualNames, filepath.Base(path)):
			r.notes = append(r.notes, err.Error())
		}
	}
	return keys, only
}

// usualNames are files nobody misses.
var usualNames = []string{"id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "id_xmss", "id_dsa"}

// short is a path for messages.
func (r *keyring) short(path string) string {
	if rest, ok := strings.CutPrefix(path, filepath.Clean(r.home)+string(filepath.Separator)); ok {
		return "~/" + filepath.ToSlash(rest)
	}
	return path
}

// withCertificates adds to each key file the certificate beside it, KEY-cert.pub.
func (r *keyring) withCertificates(files, have []*key) []*key {
	var all []*key
	for _, k := range files {
		all = append(all, k)
		cert, err := r.certificate(strings.TrimSuffix(k.path, ".pub")+"-cert.pub", have)
		switch {
		case err == nil:
			all = append(all, cert)
		case !errors.Is(err, fs.ErrNotExist):
			r.notes = append(r.notes, err.Error())
		}
	}
	return all
}

// certificate reads a user's certificate, whose key is one of have.
func (r *keyring) certificate(path string, have []*key) (*key, error) {
	name := r.short(path)
	text, err := readFile(path, maxKey)
	if err != nil {
		return nil, fmt.Errorf("the certificate: %w", err)
	}
	cert, ok := parsePublic(text).(*gossh.Certificate)
	if !ok || cert.CertType != gossh.UserCert {
		return nil, fmt.Errorf("%s is no certificate of a user", name)
	}
	if i := slices.IndexFunc(have, func(k *key) bool { return k.is(cert) }); i >= 0 {
		return have[i], nil // the agent has it
	}
	i := slices.IndexFunc(have, func(k *key) bool { return k.is(cert.Key) && k.secret() })
	if i < 0 {
		return nil, fmt.Errorf("the certificate %s: its key is neither configured nor in the agent", name)
	}
	return &key{name: "certificate " + name, pub: cert, of: have[i]}, nil
}
