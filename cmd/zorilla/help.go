package main

import (
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

const (
	helpWidth = 80 // columns of help, where the terminal has them
	flagWidth = 24 // of a flag and its value, when they are no longer
)

// setHelp gives a command and those below it their help, for an output.
func setHelp(c *cli.Command, above string, stdout *os.File) {
	name := above + " " + c.Name
	width := helpWidth
	if w := widthOf(stdout); w > 0 {
		width = max(min(w, helpWidth), 20)
	}
	// The library takes a template; this one is a constant.
	c.CustomHelpTemplate = "{{" + strconv.Quote(helpOf(name, c, width)) + "}}"
	for _, s := range c.Subcommands {
		setHelp(s, name, stdout)
	}
}

// helpOf returns what --help of a command tells, in lines of at most width
// columns where they can be broken.
func helpOf(name string, c *cli.Command, width int) string {
	var b strings.Builder
	wrapTo(&b, name+" - "+c.Usage, "", "   ", width)
	b.WriteString("\nUsage:\n")
	wrapTo(&b, strings.TrimSpace(name+" "+c.UsageText), "   ", "      ", width)
	b.WriteString("\nFlags:\n")
	for _, f := range c.VisibleFlags() {
		if d, ok := f.(cli.DocGenerationFlag); ok && f.Names()[0] != "help" {
			writeFlag(&b, flagHead(f.Names(), d), flagText(d), width)
		}
	}
	writeFlag(&b, "--help, -h", "show this", width)
	if c.Description != "" {
		b.WriteString("\n")
		writeText(&b, c.Description, width)
	}
	return b.String()
}

// flagHead returns how a flag is written.
func flagHead(names []string, d cli.DocGenerationFlag) string {
	var heads []string
	for _, n := range names {
		heads = append(heads, dashed(n))
	}
	head := strings.Join(heads, ", ")
	if value, _ := flagWords(d); value != "" {
		head += " " + value
	}
	return head
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// flagText returns what a flag is for, and what counts without it.
func flagText(d cli.DocGenerationFlag) string {
	_, text := flagWords(d)
	if def := strings.Trim(d.GetDefaultText(), `"`); def != "" && d.TakesValue() {
		text += " (default: " + def + ")"
	}
	return text
}

// flagWords returns the name of a flag's value, and what the flag is for.
func flagWords(d cli.DocGenerationFlag) (value, text string) {
	text = d.GetUsage()
	if before, rest, ok := strings.Cut(text, "`"); ok {
		if word, after, ok := strings.Cut(rest, "`"); ok {
			value, text = word, before+word+after
		}
	}
	if value == "" && d.TakesValue() {
		value = "VALUE"
	}
	return value, text
}

// writeFlag writes a flag, and what it is for in a column of its own where
// there is room for one.
func writeFlag(b *strings.Builder, head, text string, width int) {
	const margin = "   "
	column := margin + strings.Repeat(" ", flagWidth)
	switch {
	case width < helpWidth*3/4:
		wrapTo(b, head, margin, margin, width)
		wrapTo(b, text, margin+margin, margin+margin, width)
	case len(head)+2 > flagWidth:
		b.WriteString(margin + head + "\n")
		wrapTo(b, text, column, column, width)
	default:
		wrapTo(b, text, margin+head+strings.Repeat(" ", flagWidth-len(head)), column, width)
	}
}

// writeText writes paragraphs, anew in lines of that width when theirs are longer. Lines
// that are indented stay as they are.
func writeText(b *strings.Builder, text string, width int) {
	var paragraph []string
	end := func() {
		if len(paragraph) > 0 {
			wrapTo(b, strings.Join(paragraph, " "), "", "", width)
			paragraph = nil
		}
	}
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		if line == "" || strings.HasPrefix(line, "   ") {
			end()
			b.WriteString(line + "\n")
			continue
		}
		paragraph = append(paragraph, line)
	}
	end()
}

// wrapTo writes words in lines of at most width columns, with one text before
// the first line and another before the others.
func wrapTo(b *strings.Builder, text, first, others string, width int) {
	line, n := first, utf8.RuneCountInString(first)
	fresh := true
	for _, w := range strings.Fields(text) {
		k := utf8.RuneCountInString(w)
		if !fresh && n+1+k > width {
			b.WriteString(line + "\n")
			line, n, fresh = others, utf8.RuneCountInString(others), true
		}
		if !fresh {
			line += " "
			n++
		}
		line, n, fresh = line+w, n+k, false
	}
	b.WriteString(line + "\n")
}
