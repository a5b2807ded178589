//go:build unix

package ssh_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/zorilla-grid/zorilla/backends/ssh"
)

// listen has the server listen on this machine.
func (s *server) listen(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return ln.Addr().String()
}

// bySSH has the installed ssh log in to h, by the configuration in a home, and returns why
// it cannot.
func bySSH(t *testing.T, program, home string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "-F", filepath.Join(home, ".ssh", "config"), "-o", "BatchMode=yes", "-o", "PreferredAuthentications=publickey", "-T", "me@h", "true")
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatal("ssh logged in")
	}
	return string(out)
}

// TestOrderAsSSH compares the keys that a server is offered with those that the
// installed ssh offers it, one by one.
func TestOrderAsSSH(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("there is no ssh in PATH")
	}
	ca := newKey(t, "ed25519")
	home := newHome(t)
	at := func(name string) string { return filepath.Join(home, ".ssh", name) }
	names := map[string]string{} // of keys, by fingerprint
	raws := map[string]any{}
	ring := agent.NewKeyring()
	for _, name := range []string{"held", "both", "certified", "loose", "file", "other"} {
		raws[name] = newRawKey(t, "ed25519")
		pub := signerOf(t, raws[name]).PublicKey()
		names[gossh.FingerprintSHA256(pub)] = name
		writeKey(t, home, name, raws[name], "")
		switch name {
		case "held", "both", "loose":
			if err := ring.Add(agent.AddedKey{PrivateKey: raws[name], Comment: name}); err != nil {
				t.Fatal(err)
			}
		}
	}
	public := gossh.MarshalAuthorizedKey(signerOf(t, raws["loose"]).PublicKey())
	if err := os.WriteFile(at("loose.pub"), public, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]string{"certified-cert.pub": "certified", "for-file.pub": "file", "for-held.pub": "held"} {
		names[userCert(t, home, name, signerOf(t, raws[key]).PublicKey(), ca, gossh.UserCert, "me")] = name
	}
	socket := serveAgent(t, func(c net.Conn) { agent.ServeAgent(ring, c); c.Close() })

	for name, lines := range map[string][]string{
		"configured":             {"IdentityFile FILE", "IdentityFile BOTH"},
		"one of the agent's":     {"IdentityFile FILE", "IdentityFile BOTH", "IdentitiesOnly yes"},
		"public half":            {"IdentityFile LOOSE.pub", "IdentityFile FILE", "IdentitiesOnly yes"},
		"certificate beside":     {"IdentityFile CERTIFIED", "IdentityFile OTHER"},
		"certificates":           {"IdentityFile FILE", "CertificateFile FOR-FILE.pub", "CertificateFile FOR-HELD.pub"},
		"certificates only":      {"IdentityFile FILE", "CertificateFile FOR-FILE.pub", "IdentitiesOnly yes"},
		"certificates turn off":  {"IdentityFile CERTIFIED", "IdentityFile FILE", "CertificateFile FOR-FILE.pub", "IdentitiesOnly yes"},
		"no agent":               {"IdentityAgent none", "IdentityFile CERTIFIED", "IdentityFile BOTH"},
		"none":                   {"IdentityFile none"},
		"not there":              {"IdentityFile NOWHERE", "IdentityFile OTHER", "IdentitiesOnly yes"},
		"twice":                  {"IdentityFile OTHER", "IdentityFile OTHER", "IdentitiesOnly yes"},
		"the agent's and others": {"IdentityFile OTHER", "IdentityFile BOTH", "IdentityFile FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &server{name: "h", hostKeys: []gossh.Signer{newKey(t, "ed25519")}, tries: 20}
			s.takes(nobody)
			addr := s.listen(t)
			host, port, _ := net.SplitHostPort(addr)
			// ssh finds ~ by the account and not by $HOME, so paths are whole.
			text := strings.Join(lines, "\n") + "\n"
			for _, name := range []string{"held", "both", "certified", "loose", "file", "other", "nowhere", "for-file", "for-held"} {
				text = strings.ReplaceAll(text, " "+strings.ToUpper(name), " "+at(name))
			}
			dir := newHome(t)
			configure(t, dir, "%sHost h\n  HostName %s\n  Port %s\n  IdentityAgent %s\n  UserKnownHostsFile %s\n", text, host, port, socket, filepath.Join(dir, ".ssh", "known_hosts"))
			addLine(t, dir, knownhosts.Line([]string{knownhosts.Normalize(addr)}, s.hostKeys[0].PublicKey()))

			offered := func() []string {
				var list []string
				for _, fp := range s.state().offered {
					list = append(list, names[fp])
				}
				s.takes(nobody)
				return list
			}
			if out := bySSH(t, program, dir); !strings.Contains(out, "denied") {
				t.Fatalf("ssh says %s", out)
			}
			want := offered()
			tg := target(t, "ssh://me@h", dir)
			tg.Dial = nil
			if l, err := (ssh.Backend{}).Open(t.Context(), tg); err == nil {
				l.Close()
				t.Fatal("logged in")
			}
			if diff := cmp.Diff(want, offered()); diff != "" {
				t.Errorf("keys offered (-ssh +ours):\n%s", diff)
			}
			if slices.Contains(want, "") {
				t.Errorf("ssh offers a key that is none of the test's: %q", want)
			}
		})
	}
}

// TestTrustAsSSH compares which host keys are trusted with what the installed ssh
// makes of the same files.
func TestTrustAsSSH(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("there is no ssh in PATH")
	}
	ca, key, other, rs := newKey(t, "ed25519"), newKey(t, "ed25519"), newKey(t, "ed25519"), newKey(t, "rsa")
	line := func(marker, name string, k gossh.Signer) string {
		return strings.TrimSpace(marker + " " + name + " " + strings.TrimSpace(string(gossh.MarshalAuthorizedKey(k.PublicKey()))))
	}
	good := hostCert(t, key, ca, nil)
	stale := hostCert(t, key, ca, func(c *gossh.Certificate) { c.ValidBefore = 1 })
	strange := hostCert(t, key, ca, func(c *gossh.Certificate) { c.ValidPrincipals = []string{"g"} })
	nobodys := hostCert(t, key, ca, func(c *gossh.Certificate) { c.ValidPrincipals = nil })
	foreign := hostCert(t, key, other, nil)
	hashed := knownhosts.HashHostname("h")
	for name, c := range map[string]struct {
		shows []gossh.Signer
		known []string
		alias string // "none" for the address
	}{
		"known":                    {[]gossh.Signer{key}, []string{line("", "h", key)}, ""},
		"unknown":                  {[]gossh.Signer{key}, []string{line("", "g", key)}, ""},
		"changed":                  {[]gossh.Signer{key}, []string{line("", "h", other)}, ""},
		"one of two":               {[]gossh.Signer{key}, []string{line("", "h", other), line("", "h", key)}, ""},
		"another kind":             {[]gossh.Signer{rs, key}, []string{line("", "h", rs)}, ""},
		"only another kind":        {[]gossh.Signer{key}, []string{line("", "h", rs)}, ""},
		"hashed":                   {[]gossh.Signer{key}, []string{line("", hashed, key)}, ""},
		"hashed and changed":       {[]gossh.Signer{key}, []string{line("", hashed, other)}, ""},
		"pattern":                  {[]gossh.Signer{key}, []string{line("", "g,?", key)}, ""},
		"excluded":                 {[]gossh.Signer{key}, []string{line("", "*,!h", key)}, ""},
		"revoked":                  {[]gossh.Signer{key}, []string{line("", "h", key), line("@revoked", "*", key)}, ""},
		"mistaken lines":           {[]gossh.Signer{key}, []string{"# x", "", "h", "h ssh-ed25519 AAAA", "@what h ssh-ed25519 AAAA", line("", "h", key)}, ""},
		"by the host, not port":    {[]gossh.Signer{key}, []string{line("", "127.0.0.1", key)}, "none"},
		"changed by the host":      {[]gossh.Signer{key}, []string{line("", "127.0.0.1", other)}, "none"},
		"certificate":              {[]gossh.Signer{key, good}, []string{line("@cert-authority", "h", ca)}, ""},
		"certificate by pattern":   {[]gossh.Signer{key, good}, []string{line("@cert-authority", "*", ca)}, ""},
		"certificate of another":   {[]gossh.Signer{key, foreign}, []string{line("@cert-authority", "h", ca)}, ""},
		"certificate for another":  {[]gossh.Signer{key, strange}, []string{line("@cert-authority", "h", ca)}, ""},
		"certificate for nobody":   {[]gossh.Signer{key, nobodys}, []string{line("@cert-authority", "h", ca)}, ""},
		"stale certificate":        {[]gossh.Signer{key, stale}, []string{line("@cert-authority", "h", ca)}, ""},
		"stale, key known":         {[]gossh.Signer{key, stale}, []string{line("@cert-authority", "h", ca), line("", "h", key)}, ""},
		"stale, key changed":       {[]gossh.Signer{key, stale}, []string{line("@cert-authority", "h", ca), line("", "h", other)}, ""},
		"revoked authority":        {[]gossh.Signer{key, good}, []string{line("@cert-authority", "h", ca), line("@revoked", "h", ca)}, ""},
		"revoked certified key":    {[]gossh.Signer{key, good}, []string{line("@cert-authority", "h", ca), line("@revoked", "h", key)}, ""},
		"no certificate":           {[]gossh.Signer{key}, []string{line("@cert-authority", "h", ca)}, ""},
		"the authority as a key":   {[]gossh.Signer{ca}, []string{line("@cert-authority", "h", ca)}, ""},
		"certificate, other's key": {[]gossh.Signer{key, good}, []string{line("@cert-authority", "g", ca), line("", "h", key)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &server{name: "h", hostKeys: c.shows}
			s.takes(nobody)
			host, port, _ := net.SplitHostPort(s.listen(t))
			dir := newHome(t)
			alias := "HostKeyAlias h"
			if c.alias == "none" {
				alias = ""
			}
			file := filepath.Join(dir, ".ssh", "known_hosts")
			configure(t, dir, "Host h\n  HostName %s\n  Port %s\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  IdentityFile none\n  IdentityAgent none\n  %s\n", host, port, file, alias)
			for _, l := range c.known {
				addLine(t, dir, l)
			}
			out := bySSH(t, program, dir)
			trusts, fails := strings.Contains(out, "denied"), strings.Contains(out, "verification failed")
			if trusts == fails {
				t.Fatalf("ssh says %s", out)
			}
			tg := target(t, "ssh://me@h", dir)
			tg.Dial = nil
			l, err := ssh.Backend{}.Open(t.Context(), tg)
			if err == nil {
				l.Close()
				t.Fatal("logged in")
			}
			if got := strings.Contains(err.Error(), "authenticate as me"); got != trusts {
				t.Errorf("trusted: %v, ssh: %v\n%v\n%s", got, trusts, err, out)
			}
		})
	}
}
