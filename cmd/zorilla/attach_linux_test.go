package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zorilla-grid/zorilla/launcher"
)

// detachedRun is a run that goes on in this process, with a site whose login needs the
// user. Redial is what attaching does.
func detachedRun(t *testing.T, redial func(context.Context, launcher.AskFunc) error) (stateHome string, run *launcher.RunDir) {
	t.Helper()
	stateHome = t.TempDir()
	state, err := launcher.OpenState(filepath.Join(stateHome, "zorilla"))
	if err != nil {
		t.Fatal(err)
	}
	if run, err = state.Create(launcher.Begun{Run: "abcdefgh", Out: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run.Close() })
	control, err := launcher.ServeControl(run, launcher.Controls{Cancel: func(bool) {}, Redial: redial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { control.Close() })
	for _, d := range []launcher.EventData{
		launcher.RunStarted{App: "app", Workers: 1, Min: 1, Sites: []string{"das"}},
		launcher.SiteChanged{Site: "das", State: "detached", Wanted: 1, Error: `"zorilla attach abcdefgh" brings it back`},
	} {
		run.Journal.Write(launcher.Event{Time: time.Now(), Run: "abcdefgh", Data: d})
	}
	return stateHome, run
}

// zorilla is a command of this program, as a process.
func zorilla(stateHome string, args ...string) *exec.Cmd {
	self, _ := os.Executable()
	cmd := exec.Command(self)
	cmd.Args = append([]string{"zorilla"}, args...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+stateHome, "NO_COLOR=1")
	return cmd
}

// TestAttachAsks attaches to a run from a terminal of its own: the code is asked there,
// and is seen and kept nowhere.
func TestAttachAsks(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	stateHome, run := detachedRun(t, func(ctx context.Context, ask launcher.AskFunc) error {
		code, err := ask(ctx, "das", "(me@das) Verification code:", true)
		got <- code
		return err
	})
	if out, err := zorilla(stateHome, "ps").CombinedOutput(); err != nil || !strings.Contains(string(out), `abcdefgh: site das: detached: "zorilla attach abcdefgh" brings it back`) {
		t.Errorf("ps says %q, %v", out, err)
	}

	user, name := openPTY(t)
	terminal, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var stdout, stderr bytes.Buffer
	cmd := zorilla(stateHome, "attach", "abcdefgh")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shown := bufio.NewReader(user)
	readUntil(t, shown, "site das: (me@das) Verification code: ")
	waitEcho(t, user, false)
	user.WriteString("271828\n")
	if code := <-got; code != "271828" {
		t.Errorf("the launcher got %q", code)
	}
	waitEcho(t, user, true)
	run.Journal.Write(launcher.Event{Time: time.Now(), Run: "abcdefgh", Data: launcher.RunEnded{Outcome: launcher.OutcomeOK}})
	run.Journal.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("attach: %v\n%s", err, &stderr)
	}
	if !strings.Contains(stderr.String(), "logging in again to das") {
		t.Errorf("attach said %q", &stderr)
	}
	for _, text := range []string{stdout.String(), stderr.String(), readUntil(t, shown, "\n")} {
		if strings.Contains(text, "271828") {
			t.Errorf("the code was shown: %q", text)
		}
	}
	filepath.WalkDir(stateHome, func(path string, d os.DirEntry, err error) error {
		if data, _ := os.ReadFile(path); bytes.Contains(data, []byte("271828")) {
			t.Errorf("the code is in %s", path)
		}
		return nil
	})
}

// TestAttachInterrupted: Ctrl-C at the question ends the attaching only, and puts the
// terminal right.
func TestAttachInterrupted(t *testing.T) {
	t.Parallel()
	refused := make(chan error, 1)
	stateHome, _ := detachedRun(t, func(ctx context.Context, ask launcher.AskFunc) error {
		_, err := ask(ctx, "das", "(me@das) Verification code:", true)
		refused <- err
		return err
	})
	user, name := openPTY(t)
	terminal, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var stderr bytes.Buffer
	cmd := zorilla(stateHome, "attach", "abcdefgh")
	cmd.Stdin, cmd.Stderr = terminal, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	readUntil(t, bufio.NewReader(user), "Verification code: ")
	waitEcho(t, user, false)
	user.WriteString("\x03")
	if err := <-refused; err == nil {
		t.Error("the launcher got an answer")
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != launcher.ExitInterrupted || !strings.Contains(stderr.String(), "goes on") {
		t.Errorf("attach: %v, %q; want it interrupted, and the run to go on", err, &stderr)
	}
	waitEcho(t, user, true)
}

// TestAttachNoTerminal: without a terminal the launcher is told so at once.
func TestAttachNoTerminal(t *testing.T) {
	t.Parallel()
	stateHome, run := detachedRun(t, func(ctx context.Context, ask launcher.AskFunc) error {
		_, err := ask(ctx, "das", "(me@das) Verification code:", true)
		return err
	})
	var stderr bytes.Buffer
	cmd := zorilla(stateHome, "attach", "abcdefgh")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		stderr.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "tries again") {
			run.Journal.Write(launcher.Event{Time: time.Now(), Run: "abcdefgh", Data: launcher.RunEnded{Outcome: launcher.OutcomeOK}})
			run.Journal.Close()
		}
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(stderr.String(), "there is no terminal to ask on") {
		t.Errorf("attach: %v, %q", err, &stderr)
	}
}
