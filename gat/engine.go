package gat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// step is one operation over one open login.
type step func(ctx context.Context, r *route, l Login) error

// finalError marks an error after which neither a retry nor another URL is
// right, because part of the operation may have taken effect.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// each does an operation over the first of the routes that can.
func (s *Site) each(ctx context.Context, op string, routes []*route, do step) error {
	var tries []*Error
	for _, r := range routes {
		err := s.try(ctx, op, r, do)
		if err == nil {
			return nil
		}
		e := s.fill(err, op, r)
		tries = append(tries, e)
		_, final := errors.AsType[*finalError](err)
		if final || e.Class == Invalid || ctx.Err() != nil || errors.Is(err, ErrClosed) {
			break
		}
		s.log.Debug("URL did not do", "op", op, "url", r.text, "err", err)
	}
	return s.join(op, tries)
}

// try does an operation over one route, again while its errors are transient
// and the retries last.
func (s *Site) try(ctx context.Context, op string, r *route, do step) error {
	wait := s.cfg.Backoff
	var login time.Duration // spent on logins that failed
	for n := 0; ; n++ {
		began := time.Now()
		err := s.once(ctx, op, r, do)
		if err == nil {
			return nil
		}
		if e, ok := errors.AsType[*Error](err); ok && e.Op == "log in" && !errors.Is(err, errUnseen) {
			login += time.Since(began)
		}
		_, held := errors.AsType[*heldError](err)
		_, final := errors.AsType[*finalError](err)
		if held || final || ClassOf(err) != Transient || n >= s.cfg.Retries || login >= s.cfg.LoginTimeout || ctx.Err() != nil {
			s.passOver(ctx, r, err)
			return err
		}
		s.log.Debug("trying again", "op", op, "url", r.text, "wait", wait, "err", err)
		if err := pause(ctx, wait); err != nil {
			return s.fill(err, op, r)
		}
		wait = min(2*wait, maxBackoff)
	}
}

func (s *Site) once(ctx context.Context, op string, r *route, do step) error {
	login, err := s.acquire(ctx, r)
	if err != nil {
		return s.mark(err, "log in", r)
	}
	if err := do(ctx, r, login); err != nil {
		_, classified := errors.AsType[*Error](err)
		if !classified && ended(login) && ctx.Err() == nil {
			err = &Error{Class: Transient, Err: err, Hint: "the connection broke"}
		}
		return s.mark(err, op, r)
	}
	s.mu.Lock()
	s.useLocked(r)
	s.mu.Unlock()
	return nil
}

// passOver holds a route whose login kept failing for transient reasons, when
// there are others.
func (s *Site) passOver(ctx context.Context, r *route, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil && r.login == nil && r.held == nil && len(s.routes) > 1 && ClassOf(err) == Transient {
		r.held, r.until = err, time.Now().Add(loginHold)
	}
}

// mark fills in an error and keeps its held or final mark.
func (s *Site) mark(err error, op string, r *route) error {
	e := s.fill(err, op, r)
	if _, ok := errors.AsType[*heldError](err); ok {
		return &heldError{e}
	}
	if _, ok := errors.AsType[*finalError](err); ok {
		return &finalError{e}
	}
	return e
}

// fill returns err as an Error that says where and at what it happened.
func (s *Site) fill(err error, op string, r *route) *Error {
	for {
		switch e := err.(type) {
		case *heldError:
			err = e.error
			continue
		case *finalError:
			err = e.error
			continue
		}
		break
	}
	var filled Error
	if e, ok := err.(*Error); ok {
		filled = *e
	} else {
		filled = Error{Class: ClassOf(err), Err: err}
		if errors.Is(err, context.DeadlineExceeded) {
			filled.Class = Transient
		}
	}
	if filled.Op == "" {
		filled.Op = op
	}
	if filled.Site == "" {
		filled.Site = s.cfg.Name
	}
	if filled.URL == "" {
		filled.URL = r.text
	}
	return &filled
}

// tries is the error of an operation that failed over several URLs.
type tries []*Error

// Error lists the tries, one a line.
func (t tries) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "none of %d ways worked", len(t))
	for _, e := range t {
		local := *e
		local.Site = "" // said once, by the error around this
		b.WriteString("\n  " + strings.ReplaceAll(local.Error(), "\n", "\n  "))
	}
	return b.String()
}

// Unwrap returns the errors of the tries, in order.
func (t tries) Unwrap() []error {
	errs := make([]error, len(t))
	for i, e := range t {
		errs[i] = e
	}
	return errs
}

// join makes one error of those of all tries. Its class is that of the try
// that ended the sequence, transient when trying again may help.
func (s *Site) join(op string, all []*Error) error {
	if len(all) == 1 {
		return all[0]
	}
	class := all[len(all)-1].Class
	if class != Invalid && slices.ContainsFunc(all, func(e *Error) bool { return e.Class == Transient }) {
		class = Transient
	} else if able := slices.DeleteFunc(slices.Clone(all), func(e *Error) bool {
		return errors.Is(e, ErrCannot)
	}); len(able) > 0 {
		class = able[len(able)-1].Class
	}
	return &Error{Class: class, Op: op, Site: s.cfg.Name, Err: tries(all)}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
