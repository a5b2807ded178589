package launcher

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// A clock is read to a fraction of a second where date knows one, and to half a
// second where it does not.
func TestParseSurroundings(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for text, want := range map[string]time.Duration{
		"clock 1800000000.250000000":   250 * time.Millisecond,
		"clock 1800000300.N":           300*time.Second + 500*time.Millisecond,
		"clock 1799999940":             -59500 * time.Millisecond,
		"clock 1800000000.9999999999":  500 * time.Millisecond,
		"clock soon":                   0,
		"clock 99999999999999999999.1": 0,
		"":                             0,
	} {
		if got := parseSurroundings([]byte(text+"\n"), now).offset; got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	s := parseSurroundings([]byte("memory 1024\nhome nfs4 /home/a b\noutbound none\nmissing\nreadonly\nnoise\n"), now)
	if s.memory != 1<<20 || s.home != "/home/a b" || s.homeFS != "nfs4" || s.outbound != "none" || !s.missing || !s.locked {
		t.Errorf("%+v", s)
	}
}

// An answer that is cut off anywhere is no report of a host without Java.
func TestParseJavaCutOff(t *testing.T) {
	t.Parallel()
	if _, _, err := parseJava("", false, nil); err == nil {
		t.Error("a part that never came is taken for an empty one")
	}
	broken := errors.New("the connection broke")
	found, modules, err := parseJava("java 21 /usr/bin/java\nmodule jdk/21\n", true, broken)
	if len(found) != 1 || len(modules) != 1 || !errors.Is(err, broken) {
		t.Errorf("%v, %v, %v", found, modules, err)
	}
	_, _, err = parseJava("setup failed\n", true, errors.New("no such module"))
	if _, ok := errors.AsType[*setupError](err); !ok || !strings.Contains(err.Error(), "no such module (") {
		t.Errorf("setup: %v", err)
	}
}
