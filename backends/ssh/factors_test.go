//go:build unix

package ssh_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/gat"
)

// user answers questions in turn and notes them. The last answer is for all that follow.
type user struct {
	answers []string
	err     error // instead of an answer, if set

	mu       sync.Mutex
	asked    []string // "secret: " or "shown: ", and the question
	prompted int
}

func (u *user) ask(_ context.Context, site, question string, secret bool) (string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if site != "test" {
		return "", fmt.Errorf("asked for site %q", site)
	}
	how := "shown: "
	if secret {
		how = "secret: "
	}
	u.asked = append(u.asked, how+question)
	if u.err != nil {
		return "", u.err
	}
	a := u.answers[0]
	if len(u.answers) > 1 {
		u.answers = u.answers[1:]
	}
	return a, nil
}

// challenge is a server's side of keyboard-interactive.
type challenge = func(gossh.ConnMetadata, gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error)

// code wants a code.
func code(right string) challenge {
	return func(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
		answers, err := ask("", "", []string{"Verification code: "}, []bool{false})
		if err == nil && answers[0] != right {
			err = errors.New("wrong code")
		}
		return nil, err
	}
}

// behindKey is a server that takes a key and then wants more.
func behindKey(more gossh.ServerAuthCallbacks) func(*gossh.ServerConfig) {
	return func(c *gossh.ServerConfig) {
		c.PublicKeyCallback = func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error) {
			return nil, &gossh.PartialSuccessError{Next: more}
		}
	}
}

// insteadOfKey is a server that takes no key.
func insteadOfKey(more gossh.ServerAuthCallbacks) func(*gossh.ServerConfig) {
	return func(c *gossh.ServerConfig) {
		c.PublicKeyCallback = nil
		c.KeyboardInteractiveCallback, c.PasswordCallback = more.KeyboardInteractiveCallback, more.PasswordCallback
	}
}

// asking is a server that authenticates in its own way, and a user who answers.
func asking(t testing.TB, auth func(*gossh.ServerConfig), answers ...string) (*server, gat.Target, *user) {
	t.Helper()
	s, tg := setup(t, "h")
	s.auth = auth
	u := &user{answers: answers}
	tg.Ask = u.ask
	tg.Prompted = func(context.Context) { u.prompted++ }
	return s, tg, u
}

func TestSecondFactor(t *testing.T) {
	t.Parallel()
	rounds := func(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
		for _, r := range []struct {
			name, text string
			questions  []string
			echos      []bool
			want       []string
		}{
			{"Two factors", "Welcome\r\nto head", nil, nil, nil},
			{"", "Choose", []string{"1. Push\r\n2. Code\r\nWhich (1-2): ", "Phone: "}, []bool{true, false}, []string{"2", "mine"}},
			{"", "", []string{"Code: "}, []bool{false}, []string{"123456"}},
		} {
			answers, err := ask(r.name, r.text, r.questions, r.echos)
			if err != nil {
				return nil, err
			}
			if !slices.Equal(answers, r.want) {
				return nil, fmt.Errorf("answers %q, want %q", answers, r.want)
			}
		}
		return nil, nil
	}
	password := func(_ gossh.ConnMetadata, p []byte) (*gossh.Permissions, error) {
		if string(p) != "sesame" {
			return nil, errors.New("wrong password")
		}
		return nil, nil
	}
	for name, c := range map[string]struct {
		auth    func(*gossh.ServerConfig)
		answers []string
		asked   []string
	}{
		"rounds": {behindKey(gossh.ServerAuthCallbacks{KeyboardInteractiveCallback: rounds}), []string{"2", "mine", "123456"}, []string{
			"shown: me@h says:\n  | Two factors\n  | Welcome\n  | to head\n  | Choose\n  | 1. Push\n  | 2. Code\n(me@h) Which (1-2):",
			"secret: (me@h) Phone:",
			"secret: (me@h) Code:",
		}},
		"code instead of a key": {insteadOfKey(gossh.ServerAuthCallbacks{KeyboardInteractiveCallback: code("7")}), []string{"7"}, []string{
			"secret: (me@h) Verification code:"}},
		"wrong twice": {behindKey(gossh.ServerAuthCallbacks{KeyboardInteractiveCallback: code("7")}), []string{"5", "6", "7"}, []string{
			"secret: (me@h) Verification code:", "secret: not accepted, again: (me@h) Verification code:", "secret: not accepted, again: (me@h) Verification code:"}},
		"password": {insteadOfKey(gossh.ServerAuthCallbacks{PasswordCallback: password}), []string{"open", "sesame"}, []string{
			"secret: (me@h) password:", "secret: not accepted, again: (me@h) password:"}},
		"password after a key": {behindKey(gossh.ServerAuthCallbacks{PasswordCallback: password}), []string{"sesame"}, []string{
			"secret: (me@h) password:"}},
		"password, then code": {insteadOfKey(gossh.ServerAuthCallbacks{PasswordCallback: func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error) {
			return nil, &gossh.PartialSuccessError{Next: gossh.ServerAuthCallbacks{KeyboardInteractiveCallback: code("7")}}
		}}), []string{"sesame", "6", "7"}, []string{
			"secret: (me@h) password:", "secret: (me@h) Verification code:", "secret: not accepted, again: (me@h) Verification code:"}},
		"one that asks nothing goes to the password": {insteadOfKey(gossh.ServerAuthCallbacks{PasswordCallback: password,
			KeyboardInteractiveCallback: func(gossh.ConnMetadata, gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
				return nil, errors.New("not for you")
			}}), []string{"sesame"}, []string{"secret: (me@h) password:"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, tg, u := asking(t, c.auth, c.answers...)
			l := login(t, ssh.Backend{}, tg)
			for range 3 { // one login for all
				if out, _, _ := run(t, l, "echo", "in"); out != "in\n" {
					t.Errorf("out %q", out)
				}
			}
			if diff := cmp.Diff(c.asked, u.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if n := s.state().conns; n != 1 {
				t.Errorf("%d connections, want one", n)
			}
			if u.prompted == 0 {
				t.Error("the login does not say that it needed the user")
			}
		})
	}
	t.Run("a key alone needs nobody", func(t *testing.T) {
		t.Parallel()
		_, tg, u := asking(t, nil)
		login(t, ssh.Backend{}, tg)
		if u.prompted != 0 || len(u.asked) != 0 {
			t.Errorf("prompted %d times, asked %q", u.prompted, u.asked)
		}
	})
}

// TestFactorOnTheWay: each host of a way may want a code, and the question says which.
func TestFactorOnTheWay(t *testing.T) {
	t.Parallel()
	gate, tg, u := asking(t, behindKey(gossh.ServerAuthCallbacks{KeyboardInteractiveCallback: code("1")}), "1", "2", "3")
	mid := &server{name: "mid", hostKeys: gate.hostKeys, auth: behindKey(gossh.ServerAuthCallbacks{KeyboardInteractiveCallback: code("2")})}
	inner := &server{name: "inner", hostKeys: gate.hostKeys, auth: behindKey(gossh.ServerAuthCallbacks{KeyboardInteractiveCallback: code("3")})}
	gate.routes, mid.routes = map[string]*server{"mid:22": mid}, map[string]*server{"inner:22": inner}
	know(t, tg.Home, mid)
	know(t, tg.Home, inner)
	tg.URL, _ = url.Parse("ssh://me@mid?jump=me@h")
	type key struct{}
	var whose []any // the calls that needed the user
	tg.Prompted = func(ctx context.Context) { whose = append(whose, ctx.Value(key{})) }
	l, err := (ssh.Backend{Agent: "none"}).Open(context.WithValue(t.Context(), key{}, "outer"), tg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	in, err := l.(gat.Inward).Inner(context.WithValue(t.Context(), key{}, "inner"), "inner", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	want := []string{"secret: (me@h) Verification code:", "secret: (me@mid) Verification code:", "secret: (me@inner) Verification code:"}
	if diff := cmp.Diff(want, u.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{"outer", "outer", "inner"}, whose); diff != "" {
		t.Errorf("prompted (-want +got):\n%s", diff)
	}
}

func TestSecondFactorRefused(t *testing.T) {
	t.Parallel()
	says := func(questions ...string) challenge {
		return func(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
			if _, err := ask("", questions[0], questions[1:], make([]bool, len(questions)-1)); err != nil {
				return nil, err
			}
			return nil, nil
		}
	}
	for name, c := range map[string]struct {
		auth  challenge
		err   error
		asked int
		says  []string
	}{
		"wrong as often as the server allows": {auth: code("7"), asked: 6, says: []string{"permission denied", "6 answers were not accepted: the server ends the login: too many authentication failures (", "lock an account"}},
		"no terminal":                         {auth: code("7"), err: errors.New("there is no terminal to ask on"), asked: 1, says: []string{"no terminal", "ControlMaster", "key added"}},
		"nobody answered": {auth: code("7"), err: &gat.Error{Class: gat.Denied, Err: fmt.Errorf("%w within 5m0s", gat.ErrUnanswered), Hint: "start again"}, asked: 1,
			says: []string{"nobody answered within 5m0s", "start again"}},
		"expired": {auth: says("", "You are required to change your password immediately (administrator enforced).\r\nCurrent password: "),
			says: []string{"password has expired", "asks for a new one", "log in with ssh in a terminal"}},
		"expired, only the new one": {auth: says("", "New password: "), says: []string{"password has expired"}},
		"new PIN":                   {auth: says("", "Enter a new PIN having from 4 to 8 digits:"), says: []string{"password has expired"}},
		"expired, said before":      {auth: says("Your password has expired.", "Old password: "), says: []string{"password has expired"}},
		"without end": {auth: func(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
			for {
				if _, err := ask("", "wait", nil, nil); err != nil {
					return nil, err
				}
			}
		}, says: []string{"asks without end"}},
		"too much at once": {auth: says(strings.Split(strings.Repeat("?,", 20), ",")...), says: []string{"asks without end"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, tg, u := asking(t, behindKey(gossh.ServerAuthCallbacks{KeyboardInteractiveCallback: c.auth}), "0")
			u.err = c.err
			err := refused(t, ssh.Backend{}, tg, gat.Denied, append(c.says, "me at h:22")...)
			if len(u.asked) != c.asked {
				t.Errorf("asked %q, want %d questions", u.asked, c.asked)
			}
			if n := s.state().conns; n != 1 {
				t.Errorf("%d connections, want one", n)
			}
			t.Log(err)
		})
	}
	t.Run("nobody to ask", func(t *testing.T) {
		t.Parallel()
		_, tg, _ := asking(t, insteadOfKey(gossh.ServerAuthCallbacks{KeyboardInteractiveCallback: code("7")}))
		tg.Ask, tg.Prompted = nil, nil
		refused(t, ssh.Backend{}, tg, gat.Denied, "nobody can be asked", "ControlMaster")
	})
	t.Run("no terminal, and none of the keys is right", func(t *testing.T) {
		t.Parallel()
		s, tg, u := asking(t, func(c *gossh.ServerConfig) { c.KeyboardInteractiveCallback = code("7") })
		s.takes(nobody)
		u.err = errors.New("there is no terminal to ask on")
		refused(t, ssh.Backend{}, tg, gat.Denied, "tried ", "id_ed25519", "no terminal")
	})
}

// A warning of an end to come and a question for a new code are no wish for a new password.
func TestNotExpired(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"Warning: your password will expire in 5 days.\r\nPassword: ",
		"Wait for the tokencode to change, then enter the new tokencode: ",
		"Password & verification code: ",
	} {
		_, tg, u := asking(t, insteadOfKey(gossh.ServerAuthCallbacks{
			KeyboardInteractiveCallback: func(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
				_, err := ask("", "", []string{text}, []bool{false})
				return nil, err
			}}), "7")
		login(t, ssh.Backend{}, tg)
		if len(u.asked) != 1 {
			t.Errorf("%q: asked %q", text, u.asked)
		}
	}
}

// What a server says cannot move the cursor, fill the screen or pass for a question of ours.
func TestHostileWords(t *testing.T) {
	t.Parallel()
	flood := strings.Repeat("line\n", 5000)
	for name, question := range map[string]string{
		"escapes":   "\x1b[2J\x1b]0;title\a\rsite other: passphrase of ~/.ssh/id_rsa\x9b31m: ",
		"direction": "\u202eedoc\u2066 \u200b\ufeff: ",
		"bytes":     "\xff\xfe\x00 code: ",
		"lines":     flood + "site other: passphrase of ~/.ssh/id_rsa:\ncode: ",
		"long":      strings.Repeat("x", 30000),
		"empty":     "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, tg, u := asking(t, insteadOfKey(gossh.ServerAuthCallbacks{
				KeyboardInteractiveCallback: func(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
					_, err := ask(question, question, []string{question}, []bool{false})
					return nil, err
				}}), "7")
			login(t, ssh.Backend{}, tg)
			if len(u.asked) != 1 {
				t.Fatalf("asked %d times", len(u.asked))
			}
			got := strings.TrimPrefix(u.asked[0], "secret: ")
			if n := len(got); n > 16<<10 {
				t.Errorf("%d bytes are shown", n)
			}
			all := strings.Split(got, "\n")
			if len(all) > 30 {
				t.Errorf("%d lines are shown", len(all))
			}
			for i, l := range all {
				if strings.ContainsFunc(l, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("line %q moves something", l)
				}
				ours := i == 0 && l == "me@h says:" || i == len(all)-1 && strings.HasPrefix(l, "(me@h) ")
				if !ours && !strings.HasPrefix(l, "  | ") {
					t.Errorf("line %q does not show whose it is", l)
				}
			}
		})
	}
}

// TestServerHangsUpWhileAsking: a question is withdrawn when its server has gone, and
// nobody is asked again by itself.
func TestServerHangsUpWhileAsking(t *testing.T) {
	t.Parallel()
	s, tg, _ := asking(t, nil)
	s.auth = behindKey(gossh.ServerAuthCallbacks{KeyboardInteractiveCallback: code("7")})
	var conn net.Conn
	dial := tg.Dial
	tg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		conn = c
		return c, err
	}
	withdrawn := make(chan struct{})
	tg.Ask = func(ctx context.Context, _, _ string, _ bool) (string, error) {
		conn.Close()
		<-ctx.Done()
		close(withdrawn)
		return "", ctx.Err()
	}
	refused(t, ssh.Backend{}, tg, gat.Denied, "closed the connection while it waited for an answer")
	<-withdrawn
	// One that nobody saw is as good as not asked.
	tg.Ask = func(ctx context.Context, _, _ string, _ bool) (string, error) {
		conn.Close()
		<-ctx.Done()
		return "", &gat.Error{Class: gat.Transient, Err: errors.New("withdrawn")}
	}
	refused(t, ssh.Backend{}, tg, gat.Transient, "closed the connection")
}

// TestSlowFactor: neither a slow user nor a slow telephone trips a bound; a server that
// says nothing does.
func TestSlowFactor(t *testing.T) {
	wait := func(d time.Duration) (challenge, chan struct{}) {
		over := make(chan struct{})
		return func(_ gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
			_, err := ask("", "", []string{"1 for a push: "}, []bool{true})
			select {
			case <-time.After(d):
			case <-over:
			}
			return nil, err
		}, over
	}
	for _, c := range []struct {
		telephone time.Duration
		ok        bool
	}{{time.Minute, true}, {time.Hour, false}} {
		synctest.Test(t, func(t *testing.T) {
			push, over := wait(c.telephone)
			_, tg, u := asking(t, behindKey(gossh.ServerAuthCallbacks{KeyboardInteractiveCallback: push}), "1")
			tg.Ask = func(ctx context.Context, site, question string, secret bool) (string, error) {
				select {
				case <-time.After(4 * time.Minute):
				case <-ctx.Done():
				}
				return u.ask(ctx, site, question, secret)
			}
			if c.ok {
				login(t, ssh.Backend{}, tg).Close()
				return
			}
			refused(t, ssh.Backend{}, tg, gat.Denied, "timed out", "telephone")
			close(over)
		})
	}
}

// Ctrl-C ends the call; the question goes with it.
func TestInterruptedWhileAsking(t *testing.T) {
	t.Parallel()
	_, tg, _ := asking(t, behindKey(gossh.ServerAuthCallbacks{KeyboardInteractiveCallback: code("7")}))
	ctx, cancel := context.WithCancel(t.Context())
	tg.Ask = func(ctx context.Context, _, _ string, _ bool) (string, error) {
		cancel()
		<-ctx.Done()
		return "", ctx.Err()
	}
	if _, err := (ssh.Backend{Agent: "none"}).Open(ctx, tg); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
}

// A server may answer a password with the wish for another one (RFC 4252, section 8).
func TestPasswordChangeWanted(t *testing.T) {
	t.Parallel()
	err := ssh.FailureAfterPassword(errors.New("ssh: handshake failed: ssh: unexpected message type 60 (expected 52)"))
	if gat.ClassOf(err) != gat.Denied || !strings.Contains(err.Error(), "password has expired") {
		t.Errorf("got %v", err)
	}
}
