package staging_test

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/staging"
)

// writes records each Write.
type writes []string

func (w *writes) Write(p []byte) (int, error) { *w = append(*w, string(p)); return len(p), nil }

func TestLines(t *testing.T) {
	long := strings.Repeat("x", staging.MaxLine)
	tests := []struct {
		name string
		o    staging.LinesOptions
		in   []string
		want []string
	}{
		{"whole lines together", staging.LinesOptions{}, []string{"a\nb\n"}, []string{"a\nb\n"}},
		{"a line in pieces", staging.LinesOptions{}, []string{"a", "b", "c\nd"}, []string{"abc\n", "d"}},
		{"prefix", staging.LinesOptions{Prefix: "[3] ", Terminate: true}, []string{"a\n\nb"}, []string{"[3] a\n[3] \n", "[3] b\n"}},
		{"longest", staging.LinesOptions{}, []string{long, "\n"}, []string{long + "\n"}},
		{"too long by one", staging.LinesOptions{}, []string{long + "y\n"}, []string{long + staging.LineBroken + "\n", "y\n"}},
		{"not in a character", staging.LinesOptions{}, []string{long[1:] + "é\n"}, []string{long[1:] + staging.LineBroken + "\n", "é\n"}},
		{"nothing", staging.LinesOptions{Prefix: "p"}, []string{""}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w writes
			l := staging.NewLines(&w, tt.o)
			for _, p := range tt.in {
				if n, err := l.Write([]byte(p)); n != len(p) || err != nil {
					t.Fatal(n, err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, []string(w)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestLinesError(t *testing.T) {
	l := staging.NewLines(broken{}, staging.LinesOptions{})
	for range 2 {
		if _, err := l.Write([]byte("a\n")); err == nil {
			t.Error("no error")
		}
	}
}

type counting int64

func (c *counting) Write(p []byte) (int, error) { *c += counting(len(p)); return len(p), nil }

// A line of 2 GiB takes no more memory than one of 64 KiB.
func TestLinesGiant(t *testing.T) {
	var n counting
	l := staging.NewLines(&n, staging.LinesOptions{})
	block := bytes.Repeat([]byte{'x'}, 128<<10)
	size := int64(2 << 30)
	if testing.Short() {
		size = 64 << 20
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for written := int64(0); written < size; written += int64(len(block)) {
		l.Write(block)
	}
	l.Close()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 4<<20 {
		t.Errorf("allocated %d bytes", got)
	}
	if marks := (size - 1) / staging.MaxLine; int64(n) != size+marks*int64(len(staging.LineBroken)+1) {
		t.Errorf("%d bytes shown of %d", n, size)
	}
}
