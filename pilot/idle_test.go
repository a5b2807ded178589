//go:build linux

package pilot

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// TestIdlePilot measures what a pilot with 50 links and nothing to do costs its
// host. It takes half a minute and wants a calm machine.
func TestIdlePilot(t *testing.T) {
	if os.Getenv("ZORILLA_LONG") == "" {
		t.Skip("a measurement of half a minute: set ZORILLA_LONG")
	}
	const links, span = 50, 20 * time.Second
	w := newWorld(t)
	p := w.start(w.boot(wire.RolePilot))
	pilot := wait(w, func(e core.PeerUp) bool { return e.Peer.Role == wire.RolePilot }).Peer.ID
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	for range links - 1 { // one is the launcher's
		id, err := w.authority.Identity(wire.RolePilot, "elsewhere")
		if err != nil {
			t.Fatal(err)
		}
		ep, err := transport.New(transport.Config{Identity: id})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ep.Close() })
		wg.Go(func() { welcome(ep) })
		conn, kind, err := dialAddress(t.Context(), "unix:"+w.socket)
		if err != nil {
			t.Fatal(err)
		}
		peer, err := ep.Connect(t.Context(), conn, kind, transport.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ep.SetDefaultRoute(peer.ID)
		if err := ep.Link(t.Context(), pilot); err != nil {
			t.Fatal(err)
		}
	}
	<-time.After(5 * time.Second) // for what is new to be told
	before := cpuOf(t, p.cmd.Process.Pid)
	<-time.After(span)
	used := cpuOf(t, p.cmd.Process.Pid) - before
	share, resident := 100*used.Seconds()/span.Seconds(), residentOf(t, p.cmd.Process.Pid)
	t.Logf("%d links: %.2f %% of a core, %.1f MiB resident", links, share, float64(resident)/(1<<20))
	if share > 0.5 {
		t.Errorf("%.2f %% of a core, want at most 0.5", share)
	}
}

// welcome answers for a node that only is there.
func welcome(ep *transport.Endpoint) {
	for e := range ep.Events() {
		m, ok := e.(transport.Received)
		if !ok {
			continue
		}
		switch x := m.Message.(type) {
		case *wire.Hello:
			ep.Send(m.From, &wire.Hello{Version: wire.ProtocolVersion})
			ep.Send(m.From, &wire.Welcome{})
		case *wire.Ping:
			ep.Send(m.From, &wire.Pong{Seq: x.Seq})
		}
	}
}

// cpuOf returns the processor time of a process, to a hundredth of a second.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skip(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// residentOf returns the bytes of memory that a process holds.
func residentOf(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Skip(err)
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
