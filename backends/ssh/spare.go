package ssh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/backends/shell"
)

// spareAfter is how long a server refuses sessions before a further connection is
// made: one that has just ended may still be counted.
const spareAfter = 300 * time.Millisecond

// spares are further connections to a server that allows fewer sessions on one
// than are needed (MaxSessions 1 allows a single command at a time). They are
// made one after the other, kept until the login ends, and only for a login that
// took keys alone: nobody is asked again.
type spares struct {
	again func(context.Context) (*link, error) // makes one; nil when none may be made
	most  int
	turn  chan struct{} // held while a session is looked for

	mu   sync.Mutex
	cut  bool
	list []*link
	// since is when the server began to refuse sessions on the login's own
	// connection; zero while it does not.
	since time.Time
}

func newSpares(again func(context.Context) (*link, error), most int) *spares {
	return &spares{again: again, most: most, turn: make(chan struct{}, 1)}
}

// served notes that the login's own connection took a session.
func (s *spares) served() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Time{}
}

// open opens a session on another connection, after the login's own was refused one.
func (s *spares) open(ctx context.Context, refused error) (shell.Session, error) {
	s.mu.Lock()
	if s.since.IsZero() {
		s.since = time.Now()
	}
	early := time.Since(s.since) < spareAfter
	s.mu.Unlock()
	if early || s.again == nil {
		return nil, refused
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a further connection: %w", context.Cause(ctx))
	}
	for _, k := range s.links() {
		session, err := openSession(ctx, k.client)
		switch {
		case err == nil:
			return session, nil
		case errors.Is(err, shell.ErrBroken):
			s.drop(k) // the login itself may be well
		case !errors.Is(err, shell.ErrRefused):
			return nil, err
		}
	}
	if len(s.links()) >= s.most {
		return nil, refused
	}
	k, err := s.again(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w, and a further connection fails: %w", refused, err)
	}
	if !s.add(k) {
		return nil, refused
	}
	session, err := openSession(ctx, k.client)
	if errors.Is(err, shell.ErrBroken) {
		s.drop(k)
		return nil, fmt.Errorf("%w, and a further connection broke: %v", refused, err)
	}
	return session, err
}

func (s *spares) links() []*link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

func (s *spares) drop(k *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(other *link) bool { return other == k })
	k.close()
}

// add keeps a connection, unless all have been cut.
func (s *spares) add(k *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		k.close()
		return false
	}
	s.list = append(s.list, k)
	return true
}

// close ends all of them and never blocks.
func (s *spares) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
	closeLinks(s.list)
	s.list = nil
}
