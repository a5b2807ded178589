package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// redraw is the shortest time between two drawings of the live view.
const redraw = 100 * time.Millisecond

// screen shares the terminal between lines that stay and, below them, the live
// view, which is redrawn in place. Its methods may be called from any
// goroutine.
type screen struct {
	stdout, stderr io.Writer
	live           bool // there is a live view, on stderr
	outTTY, errTTY bool
	colour         bool
	size           func() (width, height int)

	mu     sync.Mutex
	view   func() []string // content of the live view
	drawn  int             // lines of it on the screen
	midway bool            // the last line that stays has no end yet
	paused int
	dirty  bool
	last   time.Time // of drawing
	closed bool

	stop chan struct{}
	wg   sync.WaitGroup
}

// newScreen returns a screen for the two outputs. Live asks for a live view if
// stderr is a terminal that can show one.
func newScreen(stdout, stderr *os.File, live bool) *screen {
	s := &screen{
		stdout: stdout, stderr: stderr,
		outTTY: term.IsTerminal(int(stdout.Fd())),
		errTTY: term.IsTerminal(int(stderr.Fd())),
		stop:   make(chan struct{}),
	}
	s.live = live && s.errTTY && !dumb() && prepareConsole(stderr)
	s.colour = s.live && os.Getenv("NO_COLOR") == ""
	s.size = func() (int, int) {
		w, h, err := term.GetSize(int(stderr.Fd()))
		if err != nil || w <= 0 || h <= 0 {
			return 80, 24
		}
		return w, h
	}
	return s
}

// Start begins to draw the live view, if there is one.
func (s *screen) Start() {
	if !s.live {
		return
	}
	s.wg.Go(func() {
		t := time.NewTicker(redraw)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				s.mu.Lock()
				if s.dirty || time.Since(s.last) >= time.Second { // the clock in it
					s.draw()
				}
				s.mu.Unlock()
			case <-s.stop:
				return
			}
		}
	})
}

// SetView says what the live view shows.
func (s *screen) SetView(view func() []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view, s.dirty = view, true
}

// Changed says that the live view is out of date.
func (s *screen) Changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true
}

// Say writes a line about the run to stderr.
func (s *screen) Say(format string, args ...any) {
	s.write(s.stderr, s.errTTY, []byte("zorilla: "+fmt.Sprintf(format, args...)+"\n"))
}

// Stdout and Stderr return writers for lines that stay. What is written to them should
// end with the end of a line.
func (s *screen) Stdout() io.Writer { return screenWriter{s, s.stdout, s.outTTY} }

// Stderr is Stdout for the other output.
func (s *screen) Stderr() io.Writer { return screenWriter{s, s.stderr, s.errTTY} }

type screenWriter struct {
	s   *screen
	w   io.Writer
	tty bool
}

func (w screenWriter) Write(p []byte) (int, error) { return w.s.write(w.w, w.tty, p) }

func (s *screen) write(w io.Writer, tty bool, p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if tty && len(p) > 0 {
		s.clear()
		s.midway = p[len(p)-1] != '\n'
		s.dirty = true
	}
	return w.Write(p)
}

// clear removes the live view from the screen.
func (s *screen) clear() {
	if s.drawn == 0 {
		return
	}
	// The cursor is at the end of the last line of the view.
	up := ""
	if s.drawn > 1 {
		up = fmt.Sprintf("\x1b[%dA", s.drawn-1)
	}
	io.WriteString(s.stderr, "\r"+up+"\x1b[J")
	s.drawn = 0
}

// draw puts the live view on the screen, in place of the one that is there.
func (s *screen) draw() {
	if !s.live || s.closed || s.paused > 0 || s.view == nil {
		return
	}
	lines := s.view()
	var b strings.Builder
	if s.drawn > 0 {
		b.WriteString("\r")
		if s.drawn > 1 {
			fmt.Fprintf(&b, "\x1b[%dA", s.drawn-1)
		}
	} else if s.midway && len(lines) > 0 {
		b.WriteString("\n")
		s.midway = false
	}
	for i, l := range lines {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(l + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	io.WriteString(s.stderr, b.String())
	s.drawn, s.dirty, s.last = len(lines), false, time.Now()
}

// Pause takes the live view away until Resume is called as often.
func (s *screen) Pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	s.paused++
}

// Resume ends a Pause.
func (s *screen) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused--
	s.dirty = true
}

// Close removes the live view for good.
func (s *screen) Close() {
	s.mu.Lock()
	s.clear()
	if !s.closed {
		s.closed = true
		close(s.stop)
	}
	s.mu.Unlock()
	s.wg.Wait()
}
