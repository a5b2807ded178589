package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// openPTY returns the two ends of a new terminal: the user's, and the name of
// the program's.
func openPTY(t *testing.T) (user *os.File, program string) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs a pseudo terminal: %v", err)
	}
	t.Cleanup(func() { user.Close() })
	fd := int(user.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("needs a pseudo terminal: %v", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Skipf("needs a pseudo terminal: %v", err)
	}
	program = fmt.Sprintf("/dev/pts/%d", n)
	// Between two questions nobody else has it open, which would end it.
	keep, err := os.OpenFile(program, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs a pseudo terminal: %v", err)
	}
	t.Cleanup(func() { keep.Close() })
	return user, program
}

// askOn returns an asker that asks on the program's end of a terminal.
func askOn(name string) *asker {
	s, _ := liveScreen()
	a := newAsker(s)
	a.open = func() (in, out *os.File, err error) {
		if in, err = os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
			return nil, nil, err
		}
		out, err = os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
		return in, out, err
	}
	return a
}

type answer struct {
	text string
	err  error
}

func ask(ctx context.Context, a *asker, question string, secret bool) chan answer {
	c := make(chan answer, 1)
	go func() {
		text, err := a.Ask(ctx, "das", question, secret)
		c <- answer{text, err}
	}()
	return c
}

func await(t *testing.T, c chan answer) answer {
	t.Helper()
	select {
	case a := <-c:
		return a
	case <-time.After(10 * time.Second):
		t.Fatal("no answer")
		panic("unreachable")
	}
}

// readUntil reads what the program wrote until it ends with the given text.
func readUntil(t *testing.T, r *bufio.Reader, end string) string {
	t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), end) {
		c, err := r.ReadByte()
		if err != nil {
			t.Fatalf("the terminal showed %q, then %v; want it to end with %q", b.String(), err, end)
		}
		b.WriteByte(c)
	}
	return b.String()
}

func TestAsk(t *testing.T) {
	user, name := openPTY(t)
	shown := bufio.NewReader(user)
	a := askOn(name)
	for _, secret := range []bool{true, false} {
		c := ask(t.Context(), a, "passphrase of id_rsa:", secret)
		readUntil(t, shown, "site das: passphrase of id_rsa: ")
		// Echo is off once the reader is there; until then the terminal would show the answer.
		waitEcho(t, user, !secret)
		fmt.Fprintln(user, "open sesame")
		if got := await(t, c); got.text != "open sesame" || got.err != nil {
			t.Errorf("secret %v: got %q, %v", secret, got.text, got.err)
		}
		if said := readUntil(t, shown, "\n"); strings.Contains(said, "sesame") == secret {
			t.Errorf("secret %v: the terminal showed %q", secret, said)
		}
		waitEcho(t, user, true)
	}
}

// A question that is withdrawn leaves the terminal as it was.
func TestAskWithdrawn(t *testing.T) {
	user, name := openPTY(t)
	shown := bufio.NewReader(user)
	a := askOn(name)
	c := ask(t.Context(), a, "passphrase:", true)
	readUntil(t, shown, "passphrase: ")
	waitEcho(t, user, false)
	a.Close()
	if got := await(t, c); got.err == nil {
		t.Errorf("got %q after Close", got.text)
	}
	waitEcho(t, user, true)
	if _, err := a.Ask(t.Context(), "das", "more?", false); !errors.Is(err, errNoTerminal) {
		t.Errorf("a question after Close: %v", err)
	}
}

// A question that is withdrawn takes nothing of what is typed for the next one.
func TestAskAfterWithdrawn(t *testing.T) {
	user, name := openPTY(t)
	shown := bufio.NewReader(user)
	a := askOn(name)
	for _, secret := range []bool{true, false} {
		ctx, withdraw := context.WithCancel(t.Context())
		first := ask(ctx, a, "code:", secret)
		readUntil(t, shown, "site das: code: ")
		waitEcho(t, user, !secret)
		second := ask(t.Context(), a, "another code:", true) // waits for its turn
		withdraw()
		if got := await(t, first); !errors.Is(got.err, errWithdrawn) {
			t.Errorf("got %q, %v; want it withdrawn", got.text, got.err)
		}
		readUntil(t, shown, "site das: another code: ")
		waitEcho(t, user, false)
		fmt.Fprintln(user, "123456")
		if got := await(t, second); got.text != "123456" || got.err != nil {
			t.Errorf("got %q, %v", got.text, got.err)
		}
		waitEcho(t, user, true)
	}
}

// The words of a server come before its question, each on a line.
func TestAskLines(t *testing.T) {
	user, name := openPTY(t)
	shown := bufio.NewReader(user)
	c := ask(t.Context(), askOn(name), "me@head says:\n  | choose\n(me@head) Code:", false)
	if got, want := readUntil(t, shown, "Code: "), "site das: me@head says:\r\n  | choose\r\n(me@head) Code: "; got != want {
		t.Errorf("shown %q, want %q", got, want)
	}
	fmt.Fprintln(user, "2")
	if got := await(t, c); got.text != "2" || got.err != nil {
		t.Errorf("got %q, %v", got.text, got.err)
	}
}

func TestAskNobody(t *testing.T) {
	if _, err := askOn("/nonexistent").Ask(t.Context(), "das", "?", true); !errors.Is(err, errNoTerminal) {
		t.Errorf("without a terminal: %v", err)
	}
	null := askOn(os.DevNull)
	if _, err := null.Ask(t.Context(), "das", "?", true); !errors.Is(err, errNoTerminal) {
		t.Errorf("with something that is no terminal: %v", err)
	}
}

// waitEcho waits until the terminal echoes what is typed, or does not.
func waitEcho(t *testing.T, tty *os.File, want bool) {
	t.Helper()
	if !term.IsTerminal(int(tty.Fd())) {
		t.Skip("the pseudo terminal does not tell its state")
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		s, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if (s.Lflag&unix.ECHO != 0) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("echo is not %v", want)
		}
	}
}
