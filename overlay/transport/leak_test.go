package transport_test

import (
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// TestNothingLeft looks that streams through a hub leave no goroutine behind,
// however they end, and that closed endpoints leave none at all.
func TestNothingLeft(t *testing.T) {
	count := func() int {
		buf := make([]byte, 4<<20)
		all := string(buf[:runtime.Stack(buf, true)])
		// Parallel tests of the package itself wait in its name.
		return strings.Count(all, "overlay/transport.") - strings.Count(all, "overlay/transport.Test")
	}
	until := func(what string, most int) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		deadline := time.After(patience)
		for count() > most {
			select {
			case <-tick.C:
			case <-deadline:
				buf := make([]byte, 1<<20)
				t.Fatalf("%s: %d frames of goroutines, want at most %d:\n%s", what, count(), most, buf[:runtime.Stack(buf, true)])
			}
		}
	}
	until("from earlier tests", 0)
	t.Run("", func(t *testing.T) {
		w := newNetwork(t, transport.Config{}, transport.Config{}, nil)
		p := w.pilot(t, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
		report(t, w.launcher.Link(t.Context(), p.ID()))
		p.waitUp(w.launcher.ID())
		idle := count()
		for i := range 30 {
			s := open(t, w.launcher, p.ID(), wire.StreamFetch)
			if _, err := s.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			switch i % 3 {
			case 0:
				report(t, s.CloseWrite())
				_, err := io.ReadAll(s)
				report(t, err)
				s.Close()
			case 1:
				s.Close()
			case 2:
				s.Reset()
			}
		}
		until("after the streams", idle+20) // pings come and go
	})
	until("after all", 0)
}
