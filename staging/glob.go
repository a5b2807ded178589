package staging

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// CheckGlob reports what is wrong with an output glob. A glob is a relative,
// slash-separated pattern: each element is matched as by [path.Match] ("*",
// "?", "[a-z]", none of which matches a slash), and an element "**" stands for
// any number of elements. A glob that matches a directory means everything
// below it.
func CheckGlob(pattern string) error {
	_, err := parseGlob(pattern)
	return err
}

const maxGlobElems = 64

// glob is a parsed pattern: a small automaton whose states are the positions
// in elems.
type glob struct {
	pattern string
	elems   []string
}

func parseGlob(pattern string) (*glob, error) {
	bad := func(why string) (*glob, error) { return nil, fmt.Errorf("output %q: %s", pattern, why) }
	switch {
	case pattern == "" || len(pattern) > wire.MaxPath:
		return bad("the pattern is empty or too long")
	case strings.HasPrefix(pattern, "/"):
		return bad("the pattern is absolute; write it relative to the worker's directory")
	}
	g := &glob{pattern: pattern}
	for elem := range strings.SplitSeq(pattern, "/") {
		switch elem {
		case "", ".":
			continue
		case "..":
			return bad("the pattern leads out of the worker's directory")
		}
		if _, err := path.Match(elem, ""); errors.Is(err, path.ErrBadPattern) {
			return bad("the pattern is malformed; see path.Match, and quote with a backslash")
		}
		if elem == "**" && len(g.elems) > 0 && g.elems[len(g.elems)-1] == "**" {
			continue
		}
		g.elems = append(g.elems, elem)
	}
	switch n := len(g.elems); {
	case n == 0 || g.elems[n-1] == "**": // something must be there
		g.elems = append(g.elems, "*")
	case n > maxGlobElems:
		return bad("the pattern has too many elements")
	}
	return g, nil
}

// match reports whether the pattern matches a path or a directory above it.
func (g *glob) match(name string) bool {
	states := make([]bool, len(g.elems)+1)
	states[0] = true
	g.close(states)
	next := make([]bool, len(states))
	for elem := range strings.SplitSeq(name, "/") {
		clear(next)
		for i, on := range states[:len(g.elems)] {
			if !on {
				continue
			}
			if g.elems[i] == "**" {
				next[i] = true
			} else if ok, _ := path.Match(g.elems[i], elem); ok {
				next[i+1] = true
			}
		}
		g.close(next)
		states, next = next, states
		if states[len(g.elems)] {
			return true
		}
		if !slices.Contains(states, true) {
			return false
		}
	}
	return false
}

// close adds the states that are reached without an element.
func (g *glob) close(states []bool) {
	for i, elem := range g.elems {
		if states[i] && elem == "**" {
			states[i+1] = true
		}
	}
}
