package staging

import (
	"bytes"
	"io"
	"unicode/utf8"
)

// MaxLine is the longest line that [Lines] shows whole, in bytes.
const MaxLine = 64 << 10

// LineBroken marks, at the end of a displayed line, that the worker's own line
// went on there: [Lines] broke it after [MaxLine] bytes.
const LineBroken = " [line continues]"

// LinesOptions are the options of [NewLines].
type LinesOptions struct {
	Prefix    string // before each line, such as "[3] "
	Terminate bool   // end the last line with a newline even when the worker did not
}

// Lines prepares one output for a display that others write to as well: it
// passes on whole lines only, one or many in each Write. A line longer than
// [MaxLine] is broken, at a character's boundary, and marked with
// [LineBroken]. Its memory does not depend on the lines. It is for one
// goroutine at a time.
type Lines struct {
	w    io.Writer
	o    LinesOptions
	part []byte // beginning of a line, at most MaxLine bytes
	out  []byte
	err  error
}

// NewLines returns a Lines that writes to w.
func NewLines(w io.Writer, o LinesOptions) *Lines { return &Lines{w: w, o: o} }

// Write implements [io.Writer]. After an error of the writer below, that error
// is returned for ever.
func (l *Lines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && l.err == nil {
		p = l.eat(p)
	}
	l.flush()
	if l.err != nil {
		return 0, l.err
	}
	return n, nil
}

// eat takes a part of p and returns the rest.
func (l *Lines) eat(p []byte) []byte {
	nl := bytes.IndexByte(p[:min(len(p), MaxLine+1-len(l.part))], '\n')
	if nl >= 0 {
		l.line(p[:nl], "\n")
		return p[nl+1:]
	}
	n := min(len(p), MaxLine-len(l.part))
	if n == len(p) { // no end in sight
		l.part = append(l.part, p...)
		return nil
	}
	l.part = append(l.part, p[:n]...)
	keep := cut(l.part)
	rest := append([]byte(nil), l.part[keep:]...) // at most three bytes
	l.part = l.part[:keep]
	l.line(nil, LineBroken+"\n")
	l.part = append(l.part, rest...)
	return p[n:]
}

// cut returns where to break a line so that no character is torn.
func cut(b []byte) int {
	for i := len(b) - 1; i >= max(len(b)-utf8.UTFMax+1, 1); i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}

// line adds the part and more as a line to what is to be written.
func (l *Lines) line(more []byte, end string) {
	l.out = append(l.out, l.o.Prefix...)
	l.out = append(l.out, l.part...)
	l.out = append(l.out, more...)
	l.out = append(l.out, end...)
	l.part = l.part[:0]
	if len(l.out) >= MaxLine {
		l.flush()
	}
}

func (l *Lines) flush() {
	if len(l.out) > 0 && l.err == nil {
		_, l.err = l.w.Write(l.out)
	}
	l.out = l.out[:0]
}

// Close passes on a last line that has no end yet; it does not close the
// writer below. Lines may be used again afterwards.
func (l *Lines) Close() error {
	if len(l.part) > 0 {
		end := ""
		if l.o.Terminate {
			end = "\n"
		}
		l.line(nil, end)
		l.flush()
	}
	return l.err
}

var _ io.WriteCloser = (*Lines)(nil)
