package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// A table is written in aligned columns. Where that is wider than the terminal
// its last column is cut, and where not even that helps each row becomes a
// block, a line for each cell. What is no terminal is as wide as need be.
type table struct {
	out   io.Writer
	width int // of the terminal; 0: it is none
	heads []string
	rows  [][]string
}

const (
	gap      = 2  // between columns
	leastEnd = 12 // characters that are left of the last column
)

func newTable(out io.Writer, heads ...string) *table {
	return &table{out: out, width: widthOf(out), heads: heads}
}

// widthOf returns how many columns a terminal has; 0 when out is none.
func widthOf(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return 80
	}
	return width
}

// row adds a row, with a cell for each column. Cells are a line each.
func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = cutTo(c, 1<<16)
	}
	t.rows = append(t.rows, cells)
}

// flush writes the table. Without rows it is its heads.
func (t *table) flush() error {
	widths := make([]int, len(t.heads))
	for _, r := range append([][]string{t.heads}, t.rows...) {
		for i, c := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	before := 0 // the last column
	last := len(widths) - 1
	for _, w := range widths[:last] {
		before += w + gap
	}
	end := widths[last]
	if t.width > 0 && before+end > t.width {
		if end = t.width - before; end < min(leastEnd, widths[last]) {
			return t.blocks()
		}
	}
	var b strings.Builder
	for _, r := range append([][]string{t.heads}, t.rows...) {
		var line strings.Builder
		for i, c := range r {
			if i == last {
				line.WriteString(cutTo(c, end))
				break
			}
			fmt.Fprintf(&line, "%-*s", widths[i]+gap, c)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

// blocks writes each row as lines of their own. Cells that say nothing are left
// out.
func (t *table) blocks() error {
	head := 0
	for _, h := range t.heads[1:] {
		head = max(head, utf8.RuneCountInString(h))
	}
	var b strings.Builder
	for _, r := range t.rows {
		b.WriteString(cutTo(r[0], t.width) + "\n")
		for i, c := range r[1:] {
			if c != "" && c != "-" {
				b.WriteString(cutTo(fmt.Sprintf("  %-*s  %s", head, strings.ToLower(t.heads[i+1]), c), t.width) + "\n")
			}
		}
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}
