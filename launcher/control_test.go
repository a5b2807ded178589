package launcher_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/launcher"
)

// controls records what a client asked for.
type controls struct {
	cancelled chan bool
	redial    func(ctx context.Context, ask launcher.AskFunc) error
}

// serve makes a run that is spoken to over its control socket.
func serve(t *testing.T, s *launcher.State, c *controls) (*launcher.RunDir, *launcher.Control, *launcher.ControlServer) {
	t.Helper()
	r := createRun(t, s, launcher.Begun{Run: "abcdefgh"})
	c.cancelled = make(chan bool, 4)
	server, err := launcher.ServeControl(r, launcher.Controls{
		Cancel: func(now bool) { c.cancelled <- now },
		Redial: func(ctx context.Context, ask launcher.AskFunc) error { return c.redial(ctx, ask) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	client, err := s.Control("abcdefgh")
	if err != nil {
		t.Fatal(err)
	}
	return r, client, server
}

func TestControl(t *testing.T) {
	s := openState(t)
	var c controls
	r, client, server := serve(t, s, &c)
	ctx := t.Context()
	if runtime.GOOS != "windows" {
		if info, err := os.Stat(filepath.Join(r.Path, "control.sock")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode of the socket: %v, %v; want 0600", info, err)
		}
	}

	write(t, r, launcher.RunStarted{App: "x", Workers: 3})
	st, err := client.Status(ctx)
	if err != nil || st.Workers != 3 || st.App != "x" {
		t.Errorf("Status = %+v, %v", st, err)
	}
	for _, now := range []bool{false, true} {
		if err := client.Cancel(ctx, now); err != nil {
			t.Fatal(err)
		}
		if got := <-c.cancelled; got != now {
			t.Errorf("cancelled with now = %v, want %v", got, now)
		}
	}

	c.redial = func(ctx context.Context, ask launcher.AskFunc) error {
		secret, err := ask(ctx, "das", "passphrase?", true)
		if err != nil {
			return err
		}
		if secret != "sesame" {
			return errors.New("wrong passphrase")
		}
		return nil
	}
	answer := func(text string, err error) launcher.AskFunc {
		return func(_ context.Context, site, question string, secret bool) (string, error) {
			if site != "das" || question != "passphrase?" || !secret {
				t.Errorf("asked %q %q %v", site, question, secret)
			}
			return text, err
		}
	}
	if err := client.Redial(ctx, answer("sesame", nil)); err != nil {
		t.Errorf("redial: %v", err)
	}
	if err := client.Redial(ctx, answer("x", nil)); err == nil || !strings.Contains(err.Error(), "wrong passphrase") {
		t.Errorf("redial with a wrong answer: %v", err)
	}
	for _, ask := range []launcher.AskFunc{nil, answer("", errors.New("no terminal"))} {
		if err := client.Redial(ctx, ask); err == nil || !strings.Contains(err.Error(), "nobody answered") {
			t.Errorf("redial without an answer: %v", err)
		}
	}

	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if _, err := client.Status(ctx); !errors.Is(err, launcher.ErrNotRunning) {
		t.Errorf("Status of a run without a launcher: %v, want ErrNotRunning", err)
	}
	if _, err := os.Lstat(filepath.Join(r.Path, "control.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// A question ends when its asker wants it no more, and when the client goes; an
// answer to one that is gone is not taken for the next one's.
func TestControlQuestionsEnd(t *testing.T) {
	s := openState(t)
	var c controls
	_, client, _ := serve(t, s, &c)
	c.redial = func(ctx context.Context, ask launcher.AskFunc) error {
		short, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		time.AfterFunc(20*time.Millisecond, func() { cancel(errors.New("the server hung up")) })
		if _, err := ask(short, "das", "first?", true); err == nil || !strings.Contains(err.Error(), "hung up") {
			t.Errorf("the withdrawn question: %v", err)
		}
		second, err := ask(ctx, "das", "second?", true)
		if err != nil || second != "two" {
			t.Errorf("the second question: %q, %v", second, err)
		}
		return err
	}
	err := client.Redial(t.Context(), func(ctx context.Context, _, question string, _ bool) (string, error) {
		if question == "second?" {
			return "two", nil
		}
		<-ctx.Done()
		return "late", nil
	})
	if err != nil {
		t.Error(err)
	}

	over := make(chan error, 1)
	c.redial = func(ctx context.Context, ask launcher.AskFunc) error {
		_, err := ask(ctx, "das", "anybody?", true)
		over <- err
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = client.Redial(ctx, func(ctx context.Context, _, _ string, _ bool) (string, error) {
		cancel()
		<-ctx.Done()
		return "", ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a redial that was interrupted: %v", err)
	}
	select {
	case err := <-over:
		if err == nil {
			t.Error("the launcher got an answer from a client that is gone")
		}
	case <-time.After(10 * time.Second):
		t.Error("the launcher still waits for a client that is gone")
	}
}

// Who follows a run gets what was, what is, and the end, without a gap.
func TestControlEvents(t *testing.T) {
	s := openState(t)
	r, client, server := serve(t, s, new(controls))
	write(t, r, launcher.RunStarted{App: "x", Workers: 1}, launcher.OutputWritten{Stream: "stdout", Data: []byte("before")})

	started := make(chan struct{})
	var got []string
	done := make(chan error, 1)
	go func() {
		done <- client.Events(t.Context(), true, func(e launcher.Event) {
			text := e.Data.EventType()
			if o, ok := e.Data.(launcher.OutputWritten); ok {
				text += " " + string(o.Data)
			}
			if got = append(got, text); len(got) == 1 {
				close(started)
			}
		}, nil)
	}()
	<-started
	write(t, r, launcher.OutputWritten{Stream: "stdout", Data: []byte("after")}, launcher.Warned{Text: "w"})
	// The session's end: the socket goes first, the journal last.
	server.Close()
	write(t, r, launcher.RunEnded{Outcome: launcher.OutcomeOK})
	r.Close()
	if err := <-done; err != nil {
		t.Errorf("Events: %v", err)
	}
	if d := cmp.Diff([]string{"run", "output after", "warning", "end"}, got); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
}

func TestControlEventsOfALauncherThatDies(t *testing.T) {
	s := openState(t)
	r, client, _ := serve(t, s, new(controls))
	write(t, r, launcher.RunStarted{})
	err := client.Events(t.Context(), false, func(e launcher.Event) { r.Journal.Close() }, nil)
	if !errors.Is(err, launcher.ErrNotRunning) {
		t.Errorf("Events = %v, want ErrNotRunning", err)
	}

	r2 := createRun(t, s, launcher.Begun{Run: "bbbbbbbb"})
	write(t, r2, launcher.RunStarted{})
	client2, err := s.Control("bbbbbbbb")
	if err != nil {
		t.Fatal(err)
	}
	if err := client2.Cancel(t.Context(), false); !errors.Is(err, launcher.ErrNotRunning) {
		t.Errorf("Cancel without a socket = %v, want ErrNotRunning", err)
	}
}

// A follower that does not read holds nobody up, and is told what it missed.
func TestControlSlowFollower(t *testing.T) {
	s := openState(t)
	r, client, _ := serve(t, s, new(controls))
	write(t, r, launcher.RunStarted{})
	release := make(chan struct{})
	first := make(chan struct{})
	var missed, seen int64
	ended := false
	done := make(chan error, 1)
	go func() {
		done <- client.Events(t.Context(), true, func(e launcher.Event) {
			switch e.Data.(type) {
			case launcher.RunStarted:
				close(first)
				<-release
			case launcher.OutputWritten:
				seen++
			case launcher.RunEnded:
				ended = true
			}
		}, func(n int64) { missed += n })
	}()
	<-first
	piece := []byte(strings.Repeat("x", 64<<10))
	const pieces = 96
	for range pieces {
		write(t, r, launcher.OutputWritten{Stream: "stdout", Data: piece})
	}
	close(release)
	write(t, r, launcher.RunEnded{Outcome: launcher.OutcomeOK})
	r.Journal.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !ended || seen+missed != pieces || missed == 0 {
		t.Errorf("saw %d and missed %d of %d pieces, end %v; want both together all of them, some missed, and the end", seen, missed, pieces, ended)
	}
}

// The path of a unix socket is short; that of a state directory need not be.
func TestControlLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120), strings.Repeat("e", 120))
	s, err := launcher.OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, client, server := serve(t, s, new(controls))
	write(t, r, launcher.RunStarted{Workers: 5})
	if st, err := client.Status(t.Context()); err != nil || st.Workers != 5 {
		t.Errorf("Status = %+v, %v", st, err)
	}
	server.Close()
	if _, err := os.Lstat(filepath.Join(r.Path, "control.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// A launcher that died leaves its socket; the next one takes its place.
func TestControlAfterDeath(t *testing.T) {
	s := openState(t)
	r, _, _ := serve(t, s, new(controls))
	if _, err := launcher.ServeControl(r, launcher.Controls{}); err != nil {
		t.Errorf("a socket was in the way: %v", err)
	}
}

func TestControlClientGoes(t *testing.T) {
	s := openState(t)
	r, client, _ := serve(t, s, new(controls))
	write(t, r, launcher.RunStarted{})
	ctx, cancel := context.WithCancel(t.Context())
	if err := client.Events(ctx, true, func(launcher.Event) { cancel() }, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Events = %v, want context.Canceled", err)
	}
	start := time.Now()
	r.Close() // waits for followers
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("Close took %v", d)
	}
}
