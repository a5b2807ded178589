package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/launcher"
)

// terminal is what a terminal makes of what is written to it: as many of its
// codes as the screen uses.
type terminal struct {
	lines    []string
	row, col int
}

func (t *terminal) Write(p []byte) (int, error) {
	for s := p; len(s) > 0; {
		for len(t.lines) <= t.row {
			t.lines = append(t.lines, "")
		}
		switch {
		case s[0] == '\r':
			t.col, s = 0, s[1:]
		case s[0] == '\n':
			t.row, t.col, s = t.row+1, 0, s[1:]
		case bytes.HasPrefix(s, []byte("\x1b[")):
			end := 2 + bytes.IndexAny(s[2:], "AJKm")
			n := 0
			fmt.Sscanf(string(s[2:end]), "%d", &n)
			switch s[end] {
			case 'A':
				t.row -= n
			case 'K':
				t.lines[t.row] = t.lines[t.row][:t.col]
			case 'J':
				t.lines[t.row] = t.lines[t.row][:t.col]
				t.lines = t.lines[:t.row+1]
			}
			s = s[end+1:]
		default:
			l := t.lines[t.row]
			t.lines[t.row] = l[:t.col] + string(s[0]) + l[min(t.col+1, len(l)):]
			t.col, s = t.col+1, s[1:]
		}
	}
	return len(p), nil
}

// String returns the screen without empty lines at its end.
func (t *terminal) String() string { return strings.TrimRight(strings.Join(t.lines, "\n"), "\n") }

// liveScreen is a screen whose two outputs are one terminal; the test draws.
func liveScreen() (*screen, *terminal) {
	t := new(terminal)
	return &screen{stdout: t, stderr: t, live: true, outTTY: true, errTTY: true, stop: make(chan struct{})}, t
}

// Lines that stay and the view below them never mix.
func TestScreen(t *testing.T) {
	s, term := liveScreen()
	view := []string{"view 1", "view 2"}
	s.SetView(func() []string { return view })
	want := func(lines ...string) {
		t.Helper()
		if d := cmp.Diff(strings.Join(lines, "\n"), term.String()); d != "" {
			t.Errorf("on the terminal (-want +got):\n%s", d)
		}
	}
	s.draw()
	want("view 1", "view 2")
	view = []string{"v1", "v2", "v3"}
	s.draw()
	want("v1", "v2", "v3")
	view = []string{"one"}
	s.draw()
	want("one")
	fmt.Fprintln(s.Stdout(), "from a worker")
	want("from a worker")
	s.draw()
	want("from a worker", "one")
	s.Say("hello %d", 3)
	s.draw()
	want("from a worker", "zorilla: hello 3", "one")

	// A line without its end is not written over.
	fmt.Fprint(s.Stdout(), "no end")
	s.draw()
	want("from a worker", "zorilla: hello 3", "no end", "one")

	s.Pause()
	s.draw()
	want("from a worker", "zorilla: hello 3", "no end")
	s.Resume()
	s.draw()
	want("from a worker", "zorilla: hello 3", "no end", "one")
	s.Close()
	want("from a worker", "zorilla: hello 3", "no end")
	s.draw()
	want("from a worker", "zorilla: hello 3", "no end")
}

func TestScreenRedrawsInTime(t *testing.T) {
	s, _ := liveScreen()
	drawn := make(chan struct{}, 1)
	s.SetView(func() []string {
		select {
		case drawn <- struct{}{}:
		default:
		}
		return []string{"x"}
	})
	s.Start()
	defer s.Close()
	for range 2 {
		s.Changed()
		select {
		case <-drawn:
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was drawn")
		}
	}
}

func TestView(t *testing.T) {
	st := launcher.Status{Workers: 40, Running: 12, Done: 3, Failed: 1, Lost: 2, Started: time.Unix(0, 0)}
	for i := range 6 {
		st.Sites = append(st.Sites, launcher.SiteStatus{SiteChanged: launcher.SiteChanged{Site: fmt.Sprintf("site%d", i), State: "up", Wanted: 4, Submitted: 3, Up: 2},
			Running: 5, Done: 1, Sent: 12e6, Got: 3400})
	}
	st.Sites[1].State, st.Sites[1].Error = "failed", "connection refused\nand more"
	st.Sites[2].Site = "a\x1b[31mevil" // never sent to the terminal as it is
	now := time.Unix(3725, 0)

	want := []string{
		"1h02m workers 40: 12 running, 3 done, 1 failed, 2 lost",
		"  site0      up, 2 of 4 pilots up (3 submitted), 5 running, 1 done, 12 MB out, 3.4 kB in",
		cutTo("  site1      failed, 2 of 4 pilots up (3 submitted), 5 running, 1 done, 12 MB out, 3.4 kB in: connection refused", 99),
		"  a?[31mevil up, 2 of 4 pilots up (3 submitted), 5 running, 1 done, 12 MB out, 3.4 kB in",
		"  and 3 more sites",
	}
	if d := cmp.Diff(want, view(st, now, 100, 6, false)); d != "" {
		t.Errorf("view (-want +got):\n%s", d)
	}
	for _, width := range []int{0, 1, 5, 40, 80, 200} {
		for _, height := range []int{0, 1, 3, 6, 24} {
			lines := view(st, now, width, height, false)
			for _, l := range lines {
				if n := len([]rune(l)); n > max(0, width-1) {
					t.Errorf("width %d: line of %d columns: %q", width, n, l)
				}
			}
			if len(lines) > max(2, height-1) {
				t.Errorf("height %d: %d lines", height, len(lines))
			}
		}
	}
	if got := view(st, now, 80, 24, true)[1]; !strings.HasPrefix(got, "\x1b[32m") || !strings.HasSuffix(got, "\x1b[0m") {
		t.Errorf("with colour: %q", got)
	}
}

// Why nothing starts is told in the scheduler's words: in the live view, and as
// lines, each once.
func TestQueued(t *testing.T) {
	steps := []struct {
		site        launcher.SiteChanged
		live        string // what the live view has after the name
		plain       string // the line that stays; empty for none
		quiet, view bool   // it stays also when only problems are told, or beside a live view
	}{
		{launcher.SiteChanged{State: "queued", Wanted: 40, Submitted: 40, Queued: 40}, "queued, 0 of 40 pilots up, 40 queued",
			"site big: 0 of 40 pilots up, 40 queued", false, false},
		{launcher.SiteChanged{State: "queued", Wanted: 40, Submitted: 40, Queued: 40, Reason: "Priority"}, "queued, 0 of 40 pilots up, 40 queued: Priority",
			"site big: 0 of 40 pilots up, 40 queued: Priority", false, false},
		{launcher.SiteChanged{State: "queued", Wanted: 40, Submitted: 40, Queued: 40, Reason: "Priority"}, "queued, 0 of 40 pilots up, 40 queued: Priority",
			"", false, false},
		{launcher.SiteChanged{State: "queued", Wanted: 40, Submitted: 40, Queued: 40, Held: 40, Reason: "JobHeldUser"},
			"queued, 0 of 40 pilots up, 40 queued, 40 of them held: JobHeldUser", "site big: 0 of 40 pilots up, 40 queued, 40 of them held: JobHeldUser", true, true},
		{launcher.SiteChanged{State: "up", Wanted: 40, Submitted: 40, Queued: 10, Up: 30, Slots: 30}, "up, 30 of 40 pilots up, 10 queued",
			"site big: 30 of 40 pilots up, 30 slots", false, false},
		{launcher.SiteChanged{State: "up", Wanted: 40, Submitted: 40, Queued: 10, Held: 2, Up: 30, Slots: 30, Reason: "Eqw"}, "up, 30 of 40 pilots up, 10 queued, 2 of them held: Eqw",
			"site big: 30 of 40 pilots up, 10 queued, 2 of them held: Eqw", true, true},
	}
	plain := newPrinter(&screen{stdout: io.Discard, stderr: io.Discard}, printerOptions{})
	quiet := newPrinter(&screen{stdout: io.Discard, stderr: io.Discard}, printerOptions{Quiet: true})
	live := newPrinter(&screen{stdout: io.Discard, stderr: io.Discard, live: true}, printerOptions{})
	for _, s := range steps {
		s.site.Site = "big"
		if got := siteLine(launcher.SiteStatus{SiteChanged: s.site}, 4); got != "  big  "+s.live {
			t.Errorf("the live view has %q, want %q", got, "  big  "+s.live)
		}
		for _, p := range []struct {
			printer *printer
			stays   bool
			name    string
		}{{plain, true, "plain"}, {quiet, s.quiet, "quiet"}, {live, s.view, "beside a live view"}} {
			want := ""
			if p.stays {
				want = s.plain
			}
			if got := p.printer.tell(launcher.Event{Data: s.site}); got != want {
				t.Errorf("%s: %q, want %q", p.name, got, want)
			}
		}
	}
}

func TestText(t *testing.T) {
	if got, want := shellWords([]string{"zorilla", "a b", "it's", "", "*"}), `zorilla 'a b' 'it'\''s' '' '*'`; got != want {
		t.Errorf("shellWords = %s, want %s", got, want)
	}
	now := time.Unix(1e9, 0)
	for d, want := range map[time.Duration]string{time.Second: "1 s", time.Minute: "1 min", 90 * time.Minute: "1 h", 47 * time.Hour: "47 h", 72 * time.Hour: "3 d"} {
		if got := since(now.Add(-d), now); got != want {
			t.Errorf("since %v = %q, want %q", d, got, want)
		}
	}
	end := newPrinter(&screen{stdout: io.Discard, stderr: io.Discard}, printerOptions{})
	end.tally.Add(launcher.Event{Data: launcher.RunStarted{Workers: 1, Sites: []string{"a", "b"}}})
	end.tally.Add(launcher.Event{Data: launcher.SiteChanged{Site: "a", CoreHours: 1.25}})
	end.tally.Add(launcher.Event{Data: launcher.SiteChanged{Site: "b", CoreHours: 10}})
	if got, want := end.tell(launcher.Event{Data: launcher.RunEnded{Outcome: launcher.OutcomeOK, Wall: 2}}), "0 of 1 worker done in 2.0 s, 11.2 core hours of queues"; got != want {
		t.Errorf("the end: %q, want %q", got, want)
	}
	if got := seconds(0.25) + " " + seconds(3725); got != "0.2 s 1h2m5s" {
		t.Errorf("seconds: %q", got)
	}
}
