package ssh

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/gat"
)

const (
	aliveMisses  = 3               // intervals without a sign of life
	slotPatience = 5 * time.Second // how long a refused session is tried again
)

// A login is one connection and everything done over it.
type login struct {
	c    *connector
	url  string
	hops []*link // jump hosts first, the host itself last
	link *link

	slots  chan struct{} // one per session that is open
	proven atomic.Bool   // the server executes what it is asked to
	files  transfers

	wg     sync.WaitGroup
	ctx    context.Context // ends with the login
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	err    error
	closed bool
	procs  map[*process]struct{} // those that run
}

func newLogin(c *connector, url string, hops []*link) *login {
	l := &login{
		c: c, url: url, hops: hops, link: hops[len(hops)-1],
		slots: make(chan struct{}, c.backend.Sessions),
		done:  make(chan struct{}),
		procs: make(map[*process]struct{}),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.wg.Go(func() {
		err := l.link.client.Wait()
		l.mu.Lock()
		if l.err == nil && !l.closed {
			l.err = l.fault("keep the login", problem(gat.Transient, "", fmt.Errorf("the connection to %s broke: %w", l.link.end, err)))
		}
		l.mu.Unlock()
		l.cancel()
		closeLinks(l.hops)
		close(l.done)
	})
	l.wg.Go(l.watch)
	return l
}

func (l *login) fault(op string, err error) error { return classified(op, l.url, err) }

// Done is closed when the login is no longer usable.
func (l *login) Done() <-chan struct{} { return l.done }

// Err says why the login ended; nil while it lives and after Close.
func (l *login) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close ends the login and every command that runs over it: servers do not kill
// commands by themselves when a connection ends.
func (l *login) Close() error {
	l.mu.Lock()
	procs := slices.Collect(maps.Keys(l.procs))
	l.mu.Unlock()
	for _, p := range procs {
		p.end(errClosed)
	}
	timer := time.NewTimer(killTime)
	defer timer.Stop()
	for _, p := range procs {
		select {
		case <-p.ended:
			continue
		case <-timer.C:
		case <-l.done:
		}
		break
	}
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	closeLinks(l.hops)
	l.wg.Wait()
	return nil
}

// fail ends the login with an error.
func (l *login) fail(err error) {
	l.mu.Lock()
	if l.err == nil && !l.closed {
		l.err = l.fault("keep the login", err)
	}
	l.mu.Unlock()
	closeLinks(l.hops)
}

// watch asks the server for a sign of life now and then. Any byte received is one.
func (l *login) watch() {
	every := l.c.backend.KeepAlive
	tick := time.NewTicker(every)
	defer tick.Stop()
	answer := make(chan struct{}, 1)
	asked, missed := false, 0
	seen := l.link.wire.received.Load()
	for {
		select {
		case <-l.done:
			return
		case <-answer:
			asked, missed = false, 0
			continue
		case <-tick.C:
		}
		if now := l.link.wire.received.Load(); now != seen {
			seen, missed = now, 0
		} else if asked {
			missed++
		}
		if missed >= aliveMisses {
			l.fail(problem(gat.Transient, "", fmt.Errorf("the connection to %s is dead: no answer for %v", l.link.end, aliveMisses*every)))
			return
		}
		if !asked {
			asked = true
			l.spawn(func() { // ends with the connection at the latest
				if _, _, err := l.link.client.SendRequest("keepalive@openssh.com", true, nil); err == nil {
					answer <- struct{}{}
				}
			})
		}
	}
}

// A session is one session channel and the slot it takes.
type session struct {
	gossh.Channel
	requests <-chan *gossh.Request
}

// open opens a session channel. It waits for a free slot, and a little for a
// server that allows fewer sessions than we do, within ctx. The caller calls release
// when the channel of requests is closed.
func (l *login) open(ctx context.Context) (*session, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case l.slots <- struct{}{}:
	default:
		select {
		case l.slots <- struct{}{}:
		case <-l.done:
			return nil, l.gone()
		case <-ctx.Done():
			return nil, problem(gat.Transient, "other commands hold them: end one, or allow more",
				fmt.Errorf("all %d sessions of the login are in use: %w", cap(l.slots), context.Cause(ctx)))
		}
	}
	end := time.Now().Add(slotPatience)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		s, err := l.openOnce(ctx)
		if err == nil {
			return s, nil
		}
		refused, ok := errors.AsType[*gossh.OpenChannelError](err)
		if !ok || refused.Reason == gossh.UnknownChannelType {
			if !errors.Is(err, errAbandoned) {
				l.release()
			}
			return nil, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			end = time.Time{}
		case <-l.done:
			timer.Stop()
			l.release()
			return nil, l.gone()
		}
		timer.Stop()
		if time.Now().After(end) {
			open := len(l.slots) - 1
			l.release()
			return nil, problem(gat.Transient, fmt.Sprintf("the server's MaxSessions may be %d: end one of them first", open),
				fmt.Errorf("the server refuses another session while %d are open: %w", open, refused))
		}
	}
}

func (l *login) release() { <-l.slots }

// errAbandoned says that the slot is released later, by who opens the channel.
var errAbandoned = errors.New("no answer to the request for a session")

// openOnce asks for a session channel. The library cannot be interrupted, so
// when ctx ends first the channel is closed as soon as it is there.
func (l *login) openOnce(ctx context.Context) (*session, error) {
	type result struct {
		s   *session
		err error
	}
	got, abandoned := make(chan result), make(chan struct{})
	if !l.spawn(func() {
		ch, reqs, err := l.link.client.OpenChannel("session", nil)
		select {
		case got <- result{&session{ch, reqs}, err}:
		case <-abandoned:
			if err == nil {
				ch.Close()
				gossh.DiscardRequests(reqs)
			}
			l.release()
		}
	}) {
		return nil, l.gone()
	}
	select {
	case r := <-got:
		if _, ok := errors.AsType[*gossh.OpenChannelError](r.err); r.err != nil && !ok {
			return nil, l.gone()
		}
		return r.s, r.err
	case <-ctx.Done():
		close(abandoned)
		return nil, fmt.Errorf("%w: %w", errAbandoned, context.Cause(ctx))
	}
}

// spawn runs f in a goroutine that Close waits for, unless the login is closed.
func (l *login) spawn(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.wg.Go(f)
	return true
}

// gone says why nothing more can be done over the login.
func (l *login) gone() error {
	<-l.done
	if err := l.Err(); err != nil {
		e, _ := errors.AsType[*gat.Error](err)
		return problem(gat.Transient, "", e.Err)
	}
	return problem(gat.Permanent, "", fmt.Errorf("the login is closed: %w", net.ErrClosed))
}
