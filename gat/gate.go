package gat

import (
	"context"
	"sync"
	"time"
)

// Gate bounds how many logins are being made at once, over all sites that share
// it: servers, and the head nodes on the way to others, refuse connections of
// which too many have not said who they are (MaxStartups of OpenSSH).
//
// A [Site] enters it before each login of its own and each login further, and
// leaves it when the login is made, has failed, or asks the user something. The wait
// does not count towards SiteConfig.LoginTimeout.
type Gate interface {
	// Enter waits for room until ctx ends. Leave is called exactly once when
	// there is no error.
	Enter(ctx context.Context) (leave func(), err error)
}

// NewGate returns a [Gate] with room for n logins at once; it is safe for concurrent
// use. N is at least 1.
func NewGate(n int) Gate { return gate(make(chan struct{}, n)) }

type gate chan struct{}

func (g gate) Enter(ctx context.Context) (func(), error) {
	select {
	case g <- struct{}{}:
		return func() { <-g }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// passage is one login's way through the gate.
type passage struct {
	gate  Gate        // nil: there is none
	timer *time.Timer // bounds the login; it stands still while the login waits
	limit time.Duration
	note  func(answered bool) // told when the login cannot be made again without the user, and when one has answered

	mu    sync.Mutex
	leave func()    // nil while it is outside
	over  bool      // it is not to be inside any more
	user  bool      // it needs the user
	since time.Time // when it entered; zero before
}

// entered returns when the login began to be made; zero if it never waited.
func (p *passage) entered() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.since
}

// enter waits until the login may be made.
func (p *passage) enter(ctx context.Context) error {
	p.mu.Lock()
	inside := p.leave != nil
	p.mu.Unlock()
	if p.gate == nil || inside {
		return nil
	}
	p.timer.Stop()
	defer p.timer.Reset(p.limit)
	leave, err := p.gate.Enter(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		leave()
		return nil
	}
	p.leave, p.since = leave, time.Now()
	return nil
}

// exit makes room for others, for good.
func (p *passage) exit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.leave != nil {
		p.leave()
		p.leave = nil
	}
}

// pause does what takes the user's time. The login's clock stands still and its room
// is given up. It does not wait for room again with an answer, which may be good for some
// seconds only: what counts is how many connections are opened at once, and this one is open.
func (p *passage) pause(do func() (string, error)) (string, error) {
	p.exit()
	p.timer.Stop()
	defer func() { p.timer.Reset(p.patience()) }()
	return do()
}

// aside waits for other logins. The login's clock stands still and its room is given up
// meanwhile; it goes on once there is room again.
func (p *passage) aside(ctx context.Context, wait func()) {
	p.timer.Stop()
	defer func() { p.timer.Reset(p.patience()) }()
	p.mu.Lock()
	leave := p.leave
	p.leave = nil
	p.mu.Unlock()
	if leave == nil {
		wait()
		return
	}
	leave()
	wait()
	p.enter(ctx) // its error is that of the context, which whoever waits looks at
}

// prompted notes that the login needs the user, who may have to confirm it elsewhere.
func (p *passage) prompted() {
	p.mu.Lock()
	p.user = true
	p.mu.Unlock()
	p.note(false)
	if p.timer.Stop() {
		p.timer.Reset(p.patience())
	}
}

// patience is how long the login may take from now on.
func (p *passage) patience() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.user {
		return max(p.limit, confirmTime)
	}
	return p.limit
}

type passageKey struct{}

// passageOf returns the passage of the login that a call is part of. A login further
// asks by way of the login it goes through, with a context of its own.
func passageOf(ctx context.Context, otherwise *passage) *passage {
	if p, ok := ctx.Value(passageKey{}).(*passage); ok {
		return p
	}
	return otherwise
}
