package gat

import (
	"errors"
	"fmt"
	"strings"
)

// Class says what a caller can do about an error.
type Class int

// The classes of errors.
const (
	Permanent Class = iota // trying again the same way gives the same error
	Transient              // may go away by itself: try again later
	Denied                 // the site refuses us: credentials, host key, policy
	NotFound               // the thing named does not exist
	Invalid                // our own input is wrong: no other URL will help
)

func (c Class) String() string {
	switch c {
	case Permanent:
		return "permanent"
	case Transient:
		return "transient"
	case Denied:
		return "denied"
	case NotFound:
		return "not found"
	case Invalid:
		return "invalid"
	}
	return "unclassified"
}

// ErrForwarding matches errors of [Inward.Inner] that say the site's own host
// refuses to open connections for us.
var ErrForwarding = errors.New("the host forbids forwarding")

// Error is an error of one operation at one site.
type Error struct {
	Class Class
	Op    string // "log in", "submit", "run", ...
	Site  string // filled in by [Site] when a backend leaves it empty
	URL   string // without secrets
	Hint  string // what the user can try, a phrase; may be empty
	Err   error
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Site != "" {
		fmt.Fprintf(&b, "site %s: ", e.Site)
	}
	b.WriteString(e.Op)
	if e.URL != "" {
		b.WriteString(" " + strings.TrimSuffix(e.URL, ":")) // "local:" is a whole URL
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	if e.Hint != "" {
		fmt.Fprintf(&b, " (%s)", e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class of the outermost [Error] in err's tree; errors
// without one are Permanent.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Permanent
}
