package shell

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/zorilla-grid/zorilla/gat"
)

// A fault is an error with a class and a hint that does not know its operation
// yet.
type fault struct {
	class gat.Class
	hint  string
	err   error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// Problem gives err a class and a hint, which may be empty, for [Classified].
func Problem(class gat.Class, hint string, err error) error {
	return &fault{class, hint, err}
}

// Classified makes err the [gat.Error] of an operation, with the class and hint of
// the [Problem] in it. Without one it is permanent, unless time or the connection ended.
func Classified(op, url string, err error) error {
	e := &gat.Error{Class: gat.Permanent, Op: op, URL: url, Err: err}
	if f, ok := errors.AsType[*fault](err); ok {
		e.Class, e.Hint = f.class, f.hint
	} else if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || Broken(err) {
		e.Class = gat.Transient
	}
	return e
}

// Broken reports whether err says that the connection is gone.
func Broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Printable makes text from elsewhere fit to show, on one line of some 200 bytes.
func Printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '?'
		}
		return r
	}, s)
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "..."
	}
	return s
}
