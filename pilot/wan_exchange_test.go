//go:build linux

package pilot

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
	"github.com/zorilla-grid/zorilla/staging"
)

// onHost is the network of a host, for a node in this process.
type onHost struct {
	host *testbed.Host
	transport.Network
}

func (n onHost) Dial(ctx context.Context, port uint16, to netip.AddrPort) (conn net.Conn, err error) {
	err = n.host.InNetwork(func() error {
		conn, err = n.Network.Dial(ctx, port, to)
		return err
	})
	return conn, err
}

func (n onHost) Listen(port uint16) (l net.Listener, err error) {
	err = n.host.InNetwork(func() error {
		l, err = n.Network.Listen(port)
		return err
	})
	return l, err
}

func (n onHost) Addresses() (list []netip.Prefix, err error) {
	err = n.host.InNetwork(func() error {
		list, err = n.Network.Addresses()
		return err
	})
	return list, err
}

// member starts a node in this process, without slots, whose sockets are those
// of a host that reaches the site's hub: a primary far from the client.
func (w *wide) member(s *site, h *testbed.Host) *world {
	w.t.Helper()
	m := &world{t: w.t, authority: w.authority, events: make(chan core.Event, 1000), sink: make(map[wire.JobID]*staging.Sink)}
	identity, err := w.authority.Identity(wire.RolePilot, s.Name)
	if err != nil {
		w.t.Fatal(err)
	}
	if m.out, err = os.OpenRoot(w.t.TempDir()); err != nil {
		w.t.Fatal(err)
	}
	said := new(syncBuffer)
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("the node on %s:\n%s", h.Name, said)
		}
	})
	log := slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	m.agent = NewAgent(m, log)
	network := onHost{h, transport.SystemNetwork()}
	cfg := transport.Config{Identity: identity, Handlers: m.agent.Handlers(), Network: network, Logger: log}
	cfg.Handlers[wire.StreamOutput] = m.output
	if m.ep, err = transport.New(cfg); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		node := Member(identity)
		node.Name, node.Idle = h.Name, core.Forever
		m.agent.Run(ctx, m.ep, node)
	})
	m.hangUp = sync.OnceFunc(func() {
		cancel()
		m.ep.Close()
		wg.Wait()
	})
	w.t.Cleanup(func() {
		m.hangUp()
		for _, s := range m.sink {
			s.Close()
		}
		m.out.Close()
	})
	dialling, stop := context.WithTimeout(ctx, patience)
	defer stop()
	dial := func(ctx context.Context) (io.ReadWriteCloser, error) {
		return network.Dial(ctx, 0, netip.MustParseAddrPort(s.address))
	}
	conn, err := dial(dialling)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := m.ep.Connect(dialling, conn, transport.TCP, transport.Options{More: dial}); err != nil {
		w.t.Fatal(err)
	}
	return m
}

// exchange has a worker somewhere else fetch so many bytes from this node and
// send them back, twice: as its standard output and as a file. It returns how
// long that took.
func (m *world) exchange(size int) (time.Duration, error) {
	data := make([]byte, size)
	rand.Read(data)
	file := filepath.Join(m.t.TempDir(), "data")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return 0, err
	}
	set, err := staging.Build(m.t.Context(), []staging.Input{{Src: file}}, staging.BuildOptions{})
	if err != nil {
		return 0, err
	}
	var id wire.JobID
	rand.Read(id[:])
	m.agent.Library().Add(id, set)
	defer m.agent.Library().Drop(id)
	began := time.Now()
	spec := job.Spec{ID: id, Want: 1, Program: wire.Program{
		Argv: []string{"/bin/sh", "-c", "cat data; mv data back"}, Root: set.Root(), Holders: []wire.NodeID{m.ep.ID()},
		Outputs: []string{"back"}, KillGrace: time.Second}}
	if e := m.agent.Call(m.t.Context(), func(now time.Duration, n *core.Node) { err = n.Submit(now, spec) }); e != nil || err != nil {
		return 0, errors.Join(e, err)
	}
	late := time.NewTimer(2 * patience)
	defer late.Stop()
	for over := false; !over; {
		select {
		case e := <-m.events:
			if e, ok := e.(core.JobEnded); ok {
				if over = true; e.Outcome != job.OK {
					return 0, fmt.Errorf("the job ended with %+v", e)
				}
			}
		case <-late.C:
			return 0, errors.New("the job does not end")
		}
	}
	took := time.Since(began)
	for _, name := range []string{"worker-0/stdout", "worker-0/back"} {
		got, err := m.out.ReadFile(name)
		if err != nil {
			return 0, err
		}
		if !bytes.Equal(got, data) {
			return 0, fmt.Errorf("%s has %d bytes that are not the %d that were sent", name, len(got), len(data))
		}
	}
	return took, nil
}

// TestWANTwoHubs has an inner node of one cluster give work to a pilot on an
// inner host of another. They reach nothing but their own heads.
func TestWANTwoHubs(t *testing.T) {
	w := newWide(t, nil, testbed.Place{Name: "east", Inner: 1}, testbed.Place{Name: "west", Inner: 1})
	w.net.SetRTT(w.net.Home, w.net.Sites[0], 20*time.Millisecond)
	w.net.SetRTT(w.net.Home, w.net.Sites[1], 30*time.Millisecond)
	w.net.SetRTT(w.net.Sites[0], w.net.Sites[1], 20*time.Millisecond)
	sites, agents := w.startSites(1)
	m := w.member(sites[0], w.net.Sites[0].Inner[0])
	const size = 4 << 20
	took, err := m.exchange(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB there and twice back in %v", size>>20, took)
	m.hangUp()
	w.retire(agents...)
	w.net.NoLeftovers(t)
}

// startSites starts a hub at each site, and a pilot with one slot on each of
// the inner hosts of the sites from a number on.
func (w *wide) startSites(from int) (sites []*site, agents []*process) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	pilots := 0
	for i, at := range w.net.Sites {
		s, err := w.startHub(ctx, at)
		if err != nil {
			w.t.Fatal(err)
		}
		sites, agents = append(sites, s), append(agents, s.hub)
		if i < from {
			continue
		}
		for _, h := range at.Inner {
			p, err := w.startPilot(s, h, h.Name, 1)
			if err != nil {
				w.t.Fatal(err)
			}
			agents = append(agents, p)
			pilots++
		}
	}
	w.await(fmt.Sprintf("%d pilots are up", pilots), patience, func(e core.Event) bool {
		if p, ok := e.(core.PeerUp); ok && p.Peer.Role == wire.RolePilot {
			pilots--
		}
		return pilots == 0
	})
	return sites, agents
}

// TestWANSimultaneousOpen has nodes behind the NATs of two sites exchange files.
// Where the NATs allow it they find a direct path; else they go on through hubs.
func TestWANSimultaneousOpen(t *testing.T) {
	for _, test := range []struct {
		far    testbed.Way
		direct bool
	}{{testbed.Masquerade, true}, {testbed.RandomPorts, false}} {
		t.Run(test.far.String(), func(t *testing.T) {
			w := newWide(t, nil, testbed.Place{Name: "east", Inner: 1, Way: testbed.Masquerade, HeadOutside: true},
				testbed.Place{Name: "west", Inner: 1, Way: test.far, HeadOutside: true})
			east, west := w.net.Sites[0], w.net.Sites[1]
			w.net.SetRTT(w.net.Home, east, 30*time.Millisecond)
			w.net.SetRTT(w.net.Home, west, 30*time.Millisecond)
			w.net.SetRTT(east, west, 10*time.Millisecond)
			sites, agents := w.startSites(1)
			m := w.member(sites[0], east.Inner[0])
			const size, rounds = 2 << 20, 5
			var path string
			var crossed int64
			for round := range rounds {
				before := w.net.Traffic(east, west).Bytes
				took, err := m.exchange(size)
				if err != nil {
					t.Fatal(err)
				}
				crossed = w.net.Traffic(east, west).Bytes - before
				for _, p := range m.ep.Peers() {
					if p.Site == west.Name {
						how, _ := m.ep.Path(p.ID)
						path = how.String()
					}
				}
				t.Logf("round %d: %v, %d KiB straight from east to west; %s", round+1, took, crossed>>10, path)
				if crossed >= size {
					break // later rounds do no better
				}
			}
			switch {
			case test.direct && (path != "simultaneous" || crossed < size):
				t.Errorf("the path is %s and %d of %d bytes took it, want a simultaneous open", path, crossed, size)
			case !test.direct && path != "routed": // though maybe by two hubs that found a direct path themselves
				t.Errorf("the path is %s, want to stay routed", path)
			}
			m.hangUp()
			w.retire(agents...)
			w.net.NoLeftovers(t)
		})
	}
}
