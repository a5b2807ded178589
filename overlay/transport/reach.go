package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/hub"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Network is what an endpoint makes connections with by itself. See
// [SystemNetwork].
type Network interface {
	// Dial connects to a TCP endpoint, from a local port that a listener and
	// other connections may use too; zero means any port. It must support a
	// given port or fail with [errors.ErrUnsupported].
	Dial(ctx context.Context, port uint16, to netip.AddrPort) (net.Conn, error)
	// Listen listens on a local port, of all interfaces, in a way that leaves
	// the port free for Dial; zero means any port.
	Listen(port uint16) (net.Listener, error)
	// Addresses returns the addresses of the host's interfaces, each with its
	// network.
	Addresses() ([]netip.Prefix, error)
}

// Limits of attempts at direct connections.
const (
	maxAttempts  = 8                // at once, asked for and answered
	attemptBound = 20 * time.Second // the conversation before and after the calls
	callBound    = 5 * time.Second  // the calls
	secureBound  = 4 * time.Second  // TLS on a connection that came about
	maxAgain     = 64               // of them at once, asked for by neighbours
	firstRetry   = time.Minute      // after a failure; then twice as long each time
	lastRetry    = 30 * time.Minute
	answerEvery  = 5 * time.Second // attempts of one peer that are answered
	maxReached   = 4096            // peers that are remembered
	maxDirect    = 128             // carriers made for bulk
)

// reacher is what an endpoint knows about attempts at direct connections.
type reacher struct {
	slots    chan struct{} // attempts
	again    chan struct{} // further connections
	observed chan struct{} // connections held for those who asked as what they are seen
	mu       sync.Mutex
	peers    map[wire.NodeID]*reached
}

func newReacher() *reacher {
	return &reacher{slots: make(chan struct{}, maxAttempts), again: make(chan struct{}, maxAgain),
		observed: make(chan struct{}, maxObserved), peers: make(map[wire.NodeID]*reached)}
}

// reached is what became of attempts with one peer.
type reached struct {
	asking   bool      // one of this end's is under way
	failures int       // in a row
	next     time.Time // not before that the next one
	answered time.Time // when the last one of the peer's began
}

// peerLocked returns what is known of a peer; nil when there are too many that
// cannot be forgotten yet.
func (r *reacher) peerLocked(id wire.NodeID, now time.Time) *reached {
	p := r.peers[id]
	if p != nil {
		return p
	}
	if len(r.peers) >= maxReached {
		for id, p := range r.peers {
			if !p.asking && !now.Before(p.next) && now.Sub(p.answered) >= answerEvery {
				delete(r.peers, id)
			}
		}
		if len(r.peers) >= maxReached {
			return nil
		}
	}
	p = new(reached)
	r.peers[id] = p
	return p
}

// ask reports whether an attempt may begin; done ends it. One that is near may
// begin at any time.
func (r *reacher) ask(id wire.NodeID, now time.Time, near bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peerLocked(id, now)
	if p == nil || p.asking || now.Before(p.next) && !near {
		return false
	}
	select {
	case r.slots <- struct{}{}:
	default:
		return false
	}
	p.asking = true
	return true
}

// done says what has become of an attempt.
func (r *reacher) done(id wire.NodeID, now time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	<-r.slots
	p := r.peers[id]
	p.asking = false
	if ok {
		p.failures, p.next = 0, now.Add(firstRetry)
		return
	}
	p.next = now.Add(min(firstRetry<<p.failures, lastRetry))
	p.failures = min(p.failures+1, 5)
}

// answer reports why an attempt of a peer's may not begin, or how to say that
// it is over. Of two attempts of the same two nodes at the same time
// that of the smaller identity goes on.
func (r *reacher) answer(self, id wire.NodeID, now time.Time) (free func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peerLocked(id, now)
	switch {
	case p == nil:
		return nil, errors.New("too many nodes ask")
	case p.asking && self.Compare(id) < 0:
		return nil, errors.New("asked the other way round already")
	case !p.answered.IsZero() && now.Sub(p.answered) < answerEvery:
		return nil, errors.New("asked too often")
	}
	select {
	case r.slots <- struct{}{}:
	default:
		return nil, fmt.Errorf("%d attempts already", cap(r.slots))
	}
	p.answered = now
	return func() { <-r.slots }, nil
}

// answerNeighbour is the same for one who wants a further connection.
func (r *reacher) answerNeighbour() (free func(), err error) {
	select {
	case r.again <- struct{}{}:
		return func() { <-r.again }, nil
	default:
		return nil, fmt.Errorf("%d attempts already", cap(r.again))
	}
}

// Improve asks for a direct carrier to a node that there is a way to. It
// returns at once; the link to the node, if there is one, moves over when the
// carrier is there, or is there already. Nothing else happens then, nor without
// [Config].Network, while an attempt is under way, within a minute of the last
// one, which is twice as long after each failure up to half an hour, and when
// eight attempts are going on. So it may be asked for as often as wished.
//
// A stream for bulk that goes through hubs does the same by itself, for a
// carrier that later streams use and the link does not.
func (e *Endpoint) Improve(id wire.NodeID) { e.improve(id, Options{}) }

func (e *Endpoint) improve(id wire.NodeID, o Options) {
	if e.config.Network == nil || id.IsZero() || id == e.ID() {
		return
	}
	try, near := e.attempt, e.neighbour(id)
	if near {
		if o.Bulk || !e.linkedByHubs(id) {
			return
		}
		try = e.moveLink
	}
	if o.Bulk && e.directs() >= maxDirect || !e.reach.ask(id, time.Now(), near) {
		return
	}
	if !e.spawn(func() {
		ctx, cancel := context.WithTimeout(e.life, attemptBound)
		defer cancel()
		err := try(ctx, id, o)
		there := e.neighbour(id)
		e.reach.done(id, time.Now(), there)
		if err != nil && !there {
			e.log.Debug("no direct connection", "peer", id, "err", err)
		}
	}) {
		e.reach.done(id, time.Now(), false)
	}
}

// directs returns how many carriers this end's attempts have made.
func (e *Endpoint) directs() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	var n int
	for c := range e.carriers {
		if c.reached {
			n++
		}
	}
	return n
}

// neighbour reports whether there is a carrier to a node.
func (e *Endpoint) neighbour(id wire.NodeID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodes[id]
	return n != nil && len(n.carriers) > 0
}

// linkedByHubs reports whether the link to a node goes through hubs.
func (e *Endpoint) linkedByHubs(id wire.NodeID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodes[id]
	return n != nil && n.link != nil && !n.link.peer.Direct
}

// moveLink makes a link over the carrier that there is to a node.
func (e *Endpoint) moveLink(ctx context.Context, id wire.NodeID, _ Options) error {
	s, err := e.openTo(ctx, id, wire.StreamLink)
	if err != nil {
		return err
	}
	if err := s.confirmed(); err != nil {
		s.raw.reset()
		return err
	}
	return e.attach(s, true)
}

// attempt talks a node into a direct connection and makes a carrier of it.
func (e *Endpoint) attempt(ctx context.Context, id wire.NodeID, o Options) error {
	s, err := e.openTo(ctx, id, wire.StreamReach)
	if err != nil {
		return err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, s.Reset)()
	a, err := e.prepare(ctx, s)
	if err != nil {
		return err
	}
	defer a.close()
	asks, answers := hub.Calls(a.own, a.other, a.sameSite)
	if len(asks) == 0 && len(answers) == 0 {
		return errors.New("neither end can call the other")
	}
	rtt, err := measure(s)
	if err != nil {
		return err
	}
	if err := wire.WriteFrame(s, &wire.Punch{Go: true, Bound: callBound}); err != nil {
		return err
	}
	if !pause(ctx, e.life, rtt/2) {
		return ctx.Err()
	}
	calling, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()
	tried := errors.New("no call came through")
	for f := range a.run(calling, asks, hub.Reverse) {
		o.Path, o.want = f.path(), id
		o.More = func(ctx context.Context) (io.ReadWriteCloser, error) { return e.another(ctx, id) }
		p, err := e.secureFound(ctx, f, o)
		if err == nil {
			e.log.Info("direct connection", "peer", id, "path", p.Path.String(), "address", f.conn.RemoteAddr().String())
			return nil
		}
		tried = err
	}
	return tried
}

// secureFound makes a carrier of a connection, soon or not at all: others may
// wait.
func (e *Endpoint) secureFound(ctx context.Context, f found, o Options) (Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, secureBound)
	defer cancel()
	return e.connect(ctx, f.conn, TCP, o)
}

// measure returns how long the other end's answer takes.
func measure(s *Stream) (time.Duration, error) {
	begin := time.Now()
	if err := wire.WriteFrame(s, &wire.Punch{}); err != nil {
		return 0, err
	}
	if _, err := readPunch(s); err != nil {
		return 0, err
	}
	return time.Since(begin), nil
}

func readPunch(s *Stream) (*wire.Punch, error) {
	m, err := wire.ReadFrame(s, maxAccepted)
	if err != nil {
		return nil, err
	}
	p, ok := m.(*wire.Punch)
	if !ok {
		return nil, fmt.Errorf("%w: a %T in an attempt", wire.ErrInvalid, m)
	}
	return p, nil
}

// maxPunches bounds what the end that asks may measure.
const maxPunches = 4

// serveReach is the other end of attempt.
func (e *Endpoint) serveReach(ctx context.Context, s *Stream) {
	free, err := func() {}, errors.New("no direct connections here")
	switch {
	case e.config.Network == nil:
	case s.Peer().Direct:
		free, err = e.reach.answerNeighbour()
	default:
		free, err = e.reach.answer(e.ID(), s.Peer().ID, time.Now())
	}
	if err != nil {
		_ = wire.WriteFrame(s, &wire.Reach{Error: reason(err)})
		return
	}
	defer free()
	ctx, cancel := context.WithTimeout(ctx, attemptBound)
	defer cancel()
	defer context.AfterFunc(ctx, s.Reset)()
	if err := e.answer(ctx, s); err != nil {
		e.log.Debug("no direct connection", "peer", s.Peer().ID, "err", err)
	}
}

func (e *Endpoint) answer(ctx context.Context, s *Stream) error {
	a, err := e.prepare(ctx, s)
	if err != nil {
		return err
	}
	defer a.close()
	_, answers := hub.Calls(a.other, a.own, a.sameSite)
	bound := callBound
	for n := 0; ; n++ {
		p, err := readPunch(s)
		if err != nil {
			return err
		}
		if p.Go {
			bound = min(p.Bound, callBound)
			break
		}
		if n == maxPunches {
			return errors.New("asked for the time too often")
		}
		if err := wire.WriteFrame(s, &wire.Punch{}); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	var gone sync.WaitGroup
	defer gone.Wait()
	gone.Go(func() { // the end that asks hangs up when it has what it wants
		defer cancel()
		_, _ = readPunch(s)
	})
	defer s.Reset()
	for f := range a.run(ctx, answers, hub.Direct) {
		conn := &madeConn{Conn: f.conn, want: s.Peer().ID, path: f.path()}
		if !e.spawn(func() {
			if err := e.welcome(conn, TCP); err != nil {
				conn.Close()
				e.log.Debug("direct connection not used", "peer", s.Peer().ID, "err", err)
			}
		}) {
			conn.Close()
		}
	}
	return nil
}
