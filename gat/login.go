package gat

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"
)

// route is one URL of a site and the one login made over it. Its mutable
// fields are guarded by Site.mu.
type route struct {
	url     *url.URL
	text    string // url, fit to be printed
	backend Backend

	borrowed bool // its logins are part of another site's, which closes them

	login Login
	dial  *dial
	lost  bool // a login broke since the last explicit one

	// prompted: a login used an answer that cannot be given again without the user.
	prompted bool

	held  error     // the last login's error, given again instead of a new try
	until time.Time // end of held; zero means until an explicit Login
}

// dial is a login in progress, shared by all who wait for it. It is abandoned
// when the last of them has gone.
type dial struct {
	waiters  int
	cancel   context.CancelCauseFunc
	prompted bool // guarded by Site.mu
	answered bool // guarded by Site.mu: somebody answered a question

	done  chan struct{}
	login Login
	err   error
}

var errAbandoned = errors.New("nobody waits for the login any more")

// acquire returns the login of a route, made now if there is none.
func (s *Site) acquire(ctx context.Context, r *route) (Login, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	if l := r.login; l != nil {
		if !ended(l) {
			s.mu.Unlock()
			return l, nil
		}
		s.dropLocked(r, l)
	}
	_, explicit := ctx.Value(explicitKey{}).(bool)
	if err := r.refusal(s.cfg.NeverRedial, explicit); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	if r.dial == nil {
		s.dialLocked(r)
	}
	d := r.dial
	d.waiters++
	s.mu.Unlock()

	select {
	case <-d.done:
		return d.login, d.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.waiters--
	if d.waiters == 0 && r.dial == d {
		r.dial = nil
		d.cancel(errAbandoned)
	}
	return nil, ctx.Err()
}

// explicitKey marks the context of an explicit login.
type explicitKey struct{}

// refusal says why no login is to be tried on this route now. A login that needs the
// user is nobody's who did not ask for it, also when it is under way for another.
func (r *route) refusal(neverRedial, explicit bool) error {
	switch {
	case r.lost && (neverRedial || r.prompted) && !explicit:
		return &Error{Class: Denied, Err: ErrDetached}
	case r.held != nil && (r.until.IsZero() || time.Now().Before(r.until)):
		return &heldError{r.held}
	}
	return nil
}

// heldError is the error of an earlier login; trying again is pointless for now.
type heldError struct{ error }

func (e *heldError) Unwrap() error { return e.error }

// dialLocked starts a login on r.
func (s *Site) dialLocked(r *route) {
	ctx, cancel := context.WithCancelCause(s.life)
	d := &dial{cancel: cancel, done: make(chan struct{})}
	r.dial, r.held = d, nil
	s.wg.Go(func() {
		defer cancel(nil)
		login, err := s.open(ctx, r, d)
		if !s.settle(r, d, login, err) && login != nil && !r.borrowed {
			login.Close()
		}
	})
}

// settle hands the outcome of a login to those who wait, and reports whether
// the login is wanted.
func (s *Site) settle(r *route, d *dial, login Login, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(d.done)
	if r.dial != d || s.closed {
		d.err = ErrClosed
		return false
	}
	r.dial = nil
	d.login, d.err = login, err
	if err != nil {
		r.prompted = r.prompted || d.prompted // a try that failed early asked for nothing
		s.holdLocked(r, err)
		if d.prompted && d.answered && r.held == nil {
			// Nobody is asked again because the network failed after the answer.
			r.held, r.until = err, time.Time{}
			d.err = &heldError{err}
		}
		return false
	}
	r.login, r.held, r.lost, r.prompted = login, nil, false, d.prompted
	s.useLocked(r)
	s.wg.Go(func() {
		select {
		case <-login.Done():
			s.mu.Lock()
			defer s.mu.Unlock()
			s.dropLocked(r, login)
		case <-s.life.Done():
		}
	})
	return true
}

// open makes one login, within the login timeout.
func (s *Site) open(ctx context.Context, r *route, d *dial) (Login, error) {
	limit := s.cfg.LoginTimeout
	timeout := &Error{Class: Transient, Op: "log in",
		Err: fmt.Errorf("no answer within %v", limit), Hint: "is the host up and reachable from here?"}
	timer := time.AfterFunc(limit, func() { d.cancel(timeout) })
	defer timer.Stop()

	pass := &passage{gate: s.cfg.Gate, timer: timer, limit: limit}
	if r.borrowed {
		pass.gate = nil
	}
	defer pass.exit()
	t := Target{Site: s.cfg.Name, URL: r.url, Dial: s.cfg.Dial, Home: s.cfg.Home, PollEvery: s.cfg.PollEvery, Polls: s.cfg.Polls,
		Observe: s.backendObserver(r)}
	pass.note = func(answered bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if answered {
			d.answered = true
		} else {
			d.prompted = true
		}
	}
	t.Prompted = func(ctx context.Context) { passageOf(ctx, pass).prompted() }
	var waited atomic.Bool
	t.Pause = func(ctx context.Context, wait func()) {
		waited.Store(true)
		passageOf(ctx, pass).aside(ctx, wait)
	}
	if s.cfg.Ask != nil {
		t.Ask = func(ctx context.Context, site, question string, secret bool) (string, error) {
			pass := passageOf(ctx, pass)
			answer, err := pass.pause(func() (string, error) { return s.put(ctx, site, question, secret) })
			if err == nil {
				pass.note(true)
			}
			return answer, err
		}
	}
	s.log.Debug("logging in", "url", r.text)
	login, err := s.observeLogin(ctx, r, pass, func() (Login, error) {
		ctx := context.WithValue(ctx, passageKey{}, pass)
		if _, further := r.backend.(inward); !further { // which has a login to wait for first
			if err := pass.enter(ctx); err != nil {
				return nil, err
			}
		}
		return r.backend.Open(ctx, t)
	})
	if err == nil && ctx.Err() != nil {
		if !r.borrowed {
			login.Close()
		}
		err = ctx.Err()
	}
	if err != nil {
		if context.Cause(ctx) == error(timeout) {
			return nil, &heldError{timeout}
		}
		if e, ok := errors.AsType[*Error](err); ok && waited.Load() {
			e.Err = &unseenError{e.Err}
		}
		return nil, err
	}
	return login, nil
}

// holdLocked remembers a failed login, so that operations do not knock at a
// closed door: for good where we were refused (repeated refusals lock
// accounts), for a while where another URL can do the work meanwhile.
func (s *Site) holdLocked(r *route, err error) {
	switch {
	case errors.Is(err, ErrDetached): // a login that goes through another is possible as soon as that one is back
	case ClassOf(err) == Denied:
		r.held, r.until = err, time.Time{}
	case len(s.routes) > 1 && ClassOf(err) != Transient:
		r.held, r.until = err, time.Now().Add(loginHold)
	}
}

// useLocked notes that r serves operations now.
func (s *Site) useLocked(r *route) {
	if s.closed || r.login == nil {
		return
	}
	s.via = r
	if s.isBroken {
		s.isBroken, s.broken = false, make(chan struct{})
	}
}

// dropLocked forgets a login that ended.
func (s *Site) dropLocked(r *route, l Login) {
	if r.login != l {
		return
	}
	r.login, r.lost = nil, true
	s.log.Warn("login broke", "url", r.text, "err", l.Err())
	if s.via == r && !s.isBroken {
		s.isBroken = true
		close(s.broken)
	}
}

func ended(l Login) bool {
	select {
	case <-l.Done():
		return true
	default:
		return false
	}
}
