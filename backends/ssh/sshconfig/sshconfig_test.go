//go:build unix

package sshconfig_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zorilla-grid/zorilla/backends/ssh/sshconfig"
)

// home makes a home with a configuration.
func home(t *testing.T, config string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if config != "" {
		write(t, filepath.Join(dir, ".ssh", "config"), config)
	}
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// both runs a test by the installed ssh and by the library.
func both(t *testing.T, f func(t *testing.T, r sshconfig.Resolver)) {
	t.Run("ssh", func(t *testing.T) {
		t.Parallel()
		if _, err := exec.LookPath("ssh"); err != nil {
			t.Skip("there is no ssh in PATH")
		}
		f(t, sshconfig.Resolver{})
	})
	t.Run("files", func(t *testing.T) {
		t.Parallel()
		f(t, sshconfig.Resolver{Program: "none"})
	})
}

const example = `
Host foo Alias
  HostName %h.Example.ORG
  User bob
  Port 2222
  IdentityFile "~/my keys/%h_%r"
  IdentityFile %d/.ssh/k
  IdentitiesOnly yes
  CertificateFile ~/.ssh/c-cert.pub
  IdentityAgent ~/agent
  ProxyJump a@b:22,ssh://c
  UserKnownHostsFile "~/.ssh/known hosts" ~/k2
  HostKeyAlias ali
  StrictHostKeyChecking accept-new
  ConnectTimeout 70
  HashKnownHosts yes
  AddressFamily inet6
Host bar
  ProxyCommand nc -x %n '%h' %p %r 100%%
  StrictHostKeyChecking no
  IdentityAgent none
  IdentityFile none
Match host matched
  User mat
Host *
  User everybody
  Port 2200
`

func TestResolve(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, r sshconfig.Resolver) {
		h := home(t, example)
		path := func(s string) string { return filepath.Join(h, s) }
		known := []string{path(".ssh/known_hosts"), path(".ssh/known_hosts2")}
		system := []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
		usual := []string{path(".ssh/id_rsa"), path(".ssh/id_ecdsa"), path(".ssh/id_ecdsa_sk"), path(".ssh/id_ed25519"), path(".ssh/id_ed25519_sk")}
		for _, c := range []struct {
			host, user, port string
			want             sshconfig.Host
		}{
			{"foo", "", "", sshconfig.Host{
				HostName: "foo.example.org", User: "bob", Port: "2222",
				IdentityFiles: []string{path("my keys/foo.example.org_bob"), path(".ssh/k")}, IdentitiesOnly: true,
				CertificateFiles: []string{path(".ssh/c-cert.pub")}, IdentityAgent: path("agent"),
				ProxyJump: []string{"a@b:22", "c"}, HostKeyAlias: "ali",
				UserKnownHostsFiles: []string{path(".ssh/known hosts"), path("k2")}, GlobalKnownHostsFiles: system,
				StrictHostKeyChecking: sshconfig.AcceptNew, HashKnownHosts: true, ConnectTimeout: 70 * time.Second, AddressFamily: "inet6",
			}},
			{"bar", "", "", sshconfig.Host{
				HostName: "bar", User: "everybody", Port: "2200", IdentityAgent: "none",
				ProxyCommand: "nc -x bar 'bar' 2200 everybody 100%", UserKnownHostsFiles: known, GlobalKnownHostsFiles: system,
				StrictHostKeyChecking: sshconfig.No, AddressFamily: "any",
			}},
			{"bar", "me", "1", sshconfig.Host{
				HostName: "bar", User: "me", Port: "1", IdentityAgent: "none",
				ProxyCommand: "nc -x bar 'bar' 1 me 100%", UserKnownHostsFiles: known, GlobalKnownHostsFiles: system,
				StrictHostKeyChecking: sshconfig.No, AddressFamily: "any",
			}},
			{"matched", "", "", sshconfig.Host{
				HostName: "matched", User: "mat", Port: "2200", IdentityFiles: usual, UsualIdentities: true,
				UserKnownHostsFiles: known, GlobalKnownHostsFiles: system, AddressFamily: "any",
			}},
			// Patterns see the name as it was typed.
			{"Alias", "", "22", sshconfig.Host{
				HostName: "alias.example.org", User: "bob", Port: "22",
				IdentityFiles: []string{path("my keys/alias.example.org_bob"), path(".ssh/k")}, IdentitiesOnly: true,
				CertificateFiles: []string{path(".ssh/c-cert.pub")}, IdentityAgent: path("agent"),
				ProxyJump: []string{"a@b:22", "c"}, HostKeyAlias: "ali",
				UserKnownHostsFiles: []string{path(".ssh/known hosts"), path("k2")}, GlobalKnownHostsFiles: system,
				StrictHostKeyChecking: sshconfig.AcceptNew, HashKnownHosts: true, ConnectTimeout: 70 * time.Second, AddressFamily: "inet6",
			}},
		} {
			got, err := r.Resolve(t.Context(), h, c.host, c.user, c.port)
			if err != nil {
				t.Errorf("%+v: %v", c, err)
				continue
			}
			c.want.Alias, c.want.Source = c.host, "ssh -G "+c.host
			if r.Program == "none" {
				c.want.Source = path(".ssh/config")
			}
			// Old versions of ssh look for keys of kinds that are gone.
			if len(got.IdentityFiles) > len(usual) {
				got.IdentityFiles = got.IdentityFiles[:len(usual)]
			}
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(sshconfig.Host{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.host, diff)
			}
		}
	})
}

func TestNoConfiguration(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, r sshconfig.Resolver) {
		h, err := r.Resolve(t.Context(), home(t, ""), "Host.Example", "", "")
		if err != nil {
			t.Fatal(err)
		}
		if h.HostName != "host.example" || h.Port != "22" || h.User != sshconfig.LocalUser() || !h.UsualIdentities || h.StrictHostKeyChecking != sshconfig.Ask {
			t.Errorf("got %+v", h)
		}
		if h.IdentityAgent != "" || h.ProxyCommand != "" || h.ProxyJump != nil || h.Value("hostname") == "x" || h.Value("no such") != "" {
			t.Errorf("got %+v", h)
		}
	})
}

// What a configuration says wrongly is told with where it says it.
func TestMistakes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config string
		ssh    string // what the error says by ssh
		files  string // and by the library; empty means no error
	}{
		"keyword":        {"Host h\n  Hostname x\n  Colour red\n", ".ssh/config: line 3: Bad configuration option: colour", ""},
		"argument":       {"Host h\n  Port many\n", ".ssh/config line 2:", "many"},
		"host key check": {"StrictHostKeyChecking maybe\n", ".ssh/config line 1:", "maybe"},
		"token":          {"IdentityFile ~/%Q\n", "unknown token %Q", "unknown token %Q"},
		"proxy token":    {"ProxyCommand nc %d\n", "unknown token %d", "unknown token %d"},
		"single percent": {"IdentityFile ~/x%\n", "single %", "single %"},
		"variable":       {"IdentityFile ${NO_SUCH_VARIABLE}/x\n", "no NO_SUCH_VARIABLE", "no NO_SUCH_VARIABLE"},
		"open variable":  {"IdentityFile ${HOME/x\n", "not closed", "not closed"},
		"user":           {"IdentityFile ~nobody.of.this.name/x\n", "nobody.of.this.name", "nobody.of.this.name"},
		"exec":           {"Match exec true\n  User x\n", "", "Exec is not supported"},
		"huge":           {"#" + strings.Repeat("x", 2<<20), "", "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, r sshconfig.Resolver) {
				want := c.ssh
				if r.Program == "none" {
					want = c.files
				}
				h := home(t, c.config)
				_, err := r.Resolve(t.Context(), h, "h", "", "")
				if name == "huge" && r.Program == "" {
					return // as ssh likes it
				}
				if want == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				e, ok := errors.AsType[*sshconfig.Error](err)
				if !ok || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
					t.Fatalf("error %v, want %q", err, want)
				}
				if e.Hint == "" {
					t.Errorf("no hint: %v", err)
				}
			})
		})
	}
}

// Names that would be options or shell text are refused before anything runs.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	dir := home(t, "ProxyCommand touch "+filepath.Join(t.TempDir(), "x")+" %h\n")
	both(t, func(t *testing.T, r sshconfig.Resolver) {
		for _, name := range []string{"-oProxyCommand=x", "a b", "a;b", "$(x)", "a`b`", "a\nb", "", "a'b", "fe80::1%$(x)", strings.Repeat("a", 2000)} {
			if _, err := r.Resolve(t.Context(), dir, name, "", ""); err == nil {
				t.Errorf("host %q: no error", name)
			}
			if name != "" {
				if _, err := r.Resolve(t.Context(), dir, "h", name, ""); err == nil {
					t.Errorf("user %q: no error", name)
				}
			}
		}
	})
}

// fake makes a program that stands in for ssh.
func fake(t *testing.T, script string) sshconfig.Resolver {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return sshconfig.Resolver{Program: name}
}

// A Match exec that hangs is given up and ended, with all it started.
func TestMatchExecHangs(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("there is no ssh in PATH")
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if out, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
		t.Skipf("mkfifo: %v: %s", err, out)
	}
	// The command holds the fifo open for as long as it lives.
	h := home(t, fmt.Sprintf("Match exec \"exec 3>%s; sleep 1000\"\n  User x\n", fifo))
	gone := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(fifo)
		gone <- err
	}()
	_, err = sshconfig.Resolver{Program: program, Limit: 2 * time.Second}.Resolve(t.Context(), h, "h", "", "")
	if err == nil || !strings.Contains(err.Error(), "did not end within 2s") {
		t.Errorf("error %v", err)
	}
	if e, ok := errors.AsType[*sshconfig.Error](err); !ok || !strings.Contains(e.Hint, "Match exec") {
		t.Errorf("error %#v", err)
	}
	select {
	case err := <-gone:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the command outlives the question")
	}
}

func TestPrograms(t *testing.T) {
	t.Parallel()
	dir := home(t, "User configured\n")
	t.Run("too old", func(t *testing.T) {
		t.Parallel()
		for _, says := range []string{"unknown option -- G", "ssh: illegal option -- G", "WARNING: Ignoring unknown argument '-G'", "Usage: ssh [options] [user@]host"} {
			h, err := fake(t, `echo "`+says+`" >&2; exit 255`).Resolve(t.Context(), dir, "h", "", "")
			if err != nil || h.User != "configured" || !strings.HasSuffix(h.Source, "config") {
				t.Errorf("%s: got %+v, %v", says, h, err)
			}
		}
	})
	t.Run("prints without end", func(t *testing.T) {
		t.Parallel()
		if _, err := fake(t, `head -c 3000000 /dev/zero; exit 0`).Resolve(t.Context(), dir, "h", "", ""); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("prints nonsense", func(t *testing.T) {
		t.Parallel()
		h, err := fake(t, `printf '\n\n \000\nport\nhostname x\nidentityfile\n'`).Resolve(t.Context(), dir, "h", "", "")
		if err != nil || h.HostName != "x" || h.Port != "22" {
			t.Errorf("got %+v, %v", h, err)
		}
		h, err = fake(t, `echo Welcome to this host`).Resolve(t.Context(), dir, "h", "", "")
		if err != nil || h.HostName != "h" || h.User != "configured" || !strings.HasSuffix(h.Source, "config") {
			t.Errorf("got %+v, %v", h, err)
		}
		if _, err := fake(t, `echo hostname h; echo port 99999`).Resolve(t.Context(), dir, "h", "", ""); err == nil || !strings.Contains(err.Error(), "99999") {
			t.Errorf("error %v", err)
		}
		if _, err := fake(t, `echo hostname h; echo connecttimeout soon`).Resolve(t.Context(), dir, "h", "", ""); err == nil || !strings.Contains(err.Error(), "soon") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("fails without a word", func(t *testing.T) {
		t.Parallel()
		if _, err := fake(t, `exit 3`).Resolve(t.Context(), dir, "h", "", ""); err == nil || !strings.Contains(err.Error(), "exit status 3") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := fake(t, `exec sleep 1000`).Resolve(ctx, dir, "h", "", ""); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("what is asked", func(t *testing.T) {
		t.Parallel()
		h, err := fake(t, `echo hostname h; echo "user $*"`).Resolve(t.Context(), dir, "h", "u", "7")
		if want := "-G -T -F " + filepath.Join(dir, ".ssh", "config") + " -l u -p 7 -- h"; err != nil || h.User != want {
			t.Errorf("asked %q, want %q, %v", h.User, want, err)
		}
	})
}

func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"5": 5 * time.Second, "1m30s": 90 * time.Second, "2h": 2 * time.Hour, "none": 0} {
		h, err := sshconfig.Resolver{Program: "none"}.Resolve(t.Context(), home(t, "ConnectTimeout "+text+"\n"), "h", "", "")
		if err != nil || h.ConnectTimeout != want {
			t.Errorf("%s: %v, %v", text, h.ConnectTimeout, err)
		}
	}
	for _, text := range []string{"x", "5x", "m", "1m3", "99999999999999999999", "-5"} {
		if h, err := (sshconfig.Resolver{Program: "none"}).Resolve(t.Context(), home(t, "ConnectTimeout "+text+"\n"), "h", "", ""); err == nil {
			t.Errorf("%s: %v and no error", text, h.ConnectTimeout)
		}
	}
}
