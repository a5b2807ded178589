//go:build unix

package ssh_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/gat"
)

// decider answers questions about host keys and counts them.
type decider struct {
	answers []string

	mu    sync.Mutex
	asked []string
}

func (d *decider) ask(_ context.Context, site, question string, secret bool) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, question)
	if site != "test" || secret || len(d.answers) == 0 {
		return "", errors.New("asked the wrong way")
	}
	a := d.answers[0]
	d.answers = d.answers[1:]
	return a, nil
}

// strange makes a server that the home knows nothing of.
func strange(t *testing.T, config string, answers ...string) (*server, gat.Target, *decider, string) {
	t.Helper()
	s, tg := setup(t, "h:2222")
	known := filepath.Join(tg.Home, ".ssh", "known_hosts")
	if err := os.Remove(known); err != nil {
		t.Fatal(err)
	}
	if config != "" {
		configure(t, tg.Home, "%s", config)
	}
	d := &decider{answers: answers}
	tg.Ask = d.ask
	return s, tg, d, known
}

func TestFirstContact(t *testing.T) {
	t.Parallel()
	lines := func(t *testing.T, name string) []string {
		t.Helper()
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	}
	t.Run("yes", func(t *testing.T) {
		t.Parallel()
		s, tg, d, known := strange(t, "", "what?", " Yes ")
		login(t, ssh.Backend{}, tg)
		login(t, ssh.Backend{}, tg)
		print := gossh.FingerprintSHA256(s.hostKeys[0].PublicKey())
		if len(d.asked) != 2 || !strings.Contains(d.asked[0], print) || !strings.Contains(d.asked[0], "ed25519") || !strings.Contains(d.asked[0], "h:2222") || !strings.Contains(d.asked[1], print) {
			t.Errorf("asked %q", d.asked)
		}
		if got := lines(t, known); len(got) != 1 || !strings.HasPrefix(got[0], "[h]:2222 ssh-ed25519 ") {
			t.Errorf("known_hosts is %q", got)
		}
		if fi, err := os.Stat(known); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("known_hosts is %v, %v", fi.Mode(), err)
		}
		// The key that was trusted is the one that counts from now on.
		s.hostKeys = []gossh.Signer{newKey(t, "ed25519")}
		refused(t, ssh.Backend{}, tg, gat.Denied, "has changed", "ssh-keygen")
		if len(d.asked) != 2 {
			t.Errorf("a changed key was asked about: %q", d.asked)
		}
	})
	t.Run("the fingerprint", func(t *testing.T) {
		t.Parallel()
		s, tg, d, known := strange(t, "HashKnownHosts yes\n")
		if err := os.WriteFile(known, []byte("# no end of the line"), 0o600); err != nil {
			t.Fatal(err)
		}
		d.answers = []string{gossh.FingerprintSHA256(s.hostKeys[0].PublicKey())}
		login(t, ssh.Backend{}, tg)
		if got := lines(t, known); len(got) != 2 || !strings.HasPrefix(got[1], "|1|") {
			t.Errorf("known_hosts is %q", got)
		}
		login(t, ssh.Backend{}, tg)
	})
	t.Run("no", func(t *testing.T) {
		t.Parallel()
		s, tg, d, known := strange(t, "", "no", "yes")
		shared := ssh.NewShared()
		refused(t, ssh.Backend{Shared: shared}, tg, gat.Denied, "unknown", "the answer was no", "administrator")
		refused(t, ssh.Backend{Shared: shared}, tg, gat.Denied, "the answer was no") // without another question
		if got := lines(t, known); got != nil || len(d.asked) != 1 || len(s.state().offered) > 0 {
			t.Errorf("asked %q, known_hosts is %q", d.asked, got)
		}
		login(t, ssh.Backend{Shared: ssh.NewShared()}, tg)
	})
	t.Run("no sense", func(t *testing.T) {
		t.Parallel()
		_, tg, _, _ := strange(t, "", "maybe", "SHA256:x", "y", "yes")
		refused(t, ssh.Backend{}, tg, gat.Denied, "neither yes nor no")
	})
	t.Run("nobody", func(t *testing.T) {
		t.Parallel()
		_, tg, _, known := strange(t, "")
		refused(t, ssh.Backend{}, tg, gat.Denied, "asked the wrong way", "log in once with `ssh -o UserKnownHostsFile=")
		tg.Ask = func(context.Context, string, string, bool) (string, error) {
			return "", &gat.Error{Class: gat.Denied, Err: errors.New("no terminal")}
		}
		refused(t, ssh.Backend{}, tg, gat.Denied, "unknown", ": no terminal (log in once with")
		tg.Ask = nil
		refused(t, ssh.Backend{}, tg, gat.Denied, "unknown", "log in once with `ssh -o UserKnownHostsFile="+known+" -p 2222 me@h`")
		tg.URL.RawQuery = "jump=j:22"
		refused(t, ssh.Backend{}, tg, gat.NotFound)
	})
	t.Run("strict", func(t *testing.T) {
		t.Parallel()
		_, tg, d, known := strange(t, "StrictHostKeyChecking yes\n", "yes")
		refused(t, ssh.Backend{}, tg, gat.Denied, "unknown")
		if len(d.asked) > 0 || lines(t, known) != nil {
			t.Errorf("asked %q", d.asked)
		}
	})
	for _, value := range []string{"accept-new", "no"} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			s, tg, d, known := strange(t, "StrictHostKeyChecking "+value+"\nUserKnownHostsFile ~/.ssh/other ~/.ssh/known_hosts\n")
			l := login(t, ssh.Backend{}, tg)
			if got := how(t, l); !strings.Contains(got, "taken unasked") || (value == "no") != strings.Contains(got, "counts as accept-new") {
				t.Errorf("how: %q", got)
			}
			if got := lines(t, filepath.Join(tg.Home, ".ssh", "other")); len(got) != 1 || len(d.asked) > 0 || lines(t, known) != nil {
				t.Errorf("asked %q, the file is %q", d.asked, got)
			}
			if got := how(t, login(t, ssh.Backend{}, tg)); strings.Contains(got, "unasked") {
				t.Errorf("how: %q", got)
			}
			s.hostKeys = []gossh.Signer{newKey(t, "ed25519")}
			refused(t, ssh.Backend{}, tg, gat.Denied, "has changed")
		})
	}
	t.Run("by an alias", func(t *testing.T) {
		t.Parallel()
		_, tg, d, known := strange(t, "HostKeyAlias the-cluster\n", "yes")
		login(t, ssh.Backend{}, tg)
		if got := lines(t, known); len(got) != 1 || !strings.HasPrefix(got[0], "the-cluster ssh-ed25519") || len(d.asked) != 1 {
			t.Errorf("known_hosts is %q", got)
		}
		login(t, ssh.Backend{}, tg)
	})
	t.Run("all at once", func(t *testing.T) {
		t.Parallel()
		_, tg, d, known := strange(t, "", "yes", "yes", "yes")
		waits := make(chan struct{}, 8)
		ask := tg.Ask
		tg.Ask = func(ctx context.Context, site, question string, secret bool) (string, error) {
			for range 3 { // the others wait for this one
				select {
				case <-waits:
				case <-time.After(20 * time.Second):
					return "", errors.New("nobody waits")
				}
			}
			return ask(ctx, site, question, secret)
		}
		tg.Pause = func(_ context.Context, wait func()) {
			waits <- struct{}{}
			wait()
		}
		shared := ssh.NewShared()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				l, err := ssh.Backend{Agent: "none", Shared: shared}.Open(t.Context(), tg)
				if err != nil {
					t.Error(err)
					return
				}
				l.Close()
			})
		}
		wg.Wait()
		if got := lines(t, known); len(got) != 1 || len(d.asked) != 1 {
			t.Errorf("asked %q, known_hosts is %q", d.asked, got)
		}
	})
	t.Run("the server does not wait", func(t *testing.T) {
		t.Parallel()
		_, tg, d, _ := strange(t, "", "yes")
		var conn net.Conn
		dial, ask := tg.Dial, tg.Ask
		tg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			conn = c
			return c, err
		}
		tg.Ask = func(ctx context.Context, site, question string, secret bool) (string, error) {
			conn.Close()
			return ask(ctx, site, question, secret)
		}
		refused(t, ssh.Backend{}, tg, gat.Transient, "closed")
		login(t, ssh.Backend{}, tg) // the answer was good
		if len(d.asked) != 1 {
			t.Errorf("asked %q", d.asked)
		}
	})
	t.Run("the caller does not wait", func(t *testing.T) {
		t.Parallel()
		_, tg, _, known := strange(t, "")
		ctx, cancel := context.WithCancel(t.Context())
		tg.Ask = func(ctx context.Context, _, _ string, _ bool) (string, error) {
			cancel()
			<-ctx.Done()
			return "", &gat.Error{Class: gat.Denied, Err: ctx.Err()}
		}
		if l, err := (ssh.Backend{Agent: "none"}).Open(ctx, tg); err == nil {
			l.Close()
			t.Error("no error")
		} else if !errors.Is(err, context.Canceled) || gat.ClassOf(err) == gat.Denied {
			t.Errorf("%v: %v", gat.ClassOf(err), err)
		}
		if got := lines(t, known); got != nil {
			t.Errorf("known_hosts is %q", got)
		}
	})
	t.Run("nowhere to write", func(t *testing.T) {
		t.Parallel()
		_, tg, d, _ := strange(t, "UserKnownHostsFile ~/.ssh/dir/file\n", "yes", "yes")
		if err := os.WriteFile(filepath.Join(tg.Home, ".ssh", "dir"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		// A file in the place of a directory cannot be read either.
		refused(t, ssh.Backend{}, tg, gat.Denied, "read the known host keys")
		configure(t, tg.Home, "UserKnownHostsFile none\n")
		shared := ssh.NewShared()
		login(t, ssh.Backend{Shared: shared}, tg)
		login(t, ssh.Backend{Shared: shared}, tg)
		if len(d.asked) != 1 {
			t.Errorf("asked %q", d.asked)
		}
	})
}

// hostCert makes a host certificate for a key.
func hostCert(t *testing.T, key, ca gossh.Signer, change func(*gossh.Certificate)) gossh.Signer {
	t.Helper()
	cert := &gossh.Certificate{Key: key.PublicKey(), CertType: gossh.HostCert, ValidPrincipals: []string{"h"}, ValidBefore: gossh.CertTimeInfinity}
	if change != nil {
		change(cert)
	}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	s, err := gossh.NewCertSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestHostCertificates(t *testing.T) {
	t.Parallel()
	ca, other, key := newKey(t, "ed25519"), newKey(t, "ed25519"), newKey(t, "ed25519")
	authority := "@cert-authority " + knownhosts.Line([]string{"h", "*.grid"}, ca.PublicKey())
	now := time.Now().Unix()
	for name, c := range map[string]struct {
		by     gossh.Signer // nil means ca
		change func(*gossh.Certificate)
		plain  bool // the server shows no certificate
		lines  []string
		says   []string // nothing means that the login is made
	}{
		"good":                {},
		"unknown authority":   {by: other, says: []string{"host certificate of h:22", gossh.FingerprintSHA256(other.PublicKey()), "not known for this host", gossh.FingerprintSHA256(ca.PublicKey()), "known_hosts:1"}},
		"expired":             {change: func(c *gossh.Certificate) { c.ValidBefore = uint64(now - 3600) }, says: []string{"expired", "renew"}},
		"not yet valid":       {change: func(c *gossh.Certificate) { c.ValidAfter = uint64(now + 3600) }, says: []string{"not yet valid", "clock"}},
		"wrong principal":     {change: func(c *gossh.Certificate) { c.ValidPrincipals = []string{"h.grid", "g"} }, says: []string{"h.grid, g", "HostKeyAlias"}},
		"of a user":           {change: func(c *gossh.Certificate) { c.CertType = gossh.UserCert }, says: []string{"host certificate of h"}},
		"revoked authority":   {lines: []string{"@revoked " + knownhosts.Line([]string{"*"}, ca.PublicKey())}, says: []string{"authority", "revoked", "known_hosts:2"}},
		"revoked key":         {lines: []string{"@revoked " + knownhosts.Line([]string{"*"}, key.PublicKey())}, says: []string{"host key", "revoked", "known_hosts:2", "ask the host's administrator"}},
		"bad, but known key":  {change: func(c *gossh.Certificate) { c.ValidBefore = uint64(now - 3600) }, lines: []string{knownhosts.Line([]string{"h"}, key.PublicKey())}},
		"none":                {plain: true, says: []string{"unknown", "no certificate by the authority"}},
		"none, but known key": {plain: true, lines: []string{knownhosts.Line([]string{"h"}, key.PublicKey())}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, tg := setup(t, "h")
			if err := os.Remove(filepath.Join(tg.Home, ".ssh", "known_hosts")); err != nil {
				t.Fatal(err)
			}
			by := ca
			if c.by != nil {
				by = c.by
			}
			s.hostKeys = []gossh.Signer{key}
			if !c.plain {
				s.hostKeys = append(s.hostKeys, hostCert(t, key, by, c.change))
			}
			for _, l := range append([]string{authority}, c.lines...) {
				addLine(t, tg.Home, l)
			}
			if c.says == nil {
				login(t, ssh.Backend{}, tg)
				return
			}
			refused(t, ssh.Backend{}, tg, gat.Denied, c.says...)
			if n := len(s.state().offered); n > 0 {
				t.Errorf("%d keys were offered to a host that is not trusted", n)
			}
		})
	}
}

// With a certificate that is not valid the host is one without: unknown, and
// the user's decision.
func TestBadHostCertificateIsAskedAbout(t *testing.T) {
	t.Parallel()
	ca, key := newKey(t, "ed25519"), newKey(t, "ed25519")
	for _, c := range []struct {
		name, config string
		change       func(*gossh.Certificate)
		by           gossh.Signer
		answers      []string
		asked        string // part of the question
		says         string
	}{
		{"expired", "", func(c *gossh.Certificate) { c.ValidBefore = 1 }, ca, []string{"yes"}, "expired", ""},
		{"expired and unasked", "StrictHostKeyChecking accept-new\n", func(c *gossh.Certificate) { c.ValidBefore = 1 }, ca, nil, "", "expired"},
		{"unknown authority", "", nil, newKey(t, "ed25519"), []string{"yes"}, "unknown", ""},
		{"unknown authority and unasked", "StrictHostKeyChecking accept-new\n", nil, newKey(t, "ed25519"), nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, tg, d, _ := strange(t, c.config, c.answers...)
			s.hostKeys = []gossh.Signer{key, hostCert(t, key, c.by, c.change)}
			addLine(t, tg.Home, "@cert-authority "+knownhosts.Line([]string{"*"}, ca.PublicKey()))
			if c.says != "" {
				refused(t, ssh.Backend{}, tg, gat.Denied, c.says)
				return
			}
			login(t, ssh.Backend{}, tg)
			login(t, ssh.Backend{}, tg)
			if len(d.asked) != len(c.answers) || len(d.asked) > 0 && !(strings.Contains(d.asked[0], c.asked) && strings.Contains(d.asked[0], gossh.FingerprintSHA256(key.PublicKey()))) {
				t.Errorf("asked %q", d.asked)
			}
			s.hostKeys = []gossh.Signer{newKey(t, "ed25519")}
			refused(t, ssh.Backend{}, tg, gat.Denied, "changed")
		})
	}
}

// userCert writes a certificate for a key into a home.
func userCert(t *testing.T, home, name string, pub gossh.PublicKey, ca gossh.Signer, kind uint32, user string) string {
	t.Helper()
	cert := &gossh.Certificate{Key: pub, CertType: kind, ValidPrincipals: []string{user}, ValidBefore: gossh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".ssh", name), gossh.MarshalAuthorizedKey(cert), 0o644); err != nil {
		t.Fatal(err)
	}
	return gossh.FingerprintSHA256(cert)
}

func TestUserCertificates(t *testing.T) {
	t.Parallel()
	ca := newKey(t, "ed25519")
	// The server takes certificates of its authority alone.
	certified := func(user string, key gossh.PublicKey) bool {
		checker := gossh.CertChecker{IsUserAuthority: func(k gossh.PublicKey) bool { return string(k.Marshal()) == string(ca.PublicKey().Marshal()) }}
		cert, ok := key.(*gossh.Certificate)
		return ok && checker.IsUserAuthority(cert.SignatureKey) && checker.CheckCert(user, cert) == nil
	}
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		t.Run("beside the key, "+kind, func(t *testing.T) {
			t.Parallel()
			s, tg := setup(t, "h")
			s.takes(certified)
			raw := newRawKey(t, kind)
			writeKey(t, tg.Home, "id_"+kind, raw, "")
			refused(t, ssh.Backend{}, tg, gat.Denied, "permission denied")
			userCert(t, tg.Home, "id_"+kind+"-cert.pub", signerOf(t, raw).PublicKey(), ca, gossh.UserCert, "me")
			l := login(t, ssh.Backend{}, tg)
			if got := how(t, l); !strings.HasPrefix(got, "certificate ~/.ssh/id_"+kind+"-cert.pub, by ") {
				t.Errorf("logged in by %q", got)
			}
		})
	}
	t.Run("encrypted key", func(t *testing.T) {
		t.Parallel()
		s, tg := setup(t, "h")
		s.takes(certified)
		raw := newRawKey(t, "ed25519")
		writeKey(t, tg.Home, "id_ed25519", raw, "pw")
		userCert(t, tg.Home, "id_ed25519-cert.pub", signerOf(t, raw).PublicKey(), ca, gossh.UserCert, "me")
		q := &questions{answers: []string{"pw"}}
		tg.Ask = q.ask
		login(t, ssh.Backend{}, tg)
		if len(q.asked) != 1 {
			t.Errorf("asked %q", q.asked)
		}
	})
	t.Run("configured, key in the agent", func(t *testing.T) {
		t.Parallel()
		s, tg := setup(t, "h")
		raw := newRawKey(t, "ed25519")
		ring := agent.NewKeyring()
		if err := ring.Add(agent.AddedKey{PrivateKey: raw}); err != nil {
			t.Fatal(err)
		}
		path := serveAgent(t, func(c net.Conn) { agent.ServeAgent(ring, c); c.Close() })
		print := userCert(t, tg.Home, "mine.pub", signerOf(t, raw).PublicKey(), ca, gossh.UserCert, "me")
		configure(t, tg.Home, "CertificateFile ~/.ssh/mine.pub\n")
		s.takes(certified)
		login(t, ssh.Backend{Agent: path}, tg)
		if got := s.state().offered; got[0] != print {
			t.Errorf("offered %q, want the certificate %s first", got, print)
		}
	})
	t.Run("not usable", func(t *testing.T) {
		t.Parallel()
		s, tg := setup(t, "h")
		s.takes(certified)
		userCert(t, tg.Home, "strange.pub", newKey(t, "ed25519").PublicKey(), ca, gossh.UserCert, "me")
		userCert(t, tg.Home, "host.pub", newKey(t, "ed25519").PublicKey(), ca, gossh.HostCert, "me")
		configure(t, tg.Home, "CertificateFile ~/.ssh/strange.pub\nCertificateFile ~/.ssh/host.pub\nCertificateFile ~/.ssh/missing.pub\n")
		refused(t, ssh.Backend{}, tg, gat.Denied, "strange.pub: its key is neither configured nor in the agent",
			"host.pub is no certificate of a user", "missing.pub")
	})
}

// An encrypted key is unlocked once for all sites of a session, however many
// log in at once.
func TestPassphraseShared(t *testing.T) {
	t.Parallel()
	_, tg := setup(t, "h")
	if err := os.Remove(filepath.Join(tg.Home, ".ssh", "id_ed25519")); err != nil {
		t.Fatal(err)
	}
	lockKey(t, tg.Home, "open sesame", true)
	waits := make(chan struct{}, 8)
	var mu sync.Mutex
	asked := 0
	tg.Ask = func(context.Context, string, string, bool) (string, error) {
		mu.Lock()
		asked++
		mu.Unlock()
		for range 3 {
			select {
			case <-waits:
			case <-time.After(20 * time.Second):
				return "", errors.New("nobody waits")
			}
		}
		return "open sesame", nil
	}
	tg.Pause = func(_ context.Context, wait func()) {
		waits <- struct{}{}
		wait()
	}
	b := ssh.Backend{Agent: "none", Shared: ssh.NewShared()}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			l, err := b.Open(t.Context(), tg)
			if err != nil {
				t.Error(err)
				return
			}
			l.Close()
		})
	}
	wg.Wait()
	login(t, b, tg)
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}

	// The answer is good also when the server did not wait for it.
	b.Shared = ssh.NewShared()
	var conn net.Conn
	tg2 := tg
	tg2.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := tg.Dial(ctx, network, addr)
		conn = c
		return c, err
	}
	tg2.Ask = func(context.Context, string, string, bool) (string, error) {
		conn.Close()
		return "open sesame", nil
	}
	refused(t, b, tg2, gat.Transient, "the connection was closed")
	tg2.Ask = nil
	login(t, b, tg2)

	// A login that gives up does not take the answer from the others.
	b.Shared = ssh.NewShared()
	asking, answer := make(chan struct{}), make(chan struct{})
	tg.Ask = func(ctx context.Context, _, _ string, _ bool) (string, error) {
		close(asking)
		select {
		case <-answer:
			return "open sesame", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	tg.Pause = nil
	wg.Go(func() {
		l, err := b.Open(t.Context(), tg)
		if err != nil {
			t.Error(err)
			return
		}
		l.Close()
	})
	<-asking
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if l, err := b.Open(ctx, tg); err == nil {
		l.Close()
		t.Error("a login in spite of a locked key")
	} else if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the login that gave up: %v", err)
	}
	close(answer)
	wg.Wait()
}
