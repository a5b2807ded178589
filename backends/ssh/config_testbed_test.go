//go:build linux

package ssh_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
)

// A host that only its ssh configuration knows how to reach.
func TestFarmConfiguration(t *testing.T) {
	f := testbed.Shared(t)
	home := newHome(t)
	data, err := os.ReadFile(f.SSHConfig)
	if err != nil {
		t.Fatal(err)
	}
	configure(t, home, "%s", data)
	tg := target(t, "ssh://"+f.Inner1.Name, home)
	tg.Dial = f.Dial
	l := login(t, ssh.Backend{}, tg)
	if out, _, _ := run(t, l, "hostname"); strings.TrimSpace(out) != f.Inner1.Name {
		t.Errorf("logged in to %q, want %s", out, f.Inner1.Name)
	}
	if got := how(t, l); !strings.Contains(got, f.Key) {
		t.Errorf("logged in by %q, want the key %s", got, f.Key)
	}

	// A jump host that lets us in but not through is named.
	tg.URL.RawQuery = "jump=" + f.NoForward.Name
	refused(t, ssh.Backend{}, tg, gat.Denied, f.NoForward.Addr+" lets us in, but not through", "AllowTcpForwarding")
}

// What the real server makes of few tries and of certificates, its own and users'.
func TestFarmCertificates(t *testing.T) {
	testbed.Require(t)
	ca := newKey(t, "ed25519")
	authority := strings.TrimSpace(string(gossh.MarshalAuthorizedKey(ca.PublicKey())))
	sign := func(options string) string {
		return `ssh-keygen -y -f /etc/ssh/ssh_host_ed25519_key > /etc/ssh/ssh_host_ed25519_key.pub && ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ca && ssh-keygen -q -s /etc/ssh/ca -I host -h ` + options + ` /etc/ssh/ssh_host_ed25519_key.pub
echo '` + authority + `' > /etc/ssh/user_ca.pub`
	}
	const sshd = "HostCertificate /etc/ssh/ssh_host_ed25519_key-cert.pub\nTrustedUserCAKeys /etc/ssh/user_ca.pub\nAuthorizedKeysFile none\nMaxAuthTries 2\n"
	net := testbed.OddHosts(t,
		testbed.Oddity{Name: "good", SSHD: sshd, Setup: sign("-n good")},
		testbed.Oddity{Name: "other", SSHD: sshd, Setup: sign("-n another")},
		testbed.Oddity{Name: "stale", SSHD: sshd, Setup: sign("-n stale -V 20200101:20200201")},
	)
	home := newHome(t)
	raw := newRawKey(t, "ed25519")
	writeKey(t, home, "mine", raw, "")
	userCert(t, home, "mine-cert.pub", signerOf(t, raw).PublicKey(), ca, gossh.UserCert, net.Host("good").User)
	var config strings.Builder
	for _, name := range []string{"good", "other", "stale"} {
		host := net.Host(name)
		config.WriteString("Host " + name + "\n  HostName " + host.Addr + "\n  HostKeyAlias " + name + "\n  User " + host.User + "\n")
		public, err := host.Exec(t.Context(), "cat", "/etc/ssh/ca.pub")
		if err != nil {
			t.Fatal(err)
		}
		addLine(t, home, "@cert-authority "+name+" "+strings.TrimSpace(string(public)))
	}
	at := func(name string) gat.Target {
		tg := target(t, "ssh://"+name, home)
		tg.Dial = net.Dial
		return tg
	}
	configure(t, home, "%s  IdentityFile ~/.ssh/mine\n", config.String()+"Host *\n")
	if got := how(t, login(t, ssh.Backend{}, at("good"))); !strings.HasPrefix(got, "certificate ~/.ssh/mine-cert.pub") {
		t.Errorf("logged in by %q", got)
	}
	refused(t, ssh.Backend{}, at("other"), gat.Denied, "not for this name but for: another")
	refused(t, ssh.Backend{}, at("stale"), gat.Denied, "expired")

	// Two keys that are of no use, and the server hangs up.
	for _, name := range []string{"a", "b", "c"} {
		writeKey(t, home, name, newRawKey(t, "ed25519"), "")
	}
	configure(t, home, "%s  IdentityFile ~/.ssh/a\n  IdentityFile ~/.ssh/b\n  IdentityFile ~/.ssh/c\n  IdentityFile ~/.ssh/mine\n", config.String()+"Host *\n")
	refused(t, ssh.Backend{}, at("good"), gat.Denied, "Too many authentication failures", "IdentitiesOnly", "?identity=")

	// The same name without its authority, and then with a revoked one.
	known := filepath.Join(home, ".ssh", "known_hosts")
	data, err := os.ReadFile(known)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(known, []byte(strings.ReplaceAll(string(data), "@cert-authority", "@revoked")), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, ssh.Backend{}, at("good"), gat.Denied, "unknown")
	addLine(t, home, strings.SplitN(string(data), "\n", 2)[0])
	refused(t, ssh.Backend{}, at("good"), gat.Denied, "authority", "revoked", "known_hosts:1")
}
