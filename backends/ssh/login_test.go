//go:build unix

package ssh_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/gat"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"ssh://host":                                 "",
		"ssh://me@host:2222/":                        "",
		"ssh://me@[2001:db8::1]:22":                  "",
		"ssh://me@host?jump=you@bastion:2200,second": "",
		"ssh://host?jump=you@[2001:db8::1]:2200":     "",
		"ssh://host?identity=/k&jump=b":              "",
		"ssh://host?identity=~/.ssh/k":               "",
		"http://host":                                "write ssh://",
		"ssh:host":                                   "host is missing",
		"ssh://":                                     "host is missing",
		"ssh://me@:22":                               "host is missing",
		"ssh://@host":                                "user before @ is empty",
		"ssh://me:secret@host":                       "password has no place",
		"ssh://host:":                                "port after : is missing",
		"ssh://host:0":                               "1 to 65535",
		"ssh://host:70000":                           "1 to 65535",
		"ssh://host/path":                            "no meaning here",
		"ssh://host#x":                               "no meaning here",
		"ssh://host?colour=red":                      "options are jump and identity",
		"ssh://host?jump=a&jump=b":                   "twice",
		"ssh://host?jump=":                           "host is missing",
		"ssh://host?jump=a,,b":                       "host is missing",
		"ssh://host?jump=@a":                         "user before @ is empty",
		"ssh://host?jump=a:":                         "port after : is missing",
		"ssh://host?jump=[::1":                       "not closed",
		"ssh://host?jump=[::1]x":                     "must follow",
		"ssh://host?jump=a:b":                        "1 to 65535",
		"ssh://host?jump=a,a,a,a,a,a,a,a,a":          "more than 8",
		"ssh://host?identity=key":                    "absolute",
		"ssh://ho!st":                                "neither a name nor an address",
		"ssh://-oProxyCommand=x":                     "neither a name nor an address",
		"ssh://me%3Brm@host":                         "no user name has",
		"ssh://host?identity=/a%zz":                  "malformed",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		err = ssh.Backend{}.Check(u)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", text, err, want)
		case want != "" && gat.ClassOf(err) != gat.Invalid:
			t.Errorf("%s: class %v", text, gat.ClassOf(err))
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: the error shows the password: %v", text, err)
		}
	}
	if err := (ssh.Backend{}).Check(nil); err == nil {
		t.Error("no URL: no error")
	}
}

func TestKnownHosts(t *testing.T) {
	t.Parallel()
	ed, ec, rs, other := newKey(t, "ed25519"), newKey(t, "ecdsa"), newKey(t, "rsa"), newKey(t, "ed25519")
	all := []gossh.Signer{rs, ec, ed}
	line := func(host string, k gossh.Signer) string { return knownhosts.Line([]string{host}, k.PublicKey()) }
	for name, c := range map[string]struct {
		at    string
		keys  []gossh.Signer
		lines []string
		alg   string   // negotiated
		says  []string // of the error
	}{
		"plain":         {at: "h", keys: all, lines: []string{line("h", ed)}, alg: gossh.KeyAlgoED25519},
		"only rsa":      {at: "h", keys: all, lines: []string{line("h", rs)}, alg: gossh.KeyAlgoRSASHA512},
		"only ecdsa":    {at: "h", keys: all, lines: []string{line("h", ec)}, alg: gossh.KeyAlgoECDSA256},
		"upper case":    {at: "H.Example", keys: all, lines: []string{line("h.example", ec)}, alg: gossh.KeyAlgoECDSA256},
		"port":          {at: "h:2222", keys: all, lines: []string{line("[h]:2222", ec), line("h", other)}, alg: gossh.KeyAlgoECDSA256},
		"hashed":        {at: "h", keys: all, lines: []string{line(knownhosts.HashHostname("h"), rs)}, alg: gossh.KeyAlgoRSASHA512},
		"hashed port":   {at: "h:2222", keys: all, lines: []string{line(knownhosts.HashHostname("[h]:2222"), rs)}, alg: gossh.KeyAlgoRSASHA512},
		"pattern":       {at: "n3.grid", keys: all, lines: []string{line("*.grid,!n4.grid", ec)}, alg: gossh.KeyAlgoECDSA256},
		"bad lines":     {at: "h", keys: all, lines: []string{"rubbish", "h ssh-ed25519 AAAA", "|1|x h ssh-ed25519 x", "", "# x", "h ssh-new AAAACHNzaC1uZXc=", line("h", ec)}, alg: gossh.KeyAlgoECDSA256},
		"two for one":   {at: "h", keys: []gossh.Signer{ed}, lines: []string{line("h", other), line("h", ed)}, alg: gossh.KeyAlgoED25519},
		"unknown":       {at: "h", keys: all, says: []string{"unknown", gossh.FingerprintSHA256(ed.PublicKey()), "ssh -o UserKnownHostsFile=", " me@h`"}},
		"unknown port":  {at: "h:2222", keys: all, lines: []string{line("h", other)}, says: []string{"unknown", "-p 2222 me@h`"}},
		"changed":       {at: "h", keys: all, lines: []string{"# one", line("h", other)}, says: []string{"changed", gossh.FingerprintSHA256(ed.PublicKey()), gossh.FingerprintSHA256(other.PublicKey()), "known_hosts:2", "ssh-keygen -f ", " -R h`"}},
		"changed port":  {at: "h:2222", keys: all, lines: []string{line("[h]:2222", other)}, says: []string{"changed", "-R '[h]:2222'"}},
		"kind is gone":  {at: "h", keys: []gossh.Signer{rs}, lines: []string{line("h", ed)}, says: []string{"changed", gossh.FingerprintSHA256(rs.PublicKey())}},
		"revoked":       {at: "h", keys: []gossh.Signer{ed}, lines: []string{line("h", ed), "@revoked " + line("*", ed)}, says: []string{"revoked", "known_hosts:2"}},
		"only the host": {at: "h:2222", keys: all, lines: []string{line("h", ec)}, alg: gossh.KeyAlgoECDSA256},
		"another at 22": {at: "h:2222", keys: all, lines: []string{line("h", ec), line("[h]:2222", other)}, says: []string{"changed", "-R '[h]:2222'"}},
		"excluded host": {at: "n4.grid", keys: all, lines: []string{line("*.grid,!n4.grid", ec)}, says: []string{"unknown"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &server{name: strings.ToLower(c.at), hostKeys: c.keys}
			home := newHome(t)
			writeKey(t, home, "id_ed25519", newRawKey(t, "ed25519"), "")
			for _, l := range c.lines {
				addLine(t, home, l)
			}
			before, _ := os.ReadFile(filepath.Join(home, ".ssh", "known_hosts"))
			tg := target(t, "ssh://me@"+c.at, home, s)
			if c.says != nil {
				refused(t, ssh.Backend{}, tg, gat.Denied, c.says...)
				if n := len(s.state().offered); n > 0 {
					t.Errorf("%d keys were offered to a host that is not trusted", n)
				}
			} else {
				login(t, ssh.Backend{}, tg)
				if s.state().hostAlg != c.alg {
					t.Errorf("host key algorithm %s, want %s", s.state().hostAlg, c.alg)
				}
			}
			if after, _ := os.ReadFile(filepath.Join(home, ".ssh", "known_hosts")); string(after) != string(before) {
				t.Error("known_hosts was changed")
			}
		})
	}
}

func TestHostCertificate(t *testing.T) {
	t.Parallel()
	s, tg := setup(t, "h")
	ca := newKey(t, "ed25519")
	cert := &gossh.Certificate{
		Key: s.hostKeys[0].PublicKey(), CertType: gossh.HostCert, ValidPrincipals: []string{"h"}, ValidBefore: gossh.CertTimeInfinity,
	}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	withCert, err := gossh.NewCertSigner(cert, s.hostKeys[0])
	if err != nil {
		t.Fatal(err)
	}
	s.hostKeys = append(s.hostKeys, withCert)
	if err := os.Remove(filepath.Join(tg.Home, ".ssh", "known_hosts")); err != nil {
		t.Fatal(err)
	}
	addLine(t, tg.Home, "@cert-authority "+knownhosts.Line([]string{"h"}, ca.PublicKey()))
	login(t, ssh.Backend{}, tg)
	if s.state().hostAlg != gossh.CertAlgoED25519v01 {
		t.Errorf("host key algorithm %s", s.state().hostAlg)
	}
}

// serveAgent serves keys as an agent does and returns the socket's path.
func serveAgent(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ln.Close()
		os.RemoveAll(dir)
	})
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go handle(c)
		}
	}()
	return path
}

func TestKeyOrder(t *testing.T) {
	t.Parallel()
	s, tg := setup(t, "h")
	both, held := newRawKey(t, "ed25519"), newRawKey(t, "rsa")
	ring := agent.NewKeyring()
	for _, k := range []any{held, both} {
		if err := ring.Add(agent.AddedKey{PrivateKey: k}); err != nil {
			t.Fatal(err)
		}
	}
	path := serveAgent(t, func(c net.Conn) { agent.ServeAgent(ring, c); c.Close() })
	// The agent's keys come first, those that have a file too before the others.
	want := []string{gossh.FingerprintSHA256(signerOf(t, both).PublicKey()), gossh.FingerprintSHA256(signerOf(t, held).PublicKey())}
	writeKey(t, tg.Home, "id_ed25519", both, "") // offered once
	want = append(want, writeKey(t, tg.Home, "id_rsa", newRawKey(t, "rsa"), ""))
	want = append(want, writeKey(t, tg.Home, "id_ecdsa", newRawKey(t, "ecdsa"), ""))

	s.takes(nobody)
	err := refused(t, ssh.Backend{Agent: path}, tg, gat.Denied, append(want, "permission denied", "authenticate as me at h:22", "right user name")...)
	if diff := cmp.Diff(want, s.state().offered); diff != "" {
		t.Errorf("keys offered (-want +got):\n%s\n%v", diff, err)
	}

	// Each of them is enough, the agent's RSA key with SHA-2 included.
	for _, fp := range want {
		s.takes(func(user string, k gossh.PublicKey) bool { return user == "me" && gossh.FingerprintSHA256(k) == fp })
		login(t, ssh.Backend{Agent: path}, tg)
	}

	// An identity is the only key offered, and the agent may hold it.
	s.takes(nil)
	tg.URL.RawQuery = "identity=~/.ssh/id_ecdsa"
	login(t, ssh.Backend{Agent: path}, tg)
	tg.URL.RawQuery = "identity=" + filepath.Join(tg.Home, ".ssh", "id_ed25519")
	login(t, ssh.Backend{Agent: path}, tg)
	for _, fp := range s.state().offered {
		if fp != want[0] && fp != want[3] {
			t.Errorf("%s was offered too", fp)
		}
	}
	tg.URL.RawQuery = "identity=/no/such/key"
	refused(t, ssh.Backend{Agent: path}, tg, gat.Denied, "/no/such/key")
}

func TestAgentStalls(t *testing.T) {
	t.Parallel()
	_, tg := setup(t, "h")
	stop := make(chan struct{})
	defer close(stop)
	path := serveAgent(t, func(c net.Conn) { <-stop; c.Close() })
	login(t, ssh.Backend{Agent: path}, tg) // by the key in the file
	login(t, ssh.Backend{Agent: filepath.Join(tg.Home, "no-such-agent")}, tg)
}

// questions is an Asker that gives answers in turn and notes the questions.
type questions struct {
	answers []string
	asked   []string
}

func (q *questions) ask(_ context.Context, site, question string, secret bool) (string, error) {
	q.asked = append(q.asked, question)
	if site != "test" || !secret {
		return "", errors.New("asked the wrong way")
	}
	if len(q.answers) == 0 {
		return "", errors.New("no terminal")
	}
	a := q.answers[0]
	q.answers = q.answers[1:]
	return a, nil
}

func writePEM(t testing.TB, path string, block *pem.Block) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
}

// lockKey writes a key in the old format, which is quick to unlock, under a
// passphrase, with its public half beside it or not.
func lockKey(t testing.TB, home, passphrase string, withPub bool) (fingerprint string) {
	t.Helper()
	raw := newRawKey(t, "ecdsa").(*ecdsa.PrivateKey)
	der, err := x509.MarshalECPrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	//nolint:staticcheck // people have such keys
	block, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", der, []byte(passphrase), x509.PEMCipherAES128)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(home, ".ssh", "id_ecdsa")
	writePEM(t, path, block)
	pub := signerOf(t, raw).PublicKey()
	if withPub {
		if err := os.WriteFile(path+".pub", gossh.MarshalAuthorizedKey(pub), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return gossh.FingerprintSHA256(pub)
}

func TestPassphrase(t *testing.T) {
	t.Parallel()
	lock := func(t *testing.T, withPub bool, answers ...string) (*server, gat.Target, *questions, string) {
		t.Parallel()
		s, tg := setup(t, "h")
		if err := os.Remove(filepath.Join(tg.Home, ".ssh", "id_ed25519")); err != nil {
			t.Fatal(err)
		}
		q := &questions{answers: answers}
		tg.Ask = q.ask
		return s, tg, q, lockKey(t, tg.Home, "open sesame", withPub)
	}
	t.Run("once for all logins", func(t *testing.T) {
		s, tg, q, fp := lock(t, true, "wrong", "open sesame")
		inner := &server{name: "inner", hostKeys: s.hostKeys}
		know(t, tg.Home, inner)
		s.routes = map[string]*server{"inner:22": inner}
		l := login(t, ssh.Backend{}, tg)
		in, err := l.(gat.Inward).Inner(t.Context(), "inner", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		if len(q.asked) != 2 || !strings.Contains(q.asked[0], "id_ecdsa") || !strings.Contains(q.asked[1], "wrong") {
			t.Errorf("asked %q", q.asked)
		}
		if got := inner.state().offered; len(got) == 0 || got[0] != fp {
			t.Errorf("the inner host was offered %q", got)
		}
	})
	t.Run("thrice wrong", func(t *testing.T) {
		_, tg, q, _ := lock(t, true, "a", "b", "c", "open sesame")
		refused(t, ssh.Backend{}, tg, gat.Denied, "wrong passphrase, 3 times")
		if len(q.asked) != 3 {
			t.Errorf("asked %q", q.asked)
		}
	})
	t.Run("another key helps", func(t *testing.T) {
		_, tg, q, _ := lock(t, true)
		writeKey(t, tg.Home, "id_ed25519", newRawKey(t, "ed25519"), "")
		login(t, ssh.Backend{}, tg)
		if len(q.asked) != 1 {
			t.Errorf("asked %q", q.asked)
		}
	})
	t.Run("not wanted by the server", func(t *testing.T) {
		s, tg, q, fp := lock(t, true, "open sesame")
		s.takes(nobody)
		refused(t, ssh.Backend{}, tg, gat.Denied, "permission denied", fp)
		if len(q.asked) != 0 {
			t.Errorf("asked %q for a key the server does not take", q.asked)
		}
	})
	t.Run("public half hidden", func(t *testing.T) {
		s, tg, q, fp := lock(t, false, "open sesame")
		s.takes(nobody)
		refused(t, ssh.Backend{}, tg, gat.Denied, "permission denied", fp)
		if len(q.asked) != 1 {
			t.Errorf("asked %q", q.asked)
		}
	})
	t.Run("nobody to ask", func(t *testing.T) {
		_, tg, _, _ := lock(t, true)
		tg.Ask = nil
		refused(t, ssh.Backend{}, tg, gat.Denied, "nobody can be asked")
	})
	t.Run("new format", func(t *testing.T) {
		// Its public half is in the file, so the server is asked first.
		s, tg, q, _ := lock(t, true)
		fp := writeKey(t, tg.Home, "id_ecdsa", newRawKey(t, "ed25519"), "pw")
		s.takes(nobody)
		refused(t, ssh.Backend{}, tg, gat.Denied, fp)
		if len(q.asked) != 0 {
			t.Errorf("asked %q", q.asked)
		}
		s.takes(nil)
		q.answers = []string{"pw"}
		login(t, ssh.Backend{}, tg)
	})
}

// The user may take longer than every bound but the context's.
func TestSlowUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, tg := setup(t, "h")
		if err := os.Remove(filepath.Join(tg.Home, ".ssh", "id_ed25519")); err != nil {
			t.Fatal(err)
		}
		lockKey(t, tg.Home, "pw", true)
		tg.Ask = func(context.Context, string, string, bool) (string, error) {
			time.Sleep(100 * time.Second)
			return "pw", nil
		}
		l := login(t, ssh.Backend{}, tg)
		l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
		defer cancel()
		tg.Ask = func(ctx context.Context, _ string, _ string, _ bool) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}
		if _, err := (ssh.Backend{Agent: "none"}).Open(ctx, tg); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the deadline: %v", err)
		}
	})
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	_, tg := setup(t, "h")
	op := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for name, c := range map[string]struct {
		err   error
		class gat.Class
		says  string
	}{
		"no name":  {op(&net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}), gat.NotFound, "does not resolve"},
		"no dns":   {op(&net.DNSError{Err: "i/o timeout", Name: "h", IsTimeout: true}), gat.Transient, "name server"},
		"refused":  {op(os.NewSyscallError("connect", syscall.ECONNREFUSED)), gat.Transient, "right port"},
		"no route": {op(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), gat.Transient, "no route"},
		"timeout":  {op(os.ErrDeadlineExceeded), gat.Transient, "timed out"},
	} {
		tg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, c.err }
		err := refused(t, ssh.Backend{}, tg, c.class, c.says, "h:22")
		if !errors.Is(err, c.err) {
			t.Errorf("%s: the cause is lost: %v", name, err)
		}
	}
}

// TestGreeting is what happens when no SSH server answers, or none that works.
func TestGreeting(t *testing.T) {
	for name, c := range map[string]struct {
		greet func(net.Conn)
		class gat.Class
		says  string
		after time.Duration
	}{
		"silent": {func(net.Conn) {}, gat.Transient, "no SSH greeting", 10 * time.Second},
		"web": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			c.Close()
		}, gat.Transient, "closed", 0},
		"long line": {func(c net.Conn) { io.WriteString(c, strings.Repeat("x", 9000)) }, gat.Permanent, "no SSH server", 0},
		"never ends": {func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "welcome to this fine host\r\n"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, gat.Transient, "no SSH greeting", 10 * time.Second},
		"then garbage": {func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n"+strings.Repeat("garbage ", 9000)) }, gat.Permanent, "no SSH server", 0},
		"then silent":  {func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n") }, gat.Transient, "timed out", 10 * time.Second},
		"closes":       {func(c net.Conn) { c.Close() }, gat.Transient, "closed", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var wg sync.WaitGroup // ends with the connection
				_, tg := setup(t, "h")
				tg.Dial = func(context.Context, string, string) (net.Conn, error) {
					a, b := memPipe()
					wg.Go(func() { io.Copy(io.Discard, b) })
					wg.Go(func() { c.greet(b) })
					return a, nil
				}
				began := time.Now()
				refused(t, ssh.Backend{}, tg, c.class, c.says)
				if d := time.Since(began); d != c.after {
					t.Errorf("took %v, want %v", d, c.after)
				}
				wg.Wait()
			})
		})
	}
}

// stallable is a connection whose reader can be held up.
type stallable struct {
	net.Conn
	stalled atomic.Bool
	release chan struct{}
}

func (s *stallable) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if s.stalled.Load() {
		<-s.release
		return 0, io.EOF
	}
	return n, err
}

func (s *stallable) Close() error {
	err := s.Conn.Close()
	select {
	case <-s.release:
	default:
		close(s.release)
	}
	return err
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, tg := setup(t, "h")
		dial := tg.Dial
		var conn *stallable
		tg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			conn = &stallable{Conn: c, release: make(chan struct{})}
			return conn, err
		}
		l := login(t, ssh.Backend{}, tg)
		defer l.Close()
		time.Sleep(10 * time.Minute) // quiet, but the server answers
		select {
		case <-l.Done():
			t.Fatalf("a quiet login died: %v", l.Err())
		default:
		}
		began := time.Now()
		conn.stalled.Store(true)
		<-l.Done()
		if d := time.Since(began); d < 45*time.Second || d > 75*time.Second {
			t.Errorf("a stalled connection was given up after %v", d)
		}
		if err := l.Err(); err == nil || !strings.Contains(err.Error(), "dead") || gat.ClassOf(err) != gat.Transient {
			t.Errorf("Err is %v", err)
		}
		if _, err := l.Status(t.Context(), "1.1.a"); err == nil || !strings.Contains(err.Error(), "dead") {
			t.Errorf("status over a dead login: %v", err)
		}
	})
}

func TestJump(t *testing.T) {
	t.Parallel()
	last, tg := setup(t, "last.inner:2222")
	mid := &server{name: "mid", hostKeys: []gossh.Signer{newKey(t, "ecdsa")}, routes: map[string]*server{"last.inner:2222": last}}
	first := &server{name: "first", hostKeys: []gossh.Signer{newKey(t, "rsa")}, routes: map[string]*server{"mid:22": mid}}
	know(t, tg.Home, first, mid)
	tg = target(t, "ssh://me@last.inner:2222?jump=you@first,mid", tg.Home, first)
	l := login(t, ssh.Backend{}, tg)
	if out, _, _ := run(t, l, "echo", "hello"); out != "hello\n" {
		t.Errorf("output %q", out)
	}
	for _, s := range []*server{first, mid, last} {
		if st := s.state(); st.conns != 1 || (st.user == "you") != (s == first) {
			t.Errorf("%d connections to %s as %q", st.conns, s.name, st.user)
		}
	}
	l.Close()

	tg.URL.RawQuery = "jump=first,nowhere"
	refused(t, ssh.Backend{}, tg, gat.NotFound, "nowhere", "through", "first")
	first.routes = nil
	tg.URL.RawQuery = "jump=first,mid"
	if err := refused(t, ssh.Backend{}, tg, gat.Denied, "AllowTcpForwarding"); !errors.Is(err, gat.ErrForwarding) {
		t.Errorf("%v is no ErrForwarding", err)
	}
}

func TestInner(t *testing.T) {
	t.Parallel()
	_, tg := setup(t, "h")
	inner := &server{name: "inner", hostKeys: []gossh.Signer{newKey(t, "ed25519")}}
	l := login(t, ssh.Backend{}, tg).(gat.Inward)
	if _, err := l.Inner(t.Context(), "inner", nil); !errors.Is(err, gat.ErrForwarding) || gat.ClassOf(err) != gat.Denied {
		t.Errorf("a host that forbids forwarding: %v", err)
	}
	// By a connection of the caller's, the inner host is still known by its own name.
	dial := func(_ context.Context, _, addr string) (net.Conn, error) { return inner.connect(), nil }
	if _, err := l.Inner(t.Context(), "inner", dial); err == nil || !strings.Contains(err.Error(), "host key of inner:22 is unknown") {
		t.Errorf("an unknown inner host: %v", err)
	}
	know(t, tg.Home, inner)
	l = login(t, ssh.Backend{}, tg).(gat.Inward)
	in, err := l.Inner(t.Context(), "inner", dial)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if user := inner.state().user; user != "me" {
		t.Errorf("logged in as %q", user)
	}
	if out, _, _ := run(t, in, "echo", "deep"); out != "deep\n" {
		t.Errorf("output %q", out)
	}
	if _, err := l.Inner(t.Context(), "bad host", nil); gat.ClassOf(err) != gat.Invalid {
		t.Errorf("a bad name: %v", err)
	}
}
