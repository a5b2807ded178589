package pilot

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
)

// TestRace calls hubs that answer, refuse and say nothing, each after a while.
func TestRace(t *testing.T) {
	t.Parallel()
	const never = time.Hour
	errNo := errors.New("refused")
	for name, c := range map[string]struct {
		answers []time.Duration // negative: it refuses after so long
		first   int             // who wins; -1: nobody
		after   time.Duration
	}{
		"one":                        {[]time.Duration{time.Second}, 0, time.Second},
		"the first in time":          {[]time.Duration{200 * time.Millisecond, 0}, 0, 200 * time.Millisecond},
		"the first says nothing":     {[]time.Duration{never, 10 * time.Millisecond}, 1, 260 * time.Millisecond},
		"two say nothing":            {[]time.Duration{never, never, 10 * time.Millisecond}, 2, 510 * time.Millisecond},
		"the first refuses":          {[]time.Duration{-10 * time.Millisecond, 10 * time.Millisecond}, 1, 20 * time.Millisecond},
		"a late one after all":       {[]time.Duration{time.Second, never}, 0, time.Second},
		"the second before the late": {[]time.Duration{time.Second, 100 * time.Millisecond}, 1, 350 * time.Millisecond},
		"all refuse":                 {[]time.Duration{-10 * time.Millisecond, -10 * time.Millisecond}, -1, 20 * time.Millisecond},
		"nobody":                     {nil, -1, 0},
		"nobody says anything":       {[]time.Duration{never, never}, -1, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				names := make([]string, len(c.answers))
				for i := range names {
					names[i] = string(rune('a' + i))
				}
				open := 0
				dial := func(ctx context.Context, address string) (net.Conn, transport.CarrierKind, error) {
					d := c.answers[address[0]-'a']
					if !pause(ctx, max(d, -d)) {
						return nil, 0, ctx.Err()
					}
					if d < 0 {
						return nil, 0, errNo
					}
					open++
					a, b := net.Pipe()
					b.Close()
					return a, transport.TCP, nil
				}
				ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
				defer stop()
				began := time.Now()
				got, err := race(ctx, names, dial)
				if took := time.Since(began); took != c.after {
					t.Errorf("it took %v, want %v", took, c.after)
				}
				switch {
				case c.first < 0 && (err == nil) != (len(names) == 0):
					t.Errorf("got %+v, %v; want an error", got, err)
				case c.first >= 0 && (err != nil || got.address != names[c.first]):
					t.Errorf("got %+v, %v; want %s", got, err, names[c.first])
				}
				if name == "all refuse" && strings.Count(err.Error(), "refused") != 2 {
					t.Errorf("the error tells %v", err)
				}
			})
		})
	}
}

func TestPreferredHub(t *testing.T) {
	t.Parallel()
	h := hubList{told: []string{"tcp:a:1", "tcp:b:2", "tcp:c:3"}}
	h.prefer("tcp:c:3")
	if got := strings.Join(h.list(), " "); got != "tcp:c:3 tcp:a:1 tcp:b:2" {
		t.Errorf("the hubs are called in the order %s", got)
	}
	h.prefer("tcp:x:9")
	if got := strings.Join(h.list(), " "); got != "tcp:c:3 tcp:a:1 tcp:b:2" {
		t.Errorf("after an unknown one they are called in the order %s", got)
	}
}
