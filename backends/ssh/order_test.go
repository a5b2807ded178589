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
			host, port, _ := net.SplitHostPort(ln.Addr().String())
			// ssh finds ~ by the account and not by $HOME, so paths are whole.
			text := strings.Join(lines, "\n") + "\n"
			for _, name := range []string{"held", "both", "certified", "loose", "file", "other", "nowhere", "for-file", "for-held"} {
				text = strings.ReplaceAll(text, " "+strings.ToUpper(name), " "+at(name))
			}
			dir := newHome(t)
			configure(t, dir, "%sHost h\n  HostName %s\n  Port %s\n  IdentityAgent %s\n  UserKnownHostsFile %s\n", text, host, port, socket, filepath.Join(dir, ".ssh", "known_hosts"))
			addLine(t, dir, knownhosts.Line([]string{knownhosts.Normalize(ln.Addr().String())}, s.hostKeys[0].PublicKey()))

			offered := func() []string {
				var list []string
				for _, fp := range s.state().offered {
					list = append(list, names[fp])
				}
				s.takes(nobody)
				return list
			}
			cmd := exec.CommandContext(t.Context(), program, "-F", filepath.Join(dir, ".ssh", "config"), "-o", "BatchMode=yes", "-o", "PreferredAuthentications=publickey", "-T", "me@h", "true")
			cmd.WaitDelay = 10 * time.Second
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "denied") {
				t.Fatalf("ssh: %v: %s", err, out)
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
