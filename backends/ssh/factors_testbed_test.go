//go:build linux

package ssh_test

import (
	"context"
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
)

// TestRealSecondFactor logs in to OpenSSH servers that ask through PAM.
func TestRealSecondFactor(t *testing.T) {
	net := testbed.OddHosts(t, testbed.Factor{Code: "123456"}.Oddity("both"),
		testbed.Factor{Code: "123456", Keyless: true}.Oddity("code"),
		testbed.Factor{Code: "123456", Expired: true}.Oddity("expired"))
	keyed := testbed.Factor{Expired: true}.Oddity("keyonly")
	keyed.SSHD = "UsePAM yes\nAuthenticationMethods publickey\n"
	late := testbed.OddHosts(t, keyed)
	enter := func(name string, answers ...string) (gat.Target, *user) {
		u := &user{answers: answers}
		tg := net.Target(t, "ssh", net.Host(name))
		tg.Site, tg.Ask, tg.Prompted = "test", u.ask, func(context.Context) { u.prompted++ }
		return tg, u
	}
	count := func(name string, logins, codes int) {
		t.Helper()
		h := net.Host(name)
		l, err := h.LoginCount(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c, err := h.CodeCount(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if l != logins || c != codes {
			t.Errorf("%s: %d logins and %d codes at the server, want %d and %d", name, l, c, logins, codes)
		}
	}
	t.Run("a key and a code", func(t *testing.T) {
		tg, u := enter("both", "123456")
		l := login(t, ssh.Backend{}, tg)
		for range 3 {
			if out, errs, _ := run(t, l, "uname", "-n"); out != "both\n" {
				t.Errorf("out %q, err %q", out, errs)
			}
		}
		if len(u.asked) != 1 || u.prompted == 0 || !strings.HasPrefix(u.asked[0], "secret: (alice@") {
			t.Errorf("asked %q, prompted %d", u.asked, u.prompted)
		}
		count("both", 1, 1)
	})
	t.Run("a code, wrong once", func(t *testing.T) {
		tg, u := enter("code", "0", "123456")
		run(t, login(t, ssh.Backend{}, tg), "true") // it is in the server's log now
		if len(u.asked) != 2 || !strings.Contains(u.asked[1], "not accepted, again") {
			t.Errorf("asked %q", u.asked)
		}
		count("code", 1, 2)
	})
	t.Run("wrong for good", func(t *testing.T) {
		tg, u := enter("both", "0")
		t.Log(refused(t, ssh.Backend{}, tg, gat.Denied, "permission denied", "6 answers were not accepted"))
		if len(u.asked) != 6 {
			t.Errorf("asked %q", u.asked)
		}
		count("both", 1, 7)
	})
	t.Run("expired, and a key is enough", func(t *testing.T) {
		l := login(t, ssh.Backend{}, late.Target(t, "ssh", late.Host("keyonly")))
		_, err := l.(gat.Runner).Run(t.Context(), gat.Command{Argv: []string{"true"}})
		if gat.ClassOf(err) != gat.Denied || !strings.Contains(err.Error(), "password, which has expired") {
			t.Errorf("got %v (%v)", err, gat.ClassOf(err))
		}
		t.Log(err)
	})
	t.Run("expired", func(t *testing.T) {
		tg, u := enter("expired", "123456", "never this")
		t.Log(refused(t, ssh.Backend{}, tg, gat.Denied, "the password has expired"))
		if len(u.asked) != 1 {
			t.Errorf("asked %q, want the code only", u.asked)
		}
		count("expired", 0, 1)
	})
}
