package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sort"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// CarrierKind tells how the two ends of a carrier get to trust it.
type CarrierKind uint8

const (
	// TCP carriers cross networks: mutual TLS 1.3 first, streams on top of it.
	TCP CarrierKind = 1
	// Local carriers are protected by what they run over (a unix socket of the
	// own user, SSH): no TLS of their own, so that bulk is not encrypted twice.
	// The nodes prove themselves on the link's stream; nothing but admission is
	// served before.
	Local CarrierKind = 2
)

// Handler serves one incoming stream, whose opener has proven who it is. It
// runs in a goroutine of its own; when it returns, the stream is closed. The
// context ends with the endpoint. What a role may ask for is the handler's to
// check.
type Handler func(ctx context.Context, s *Stream)

// Config makes an endpoint. The zero value is one that waits to be admitted
// and refuses everything else.
type Config struct {
	// Identity is the node's own; nil until it has joined.
	Identity *Identity
	// Signer serves joins; without one they are passed on towards the launcher.
	Signer *Signer
	// Join is what a node without an identity asks of the signer that comes to
	// it (a fresh hub); see [Options].Admit.
	Join *JoinRequest
	// Handlers serve incoming streams by kind; kinds without one are refused.
	Handlers map[wire.StreamKind]Handler
	// Logger gets what is worth a line; nil discards.
	Logger *slog.Logger
	// Keepalive is after which silence a carrier is asked for a sign of life;
	// zero means 5 seconds.
	Keepalive time.Duration
	// DeadAfter is after which silence, of every single byte, a carrier is
	// closed; zero means 20 seconds.
	DeadAfter time.Duration
	// Network makes direct connections; nil: this node neither tries nor
	// answers who would have one.
	Network Network
	// NoListen keeps the node from listening, for a direct connection, even for
	// a few seconds; it can still call. For launchers, and hubs on login nodes.
	NoListen bool
	// MaxStreams bounds the incoming and relayed streams, relayed links
	// included, open at a time; zero means 4096. What one holds at most in memory, when its reader stalls, is
	// the window of its carrier: 1 MiB on short paths, 2 MiB on local carriers,
	// up to 16 MiB on long ones.
	MaxStreams int
	// Limits bound the bulk that the node moves, what it passes on for others
	// above all.
	Limits Limits
}

// Limits of an endpoint.
const (
	maxEvents   = 256  // events that wait to be taken; then links are not read
	maxPending  = 1000 // connections that have not proven themselves
	acceptRate  = 500  // of them per second, in the long run
	maxSetups   = 128  // streams of one carrier that are being set up
	maxCarriers = 16   // to one peer
	maxLinks    = 8    // to one peer, of which one is in use
	byeTimeout  = 2 * time.Second
)

// Endpoint is a node's place in the network. It is safe for concurrent use.
// Events must be taken, or links stop being read.
type Endpoint struct {
	config Config
	log    *slog.Logger
	once   *onceLog
	events chan Event

	life context.Context // ends with Close
	end  context.CancelFunc
	wg   sync.WaitGroup // everything that emits events or works for a stream

	pending   chan struct{}
	rate      rateLimit
	streams   chan struct{}
	joins     chan struct{}
	admitting chan struct{}
	reach     *reacher
	bulk      bulk
	throttle  *throttle

	mu       sync.Mutex
	closed   bool
	identity *Identity
	signer   *Signer
	carriers map[*carrier]struct{}
	nodes    map[wire.NodeID]*node
	routes   map[wire.NodeID]wire.NodeID
	fallback wire.NodeID                   // the default route; zero: none
	graph    map[wire.NodeID][]wire.NodeID // hubs to cross to each hub; never changed, only replaced
	homes    homes
}

// New makes an endpoint. Close ends it.
func New(c Config) (*Endpoint, error) {
	if c.Signer != nil && c.Identity == nil {
		return nil, errors.New("an endpoint with a signer needs an identity")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Keepalive <= 0 {
		c.Keepalive = 5 * time.Second
	}
	if c.DeadAfter <= 0 {
		c.DeadAfter = 20 * time.Second
	}
	if c.DeadAfter <= c.Keepalive {
		return nil, fmt.Errorf("carriers are dead after %v but asked only after %v", c.DeadAfter, c.Keepalive)
	}
	if c.MaxStreams <= 0 {
		c.MaxStreams = 4096
	}
	e := &Endpoint{
		config:    c,
		log:       c.Logger,
		once:      newOnceLog(c.Logger),
		events:    make(chan Event, maxEvents),
		pending:   make(chan struct{}, maxPending),
		rate:      rateLimit{per: acceptRate, burst: maxPending},
		streams:   make(chan struct{}, c.MaxStreams),
		joins:     make(chan struct{}, maxJoins),
		admitting: make(chan struct{}, 1),
		reach:     newReacher(),
		identity:  c.Identity,
		signer:    c.Signer,
		carriers:  make(map[*carrier]struct{}),
		nodes:     make(map[wire.NodeID]*node),
		routes:    make(map[wire.NodeID]wire.NodeID),
	}
	e.life, e.end = context.WithCancel(context.Background())
	e.throttle = newThrottle(c.Limits, e.life.Done())
	return e, nil
}

// Admit gives an endpoint that has no identity the one it joined with, or a
// renewed one (see [JoinRequest].Renew). The signer may be nil.
func (e *Endpoint) Admit(id *Identity, s *Signer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.identity != nil && e.identity.ID != id.ID {
		return fmt.Errorf("admit: already admitted as %s", e.identity.ID.Short())
	}
	e.identity, e.signer = id, s
	return nil
}

// ID returns the node's identity; zero before it is admitted.
func (e *Endpoint) ID() wire.NodeID {
	if id, _ := e.self(); id != nil {
		return id.ID
	}
	return wire.NodeID{}
}

func (e *Endpoint) self() (*Identity, *Signer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.identity, e.signer
}

// Events returns what happens, in order for each peer. Close closes it.
func (e *Endpoint) Events() <-chan Event { return e.events }

// spawn runs f in a goroutine that Close waits for; not at all once Close has
// begun.
func (e *Endpoint) spawn(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.life.Err() != nil {
		return false
	}
	e.wg.Go(f)
	return true
}

// emit hands over an event; it waits while nobody takes them.
func (e *Endpoint) emit(ev Event) {
	select {
	case e.events <- ev:
	case <-e.life.Done():
	}
}

// Peers returns the nodes that there is a link to, sorted by identity.
func (e *Endpoint) Peers() []Peer {
	e.mu.Lock()
	defer e.mu.Unlock()
	var peers []Peer
	for _, n := range e.nodes {
		if n.link != nil {
			peers = append(peers, n.link.peer)
		}
	}
	sort.Slice(peers, func(i, j int) bool { return peers[i].ID.Compare(peers[j].ID) < 0 })
	return peers
}

// Options say how Connect treats a carrier.
type Options struct {
	// Bulk makes it a further carrier to a peer, for bulk streams; no link is
	// made over it.
	Bulk bool
	// Admit offers the other end admission first, by Config.Signer. A node
	// that has an identity declines, which is no error.
	Admit bool
	// More makes a further connection to the process at the other end, for the
	// bytes of one bulk stream. It returns soon after ctx ends; what it returns
	// belongs to the endpoint. Nil means: where a TCP connection leads, once
	// more, and nowhere for others. Where this end has no way, the other end's
	// serves.
	More func(ctx context.Context) (io.ReadWriteCloser, error)
	// OnClose, if not nil, is called once when the carrier ends, in a goroutine
	// of its own, unless Connect itself failed. Close waits for it.
	OnClose func(error)
	// Path tells how the connection was made, for whoever asks; zero means a
	// direct call, or for local carriers a socket.
	Path wire.Path

	want wire.NodeID // whom an attempt has made the connection with; zero: no attempt has
}

// Connect makes a carrier of a connection that this end has dialled, and a
// link to the node at the other end, which it returns. On errors, and when ctx
// ends before it is done, the connection is closed; afterwards it belongs to
// the endpoint. Closing the connection must end its blocked Reads and Writes.
func (e *Endpoint) Connect(ctx context.Context, conn io.ReadWriteCloser, kind CarrierKind, o Options) (Peer, error) {
	p, err := e.connect(ctx, conn, kind, o)
	if err != nil {
		return Peer{}, fmt.Errorf("connect: %w", err)
	}
	return p, nil
}

func (e *Endpoint) connect(ctx context.Context, conn io.ReadWriteCloser, kind CarrierKind, o Options) (Peer, error) {
	id, signer := e.self()
	if id == nil {
		conn.Close()
		return Peer{}, ErrNotAdmitted
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	from := asConn(conn)
	if o.Path != 0 {
		from = &madeConn{Conn: from, path: o.Path, want: o.want}
	}
	c, err := e.dialCarrier(ctx, from, kind, id)
	if err != nil {
		conn.Close()
		return Peer{}, err
	}
	e.mu.Lock()
	if c.reached = !o.want.IsZero(); kind == TCP && !c.reached {
		c.acceptor = endpointOf(from)
	}
	e.mu.Unlock()
	if o.More == nil && kind == TCP {
		o.More = redial(bare(from))
	}
	c.setMore(o.More)
	stop := context.AfterFunc(ctx, func() { c.close(ctx.Err()) })
	p, err := e.introduce(ctx, c, id, signer, o)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.close(err)
		return Peer{}, err
	}
	if c.reached && o.Bulk {
		e.spawn(func() { e.retire(c) })
	}
	if o.OnClose != nil {
		e.spawn(func() {
			<-c.gone
			o.OnClose(c.cause())
		})
	}
	return p, nil
}

// introduce does what must come first on a carrier.
func (e *Endpoint) introduce(ctx context.Context, c *carrier, id *Identity, signer *Signer, o Options) (Peer, error) {
	var refused error
	if o.Admit {
		if signer == nil {
			return Peer{}, errors.New("no signer to admit with")
		}
		// Not the last word: a hub that could not renew can still be linked to.
		refused = c.offerAdmission(ctx, id, signer)
	}
	kind := wire.StreamLink
	if o.Bulk {
		kind = wire.StreamBulk
	}
	s, err := c.open(ctx, id, (&way{by: c}).open(wire.NodeID{}, id.ID, kind))
	if err != nil {
		return Peer{}, errors.Join(refused, err)
	}
	if err := s.confirmed(); err != nil {
		s.raw.reset()
		return Peer{}, err
	}
	if err := e.know(c, s.peer, o.Bulk); err != nil {
		s.raw.reset()
		return Peer{}, err
	}
	s.peer = c.known()
	if o.Bulk {
		_ = s.Close()
		return s.peer, nil
	}
	return s.peer, e.attach(s, true)
}

// OpenStream opens a stream to a node, by a carrier to it or through hubs. It
// takes at most 20 seconds, or as long as ctx. No way matches [ErrNoRoute], a
// refusal by the node or a hub [ErrRefused].
func (e *Endpoint) OpenStream(ctx context.Context, dst wire.NodeID, kind wire.StreamKind) (*Stream, error) {
	switch kind {
	case wire.StreamLink, wire.StreamJoin, wire.StreamAdmit, wire.StreamBulk, wire.StreamReach:
		return nil, fmt.Errorf("open a stream: kind %d is the network's own", kind)
	}
	s, err := e.openTo(ctx, dst, kind)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dst.Short(), err)
	}
	if isBulk(kind) && !s.peer.Direct {
		e.improve(dst, Options{Bulk: true})
	}
	return s, nil
}

func (e *Endpoint) openTo(ctx context.Context, dst wire.NodeID, kind wire.StreamKind) (*Stream, error) {
	id, _ := e.self()
	if id == nil {
		return nil, ErrNotAdmitted
	}
	w, ok := e.find(dst, kind)
	if !ok || dst == id.ID {
		return nil, ErrNoRoute
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return w.by.open(ctx, id, w.open(dst, id.ID, kind))
}

// Close says good-bye on all links, for two seconds at most, closes all
// carriers and streams, waits for the endpoint's goroutines and closes Events.
// Handlers must return when their context ends or their stream fails.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	var byes []chan struct{}
	for _, n := range e.nodes {
		for _, l := range n.links {
			byes = append(byes, l.wrote)
		}
		n.leave()
	}
	e.mu.Unlock()
	timer := time.NewTimer(byeTimeout)
	defer timer.Stop()
	for _, wrote := range byes {
		select {
		case <-wrote:
			continue
		case <-timer.C:
		}
		break
	}
	e.mu.Lock()
	e.end()
	var all []*carrier
	for c := range e.carriers {
		all = append(all, c)
	}
	e.mu.Unlock()
	for _, c := range all {
		c.close(ErrClosed)
	}
	for _, c := range all {
		<-c.gone
	}
	e.wg.Wait()
	close(e.events)
	return nil
}
