package pilot

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// TestNotice has a worker end some time before or after its pilot is told to end,
// and says what becomes of its exit, and when.
func TestNotice(t *testing.T) {
	t.Parallel()
	const (
		never  = time.Hour
		moment = noticeTime / 10
	)
	exit := func(code int32, signal uint8) wire.Exit {
		return wire.Exit{Reason: wire.ExitProgram, Code: code, Signal: signal}
	}
	taken := func(code int32, signal uint8) wire.Exit {
		return wire.Exit{Reason: wire.ExitDrained, Code: code, Signal: signal, Text: "told"}
	}
	for name, c := range map[string]struct {
		given time.Duration // after the worker's end
		asked time.Duration // likewise
		exit  wire.Exit
		want  wire.Exit
		at    time.Duration // of the answer
	}{
		"signal, then notice":    {moment, 0, exit(-1, 15), taken(-1, 15), moment},
		"status, then notice":    {moment, 0, exit(143, 0), taken(143, 0), moment},
		"just in time":           {noticeTime - 1, 0, exit(1, 0), taken(1, 0), noticeTime - 1},
		"too late":               {noticeTime + 1, 0, exit(1, 0), exit(1, 0), noticeTime},
		"notice, then signal":    {-moment, 0, exit(-1, 10), taken(-1, 10), 0},
		"notice, then much work": {-20 * noticeTime, 0, exit(1, 0), taken(1, 0), 0},
		"no notice":              {never, 0, exit(-1, 9), exit(-1, 9), noticeTime},
		"slow to collect":        {never, 3 * noticeTime, exit(3, 0), exit(3, 0), 3 * noticeTime},
		"partly":                 {never, noticeTime / 2, exit(3, 0), exit(3, 0), noticeTime},
		"success":                {never, 0, exit(0, 0), exit(0, 0), 0},
		"success after notice":   {-moment, 0, exit(0, 0), exit(0, 0), 0},
		"killed by us":           {-moment, 0, wire.Exit{Reason: wire.ExitKilled, Signal: 9}, wire.Exit{Reason: wire.ExitKilled, Signal: 9}, 0},
		"lost":                   {moment, 0, wire.Exit{Reason: wire.ExitLost}, wire.Exit{Reason: wire.ExitLost}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNotice()
				start := max(0, -c.given)
				time.AfterFunc(start+c.given, func() { n.give("told"); n.give("told again") })
				time.Sleep(start) // the bubble's clock
				ended := time.Now()
				time.Sleep(c.asked)
				synctest.Wait()
				if d := cmp.Diff(c.want, n.explain(t.Context(), c.exit, ended)); d != "" {
					t.Errorf("exit (-want +got):\n%s", d)
				}
				if at := time.Since(ended); at != c.at {
					t.Errorf("answered after %v, want %v", at, c.at)
				}
			})
		})
	}
	t.Run("nobody waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			began := time.Now()
			if e := newNotice().explain(ctx, exit(1, 0), began); e != exit(1, 0) || time.Since(began) > 0 {
				t.Errorf("exit %+v after %v", e, time.Since(began))
			}
		})
	})
}
