package launcher_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// badURL is a site with nothing but a URL.
func badURL(url string) string { return fmt.Sprintf("[site.bad]\nurl = %q\nslots = 1\n", url) }

// newKey returns a fresh key pair, the private half as OpenSSH writes it.
func newKey(t testing.TB, passphrase string) (ssh.PublicKey, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return marshalKey(t, private, passphrase)
}

func marshalKey(t testing.TB, private any, passphrase string) (ssh.PublicKey, []byte) {
	t.Helper()
	var block *pem.Block
	var err error
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer.PublicKey(), pem.EncodeToMemory(block)
}

// sshFile replaces a file in the .ssh of the user.
func (b *bench) sshFile(name string, data []byte) string {
	b.t.Helper()
	path := filepath.Join(b.home, ".ssh", name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// lockKey locks the user's key with a passphrase.
func (b *bench) lockKey(passphrase string) {
	b.t.Helper()
	data, err := os.ReadFile(b.farm.Key)
	if err != nil {
		b.t.Fatal(err)
	}
	private, err := ssh.ParseRawPrivateKey(data)
	if err != nil {
		b.t.Fatal(err)
	}
	_, locked := marshalKey(b.t, private, passphrase)
	b.sshFile("id_ed25519", locked)
}

func TestLoginFails(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	for name, make := range map[string]func(b *bench) bad{
		"the name does not resolve": func(b *bench) bad {
			return bad{site: badURL("ssh://alice@no-such-host.invalid"),
				says: []string{"the name no-such-host.invalid does not resolve", "check the spelling"},
				change: func(o *launcher.Options) {
					o.Dial = func(context.Context, string, string) (net.Conn, error) {
						return nil, &net.DNSError{Err: "no such host", Name: "no-such-host.invalid", IsNotFound: true}
					}
				}}
		},
		"the connection is refused": func(b *bench) bad {
			return bad{site: badURL(b.url(farm.Plain) + ":23"),
				says: []string{"connect to " + farm.Plain.Addr + ":23: connection refused", "is 23 the right port"}}
		},
		"the key is not known there": func(b *bench) bad {
			pub, key := newKey(b.t, "")
			b.sshFile("id_ed25519", key)
			return bad{site: badURL(b.url(farm.Plain)),
				says: []string{"permission denied", ssh.FingerprintSHA256(pub), "authorized_keys"}}
		},
		"there is no key": func(b *bench) bad {
			if err := os.Remove(filepath.Join(b.home, ".ssh", "id_ed25519")); err != nil {
				b.t.Fatal(err)
			}
			return bad{site: badURL(b.url(farm.Plain)), says: []string{"permission denied", "no key was found", "make a key with ssh-keygen"}}
		},
		"the user is not known there": func(b *bench) bad {
			return bad{site: badURL("ssh://mallory@" + farm.Plain.Addr),
				says: []string{"permission denied", "is mallory the right user name"}}
		},
		"the host key changed": func(b *bench) bad {
			pub, _ := newKey(b.t, "")
			file := b.sshFile("known_hosts", []byte(knownhosts.Line([]string{farm.Plain.Addr}, pub)+"\n"))
			return bad{site: badURL(b.url(farm.Plain)), says: []string{
				"the host key of " + farm.Plain.Addr + ":22 has changed",
				"known is ssh-ed25519 " + ssh.FingerprintSHA256(pub) + " at " + file + ":1",
				"`ssh-keygen -f " + file + " -R " + farm.Plain.Addr + "`",
				"`ssh -o UserKnownHostsFile=" + file + " alice@" + farm.Plain.Addr + "`",
			}}
		},
		"the host key is not known": func(b *bench) bad {
			file := b.sshFile("known_hosts", nil)
			return bad{site: badURL(b.url(farm.Plain)), says: []string{
				"the host key of " + farm.Plain.Addr + ":22 is unknown",
				"SHA256:",
				"log in once with `ssh -o UserKnownHostsFile=" + file + " alice@" + farm.Plain.Addr + "`",
			}}
		},
		"the key is locked and nobody is there": func(b *bench) bad {
			b.lockKey("sesame")
			return bad{site: badURL(b.url(farm.Plain)), says: []string{"is locked", "nobody can be asked", "ssh-add"}}
		},
		"the user does not know the passphrase": func(b *bench) bad {
			b.lockKey("sesame")
			return bad{site: badURL(b.url(farm.Plain)), says: []string{"wrong passphrase, 3 times"},
				change: func(o *launcher.Options) {
					o.Ask = func(context.Context, string, string, bool) (string, error) { return "open", nil }
				}}
		},
		"the user does not want to be asked": func(b *bench) bad {
			b.lockKey("sesame")
			return bad{site: badURL(b.url(farm.Plain)), says: []string{"no terminal"},
				change: func(o *launcher.Options) {
					o.Ask = func(context.Context, string, string, bool) (string, error) { return "", errors.New("no terminal") }
				}}
		},
		"a host behind does not resolve": func(b *bench) bad {
			return bad{site: badURL(b.url(farm.Bastion)) + "hosts = [\"inner9\"]\n", says: []string{"inner9", "resolve"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, farm)
			c := make(b)
			b.failsAlone(c)
			b.othersSuffice(c)
		})
	}
}

func TestLoginTimesOut(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	onHost(t, farm.Plain, `nft add table inet deaf && nft 'add chain inet deaf in { type filter hook input priority 0; }' && nft add rule inet deaf in tcp dport 22 drop`)
	c := bad{site: badURL("ssh://alice@" + farm.Plain.Addr), within: 45 * time.Second,
		says: []string{"timed out", "is the host up, and does a firewall drop port 22?"}}
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, farm)
		b.failsAlone(c)
	})
	t.Run("others suffice", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, farm)
		b.othersSuffice(c)
	})
}

// TestLoginAsks gives the right passphrase at the second try, once for the
// site's own host and those behind it.
func TestLoginAsks(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	b.lockKey("sesame")
	var questions []string
	r, _ := b.attempt(launcher.Job{App: b.script("uname -n\n"), Workers: 1},
		fmt.Sprintf("[site.cluster]\nurl = %q\nhosts = [\"inner1\"]\nslots = 1\n", b.url(farm.Bastion)),
		func(o *launcher.Options) {
			o.Ask = func(_ context.Context, site, question string, secret bool) (string, error) {
				questions = append(questions, question)
				if site != "cluster" || !secret {
					t.Errorf("asked by %q, secret %v", site, secret)
				}
				return []string{"open", "sesame"}[min(len(questions), 2)-1], nil
			}
		})
	wantOK(t, r)
	if got := b.stdout(r, 0); got != "inner1\n" {
		t.Errorf("ran on %q, want inner1", got)
	}
	if len(questions) != 2 || !strings.Contains(questions[0], "id_ed25519") || !strings.Contains(questions[1], "wrong, again") {
		t.Errorf("questions %q", questions)
	}
}
