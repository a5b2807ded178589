package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/zorilla-grid/zorilla/launcher"
)

// view renders how a run does in at most height lines of at most width
// columns: a line about the workers, then one for each site. Sites that do not
// fit are counted.
func view(st launcher.Status, now time.Time, width, height int, colour bool) []string {
	width = max(width, 1)
	lines := []string{cutTo(workersLine(st, now), width-1)}
	room := max(height-2, 1) // below the workers' line, and one line to spare
	name := 4
	for _, s := range st.Sites {
		name = max(name, min(len(s.Site), 16))
	}
	for i, s := range st.Sites {
		if i >= room-1 && len(st.Sites) > room {
			lines = append(lines, cutTo(fmt.Sprintf("  and %d more sites", len(st.Sites)-i), width-1))
			break
		}
		l := cutTo(siteLine(s, name), width-1)
		if code := stateColour(s.State); colour && code != "" {
			l = "\x1b[" + code + "m" + l + "\x1b[0m"
		}
		lines = append(lines, l)
	}
	return lines
}

func workersLine(st launcher.Status, now time.Time) string {
	var b strings.Builder
	if !st.Started.IsZero() {
		fmt.Fprintf(&b, "%s ", clock(now.Sub(st.Started)))
	}
	fmt.Fprintf(&b, "workers %d: %d running, %d done", st.Workers, st.Running, st.Done)
	for _, n := range []struct {
		n    int
		what string
	}{{st.Failed, "failed"}, {st.Lost, "lost"}, {st.Starting, "starting"}} {
		if n.n > 0 {
			fmt.Fprintf(&b, ", %d %s", n.n, n.what)
		}
	}
	return b.String()
}

func siteLine(s launcher.SiteStatus, name int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %-*s ", name, s.Site)
	state := s.State
	if state == "" {
		state = "waiting"
	}
	b.WriteString(state)
	switch {
	case s.Wanted == 0:
	case s.Up == s.Wanted:
		fmt.Fprintf(&b, ", %d %s up", s.Up, plural(s.Up, "pilot"))
	case s.Queued > 0:
		fmt.Fprintf(&b, ", %d of %d %s up, %s", s.Up, s.Wanted, plural(s.Wanted, "pilot"), queued(s.SiteChanged))
	default:
		fmt.Fprintf(&b, ", %d of %d %s up (%d submitted)", s.Up, s.Wanted, plural(s.Wanted, "pilot"), s.Submitted)
	}
	if s.Running+s.Done > 0 {
		fmt.Fprintf(&b, ", %d running, %d done", s.Running, s.Done)
	}
	if s.Sent+s.Got > 0 {
		fmt.Fprintf(&b, ", %s out, %s in", launcher.FormatSize(s.Sent), launcher.FormatSize(s.Got))
	}
	switch {
	case s.Error != "":
		b.WriteString(": " + firstLine(s.Error))
	case s.Queued > 0 && s.Reason != "":
		b.WriteString(": " + firstLine(s.Reason))
	}
	return b.String()
}

// queued counts the pilots of a site that wait in its queue.
func queued(s launcher.SiteChanged) string {
	text := fmt.Sprintf("%d queued", s.Queued)
	if s.Held > 0 {
		text += fmt.Sprintf(", %d of them held", s.Held)
	}
	return text
}

// waiting says for whom a site waits, in the scheduler's own words; nothing when no pilot
// is in a queue.
func waiting(s launcher.SiteChanged) string {
	if s.Queued == 0 {
		return ""
	}
	return fmt.Sprintf("site %s: %d of %d %s up, %s%s", s.Site, s.Up, s.Wanted, plural(s.Wanted, "pilot"), queued(s), because(firstLine(s.Reason)))
}

// stateColour returns the terminal's code for a site's state.
func stateColour(state string) string {
	switch state {
	case "up", "clean":
		return "32"
	case "failed", "unclean":
		return "31"
	case "detached", "queued":
		return "33"
	}
	return ""
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// clock writes a time as minutes and seconds, or hours and minutes.
func clock(d time.Duration) string {
	s := int(max(0, d).Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// cutTo cuts a line to a number of characters, and takes out what would move
// the cursor.
func cutTo(s string, width int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	r := []rune(s)
	if width <= 3 {
		return string(r[:max(0, width)])
	}
	return string(r[:width-3]) + "..."
}
