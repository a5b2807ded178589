//go:build linux

package pilot

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/worker"
	"github.com/zorilla-grid/zorilla/pilot/worker/runtimes"
	"github.com/zorilla-grid/zorilla/staging"
)

func TestExitOf(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		exit worker.Exit
		want wire.Exit
	}{
		"success":         {worker.Exit{}, wire.Exit{Reason: wire.ExitProgram}},
		"status":          {worker.Exit{Code: 3}, wire.Exit{Reason: wire.ExitProgram, Code: 3}},
		"status 255":      {worker.Exit{Code: 255}, wire.Exit{Reason: wire.ExitProgram, Code: 255}},
		"signal":          {worker.Exit{Code: -1, Signal: syscall.SIGSEGV}, wire.Exit{Reason: wire.ExitProgram, Signal: 11}},
		"real-time":       {worker.Exit{Code: -1, Signal: 64}, wire.Exit{Reason: wire.ExitProgram, Signal: 64}},
		"no such signal":  {worker.Exit{Code: -1, Signal: 300}, wire.Exit{Reason: wire.ExitProgram}},
		"killed":          {worker.Exit{Code: -1, Signal: syscall.SIGKILL, Killed: true}, wire.Exit{Reason: wire.ExitKilled, Code: -1, Signal: 9}},
		"killed politely": {worker.Exit{Code: 0, Killed: true}, wire.Exit{Reason: wire.ExitKilled}},
		"lost":            {worker.Exit{Code: -1, Err: worker.ErrLost}, wire.Exit{Reason: wire.ExitLost, Text: "worker lost"}},
		"lost and killed": {worker.Exit{Code: -1, Err: worker.ErrLost, Killed: true}, wire.Exit{Reason: wire.ExitLost, Text: "worker lost"}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, exitOf(c.exit)); d != "" {
				t.Errorf("exit of %+v (-want +got):\n%s", c.exit, d)
			}
		})
	}
}

func TestKindOf(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]runtimes.Kind{"native": runtimes.Native, "script": runtimes.Script, "jvm": runtimes.JVM, "": runtimes.Native, "cobol": runtimes.Native} {
		if got := kindOf(word); got != want {
			t.Errorf("%q is %v, want %v", word, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	for _, letter := range []string{"x", "ü", "世", "🦨"} {
		for lead := range 8 { // puts the cut at every place of a letter
			s := strings.Repeat("a", lead) + strings.Repeat(letter, wire.MaxReason+1)
			got := short(s)
			kept, ok := strings.CutSuffix(got, "...")
			if !ok || !utf8.ValidString(got) || len(got) > wire.MaxReason || len(got) < wire.MaxReason-3 || !strings.HasPrefix(s, kept) {
				t.Errorf("%d bytes of %q were cut to %d, valid %v, ending in %q", len(s), letter, len(got), utf8.ValidString(got), got[len(got)-8:])
			}
		}
	}
	for in, want := range map[string]string{
		"":                                  "",
		"short":                             "short",
		"file \xff\xfe gone":                "file ? gone",
		strings.Repeat("x", wire.MaxReason): strings.Repeat("x", wire.MaxReason),
	} {
		if got := short(in); got != want {
			t.Errorf("short(%q) is %q, want %q", in, got, want)
		}
	}
	if got := short(strings.Repeat("\xff", 3*wire.MaxReason)); got != "?" {
		t.Errorf("nothing but broken bytes became %q", got)
	}
}

const probe = 50 * time.Millisecond // of outputs under test

// deaf is a primary that cannot be reached.
func deaf(context.Context) (staging.Stream, error) { return nil, errors.New("no way home") }

func startOutput(t *testing.T, memory int) (o *output, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	o = &output{fd: 1, pipe: r, over: make(chan struct{})}
	o.spool = staging.NewSpool(wire.Output{FD: 1}, r, staging.SpoolOptions{Memory: memory})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(o.over)
		o.spool.Run(ctx, deaf)
	}()
	t.Cleanup(func() { cancel(); <-o.over })
	return o, w
}

// TestOutputHeldOpen has somebody keep a worker's output open for good: its end
// must not be waited for.
func TestOutputHeldOpen(t *testing.T) {
	t.Parallel()
	o, w := startOutput(t, 0)
	w.WriteString("last words")
	if o.rest(t.Context(), probe) {
		t.Error("an output that is held open came to rest by itself")
	}
	if n, ended := o.spool.Size(); n != 10 || !ended {
		t.Errorf("%d bytes were read, ended %v; want 10 and the end", n, ended)
	}
}

// TestOutputNotRead has more in the pipe than can be read while home is away:
// that is waited for, and nothing of it is lost.
func TestOutputNotRead(t *testing.T) {
	t.Parallel()
	o, w := startOutput(t, 4<<10)
	if _, err := w.Write(make([]byte, 12<<10)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), (holdPatience+5)*probe)
	defer cancel()
	o.rest(ctx, probe)
	if ctx.Err() == nil {
		n, ended := o.spool.Size()
		t.Errorf("the output was given up with %d of %d bytes read, ended %v", n, 12<<10, ended)
	}
}

func TestOutputEnds(t *testing.T) {
	t.Parallel()
	o, w := startOutput(t, 0)
	w.WriteString("all")
	w.Close()
	if !o.rest(t.Context(), probe) {
		t.Error("an output that ended was taken for one that is held open")
	}
	if n, ended := o.spool.Size(); n != 3 || !ended {
		t.Errorf("%d bytes were read, ended %v; want 3 and the end", n, ended)
	}
}
