package ssh

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/gat"
)

// readAhead is how much is taken from the network at once. The SSH library
// reads 4 KiB and a packet of 32 KiB by turns, which costs two system calls each.
const readAhead = 256 << 10

// A connector makes connections with the credentials of one login.
type connector struct {
	backend  Backend // with its defaults filled in
	home     string  // holds .ssh
	identity string  // the one key that the URL names, or empty
	target   gat.Target
	shared   *Shared
}

// A link is one authenticated connection to an SSH server.
type link struct {
	end    endpoint
	how    string // by what right the login was made
	client *gossh.Client
	wire   *wire
	again  func(context.Context) (*link, error) // makes another; nil when the user was asked for more than a key
}

// dial opens a connection from the server onwards.
func (k *link) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return k.client.DialContext(ctx, network, address)
}

// close cuts the connection without a word, which never blocks.
func (k *link) close() {
	k.wire.Close()
}

// closeLinks closes links in the reverse of the order they were made in.
func closeLinks(links []*link) {
	for i := len(links) - 1; i >= 0; i-- {
		links[i].close()
	}
}

// A wire is a network connection that reads ahead and counts what it receives.
type wire struct {
	net.Conn
	r        *bufio.Reader
	received atomic.Uint64 // bytes
	ended    func()        // called when nothing more comes
	once     sync.Once
	err      error
}

func newWire(c net.Conn, ended func()) *wire {
	w := &wire{Conn: c, ended: ended}
	w.r = bufio.NewReaderSize(counter{w}, readAhead)
	return w
}

func (w *wire) Read(p []byte) (int, error) { return w.r.Read(p) }

// Close closes the connection once.
func (w *wire) Close() error {
	w.once.Do(func() { w.err = w.Conn.Close() })
	return w.err
}

type counter struct{ w *wire }

func (c counter) Read(p []byte) (int, error) {
	n, err := c.w.Conn.Read(p)
	c.w.received.Add(uint64(n))
	if err != nil {
		c.w.ended()
	}
	return n, err
}

// An alarm closes a connection when a step takes longer than its bound. Its
// clock stands still while the user is being asked something.
type alarm struct {
	mu    sync.Mutex
	timer *time.Timer
	end   time.Time
	rang  bool
}

func newAlarm(d time.Duration, ring func()) *alarm {
	a := &alarm{end: time.Now().Add(d)}
	a.timer = time.AfterFunc(d, func() {
		a.mu.Lock()
		a.rang = true
		a.mu.Unlock()
		ring()
	})
	return a
}

// set starts a new step of length d.
func (a *alarm) set(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer.Stop() {
		a.end = time.Now().Add(d)
		a.timer.Reset(d)
	}
}

// pause stops the clock until resume is called.
func (a *alarm) pause() (resume func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.timer.Stop() {
		return func() {}
	}
	left := max(time.Until(a.end), time.Second)
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.end = time.Now().Add(left)
		a.timer.Reset(left)
	}
}

// stop ends the alarm and reports whether it rang.
func (a *alarm) stop() bool {
	a.timer.Stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rang
}

// connect makes a connection to a server, exchanges keys and authenticates, with one
// connection from dial and one authentication, whatever comes of it.
func (c *connector) connect(ctx context.Context, h *hop, dial gat.DialFunc) (*link, error) {
	d := c.shared.door(h.addr())
	if err := d.enter(ctx, c.target.Pause); err != nil {
		return nil, err
	}
	k, err := c.handshake(ctx, h, dial)
	d.leave(errors.Is(err, errNotGreeted))
	return k, err
}

// handshake is connect, once it is our turn at the server.
func (c *connector) handshake(ctx context.Context, h *hop, dial gat.DialFunc) (*link, error) {
	dialCtx, cancel := context.WithTimeout(ctx, h.timeout)
	var conn net.Conn
	var err error
	if h.proxied {
		conn, err = startProxy(h.config.ProxyCommand)
	} else if conn, err = dial(dialCtx, h.network, h.addr()); err != nil {
		err = dialError(ctx, h.endpoint, err)
	}
	cancel()
	if err != nil {
		return nil, err
	}
	// Nobody is asked on behalf of a server that has gone.
	asking, hungUp := context.WithCancelCause(ctx)
	defer hungUp(nil)
	w := newWire(conn, func() { hungUp(errHungUp) })
	clock := newAlarm(h.timeout, func() { w.Close() })
	unwatch := context.AfterFunc(ctx, func() { w.Close() })

	// What the callbacks saw tells the steps of a failed handshake apart.
	keeper, err := c.keeper(ctx, h, clock)
	if err != nil {
		clock.stop()
		unwatch()
		w.Close()
		return nil, err
	}
	try := h.ring.attempt(asking, h.endpoint, clock)
	try.call = ctx
	config := &gossh.ClientConfig{
		User:              h.user,
		HostKeyAlgorithms: keeper.known.algorithms(h),
		HostKeyCallback: func(_ string, _ net.Addr, key gossh.PublicKey) error {
			first := !keeper.trusted
			err := keeper.check(key)
			if err == nil && first {
				clock.set(3 * max(h.timeout, c.backend.Timeout))
			}
			return err
		},
		AuthCallback:  try.next,
		ClientVersion: "SSH-2.0-Zorilla",
	}
	algorithms(config, h.config)
	sc, chans, reqs, err := gossh.NewClientConn(w, h.addr(), config)
	timedOut := clock.stop()
	if err != nil {
		err = &foreign{err}
	}
	if !unwatch() && err == nil {
		sc.Close()
		err = context.Cause(ctx)
	}
	if err == nil {
		k := &link{end: h.endpoint, how: try.how(h, keeper), client: gossh.NewClient(sc, chans, reqs), wire: w}
		if !try.answered && try.rounds == 0 {
			k.again = func(ctx context.Context) (*link, error) { return c.connect(ctx, h, dial) }
		}
		return k, nil
	}
	w.Close()
	switch {
	case keeper.err != nil:
		return nil, keeper.err
	case keeper.trusted:
		return nil, try.failure(ctx, timedOut, err)
	}
	if neg, ok := errors.AsType[*gossh.AlgorithmNegotiationError](err); ok && neg.What == "host key" {
		if f := keeper.known.noCommonKey(h, neg); f != nil {
			return nil, fmt.Errorf("greet %s: %w", h.addr(), f)
		}
	}
	if p, ok := conn.(*proxyConn); ok && ctx.Err() == nil {
		return nil, p.failure(h, timedOut, err)
	}
	return nil, greetError(ctx, h, timedOut, err)
}

// foreign is an error with text of a server's in it, made fit to show.
type foreign struct{ error }

func (f *foreign) Error() string { return strings.Join(lines(f.error.Error()), " ") }
func (f *foreign) Unwrap() error { return f.error }
