package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
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

// pass lets the time of a bubble pass.
func pass(d time.Duration) { <-time.After(d) }

// place is a kind of host that a node can be on.
type place struct {
	name     string
	mapping  memnet.Dependence // of the translator before it
	filter   memnet.Dependence // of the translator or, without, of the host itself
	mute     bool              // no outbound
	noListen bool              // as of a launcher
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
	spies     []*spy
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
	c.Keepalive, c.DeadAfter = time.Minute, 3*time.Minute // hours pass, and each ping is work
	n := start(w.t, c)
	w.ends = append(w.ends, func() { n.Close(); <-n.closed })
	return n
}

func (w *planet) close() {
	for _, end := range w.ends {
		end()
	}
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

// spy is a host's network that keeps what is done with it.
type spy struct {
	*memnet.Host
	mu       sync.Mutex
	dialled  []netip.AddrPort
	listened int
}

func (s *spy) Dial(ctx context.Context, port uint16, to netip.AddrPort) (net.Conn, error) {
	s.mu.Lock()
	s.dialled = append(s.dialled, to)
	s.mu.Unlock()
	return s.Host.Dial(ctx, port, to)
}

func (s *spy) Listen(port uint16) (net.Listener, error) {
	s.mu.Lock()
	s.listened++
	s.mu.Unlock()
	return s.Host.Listen(port)
}

func (s *spy) listens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listened
}

// dials returns what has been dialled but for the hubs, who tell how they see
// this host.
func (s *spy) dials() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.dialled), func(a netip.AddrPort) bool { return a.Port() == hubPort })
}

// calls counts what all have dialled but hubs.
func (w *planet) calls() (n int) {
	for _, s := range w.spies {
		n += len(s.dials())
	}
	return n
}

// place puts a node on a host of some kind and connects it with both hubs.
func (w *planet) place(p place) (*testNode, *spy) {
	w.nodes++
	i := byte(w.nodes)
	rules := memnet.Rules{NoOutbound: p.mute}
	if p.mapping == memnet.None {
		rules.Inbound = p.filter
		return w.node(p, w.inet.Host(netip.AddrFrom4([4]byte{203, 0, 113, i}), rules))
	}
	inner := w.inet.Behind(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, i, 0, 0}), 24), time.Millisecond, memnet.Router{
		Addr: netip.AddrFrom4([4]byte{192, 0, 2, i}), Mapping: p.mapping, Filtering: p.filter, PreservePort: p.preserve, Reject: p.reject})
	return w.node(p, inner.Host(netip.AddrFrom4([4]byte{10, i, 0, 2}), rules))
}

// put puts a node on a host of a network.
func (w *planet) put(in *memnet.Network, addr string) *testNode {
	w.nodes++
	n, _ := w.node(place{}, in.Host(netip.MustParseAddr(addr), memnet.Rules{}))
	return n
}

func (w *planet) node(p place, h *memnet.Host) (*testNode, *spy) {
	s := &spy{Host: h}
	w.spies = append(w.spies, s)
	n := w.start(wire.RolePilot, fmt.Sprintf("site%d", w.nodes), transport.Config{Network: s, NoListen: p.noListen})
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
	return n, s
}

const (
	indep = memnet.EndpointIndependent
	adf   = memnet.AddressDependent
	apdf  = memnet.AddressAndPortDependent
)

var places = []place{
	{name: "open"},
	{name: "firewalled", filter: apdf},
	{name: "full cone", mapping: indep, filter: indep},
	{name: "restricted", mapping: indep, filter: adf},
	{name: "port-restricted", mapping: indep, filter: apdf},
	{name: "port-restricted, rejecting", mapping: indep, filter: apdf, reject: true, preserve: true},
	{name: "address-dependent", mapping: adf, filter: adf},
	{name: "symmetric", mapping: apdf, filter: apdf},
	{name: "no outbound", mute: true},
	{name: "launcher", mapping: indep, filter: apdf, noListen: true},
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
		w := newPlanet(t)
		defer w.close()
		var asking, answering []*testNode
		spies := make(map[*testNode]*spy)
		for _, p := range places {
			for _, nodes := range []*[]*testNode{&asking, &answering} {
				n, s := w.place(p)
				*nodes = append(*nodes, n)
				spies[n] = s
			}
		}
		for i, from := range places {
			for j, to := range places {
				a, b := asking[i], answering[j]
				want := map[byte]wire.Path{'d': wire.PathDirect, 'r': wire.PathReverse, 's': wire.PathSimultaneous, '-': wire.PathRouted}[wantPaths[i][2*j]]
				if got, took := tryNodes(t, a, b, from.name+" to "+to.name); got != want {
					t.Errorf("%s to %s: %v after %v, want %v", from.name, to.name, got, took, want)
				}
				if from.noListen && spies[a].listens() > 0 || to.noListen && spies[b].listens() > 0 {
					t.Errorf("%s to %s: one listens that must not", from.name, to.name)
				}
			}
		}
	})
}

// tryNodes returns the path that two nodes find by themselves.
func tryNodes(t *testing.T, a, b *testNode, what string) (wire.Path, time.Duration) {
	begin := time.Now()
	s := open(t, a, b.ID(), wire.StreamFetch)
	if took := time.Since(begin); took > 500*time.Millisecond || s.Peer().Direct || s.Peer().Path != wire.PathRouted {
		t.Errorf("%s: a stream to %+v after %v, want a routed one at once", what, s.Peer(), took)
	}
	path, took := waitPath(a, b)
	roundTrip(t, s) // the first stream stays where it is, and works
	s = open(t, a, b.ID(), wire.StreamFetch)
	if s.Peer().Path != path || s.Peer().Direct != (path != wire.PathRouted) {
		t.Errorf("%s: a later stream to %+v", what, s.Peer())
	}
	roundTrip(t, s)
	return path, took
}

// waitPath waits for a path that is not routed, ten seconds at most.
func waitPath(a, b *testNode) (path wire.Path, took time.Duration) {
	begin := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; time.Since(begin) < 10*time.Second; <-tick.C {
		if path, _ = a.Path(b.ID()); path != wire.PathRouted {
			break
		}
	}
	return path, time.Since(begin)
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

// TestNear has two nodes that are near each other behind a translator which
// shows each host another port and lets nothing in.
func TestNear(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, test := range []struct {
			name    string
			router  memnet.Router
			subnets bool // each in one of its own, between which all is routed
			want    wire.Path
		}{
			{"one network", memnet.Router{Mapping: apdf, Filtering: apdf}, false, wire.PathDirect},
			{"two networks", memnet.Router{Mapping: apdf, Filtering: apdf}, true, wire.PathDirect},
		} {
			w := newPlanet(t)
			test.router.Addr = netip.MustParseAddr("192.0.2.200")
			in := w.inet.Behind(netip.MustParsePrefix("10.0.0.0/8"), time.Millisecond, test.router)
			one, two := in, in
			if test.subnets {
				one = in.Behind(netip.MustParsePrefix("10.1.0.0/16"), time.Millisecond, memnet.Router{})
				two = in.Behind(netip.MustParsePrefix("10.2.0.0/16"), time.Millisecond, memnet.Router{})
			}
			a, b := w.put(one, "10.1.0.5"), w.put(two, "10.2.0.5")
			got, took := tryNodes(t, a, b, test.name)
			if got != test.want || took > time.Second {
				t.Errorf("%s: %v after %v, want %v", test.name, got, took, test.want)
			}
			if rtt, ok := a.RTT(b.ID()); !ok || rtt > 20*time.Millisecond {
				t.Errorf("%s: a round trip takes %v, %v", test.name, rtt, ok)
			}
			w.close()
		}
	})
}

// TestHairpin has two nodes behind translators of their own, and both behind
// their provider's, as which both are seen.
func TestHairpin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, hairpin := range []bool{false, true} {
			w := newPlanet(t)
			provider := w.inet.Behind(netip.MustParsePrefix("100.64.0.0/10"), time.Millisecond,
				memnet.Router{Addr: netip.MustParseAddr("192.0.2.200"), Mapping: indep, Filtering: indep, Hairpin: hairpin})
			var nodes []*testNode
			for i := range byte(2) {
				home := provider.Behind(netip.MustParsePrefix("192.168.1.0/24"), time.Millisecond,
					memnet.Router{Addr: netip.AddrFrom4([4]byte{100, 64, 0, 5 + i}), Mapping: indep, Filtering: indep})
				nodes = append(nodes, w.put(home, "192.168.1.10"))
			}
			want := wire.PathRouted
			if hairpin {
				want = wire.PathDirect
			}
			if got, took := tryNodes(t, nodes[0], nodes[1], "two homes"); got != want {
				t.Errorf("with hairpin %v: %v after %v, want %v", hairpin, got, took, want)
			}
			w.close()
		}
	})
}

// TestImprove asks for a path for a link: it moves over without a word, and
// when the path dies new streams go through the hub again until the next
// attempt, a minute later.
func TestImprove(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newPlanet(t)
		defer w.close()
		a, ha := w.place(place{mapping: indep, filter: apdf})
		b, _ := w.place(place{mapping: indep, filter: apdf})
		if err := a.Link(t.Context(), b.ID()); err != nil {
			t.Fatal(err)
		}
		if up := b.waitUp(a.ID()); up.Path != wire.PathRouted {
			t.Errorf("linked by %v first", up.Path)
		}
		for range 10 {
			a.Improve(b.ID())
		}
		if got, took := waitPath(a, b); got != wire.PathSimultaneous {
			t.Fatalf("%v after %v, want a simultaneous open", got, took)
		}
		pass(time.Second)
		for _, n := range []*testNode{a, b} {
			for _, p := range n.Peers() {
				if p.ID == b.ID() || p.ID == a.ID() {
					if p.Path != wire.PathSimultaneous || !p.Direct {
						t.Errorf("linked by %v, want it to have moved", p.Path)
					}
				}
			}
			var ups, downs int
			for _, ev := range n.eventsSeen() {
				switch ev := ev.(type) {
				case transport.LinkUp:
					if ev.Peer.ID != w.hubs[0].ID() && ev.Peer.ID != w.hubs[1].ID() {
						ups++
					}
				case transport.LinkDown:
					downs++
				}
			}
			if ups != 1 || downs != 0 {
				t.Errorf("%d links up and %d down, want the one", ups, downs)
			}
		}
		if err := a.Send(b.ID(), message(7)); err != nil {
			t.Fatal(err)
		}
		b.waitMessage(a.ID(), 7)

		// The path dies.
		if n := ha.Break(netip.AddrFrom4([4]byte{192, 0, 2, 2})); n != 1 {
			t.Fatalf("%d connections broken, want 1", n)
		}
		pass(100 * time.Millisecond)
		begin := time.Now()
		s := open(t, a, b.ID(), wire.StreamFetch)
		if s.Peer().Path != wire.PathRouted || time.Since(begin) > 500*time.Millisecond {
			t.Errorf("after the path has died: a stream by %v after %v", s.Peer().Path, time.Since(begin))
		}
		roundTrip(t, s)
		if got, _ := waitPath(a, b); got != wire.PathRouted {
			t.Errorf("%v at once, want no further attempt within a minute", got)
		}
		pass(time.Minute)
		roundTrip(t, open(t, a, b.ID(), wire.StreamFetch))
		if got, took := waitPath(a, b); got != wire.PathSimultaneous {
			t.Errorf("%v after %v, want a new path", got, took)
		}
	})
}

// TestImproveAfterBulk asks for a link over a path that bulk has found.
func TestImproveAfterBulk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newPlanet(t)
		defer w.close()
		a, _ := w.place(place{})
		b, _ := w.place(place{})
		if err := a.Link(t.Context(), b.ID()); err != nil {
			t.Fatal(err)
		}
		roundTrip(t, open(t, a, b.ID(), wire.StreamFetch))
		if got, _ := waitPath(a, b); got != wire.PathDirect {
			t.Fatalf("%v, want a direct path", got)
		}
		linked := func() wire.Path {
			for _, p := range a.Peers() {
				if p.ID == b.ID() {
					return p.Path
				}
			}
			return wire.PathUnknown
		}
		if got := linked(); got != wire.PathRouted {
			t.Errorf("linked by %v, want bulk to leave the link alone", got)
		}
		pass(time.Second) // until the attempt knows of its success
		a.Improve(b.ID())
		pass(10 * time.Minute) // the carrier is not idle now
		if got := linked(); got != wire.PathDirect {
			t.Errorf("linked by %v, want the direct path", got)
		}
		if err := b.Send(a.ID(), message(3)); err != nil {
			t.Fatal(err)
		}
		a.waitMessage(b.ID(), 3)
		for _, ev := range a.eventsSeen() {
			if down, ok := ev.(transport.LinkDown); ok {
				t.Errorf("link down: %v", down)
			}
		}
	})
}

// TestBackOff counts attempts where none can succeed.
func TestBackOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newPlanet(t)
		defer w.close()
		a, ha := w.place(place{mapping: apdf, filter: apdf})
		b, _ := w.place(place{mapping: indep, filter: apdf})
		var at []time.Duration
		begin := time.Now()
		before := ha.listens()
		for time.Since(begin) < 2*time.Hour+30*time.Minute {
			a.Improve(b.ID())
			pass(time.Second)
			if n := ha.listens(); n > before {
				before = n
				at = append(at, time.Since(begin))
			}
		}
		want := []time.Duration{0, 1, 3, 7, 15, 31, 61, 91, 121} // minutes
		if len(at) != len(want) {
			t.Fatalf("attempts after %v, want about %v minutes", at, want)
		}
		for i, d := range at {
			if off := d - want[i]*time.Minute; off < 0 || off > 90*time.Second {
				t.Errorf("attempt %d after %v, want about %d minutes", i, d, want[i])
			}
		}
	})
}

// TestIdle holds that a path for bulk goes when nothing uses it, and comes
// back when something does.
func TestIdle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newPlanet(t)
		defer w.close()
		a, _ := w.place(place{})
		b, _ := w.place(place{})
		roundTrip(t, open(t, a, b.ID(), wire.StreamFetch))
		if got, _ := waitPath(a, b); got != wire.PathDirect {
			t.Fatalf("%v, want a direct path", got)
		}
		s := open(t, a, b.ID(), wire.StreamFetch)
		pass(10 * time.Minute)
		roundTrip(t, s) // in use is in use, however quiet
		pass(5 * time.Minute)
		if got, _ := a.Path(b.ID()); got != wire.PathRouted {
			t.Errorf("%v, five minutes after the last stream", got)
		}
		roundTrip(t, open(t, a, b.ID(), wire.StreamFetch))
		if got, _ := waitPath(a, b); got != wire.PathDirect {
			t.Errorf("%v, want a direct path again", got)
		}
	})
}

// TestFurtherConnections moves much over direct paths: its bytes get
// connections of their own where one end can simply call the other. On the real
// clock: the multiplexer waits with a lock held, for which a bubble's clock does
// not move.
func TestFurtherConnections(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		from, to place
		path     wire.Path
		want     bool
	}{
		{"direct", place{}, place{}, wire.PathDirect, true},
		{"reverse", place{}, place{filter: apdf}, wire.PathReverse, true},
		{"simultaneous", place{mapping: indep, filter: apdf}, place{mapping: indep, filter: apdf}, wire.PathSimultaneous, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newPlanet(t)
			defer w.close()
			a, _ := w.place(test.from)
			b, _ := w.place(test.to)
			roundTrip(t, open(t, a, b.ID(), wire.StreamFetch))
			if got, _ := waitPath(a, b); got != test.path {
				t.Fatalf("%v, want %v", got, test.path)
			}
			before := w.calls()
			for range 3 {
				s := open(t, a, b.ID(), wire.StreamFetch)
				defer s.Close()
				data := make([]byte, 2<<20)
				errs := make(chan error, 1)
				go func() {
					_, err := s.Write(data)
					errs <- errors.Join(err, s.CloseWrite())
				}()
				got, err := io.ReadAll(s)
				if err := errors.Join(err, <-errs); err != nil || len(got) != len(data) {
					t.Errorf("%d bytes back, %v", len(got), err)
				}
			}
			if got := w.calls() - before; (got > 0) != test.want {
				t.Errorf("%d further connections, want some: %v", got, test.want)
			}
		})
	}
}
