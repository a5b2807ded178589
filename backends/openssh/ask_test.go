//go:build linux

package openssh_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/openssh"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
)

// A user answers questions by a part of them, and notes what he was asked.
type user struct {
	answers map[string]string // by what the question says
	err     error             // in place of answers

	mu       sync.Mutex
	asked    []string
	secret   []bool
	prompted int
	busy     bool
}

func (u *user) ask(_ context.Context, site, question string, secret bool) (string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked = append(u.asked, site+": "+question)
	u.secret = append(u.secret, secret)
	if u.err != nil {
		return "", u.err
	}
	for part, answer := range u.answers {
		if strings.Contains(question, part) {
			return answer, nil
		}
	}
	return "", errors.New("a question nobody expects")
}

// at makes a target whose questions go to the user.
func (u *user) at(to gat.Target) gat.Target {
	to.Ask = u.ask
	to.Prompted = func(context.Context) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.prompted++
	}
	return to
}

// expect checks what the user was asked, by parts of the questions in order.
func (u *user) expect(t *testing.T, prompted int, parts ...string) {
	t.Helper()
	if len(u.asked) != len(parts) {
		t.Errorf("the user was asked %q, want %q", u.asked, parts)
		return
	}
	for i, part := range parts {
		if !strings.HasPrefix(u.asked[i], "test: ") || !strings.Contains(u.asked[i], part) {
			t.Errorf("question %d is %q, want %q", i, u.asked[i], part)
		}
	}
	if u.prompted != prompted {
		t.Errorf("%d answers were told of that cannot be given again, want %d", u.prompted, prompted)
	}
}

// locked writes a copy of the farm's key that has a passphrase.
func locked(t *testing.T, f *testbed.Farm, passphrase string) string {
	t.Helper()
	data, err := os.ReadFile(f.Key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "locked")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase, "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func TestPassphrase(t *testing.T) {
	f := testbed.Shared(t)
	key := locked(t, f, "open sesame")
	b := client(t, f)
	to := target("mine", home(t, f, hostOf("mine", f.Bastion, "IdentityFile "+key, "IdentityFile none", "BatchMode no")))
	// The farm's own key must not do.
	to.Home = alone(t, f, hostOf("mine", f.Bastion, "IdentityFile "+key))

	right := &user{answers: map[string]string{"passphrase": "open sesame"}}
	l := open(t, b, right.at(to))
	run(t, l, "true")
	right.expect(t, 1, "Enter passphrase for key '"+key+"'")
	if how := l.(gat.Described).How(); how != "publickey, by the system's ssh" {
		t.Errorf("logged in by %q", how)
	}
	if !right.secret[0] {
		t.Error("the passphrase is echoed")
	}

	wrong := &user{answers: map[string]string{"passphrase": "open barley"}}
	refused(t, b, wrong.at(to), gat.Denied, "Permission denied")
	wrong.expect(t, 3, "passphrase", "passphrase", "passphrase")

	gone := &user{err: errors.New("nobody answered within 5m0s")}
	refused(t, b, gone.at(to), gat.Denied, "nobody answered", "passphrase")
	gone.expect(t, 0, "passphrase")

	refused(t, b, to, gat.Denied, "Permission denied", "ssh mine")
	b.Self = ""
	none := &user{}
	refused(t, b, none.at(to), gat.Denied, "Permission denied")
	none.expect(t, 0)
}

// alone makes a home whose ssh knows nothing but what is said, and the farm's host keys.
func alone(t *testing.T, f *testbed.Farm, config ...string) string {
	t.Helper()
	dir := t.TempDir()
	own := filepath.Join(dir, ".ssh")
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	known, err := os.ReadFile(f.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(config, "\n") + "\nHost *\nIdentityAgent none\nIdentitiesOnly yes\nGlobalKnownHostsFile /dev/null\n"
	for name, data := range map[string]string{"config": text, "known_hosts": string(known)} {
		if err := os.WriteFile(filepath.Join(own, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestHostKey(t *testing.T) {
	f := testbed.Shared(t)
	b := client(t, f)
	config := hostOf("mine", f.Bastion, "IdentityFile "+f.Key)
	forget := func(dir string) gat.Target {
		if err := os.WriteFile(filepath.Join(dir, ".ssh", "known_hosts"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return target("mine", dir)
	}
	to := forget(alone(t, f, config))
	refused(t, b, to, gat.Denied, "host key is unknown", "ssh mine", "fingerprint")
	no := &user{answers: map[string]string{"fingerprint": "no"}}
	refused(t, b, no.at(to), gat.Denied, "host key is unknown")
	no.expect(t, 0, "SHA256:")
	yes := &user{answers: map[string]string{"fingerprint": "yes"}}
	run(t, open(t, b, yes.at(to)), "true")
	yes.expect(t, 0, "SHA256:")
	if yes.secret[0] {
		t.Error("the question whether to trust a host key is not echoed")
	}
	// Now it is known.
	again := &user{}
	run(t, open(t, b, again.at(to)), "true")
	again.expect(t, 0)

	changed := alone(t, f, config)
	public, err := os.ReadFile(f.Key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	known := f.Bastion.Name + " " + string(public)
	if err := os.WriteFile(filepath.Join(changed, ".ssh", "known_hosts"), []byte(known), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, b, target("mine", changed), gat.Denied, "host key has changed", "SHA256:", "ssh-keygen -f", "known_hosts")
	if err := os.WriteFile(filepath.Join(changed, ".ssh", "known_hosts"), []byte("@revoked * "+hostKey(t, f, f.Bastion)), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, b, target("mine", changed), gat.Denied, "revoked")
}

// hostKey is a host's public key.
func hostKey(t *testing.T, f *testbed.Farm, h *testbed.Host) string {
	t.Helper()
	known, err := os.ReadFile(f.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(known)) {
		if names, key, _ := strings.Cut(line, " "); strings.Contains(","+names+",", ","+h.Name+",") {
			return key
		}
	}
	t.Fatalf("%s is not known", h.Name)
	return ""
}

// One code, typed once, for everything that is done over the login; and a login
// over the connection that the user has opened needs none.
func TestSecondFactor(t *testing.T) {
	odd := testbed.OddHosts(t, testbed.Factor{Code: "123456"}.Oddity("factor"), testbed.Factor{Code: "123456", Expired: true}.Oddity("expired"))
	f := &testbed.Farm{Net: odd.Net}
	b := client(t, f)
	host := odd.Host("factor")
	to := target("mine", alone(t, f, hostOf("mine", host, "IdentityFile "+f.Key)))

	right := &user{answers: map[string]string{"assword": "123456", "ode": "123456"}}
	l := open(t, b, right.at(to))
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			if out, _ := run(t, l, "echo", fmt.Sprint(i)); strings.TrimSpace(out) != fmt.Sprint(i) {
				t.Errorf("output %q", out)
			}
		})
	}
	wg.Wait()
	if len(right.asked) != 1 || right.prompted != 1 {
		t.Errorf("the user was asked %q, and %d answers told of", right.asked, right.prompted)
	}
	path, _ := openssh.Socket(l)
	opened := target("mine", alone(t, f, hostOf("mine", host, "IdentityFile "+f.Key, "ControlPath "+path)))
	silent := &user{}
	beside := open(t, b, silent.at(opened))
	run(t, beside, "true")
	silent.expect(t, 1) // the code is told of, and not asked for
	beside.Close()
	run(t, l, "true")
	if n, err := host.LoginCount(t.Context()); err != nil || n != 1 {
		t.Errorf("%d logins at the server (%v)", n, err)
	}

	wrong := &user{answers: map[string]string{"assword": "000000", "ode": "000000"}}
	refused(t, b, wrong.at(to), gat.Denied, "Permission denied", "keyboard-interactive")
	refused(t, b, to, gat.Denied, "somebody must be there", "ControlMaster")

	expired := target("mine", alone(t, f, hostOf("mine", odd.Host("expired"), "IdentityFile "+f.Key)))
	change := &user{answers: map[string]string{"assword": "123456", "ode": "123456"}}
	refused(t, b, change.at(expired), gat.Denied, "the password has expired", "choose a new one there")
	if len(change.asked) != 1 {
		t.Errorf("the user was asked %q, want the code only", change.asked)
	}
}

// A question that is open when the login is given up is withdrawn.
func TestWithdrawn(t *testing.T) {
	f := testbed.Shared(t)
	key := locked(t, f, "open sesame")
	to := target("mine", alone(t, f, hostOf("mine", f.Bastion, "IdentityFile "+key)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := make(chan struct{})
	withdrawn := make(chan struct{})
	to.Ask = func(ctx context.Context, _, _ string, _ bool) (string, error) {
		close(asked)
		<-ctx.Done()
		close(withdrawn)
		return "", ctx.Err()
	}
	ended := make(chan error, 1)
	go func() {
		l, err := client(t, f).Open(ctx, to)
		if err == nil {
			l.Close()
		}
		ended <- err
	}()
	for _, step := range []chan struct{}{asked, withdrawn} {
		select {
		case <-step:
		case <-time.After(patience):
			t.Fatal("not asked, or not withdrawn")
		}
		cancel()
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
