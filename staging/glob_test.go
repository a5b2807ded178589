package staging

import (
	"path"
	"strings"
	"testing"
)

// oracle matches by plain recursion.
func oracle(pattern, name []string) bool {
	if len(pattern) == 0 {
		return true // a directory above it, or itself
	}
	if len(name) == 0 {
		return false
	}
	if pattern[0] == "**" {
		if len(pattern) == 1 {
			return true
		}
		return oracle(pattern[1:], name) || oracle(pattern, name[1:])
	}
	ok, err := path.Match(pattern[0], name[0])
	return ok && err == nil && oracle(pattern[1:], name[1:])
}

// Every pattern of up to four elements against every path of up to four.
func TestGlobAgainstRecursion(t *testing.T) {
	var combine func(elems []string, n int, yield func([]string))
	combine = func(elems []string, n int, yield func([]string)) {
		var rec func(prefix []string)
		rec = func(prefix []string) {
			if len(prefix) > 0 {
				yield(prefix)
			}
			if len(prefix) < n {
				for _, e := range elems {
					rec(append(prefix[:len(prefix):len(prefix)], e))
				}
			}
		}
		rec(nil)
	}
	combine([]string{"a", "*", "**", "?b"}, 4, func(pattern []string) {
		g, err := parseGlob(strings.Join(pattern, "/"))
		if err != nil {
			t.Fatal(err)
		}
		combine([]string{"a", "b", "ab"}, 4, func(name []string) {
			if got, want := g.match(strings.Join(name, "/")), oracle(pattern, name); got != want {
				t.Fatalf("%q against %q: %v, want %v", pattern, name, got, want)
			}
		})
	})
}
