package launcher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
)

// Times of connections to agents over a login.
const (
	attachTimeout = 30 * time.Second // from a command's start to a link
	redialFirst   = 500 * time.Millisecond
	redialMost    = 10 * time.Second

	// startPatience is for an agent that was just started to answer.
	startPatience = 15 * time.Second

	// returnPatience is for the pilots of a hub that died to find the one in its
	// place: they look for it at least every 10 s.
	returnPatience = 15 * time.Second
)

// stayAttached keeps a connection to an agent's socket over the login to its host.
// What came of the first one goes to up.
func (r *siteRun) stayAttached(ctx context.Context, h *host, socket string, up chan<- error) {
	began, wait := time.Now(), redialFirst
	lost := time.Time{} // when the last connection ended
	var last wire.NodeID
	for ctx.Err() == nil {
		again := r.loggedIn()
		closed := make(chan error, 4)
		peer, err := r.attach(ctx, h, socket, closed)
		if err == nil {
			wait, last = redialFirst, peer.ID
			if socket == r.hubSocket() {
				r.setHub(h, peer.ID)
			}
			r.change(func(c *SiteChanged) {
				if c.State == "detached" || c.State == "starting" && socket == r.hubSocket() && c.Submitted == 0 && !r.site.Batch() {
					c.State, c.Error = "up", ""
				}
			})
			select {
			case up <- nil:
			default:
			}
			r.wg.Go(func() { r.direct(ctx, h) })
			if err = r.whileAttached(ctx, peer, closed); ctx.Err() != nil {
				return
			}
			lost = time.Now()
			r.s.log.Info("connection lost", "site", r.site.Name, "host", h.Host, "error", err)
		} else {
			r.s.log.Info("not attached", "site", r.site.Name, "host", h.Host, "error", err)
		}
		if r.ending() || ctx.Err() != nil {
			return
		}
		if errors.Is(err, errNoAgent) && last.IsZero() && time.Since(began) < startPatience {
			// What refuses is the socket of the agent before.
			select {
			case <-time.After(wait):
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case up <- err: // of the first try only; later ones find the buffer full or unread
		default:
		}
		if errors.Is(err, errNoAgent) {
			r.agentDied(ctx, h, socket, last)
			return
		}
		if !lost.IsZero() {
			if time.Since(lost) > r.s.leaseOf(r.site) {
				r.gone(fmt.Errorf("site %s: the connection was lost for longer than the lease of %v: %w", r.site.Name, r.s.leaseOf(r.site), err))
				return
			}
			r.detached(err, lost)
		}
		select {
		case <-time.After(wait):
		case <-again:
			wait = redialFirst
			continue
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, redialMost)
	}
}

// admitEvery is how often a hub is offered admission again: it takes it in the last
// half of the 24 hours for which it may admit pilots.
const admitEvery = time.Hour

// whileAttached waits for the end of a connection and returns its reason.
// Meanwhile it sees to it that a hub can go on admitting pilots.
func (r *siteRun) whileAttached(ctx context.Context, peer transport.Peer, closed <-chan error) error {
	offer := time.NewTicker(admitEvery)
	defer offer.Stop()
	for {
		select {
		case err := <-closed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-offer.C:
			if peer.Role != wire.RoleHub {
				continue
			}
			if err := r.s.ep.OfferAdmission(ctx, peer.ID); err != nil {
				r.s.log.Info("hub not admitted again", "site", r.site.Name, "error", err)
			}
		}
	}
}

// errNoAgent matches errors of attach that say that nobody listens on the socket.
var errNoAgent = errors.New("no agent answers")

// attach connects this node to an agent through a bridge that is run over the
// login. Streams that carry much get connections of their own.
func (r *siteRun) attach(ctx context.Context, h *host, socket string, closed chan<- error) (transport.Peer, error) {
	tctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	return r.bridge(ctx, tctx, h, socket, transport.Options{Admit: true, Path: wire.PathSSH, More: r.more(h, socket), OnClose: func(err error) { closed <- err }})
}

// bridge connects this node to an agent's socket by a command that is run over
// the login. tctx bounds the making of the connection, ctx its life.
func (r *siteRun) bridge(ctx, tctx context.Context, h *host, socket string, o transport.Options) (transport.Peer, error) {
	// The command outlives this call: it ends with the connection.
	cctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(tctx, cancel)
	p, err := h.gat.Run(cctx, gat.Command{Argv: []string{h.binary, "attach", path.Join(h.sessionDir(r.s.id), socket)}})
	if err != nil {
		cancel()
		return transport.Peer{}, err
	}
	conn := newBridgeConn(p, r.moved)
	onClose := o.OnClose
	o.OnClose = func(err error) {
		cancel()
		if onClose != nil {
			onClose(err)
		}
	}
	peer, err := r.s.ep.Connect(tctx, conn, transport.Local, o)
	if err != nil {
		if conn.noAgent() {
			err = errNoAgent
		}
		conn.Close()
		cancel()
		return peer, fmt.Errorf("site %s: attach to %s: %w", r.site.Name, socket, err)
	}
	stop()
	return peer, nil
}

// agentDied tells that an agent does not listen any more, and starts a hub again.
func (r *siteRun) agentDied(ctx context.Context, h *host, socket string, dead wire.NodeID) {
	if !dead.IsZero() {
		r.s.agent.Do(func(now time.Duration, n *core.Node) { n.Gone(now, dead, "it was killed") })
	}
	if socket != r.hubSocket() {
		return // its loss is answered as any pilot's
	}
	if gat.ClassOf(r.failure()) == gat.Denied {
		return // another one would not be let either
	}
	r.mu.Lock()
	again := h.hubRestarts < maxRestarts
	h.hubRestarts++
	r.mu.Unlock()
	if !again {
		r.gone(fmt.Errorf("site %s: the hub on %s died %d times", r.site.Name, h.Host, maxRestarts+1))
		return
	}
	r.s.events.emit(Warned{Site: r.site.Name, Text: fmt.Sprintf("the hub on %s is gone; starting another", h.Host)})
	err := r.restore(ctx, h)
	if err == nil {
		err = r.startHub(ctx, h, true)
	}
	if err != nil {
		r.gone(err)
		return
	}
	r.change(func(c *SiteChanged) {
		if c.State == "detached" || c.State == "probing" || c.State == "uploading" {
			c.State, c.Error = "up", ""
		}
	})
	// The pilots behind the hub know the addresses of the dead one.
	for _, address := range r.listening(h) {
		if _, err := r.listenAt(ctx, h, address); err != nil {
			r.s.events.emit(Warned{Site: r.site.Name, Text: fmt.Sprintf("the new hub on %s does not listen where the dead one did: %v", h.Host, err)})
		}
	}
	r.expect(returnPatience)
}

// expect gives the site's pilots that cannot be reached a time to come back.
func (r *siteRun) expect(within time.Duration) {
	r.s.agent.Do(func(now time.Duration, n *core.Node) { n.Expect(now, r.site.Name, within) })
}

func (r *siteRun) setHub(h *host, id wire.NodeID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.hub = id
}

// hubOf returns the hub on a host; another one takes the place of one that died.
func (r *siteRun) hubOf(h *host) wire.NodeID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return h.hub
}

// hubLinked is hubOf as long as there is a connection to the site.
func (r *siteRun) hubLinked(h *host) wire.NodeID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.State == "detached" {
		return wire.NodeID{}
	}
	return h.hub
}

// listening returns the addresses that pilots behind a hub know it by.
func (r *siteRun) listening(hub *host) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	if r.batch != nil {
		list = r.batch.listening()
	}
	for _, h := range r.hosts {
		for _, address := range h.hubs {
			if a, ok := strings.CutPrefix(address, "tcp:"); ok && h != hub && !slices.Contains(list, a) {
				list = append(list, a)
			}
		}
	}
	return list
}

// gone gives the site up.
func (r *siteRun) gone(err error) {
	r.s.supply.update(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.err = err
		r.gaveUp = max(r.gaveUp, r.status.Submitted-r.joined)
		if r.batch != nil {
			r.batch.giveUp(err)
		}
	})
	r.change(func(c *SiteChanged) { c.State, c.Error = "failed", oneLine(err) })
	r.expect(0)
}

func (r *siteRun) ending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.finishing
}

// dialThrough opens connections from the host of a hub.
func (r *siteRun) dialThrough(h *host) gat.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		s, err := r.s.ep.OpenStream(ctx, r.hubOf(h), wire.StreamDial)
		if err != nil {
			return nil, err
		}
		answer := new(wire.Accepted)
		if err := ask(ctx, s, &wire.Dial{Address: address}, answer); err != nil {
			s.Reset()
			return nil, err
		}
		if answer.Error != "" {
			s.Close()
			return nil, errors.New(answer.Error)
		}
		return s, nil
	}
}

// listenAt has a hub listen for the site's pilots.
func (r *siteRun) listenAt(ctx context.Context, h *host, address string) (string, error) {
	return r.listenOn(ctx, h, wire.Listen{Host: address})
}

// listenOn has a hub listen where the site's pilots can reach it, and returns where.
func (r *siteRun) listenOn(ctx context.Context, h *host, want wire.Listen) (string, error) {
	s, err := r.s.ep.OpenStream(ctx, r.hubOf(h), wire.StreamListen)
	if err != nil {
		return "", err
	}
	defer s.Close()
	answer := new(wire.Listening)
	if err := ask(ctx, s, &want, answer); err != nil {
		return "", err
	}
	if answer.Error != "" {
		return "", errors.New(answer.Error)
	}
	r.s.run.operations.listen(r.site.Name, h.behind, answer.Address)
	return answer.Address, nil
}

// ask sends a message on a stream and reads the answer into one of its kind.
func ask[M interface {
	*T
	wire.Message
}, T any](ctx context.Context, s *transport.Stream, question wire.Message, answer M) error {
	stop := context.AfterFunc(ctx, func() { s.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := wire.WriteFrame(s, question); err != nil {
		return err
	}
	m, err := wire.ReadFrame(s, 0)
	if err != nil {
		return err
	}
	a, ok := m.(M)
	if !ok {
		return fmt.Errorf("unexpected answer %T", m)
	}
	*answer = *a
	return nil
}
