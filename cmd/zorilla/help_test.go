package main

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// TestHelp holds the help of every command to what users count on: what it does, how
// it ends, an example where there is something to choose, and lines that fit.
func TestHelp(t *testing.T) {
	var look func(name string, c *cli.Command)
	look = func(name string, c *cli.Command) {
		for _, s := range c.Subcommands {
			look(name+" "+s.Name, s)
		}
		if c.Hidden || len(c.Subcommands) > 0 {
			return
		}
		for _, width := range []int{40, 80} {
			for line := range strings.Lines(helpOf(name, c, width)) {
				line = strings.TrimSuffix(line, "\n")
				verbatim := strings.HasPrefix(line, "   ")
				if n := utf8.RuneCountInString(line); n > width && (width == 80 || !verbatim && strings.Contains(line, " ")) {
					t.Errorf("%s: at %d columns a line has %d: %s", name, width, n, line)
				}
			}
		}
		help := helpOf(name, c, 80)
		if !strings.Contains(help, "Exit status:") {
			t.Errorf("%s --help does not tell its exit status", name)
		}
		if (len(c.Flags) > 0 || strings.Contains(c.UsageText, "RUN")) && !strings.Contains(help, "Examples:\n   "+name) {
			t.Errorf("%s --help has no example", name)
		}
	}
	for _, c := range newApp(os.Stdout, os.Stderr).Commands {
		look("zorilla "+c.Name, c)
	}
}
