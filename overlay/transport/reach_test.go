package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/transport/memnet"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// bubble runs a test on the clock of a bubble. The multiplexer keeps timers in
// a pool that all tests share, and a bubble's timer must not be used outside:
// two collections empty the pool. Such tests are not parallel.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	empty := func() { runtime.GC(); runtime.GC() }
	empty()
	defer empty()
	synctest.Test(t, f)
}

// place is a kind of host that a node can be on.
type place struct {
	name     string
	mapping  memnet.Dependence // of the translator before it
	filter   memnet.Dependence // of the translator or, without, of the host itself
	mute     bool              // no outbound
	noListen bool              // as of a launcher
	lan      bool              // both of the pair are in one network
	hairpin  bool
	preserve bool
	reject   bool
}

// planet is the internet with two hubs that everybody is connected to.
type planet struct {
	t         *testing.T
	inet      *memnet.Network
	authority *transport.Authority
	hubs      []*testNode
	hosts     []*memnet.Host
	handlers  map[wire.StreamKind]transport.Handler
	nodes     int
	ends      []func()
}

const hubPort = 4000

func newPlanet(t *testing.T) *planet {
	w := &planet{t: t, inet: memnet.New(30 * time.Millisecond), authority: authority(t), handlers: handle(wire.StreamFetch, echo)}
	for i := range byte(2) {
		h := w.inet.Host(netip.AddrFrom4([4]byte{198, 51, 100, 1 + i}), memnet.Rules{})
		n := w.start(wire.RoleHub, "hubs", transport.Config{Network: h})
		w.serve(n, h, hubPort)
		w.hubs, w.hosts = append(w.hubs, n), append(w.hosts, h)
	}
	w.connect(w.hubs[0], w.hosts[0], w.hosts[1])
	return w
}

// start makes an endpoint that ends with the planet: a bubble wants all over
// before its test is.
func (w *planet) start(role wire.Role, site string, c transport.Config) *testNode {
	c.Identity, c.Handlers = identity(w.t, w.authority, role, site), w.handlers
	n := start(w.t, c)
	w.ends = append(w.ends, func() { n.Close(); <-n.closed })
	return n
}

func (w *planet) close() {
	for _, end := range w.ends {
		end()
	}
	synctest.Wait()
}

func (w *planet) serve(n *testNode, h *memnet.Host, port uint16) {
	l, err := h.Listen(port)
	if err != nil {
		w.t.Fatal(err)
	}
	go func() {
		if err := n.Serve(context.Background(), l, transport.TCP); err != nil {
			w.t.Error(err)
		}
	}()
}

// connect makes a plain carrier to a host that serves.
func (w *planet) connect(n *testNode, from, to *memnet.Host) {
	conn, err := from.Dial(w.t.Context(), 0, netip.AddrPortFrom(to.Addr(), hubPort))
	if err != nil {
		w.t.Fatal(err)
	}
	connect(w.t, n, conn, transport.TCP, transport.Options{})
}

// place puts a node on a host of some kind and connects it with both hubs.
func (w *planet) place(p place, in *memnet.Network) (*testNode, *memnet.Host) {
	w.nodes++
	i := byte(w.nodes)
	var h *memnet.Host
	rules := memnet.Rules{NoOutbound: p.mute}
	switch {
	case in != nil:
		h = in.Host(netip.AddrFrom4([4]byte{10, 0, 0, 100 + i}), rules)
	case p.mapping == memnet.None:
		rules.Inbound = p.filter
		h = w.inet.Host(netip.AddrFrom4([4]byte{203, 0, 113, i}), rules)
	default:
		h = w.private(p).Host(netip.AddrFrom4([4]byte{10, i, 0, 2}), rules)
	}
	n := w.start(wire.RolePilot, fmt.Sprintf("site%d", i), transport.Config{Network: h, NoListen: p.noListen})
	if p.mute {
		w.serve(n, h, hubPort)
		w.connect(w.hubs[0], w.hosts[0], h)
		n.waitUp(w.hubs[0].ID())
	} else {
		for _, to := range w.hosts {
			w.connect(n, h, to)
		}
	}
	n.SetDefaultRoute(w.hubs[0].ID())
	return n, h
}

func (w *planet) private(p place) *memnet.Network {
	i := byte(w.nodes)
	return w.inet.Behind(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, i, 0, 0}), 24), time.Millisecond, memnet.Router{
		Addr: netip.AddrFrom4([4]byte{192, 0, 2, i}), Mapping: p.mapping, Filtering: p.filter,
		Hairpin: p.hairpin, PreservePort: p.preserve, Reject: p.reject})
}

const (
	any  = memnet.EndpointIndependent
	adf  = memnet.AddressDependent
	apdf = memnet.AddressAndPortDependent
)

var places = []place{
	{name: "open"},
	{name: "firewalled", filter: apdf},
	{name: "full cone", mapping: any, filter: any},
	{name: "restricted", mapping: any, filter: adf},
	{name: "port-restricted", mapping: any, filter: apdf},
	{name: "port-restricted, rejecting", mapping: any, filter: apdf, reject: true, preserve: true},
	{name: "address-dependent", mapping: adf, filter: adf},
	{name: "symmetric", mapping: apdf, filter: apdf},
	{name: "no outbound", mute: true},
	{name: "launcher", mapping: any, filter: apdf, noListen: true},
}

// wantPaths is the path that comes out, the place that asks first: direct,
// reverse, simultaneous or none but the routed one.
var wantPaths = []string{
	// to:      o f c r p j a s n l
	/* open  */ "d r d r r r r r d r",
	/* fire  */ "d s d s s s - - d s",
	/* cone  */ "d r d r r r r r d r",
	/* restr */ "d s d s s s s s d s",
	/* port  */ "d s d s s s - - d s",
	/* rej   */ "d s d s s s - - d s",
	/* adm   */ "d - d s - - - - d -",
	/* sym   */ "d - d s - - - - d -",
	/* mute  */ "r r r r r r r r - r",
	/* launc */ "d s d s s s - - d s",
}

// TestPaths tries every pair of places: the stream that is asked for is there
// at once, through a hub, and the best path that the pair has comes by itself.
func TestPaths(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for i, from := range places {
			for j, to := range places {
				want := map[byte]transport.Path{'d': transport.PathTCP, 'r': transport.PathReverse, 's': transport.PathSimultaneous, '-': transport.PathRouted}[wantPaths[i][2*j]]
				if got, took := tryPair(t, from, to); got != want {
					t.Errorf("%s to %s: %v after %v, want %v", from.name, to.name, got, took, want)
				}
				if t.Failed() && testing.Short() {
					return
				}
			}
		}
	})
}

// tryPair returns the path that two places find.
func tryPair(t *testing.T, from, to place) (transport.Path, time.Duration) {
	w := newPlanet(t)
	defer w.close()
	a, _ := w.place(from, nil)
	b, _ := w.place(to, nil)
	begin := time.Now()
	s := open(t, a, b.ID(), wire.StreamFetch)
	if took := time.Since(begin); took > 500*time.Millisecond || s.Peer().Direct || s.Peer().Path != transport.PathRouted {
		t.Errorf("%s to %s: a stream to %+v after %v, want a routed one at once", from.name, to.name, s.Peer(), took)
	}
	begin = time.Now()
	var path transport.Path
	for time.Since(begin) < 10*time.Second {
		if path, _ = a.Path(b.ID()); path != transport.PathRouted {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(begin)
	roundTrip(t, s) // the first stream stays where it is, and works
	s = open(t, a, b.ID(), wire.StreamFetch)
	if s.Peer().Path != path || s.Peer().Direct != (path != transport.PathRouted) {
		t.Errorf("%s to %s: a later stream to %+v", from.name, to.name, s.Peer())
	}
	roundTrip(t, s)
	return path, took
}

func roundTrip(t *testing.T, s *transport.Stream) {
	t.Helper()
	defer s.Close()
	_, err := s.Write([]byte("there and back"))
	if err := errors.Join(err, s.CloseWrite()); err != nil {
		t.Error(err)
		return
	}
	if got, err := io.ReadAll(s); err != nil || string(got) != "there and back" {
		t.Errorf("got %q back, %v", got, err)
	}
}
