//go:build linux

package openssh_test

import (
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/openssh"
	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
)

// site is one with URLs in this order, both ways of ssh among its backends.
func site(t *testing.T, f *testbed.Farm, b openssh.Backend, home string, urls ...string) *gat.Site {
	t.Helper()
	cfg := gat.SiteConfig{Name: "x", Backends: []gat.Backend{ssh.Backend{Agent: "none"}, b}, Dial: f.Dial, Home: home,
		Retries: -1, PollEvery: 10 * time.Millisecond}
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		cfg.URLs = append(cfg.URLs, u)
	}
	s, err := gat.NewSite(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// hostname asks the host that a site leads to for its name.
func hostname(t *testing.T, s *gat.Site) string {
	t.Helper()
	p, err := s.Run(t.Context(), gat.Command{Argv: []string{"hostname"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out, err := io.ReadAll(p.Stdout())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// Where one of the two ways of ssh does not lead to the host the other does, whatever
// their order, for each operation.
func TestFallBack(t *testing.T) {
	f := testbed.Shared(t)
	old := openssh.Backend{Program: script(t, "echo OpenSSH_5.3p1 >&2")}
	config, path := master(t, f, "mine", f.Bastion)
	key, err := os.ReadFile(f.Key)
	if err != nil {
		t.Fatal(err)
	}
	plain := "ssh://" + f.Bastion.User + "@" + f.Bastion.Addr

	t.Run("only the system's", func(t *testing.T) {
		// No key is there, but a connection is open.
		s := site(t, f, client(t, f), alone(t, f, config), plain, "openssh://mine")
		if got := hostname(t, s); got != f.Bastion.Name || s.Via() != "openssh://mine" {
			t.Errorf("logged in to %q by %s", got, s.Via())
		}
		dir := siteDir(t, f.Bastion)
		if err := s.Put(t.Context(), dir+"/file", 0o600, strings.NewReader("data")); err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		if err := s.Get(t.Context(), dir+"/file", &got, -1); err != nil || got.String() != "data" {
			t.Errorf("%q, %v", got.String(), err)
		}
	})
	t.Run("only our own", func(t *testing.T) {
		home := alone(t, f)
		if err := os.WriteFile(filepath.Join(home, ".ssh", "id_ed25519"), key, 0o600); err != nil {
			t.Fatal(err)
		}
		s := site(t, f, old, home, "openssh://mine", plain)
		if got := hostname(t, s); got != f.Bastion.Name || s.Via() != plain {
			t.Errorf("logged in to %q by %s", got, s.Via())
		}
	})
	t.Run("neither", func(t *testing.T) {
		s := site(t, f, old, alone(t, f), plain, "openssh://mine")
		_, err := s.Run(t.Context(), gat.Command{Argv: []string{"hostname"}})
		for _, says := range []string{"none of 2 ways worked", "no key", "OpenSSH 5.3"} {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%v, want %q", err, says)
			}
		}
	})
	t.Run("one that ends", func(t *testing.T) {
		home := alone(t, f, config)
		if err := os.WriteFile(filepath.Join(home, ".ssh", "id_ed25519"), key, 0o600); err != nil {
			t.Fatal(err)
		}
		s := site(t, f, client(t, f), home, "openssh://mine", plain)
		ids, err := s.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/sleep", "1000"}})
		if err != nil || s.Via() != "openssh://mine" {
			t.Fatalf("%v, by %s", err, s.Via())
		}
		broken := s.Broken()
		if err := endMaster(f, path); err != nil {
			t.Fatal(err)
		}
		select {
		case <-broken:
		case <-time.After(patience):
			t.Fatal("the end of the connection goes unnoticed")
		}
		// The open connection is not replaced silently, and the job is the other's too.
		if got := hostname(t, s); got != f.Bastion.Name || s.Via() != plain {
			t.Errorf("logged in to %q by %s", got, s.Via())
		}
		if err := s.Cancel(context.Background(), ids...); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		lonely := site(t, f, client(t, f), alone(t, f, config), "openssh://mine")
		if err := lonely.Login(t.Context()); gat.ClassOf(err) != gat.Denied || errors.Is(err, gat.ErrDetached) {
			t.Errorf("without the connection and a key: %v", err)
		}
	})
}

// A server that allows one session at a time gets further connections, for which
// nobody is asked anything; where somebody would be, the error says what is wrong.
func TestSessions(t *testing.T) {
	limit := "MaxSessions 1\n"
	factor := testbed.Factor{Code: "123456"}.Oddity("factor")
	factor.SSHD += limit
	odd := testbed.OddHosts(t, testbed.Oddity{Name: "one", SSHD: limit}, factor)
	f := &testbed.Farm{Net: odd.Net}
	b := client(t, f)
	hold := func(t *testing.T, l gat.Login) {
		t.Helper()
		p, err := l.(gat.Runner).Run(t.Context(), gat.Command{Argv: []string{"cat"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
	}
	dir := alone(t, f, hostOf("one", odd.Host("one"), "IdentityFile "+f.Key), hostOf("factor", odd.Host("factor"), "IdentityFile "+f.Key))
	t.Run("by key", func(t *testing.T) {
		l := open(t, b, target("one", dir))
		hold(t, l)
		for range 2 {
			if out, _ := run(t, l, "echo", "beside"); out != "beside\n" {
				t.Errorf("output %q", out)
			}
		}
		name := siteDir(t, odd.Host("one")) + "/file"
		if err := l.(gat.Files).Put(t.Context(), name, 0o644, strings.NewReader("data")); err != nil {
			t.Error(err)
		}
		if n, err := odd.Host("one").LoginCount(t.Context()); err != nil || n < 2 || n > 3 {
			t.Errorf("%d logins for a command, others one after the other, and files (%v)", n, err)
		}
		path, _ := openssh.Socket(l)
		all, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(path)), "zorilla-ssh-*", "m"))
		if err != nil || len(all) < 2 {
			t.Errorf("connections at %q, %v", all, err)
		}
		l.Close()
		for _, path := range all {
			if _, err := os.Stat(path); err == nil {
				t.Errorf("after Close there is %s", path)
			}
		}
	})
	t.Run("with a code", func(t *testing.T) {
		u := &user{answers: map[string]string{"assword": "123456", "ode": "123456"}}
		l := open(t, b, u.at(target("factor", dir)))
		hold(t, l)
		_, err := l.(gat.Runner).Run(t.Context(), gat.Command{Argv: []string{"true"}})
		if gat.ClassOf(err) != gat.Transient || err == nil || !strings.Contains(err.Error(), "MaxSessions may be 1") {
			t.Errorf("%v", err)
		}
		if len(u.asked) != 1 {
			t.Errorf("the user was asked %q", u.asked)
		}
	})
}
