package shell

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// spareAfter is how long a server refuses sessions before a further connection is
// made: one that has just ended may still be counted.
const spareAfter = 300 * time.Millisecond

// Spares are further connections to a server that allows fewer sessions on one
// than are needed (MaxSessions 1 allows a single command at a time). They are
// made one after the other and kept until the login ends, and must be such that nobody is
// asked again. Methods may be called at the same time.
type Spares[C comparable] struct {
	again func(context.Context) (C, error) // makes one; nil when none may be made
	end   func(C)
	most  int
	turn  chan struct{} // held while a session is looked for

	mu   sync.Mutex
	cut  bool
	list []C
	// since is when the server began to refuse sessions on the login's own
	// connection; zero while it does not.
	since time.Time
}

// NewSpares returns none, which become at most so many. A connection is made by
// again and ended by end, which does not block; again is nil when none may be made.
func NewSpares[C comparable](most int, again func(context.Context) (C, error), end func(C)) *Spares[C] {
	return &Spares[C]{again: again, end: end, most: most, turn: make(chan struct{}, 1)}
}

// Served notes that the login's own connection took a session.
func (s *Spares[C]) Served() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Time{}
}

// Use calls use with another connection, after the login's own was refused a session,
// until one is not. It returns what use does for the last, or refused when there is no other.
func (s *Spares[C]) Use(ctx context.Context, refused error, use func(C) error) error {
	s.mu.Lock()
	if s.since.IsZero() {
		s.since = time.Now()
	}
	early := time.Since(s.since) < spareAfter
	s.mu.Unlock()
	if early || s.again == nil {
		return refused
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return fmt.Errorf("wait for a further connection: %w", context.Cause(ctx))
	}
	for _, c := range s.all() {
		err := use(c)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrBroken):
			s.drop(c) // the login itself may be well
		case !errors.Is(err, ErrRefused):
			return err
		}
	}
	if len(s.all()) >= s.most {
		return refused
	}
	c, err := s.again(ctx)
	if err != nil {
		return fmt.Errorf("%w, and a further connection fails: %w", refused, err)
	}
	if !s.add(c) {
		return refused
	}
	err = use(c)
	if errors.Is(err, ErrBroken) {
		s.drop(c)
		return fmt.Errorf("%w, and a further connection broke: %v", refused, err)
	}
	return err
}

func (s *Spares[C]) all() []C {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

func (s *Spares[C]) drop(c C) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(other C) bool { return other == c })
	s.end(c)
}

// add keeps a connection, unless all have been ended.
func (s *Spares[C]) add(c C) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		s.end(c)
		return false
	}
	s.list = append(s.list, c)
	return true
}

// Close ends all of them and never blocks.
func (s *Spares[C]) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
	for i := len(s.list) - 1; i >= 0; i-- {
		s.end(s.list[i])
	}
	s.list = nil
}
