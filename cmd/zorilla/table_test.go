package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	draw := func(width int) string {
		var b strings.Builder
		x := newTable(&b, "RUN", "STATE", "COMMAND")
		x.width = width
		x.row("abcd2345", "running", "zorilla run -n 40 model.jar data")
		x.row("x", "-", "zorilla run é")
		if err := x.flush(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, test := range []struct {
		width int
		want  string
	}{
		{0, `RUN       STATE    COMMAND
abcd2345  running  zorilla run -n 40 model.jar data
x         -        zorilla run é
`},
		{40, `RUN       STATE    COMMAND
abcd2345  running  zorilla run -n 40 ...
x         -        zorilla run é
`},
		{24, `abcd2345
  state    running
  command  zorilla ru...
x
  command  zorilla run é
`},
	} {
		got := draw(test.width)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%d columns: %s", test.width, diff)
		}
		for line := range strings.Lines(got) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); test.width > 0 && n > test.width {
				t.Errorf("%d columns: the line %q has %d", test.width, line, n)
			}
		}
	}
}

// TestTableEmpty says what is there when there is nothing.
func TestTableEmpty(t *testing.T) {
	var b strings.Builder
	if err := newTable(&b, "RUN", "STATE").flush(); err != nil || b.String() != "RUN  STATE\n" {
		t.Errorf("got %q, %v; want the heads", b.String(), err)
	}
}
