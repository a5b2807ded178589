//go:build unix

package ssh_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/backends/shell"
	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/gat"
)

func TestExec(t *testing.T) {
	t.Parallel()
	// Every shell must read it the same way: no change here without the test below.
	want := `exec /bin/sh -c 'eval "$(dd bs=1 count=1234 2>/dev/null)"'`
	if got := shell.Exec(1234); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

var execForm = regexp.MustCompile(`^exec /bin/sh -c 'eval "\$\(dd bs=1 count=[0-9]+ 2>/dev/null\)"'$`)

// TestLoginShells runs a command through each login shell there is.
func TestLoginShells(t *testing.T) {
	t.Parallel()
	var every []byte
	for c := 1; c < 256; c++ {
		every = append(every, byte(c))
	}
	args := []string{string(every), "", "'", "\n\n", "!", "$x", "é", "-n", "end\n"}
	for _, name := range []string{"sh", "bash", "dash", "ksh", "mksh", "zsh", "csh", "tcsh", "fish", "busybox"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(name)
			if err != nil {
				t.Skipf("%s is not installed", name)
			}
			s, tg := setup(t, "h")
			s.shell = func(line string) []string {
				if name == "busybox" {
					return []string{path, "sh", "-c", line}
				}
				return []string{path, "-c", line}
			}
			l := login(t, ssh.Backend{}, tg)
			out, errs, code := run(t, l, append([]string{"/bin/sh", "-c", `for a; do printf '%s\0' "$a"; done; printf err >&2; exit 7`, "x"}, args...)...)
			if want := strings.Join(args, "\x00") + "\x00"; out != want || errs != "err" || code != 7 {
				t.Errorf("output %q, want %q; error output %q, status %d", out, want, errs, code)
			}
			for _, line := range s.state().lines {
				if !execForm.MatchString(line) {
					t.Errorf("executed %q", line)
				}
			}
		})
	}
}

// noisy makes a login shell that does something before it does what it is told.
func noisy(before string) func(string) []string {
	return func(line string) []string { return []string{"/bin/sh", "-c", before + "\n" + line} }
}

func TestNoise(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]string{
		"text":       `echo welcome; echo stty: not a typewriter >&2; printf 'no newline'`,
		"much":       `i=0; while [ $i -lt 2000 ]; do echo "noise of line $i that is a little longer"; echo "and on stderr" >&2; i=$((i+1)); done`,
		"trace":      `set -vx`,
		"trace all":  `SHELLOPTS=xtrace:verbose; export SHELLOPTS`,
		"environ":    `PS4=x; IFS=abc; CDPATH=/; ENV=/etc/profile; export IFS CDPATH ENV PS4`,
		"stdin kept": `cat </dev/null`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, tg := setup(t, "h")
			s.shell = noisy(before)
			if name == "trace all" {
				s.shell = func(line string) []string {
					return []string{"/usr/bin/env", "SHELLOPTS=xtrace:verbose", "/bin/sh", "-c", line}
				}
			}
			l := login(t, ssh.Backend{}, tg)
			data := make([]byte, 300_000)
			rand.Read(data)
			p, err := l.(gat.Runner).Run(t.Context(), gat.Command{Argv: []string{"cat"}, Env: []string{"A=b"}, Dir: "/"})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			go func() { // ends with the process
				p.Stdin().Write(data)
				p.Stdin().Close()
			}()
			out, err := io.ReadAll(p.Stdout())
			if err != nil || !bytes.Equal(out, data) {
				t.Errorf("%d bytes come back as %d others (%v)", len(data), len(out), err)
			}
			if code, err := p.Wait(); code != 0 || err != nil {
				t.Errorf("status %d, %v", code, err)
			}
		})
	}
}

func TestNoCommand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before string
		says   []string
	}{
		"endless noise":        {`while :; do echo 'noise noise noise noise noise noise noise noise noise noise'; done`, []string{"more than", "bashrc"}},
		"endless noise on err": {`while :; do echo 'noise noise noise noise noise noise noise noise noise noise' >&2; done`, []string{"more than", "bashrc"}},
		"no shell":             {`echo This account is not available.; exit 1`, []string{"before the command began", "not available", "login shell"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, tg := setup(t, "h")
			s.shell = noisy(c.before)
			l := login(t, ssh.Backend{}, tg)
			_, err := l.(gat.Runner).Run(t.Context(), gat.Command{Argv: []string{"true"}})
			for _, w := range c.says {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("%v, want %q", err, w)
				}
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		t.Parallel()
		s, tg := setup(t, "h")
		s.shell = noisy(`echo waiting for the quota server; exec sleep 1000`)
		l := login(t, ssh.Backend{}, tg)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := l.(gat.Runner).Run(ctx, gat.Command{Argv: []string{"true"}})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "quota server") {
			t.Errorf("%v", err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		s, tg := setup(t, "h")
		s.noExec = true
		l := login(t, ssh.Backend{}, tg)
		if _, err := l.(gat.Runner).Run(t.Context(), gat.Command{Argv: []string{"true"}}); gat.ClassOf(err) != gat.Denied {
			t.Errorf("%v", err)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		t.Parallel()
		_, tg := setup(t, "h")
		l := login(t, ssh.Backend{}, tg)
		_, err := l.(gat.Runner).Run(t.Context(), gat.Command{Argv: []string{"true"}, Dir: "/no/such dir"})
		if gat.ClassOf(err) != gat.NotFound || !strings.Contains(err.Error(), "/no/such dir") {
			t.Errorf("%v", err)
		}
	})
}

// A server that passes no signals on: the command is killed by its number.
func TestCloseKillsWithoutSignals(t *testing.T) {
	t.Parallel()
	t.Run("process", func(t *testing.T) { testDeaf(t, func(_ gat.Login, p gat.Process) { p.Close() }) })
	t.Run("login", func(t *testing.T) { testDeaf(t, func(l gat.Login, _ gat.Process) { l.Close() }) })
}

func testDeaf(t *testing.T, closeIt func(gat.Login, gat.Process)) {
	t.Parallel()
	s, tg := setup(t, "h")
	s.deaf = true
	l := login(t, ssh.Backend{}, tg)
	fifo := filepath.Join(t.TempDir(), "alive")
	if out, errs, code := run(t, l, "mkfifo", fifo); code != 0 {
		t.Fatal(out, errs)
	}
	p, err := l.(gat.Runner).Run(t.Context(), gat.Command{Argv: []string{"/bin/sh", "-c", `exec 9>"$1"; sleep 60 & sleep 60`, "x", fifo}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(fifo) // when the command opens it too
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	closeIt(l, p)
	if code, err := p.Wait(); err == nil {
		t.Errorf("a closed process ended with %d and no error", code)
	}
	f.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := f.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the command's children live on: %v", err)
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	hold := func(t *testing.T, l gat.Login) gat.Process {
		t.Helper()
		p, err := l.(gat.Runner).Run(t.Context(), gat.Command{Argv: []string{"cat"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return p
	}
	t.Run("ours", func(t *testing.T) {
		t.Parallel()
		_, tg := setup(t, "h")
		l := login(t, ssh.Backend{Sessions: 2}, tg)
		first := hold(t, l)
		hold(t, l)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := l.(gat.Runner).Run(ctx, gat.Command{Argv: []string{"true"}}); err == nil || !strings.Contains(err.Error(), "all 2 sessions") || gat.ClassOf(err) != gat.Transient {
			t.Errorf("a third session: %v", err)
		}
		first.Stdin().Close() // makes room for one that waits
		hold(t, l)
	})
	// A server that allows one session on a connection is given more connections,
	// when it has to be.
	t.Run("the server's", func(t *testing.T) {
		t.Parallel()
		s, tg := setup(t, "h")
		s.sessions = 1
		l := login(t, ssh.Backend{Sessions: 3}, tg)
		conns := func() int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.conns
		}
		for range 5 {
			run(t, l, "true")
		}
		if n := conns(); n != 1 {
			t.Errorf("commands one after the other take %d connections", n)
		}
		first, second := hold(t, l), hold(t, l)
		for range 3 {
			if out, _, _ := run(t, l, "echo", "again"); out != "again\n" {
				t.Errorf("output %q", out)
			}
		}
		if n := conns(); n != 3 {
			t.Errorf("three commands at once take %d connections", n)
		}
		second.Stdin().Close()
		if code, err := second.Wait(); code != 0 || err != nil {
			t.Errorf("a command over a further connection ended with %d, %v", code, err)
		}
		l.Close()
		if _, err := first.Wait(); err == nil {
			t.Error("a command outlives the login")
		}
	})
	// Nobody is asked for a password again for that.
	t.Run("the server's, with a password", func(t *testing.T) {
		t.Parallel()
		s, tg, u := asking(t, insteadOfKey(gossh.ServerAuthCallbacks{
			PasswordCallback: func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error) { return nil, nil }}), "sesame")
		s.sessions = 1
		l := login(t, ssh.Backend{}, tg)
		first := hold(t, l)
		_, err := l.(gat.Runner).Run(t.Context(), gat.Command{Argv: []string{"true"}})
		if err == nil || !strings.Contains(err.Error(), "MaxSessions may be 1") || gat.ClassOf(err) != gat.Transient {
			t.Errorf("a second session: %v", err)
		}
		if len(u.asked) != 1 {
			t.Errorf("the user was asked %q", u.asked)
		}
		first.Stdin().Close()
		if out, _, _ := run(t, l, "echo", "again"); out != "again\n" {
			t.Errorf("output %q", out)
		}
	})
}
