package gat

import (
	"context"
	"errors"
	"fmt"
)

// ErrUnanswered matches errors of logins whose question nobody answered in time.
var ErrUnanswered = errors.New("nobody answered")

// errUnseen matches errors of logins whose question was withdrawn before it had its turn.
var errUnseen = errors.New("the question was withdrawn while others were answered")

// unseenError is the error of a login that waited for an answer to another one's
// question; it matches errUnseen.
type unseenError struct{ error }

func (e *unseenError) Unwrap() error        { return e.error }
func (e *unseenError) Is(target error) bool { return target == errUnseen }

// put puts a question of a login to the user when it has its turn, and waits for
// the answer for a bounded time. Its errors are classified: Denied, or Transient
// for a question that was withdrawn before anybody saw it.
func (s *Site) put(ctx context.Context, site, question string, secret bool) (string, error) {
	select {
	case s.cfg.Turn <- struct{}{}:
	case <-ctx.Done():
		return "", &Error{Class: Transient, Err: fmt.Errorf("%w: %w", errUnseen, context.Cause(ctx))}
	}
	defer func() { <-s.cfg.Turn }()
	limit := s.cfg.AskTimeout
	asking, cancel := context.WithTimeoutCause(ctx, limit, ErrUnanswered)
	defer cancel()
	answer, err := s.cfg.Ask(asking, site, question, secret)
	if err == nil {
		return answer, nil
	}
	refusal := &Error{Class: Denied, Err: err}
	if context.Cause(asking) == ErrUnanswered {
		refusal.Err = fmt.Errorf("%w within %v", ErrUnanswered, limit)
		refusal.Hint = "start again when somebody is there to answer"
	}
	return "", refusal
}
