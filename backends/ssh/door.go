package ssh

import (
	"context"
	"fmt"
	"sync"
)

// mostGreeted is how many logins to one server are under way at once. Servers hang up on
// who comes while many others have yet to authenticate: OpenSSH's begins with one in three
// of those that find ten (MaxStartups 10:30:100).
const mostGreeted = 4

// A door is where the logins of a session to one server wait for their turn. It is
// safe for concurrent use.
type door struct {
	mu     sync.Mutex
	room   int
	inside int
	left   chan struct{} // closed, and another one made, when one leaves
}

// door returns the door of a server.
func (s *Shared) door(addr string) *door {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.doors[addr]
	if d == nil {
		d = &door{room: mostGreeted, left: make(chan struct{})}
		s.doors[addr] = d
	}
	return d
}

// enter waits for a turn and takes it. The wait is done by pause, unless that is nil.
func (d *door) enter(ctx context.Context, pause func(context.Context, func())) error {
	for {
		d.mu.Lock()
		if d.inside < d.room {
			d.inside++
			d.mu.Unlock()
			return nil
		}
		left := d.left
		d.mu.Unlock()
		wait := func() {
			select {
			case <-left:
			case <-ctx.Done():
			}
		}
		if pause != nil {
			pause(ctx, wait)
		} else {
			wait()
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for other logins: %w", context.Cause(ctx))
		}
	}
}

// leave ends a turn. A server that hung up instead of greeting is from then on
// visited by one login at a time.
func (d *door) leave(hungUp bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if hungUp {
		d.room = 1
	}
	d.inside--
	close(d.left)
	d.left = make(chan struct{})
}
