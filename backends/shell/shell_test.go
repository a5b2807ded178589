//go:build linux

package shell_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/shell"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

// here is a line to this machine.
type here struct {
	noise  string // what a start file prints
	refuse int    // sessions that are refused first

	mu    sync.Mutex
	tries int
	once  sync.Once
	cut   chan struct{}
}

func (h *here) Wait() error { <-h.cut; return io.EOF }
func (h *here) Cut()        { h.once.Do(func() { close(h.cut) }) }

func (h *here) Open(context.Context) (shell.Session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.cut:
		return nil, shell.ErrBroken
	default:
	}
	if h.tries++; h.tries <= h.refuse {
		return nil, fmt.Errorf("%w: no room", shell.ErrRefused)
	}
	return &process{line: h, over: make(chan struct{})}, nil
}

// process is a session.
type process struct {
	line          *here
	over          chan struct{}
	cmd           *exec.Cmd
	in, out, errs *os.File

	mu    sync.Mutex
	state *os.ProcessState
}

func (p *process) Exec(command string, _ bool) error {
	p.cmd = exec.Command("/bin/sh", "-c", p.line.noise+"\n"+command)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var ends [6]*os.File
	for i := 0; i < 6; i += 2 {
		var err error
		if ends[i], ends[i+1], err = os.Pipe(); err != nil {
			return err
		}
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = ends[0], ends[3], ends[5]
	p.in, p.out, p.errs = ends[1], ends[2], ends[4]
	err := p.cmd.Start()
	ends[0].Close()
	ends[3].Close()
	ends[5].Close()
	if err != nil {
		close(p.over)
		return err
	}
	ended := make(chan struct{})
	go func() { // ends with the process
		p.cmd.Wait()
		p.mu.Lock()
		p.state = p.cmd.ProcessState
		p.mu.Unlock()
		close(ended)
	}()
	go func() { // ends with the process or the line
		select {
		case <-ended:
		case <-p.line.cut:
			p.in.Close()
			p.out.Close()
			p.errs.Close()
		}
		close(p.over)
	}()
	return nil
}

func (p *process) Subsystem(string) error { return errors.New("there is none") }

func (p *process) Kill() bool { return false }

func (p *process) Status() (int, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == nil {
		return 0, false
	}
	ws := p.state.Sys().(syscall.WaitStatus)
	return ws.ExitStatus(), ws.Exited()
}

func (p *process) Wait()             { <-p.over }
func (p *process) Why() error        { return nil }
func (p *process) Stderr() io.Reader { return pipe{p.errs} }
func (p *process) CloseWrite() error { return p.in.Close() }

func (p *process) Read(b []byte) (int, error) { return pipe{p.out}.Read(b) }

func (p *process) Write(b []byte) (int, error) {
	n, err := p.in.Write(b)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

func (p *process) Close() error {
	if p.cmd == nil {
		close(p.over)
		return nil
	}
	p.in.Close()
	p.out.Close()
	return p.errs.Close()
}

// pipe has no more once it is closed.
type pipe struct{ f *os.File }

func (p pipe) Read(b []byte) (int, error) {
	n, err := p.f.Read(b)
	if errors.Is(err, os.ErrClosed) {
		err = io.EOF
	}
	return n, err
}

func login(t testing.TB, h *here) *shell.Login {
	t.Helper()
	h.cut = make(chan struct{})
	l := shell.New(h, shell.Config{URL: "here:", Host: "here", Sessions: 4})
	t.Cleanup(func() { l.Close() })
	return l
}

// A login is right over a line that tells nothing of signals and has a start file that
// prints. Package ssh runs the suite over the other kind.
func TestConformance(t *testing.T) {
	t.Parallel()
	gattest.Test(t, gattest.Harness{
		Dir:     t.TempDir(),
		Find:    gattest.Processes,
		Foreign: "4000000000.1.00000000",
		NoSweep: true,
		Open:    func(t testing.TB) gat.Login { return login(t, &here{noise: "echo welcome; echo welcome >&2"}) },
	})
}

// What a shell says of a command that a signal ended is not the command's.
func TestSignalSaid(t *testing.T) {
	t.Parallel()
	l := login(t, &here{})
	p, err := l.Run(t.Context(), gat.Command{Argv: []string{"/bin/sh", "-c", "echo mine >&2; kill -SEGV $$"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var errs bytes.Buffer
	io.Copy(&errs, p.Stderr())
	if code, err := p.Wait(); code != 128+11 || err != nil || errs.String() != "mine\n" {
		t.Errorf("status %d, %v; error output %q", code, err, errs.String())
	}
}

// A session that is refused is asked for again for a little while, and no more.
func TestRefused(t *testing.T) {
	t.Parallel()
	l := login(t, &here{refuse: 2})
	p, err := l.Run(t.Context(), gat.Command{Argv: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(); code != 0 || err != nil {
		t.Errorf("status %d, %v", code, err)
	}
	p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never := login(t, &here{refuse: 1 << 30})
	if _, err := never.Status(ctx, "1.1.1"); err == nil {
		t.Error("an ended context does nothing")
	}
	_, err = never.Run(t.Context(), gat.Command{Argv: []string{"true"}})
	if gat.ClassOf(err) != gat.Transient || !errors.Is(err, shell.ErrRefused) || !strings.Contains(err.Error(), "MaxSessions") {
		t.Errorf("%v", err)
	}
}

func TestExpired(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"You are required to change your password immediately (administrator enforced).\r\nNew password: ": true,
		"Enter a new PIN having from 4 to 8 digits:":                                                       true,
		"Your password has expired.":                                                                       true,
		"Warning: your password will expire in 5 days.\r\nPassword: ":                                      false,
		"Wait for the tokencode to change, then enter the new tokencode: ":                                 false,
		"": false,
	} {
		if got := shell.Expired(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	got := shell.Lines("\x1b[2Jone\r\n\n  two\u202e \xff\n" + strings.Repeat("x", 500) + "\n" + strings.Repeat("y\n", 1000))
	if len(got) > 60 || got[0] != "?[2Jone" || strings.ContainsAny(strings.Join(got, ""), "\x1b\u202e\r") || len(got[2]) != 203 {
		t.Errorf("%d lines, %q", len(got), got[:3])
	}
}
