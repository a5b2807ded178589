package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/launcher"
	"github.com/zorilla-grid/zorilla/staging"
)

// printerOptions say what a printer shows and how.
type printerOptions struct {
	Workers int
	JSON    bool
	Prefix  bool
	Quiet   bool
	Verbose bool
	Gone    func() // called once when standard output cannot be written any more
}

// printer shows the events of a run: the workers' output, and what happens,
// as a live view or as plain lines.
type printer struct {
	screen *screen
	o      printerOptions

	mu    sync.Mutex
	tally launcher.Tally
	lines map[outputKey]*staging.Lines
	said  map[string]string // last line about each site
	gone  bool
	ended bool // the end of the run was shown
}

type outputKey struct {
	rank   int
	stream string
}

func newPrinter(s *screen, o printerOptions) *printer {
	p := &printer{screen: s, o: o, lines: make(map[outputKey]*staging.Lines), said: make(map[string]string)}
	s.SetView(func() []string {
		p.mu.Lock()
		defer p.mu.Unlock()
		w, h := s.size()
		return view(p.tally.Status(), time.Now(), w, h, s.colour)
	})
	return p
}

// printEvent writes the JSON form of an event.
func printEvent(w io.Writer, e launcher.Event) error {
	line, err := launcher.EncodeEvent(e)
	if err == nil {
		_, err = w.Write(line)
	}
	return err
}

// Event shows one event.
func (p *printer) Event(e launcher.Event) {
	if p.o.JSON {
		p.check(printEvent(p.screen.Stdout(), e))
	}
	if o, ok := e.Data.(launcher.OutputWritten); ok {
		if !p.o.JSON {
			p.output(o)
		}
		return
	}
	p.mu.Lock()
	p.tally.Add(e)
	p.mu.Unlock()
	p.screen.Changed()
	if _, ok := e.Data.(launcher.RunEnded); ok {
		p.ended = true
	}
	if text := p.tell(e); text != "" {
		p.screen.Say("%s", text)
	}
	if w, ok := e.Data.(launcher.WorkerChanged); ok {
		switch w.State {
		case "done", "lost", "stopped":
			p.finish(w.Rank)
		}
	}
}

// output shows a piece of a worker's output, as whole lines.
func (p *printer) output(o launcher.OutputWritten) {
	key := outputKey{o.Rank, o.Stream}
	l := p.lines[key]
	if l == nil {
		w, tty := p.screen.Stdout(), p.screen.outTTY
		if o.Stream == "stderr" {
			w, tty = p.screen.Stderr(), p.screen.errTTY
		}
		opts := staging.LinesOptions{Terminate: p.o.Workers > 1 || o.Stream == "stderr"}
		if p.o.Prefix || p.o.Workers > 1 && tty {
			opts.Prefix = fmt.Sprintf("[%d] ", o.Rank)
		}
		l = staging.NewLines(w, opts)
		p.lines[key] = l
	}
	if _, err := l.Write(o.Data); o.Stream == "stdout" {
		p.check(err)
	}
}

// finish shows what is left of a worker's output.
func (p *printer) finish(rank int) {
	for _, stream := range []string{"stdout", "stderr"} {
		if l := p.lines[outputKey{rank, stream}]; l != nil {
			l.Close()
			delete(p.lines, outputKey{rank, stream})
		}
	}
}

// check notices that nobody reads standard output any more.
func (p *printer) check(err error) {
	if err == nil || p.gone {
		return
	}
	p.gone = true
	if p.o.Gone != nil {
		p.o.Gone()
	}
}

// Close shows what is left of all output.
func (p *printer) Close() {
	for key := range p.lines {
		p.finish(key.rank)
	}
}

// tell returns the line that stays about an event, or nothing.
func (p *printer) tell(e launcher.Event) string {
	live := p.screen.live
	switch d := e.Data.(type) {
	case launcher.RunStarted:
		if p.o.Quiet {
			return ""
		}
		return fmt.Sprintf("run %s: %s, %d %s", e.Run, d.App, d.Workers, plural(d.Workers, "worker"))
	case launcher.Warned:
		if d.Site != "" {
			return fmt.Sprintf("warning: site %s: %s", d.Site, d.Text)
		}
		return "warning: " + d.Text
	case launcher.SiteChanged:
		return p.tellSite(d, live)
	case launcher.PilotChanged:
		if p.o.Verbose {
			return fmt.Sprintf("%s %s on %s: %s%s", d.Role, d.Name, d.Site, d.State, because(d.Reason))
		}
	case launcher.WorkerChanged:
		return p.tellWorker(d)
	case launcher.RunEnded:
		if !p.o.Quiet {
			return p.tellEnd(d)
		}
	}
	return ""
}

func (p *printer) tellSite(d launcher.SiteChanged, live bool) string {
	var text string
	switch d.State {
	case "failed", "unclean", "detached":
		text = fmt.Sprintf("site %s: %s%s", d.Site, d.State, because(strings.TrimPrefix(d.Error, "site "+d.Site+": ")))
	case "up":
		text = fmt.Sprintf("site %s: %d of %d %s up, %d %s", d.Site, d.Up, d.Wanted, plural(d.Wanted, "pilot"), d.Slots, plural(d.Slots, "slot"))
		if d.Queued > 0 && d.Held > 0 {
			text = waiting(d)
		} else if live || p.o.Quiet || d.Up == 0 {
			return ""
		}
	case "queued":
		// Jobs that are held are a problem, those that wait their turn are not.
		text = waiting(d)
		if (live || p.o.Quiet) && d.Held == 0 {
			return ""
		}
	default:
		if live || p.o.Quiet || !p.o.Verbose {
			return ""
		}
		text = fmt.Sprintf("site %s: %s", d.Site, d.State)
	}
	if p.said[d.Site] == text {
		return ""
	}
	p.said[d.Site] = text
	return text
}

func (p *printer) tellWorker(d launcher.WorkerChanged) string {
	where := cmp.Or(d.Host, d.Site)
	if where != "" {
		where = " on " + where
	}
	switch {
	case d.State == "done" && d.Signal != "":
		return fmt.Sprintf("worker %d%s: killed by %s", d.Rank, where, d.Signal)
	case d.State == "done" && d.Exit != nil && *d.Exit != 0:
		return fmt.Sprintf("worker %d%s: exit status %d", d.Rank, where, *d.Exit)
	case d.State == "lost":
		return fmt.Sprintf("worker %d%s: lost%s", d.Rank, where, because(d.Reason))
	case p.o.Verbose:
		return fmt.Sprintf("worker %d%s: %s%s", d.Rank, where, d.State, because(d.Reason))
	}
	return ""
}

func (p *printer) tellEnd(d launcher.RunEnded) string {
	p.mu.Lock()
	st := p.tally.Status()
	p.mu.Unlock()
	text := fmt.Sprintf("%d of %d %s done in %s", st.Done, st.Workers, plural(st.Workers, "worker"), seconds(d.Wall))
	if d.Outcome != launcher.OutcomeOK {
		text += fmt.Sprintf(" (%s, exit %d)", d.Outcome, d.Exit)
	}
	hours := 0.0
	for _, site := range st.Sites {
		hours += site.CoreHours
	}
	if hours > 0 {
		text += fmt.Sprintf(", %.3g core hours of queues", hours)
	}
	if d.Out != "" {
		text += "; results in " + shortPath(d.Out)
	}
	return text
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
