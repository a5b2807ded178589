//go:build linux

package pilot

import (
	"context"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// member joins a hub in this process, and counts what it gets in bulk.
func (w *world) member(address string, hub wire.NodeID, token wire.Token, got *atomic.Int64) *transport.Endpoint {
	w.t.Helper()
	ctx := w.t.Context()
	conn, kind, err := dialAddress(ctx, address)
	if err != nil {
		w.t.Fatal(err)
	}
	id, _, err := transport.Join(ctx, conn, kind, transport.JoinRequest{Pin: w.authority.Pin(), Token: token.Name, Secret: token.Secret})
	if err != nil {
		w.t.Fatal(err)
	}
	sink := func(_ context.Context, s *transport.Stream) {
		buf := make([]byte, 256<<10)
		for {
			n, err := s.Read(buf)
			got.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
	ep, err := transport.New(transport.Config{Identity: id, Handlers: map[wire.StreamKind]transport.Handler{wire.StreamFetch: sink}})
	if err != nil {
		w.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { welcome(ep) })
	w.t.Cleanup(func() { ep.Close(); wg.Wait() })
	if conn, kind, err = dialAddress(ctx, address); err != nil {
		w.t.Fatal(err)
	}
	if _, err := ep.Connect(ctx, conn, kind, transport.Options{}); err != nil {
		w.t.Fatal(err)
	}
	ep.SetDefaultRoute(hub)
	return ep
}

// members are nodes of a hub: some over TCP, the last one through its socket.
func (w *world) members(hub wire.NodeID, got []*atomic.Int64) (all []*transport.Endpoint) {
	w.t.Helper()
	token := wire.Token{Name: "pilots", Secret: []byte("0123456789abcdef"), Role: wire.RolePilot, Joins: uint32(len(got)), TTL: time.Hour}
	w.call(func(now time.Duration, n *core.Node) error { n.Admit(now, "site", []wire.Token{token}); return nil })
	address := "tcp:" + w.listen(hub, "127.0.0.1").Address
	for i, n := range got {
		if i == len(got)-1 {
			address = "unix:" + w.base + "/" + SessionDirName(session) + "/hub.sock"
		}
		all = append(all, w.member(address, hub, token, n))
	}
	return all
}

// pour writes bulk to a node until the context ends.
func pour(ctx context.Context, from *transport.Endpoint, to wire.NodeID) error {
	s, err := from.OpenStream(ctx, to, wire.StreamFetch)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, s.Reset)
	defer stop()
	block := make([]byte, 1<<20)
	for ctx.Err() == nil {
		if _, err := s.Write(block); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// TestHubKeepsToLimits has a hub, a process of its own, pass bulk on between others
// as fast as it may: over connections that the kernel splices, and over its socket. It
// looks at what it moves and at the processor time it takes. With ZORILLA_LONG
// that is 1 GB, else some dozen MB.
func TestHubKeepsToLimits(t *testing.T) {
	t.Parallel()
	const off = 0.1 // of what is allowed
	for _, c := range []struct {
		name      string
		cpu       uint32 // thousandths of a core
		bandwidth uint64
		spliced   bool
	}{
		{"bandwidth, spliced", 0, 25e6, true},
		{"bandwidth, by socket", 0, 25e6, false},
		{"processor, spliced", 20, 0, true},
		{"processor, by socket", 50, 0, false},
		{"both", 500, 10e6, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if os.Getenv("ZORILLA_LONG") == "" {
				t.Parallel()
				c.bandwidth /= 5 // what a busy machine can do, too
			}
			w := newWorld(t)
			w.brief = func(b *Boot) { b.HubCPU, b.HubBandwidth = c.cpu, c.bandwidth }
			p, hub := w.hub()
			got := []*atomic.Int64{new(atomic.Int64), new(atomic.Int64), new(atomic.Int64)}
			all := w.members(hub, got)
			to := 2
			if c.spliced {
				to = 1
			}
			ctx, cancel := context.WithCancel(t.Context())
			var pouring sync.WaitGroup
			var failed error
			pouring.Go(func() { failed = pour(ctx, all[0], all[to].ID()) })
			defer func() {
				cancel()
				pouring.Wait()
				if failed != nil {
					t.Error(failed)
				}
			}()
			// The buffers on the way fill first, and it takes a second to know what a byte costs.
			for began := time.Now(); got[to].Load() < 1<<20 || time.Since(began) < 1500*time.Millisecond; {
				<-time.After(10 * time.Millisecond)
			}
			bytes, tries := int64(1e9), 1
			if os.Getenv("ZORILLA_LONG") == "" {
				bytes, tries = 30e6, 8 // this machine may be busy
			}
			var seen string
			for range tries {
				before, cpu, began := got[to].Load(), cpuOf(t, p.cmd.Process.Pid), time.Now()
				for got[to].Load()-before < bytes && (tries == 1 || time.Since(began) < 1500*time.Millisecond) {
					<-time.After(5 * time.Millisecond)
				}
				took := time.Since(began).Seconds()
				rate := float64(got[to].Load()-before) / took
				share := (cpuOf(t, p.cmd.Process.Pid) - cpu).Seconds() / took
				told := fmt.Sprintf("%.1f MB/s with %.2f %% of a core over %.1f s", rate/1e6, 100*share, took)
				t.Log(told)
				good := c.bandwidth > 0 && math.Abs(rate/float64(c.bandwidth)-1) <= off && (c.cpu == 0 || share <= float64(c.cpu)/1000*(1+off)) ||
					c.bandwidth == 0 && math.Abs(share/(float64(c.cpu)/1000)-1) <= off
				if good {
					return
				}
				seen += "\n" + told
			}
			t.Errorf("the limits are %d bytes per second and %d thousandths of a core; it moved%s", c.bandwidth, c.cpu, seen)
		})
	}
}

// TestControlBesideBulk has messages cross a hub whose limits bulk uses up: they
// do not wait for it, however little is allowed.
func TestControlBesideBulk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.brief = func(b *Boot) { b.HubCPU, b.HubBandwidth = 10, 64<<10 }
	_, hub := w.hub()
	got := []*atomic.Int64{new(atomic.Int64), new(atomic.Int64), new(atomic.Int64)}
	all := w.members(hub, got)
	ctx, cancel := context.WithCancel(t.Context())
	var pouring sync.WaitGroup
	for range 4 {
		pouring.Go(func() { pour(ctx, all[0], all[1].ID()) })
	}
	defer pouring.Wait()
	defer cancel()
	for got[1].Load() < 128<<10 {
		<-time.After(10 * time.Millisecond)
	}
	for _, ep := range []*transport.Endpoint{all[0], all[2]} {
		began := time.Now()
		if err := ep.Link(ctx, w.ep.ID()); err != nil { // four times over the hub, with TLS in it
			t.Fatal(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("a link through the hub took %v", took)
		}
	}
}

// TestIdleHub measures what a hub with 50 nodes and nothing to do costs its host.
// It takes half a minute and wants a calm machine.
func TestIdleHub(t *testing.T) {
	if os.Getenv("ZORILLA_LONG") == "" {
		t.Skip("a measurement of half a minute: set ZORILLA_LONG")
	}
	const nodes, span = 50, 20 * time.Second
	w := newWorld(t)
	w.brief = func(b *Boot) { b.HubCPU, b.HubBandwidth = 100, 10e6 }
	p, hub := w.hub()
	var got []*atomic.Int64
	for range nodes {
		got = append(got, new(atomic.Int64))
	}
	w.members(hub, got)
	<-time.After(5 * time.Second) // for what is new to be told
	before := cpuOf(t, p.cmd.Process.Pid)
	<-time.After(span)
	used := cpuOf(t, p.cmd.Process.Pid) - before
	share := 100 * used.Seconds() / span.Seconds()
	t.Logf("%d nodes: %.2f %% of a core, %.1f MiB resident", nodes, share, float64(residentOf(t, p.cmd.Process.Pid))/(1<<20))
	if share > 1 {
		t.Errorf("%.2f %% of a core, want at most 1", share)
	}
}
