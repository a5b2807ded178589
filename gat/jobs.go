package gat

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Submit starts spec.Count jobs and returns their identifiers, in order, the
// same whether one URL or several were needed. When only some could be started
// it returns those together with an error. When it cannot be known whether jobs
// started, because the connection broke or the answer was lost, they are not
// submitted again: that is an error at once, which matches [ErrUnsure].
func (s *Site) Submit(ctx context.Context, spec JobSpec) ([]JobID, error) {
	if err := spec.Validate(); err != nil {
		return nil, &Error{Class: Invalid, Op: "submit", Site: s.cfg.Name, Err: err}
	}
	count := max(spec.Count, 1)
	var got []JobID
	err := s.each(ctx, "submit", s.routes, func(ctx context.Context, r *route, l Login) error {
		rest := spec
		rest.Count = count - len(got)
		o := s.observe(r, "submit", spec.text())
		ids, err := l.Submit(ctx, rest)
		o.moved(spec.size(), 0)
		o.about(ids).end(err)
		got = append(got, ids...)
		s.submitted(r, ids)
		switch {
		case err == nil:
		case errors.Is(err, ErrUnsure):
			return &finalError{err}
		case ended(l):
			return &finalError{&Error{Class: Transient, Err: fmt.Errorf("%w: %w", ErrUnsure, err), Hint: "the connection broke"}}
		case ctx.Err() != nil:
			return &finalError{fmt.Errorf("%w: %w", ErrUnsure, err)}
		}
		if len(got) >= count {
			return nil
		}
		return err
	})
	return got, err
}

// Status reports what the site knows of the given jobs, now, in the same order
// and with states that never move back (see [Site.Watch]).
func (s *Site) Status(ctx context.Context, ids ...JobID) ([]JobStatus, error) {
	if err := s.check("status", ids); err != nil {
		return nil, err
	}
	answers, err := s.ask(ctx, ids)
	if err != nil {
		return nil, err
	}
	// Being unknown counts against a job in the poll's rhythm only.
	maps.DeleteFunc(answers, func(_ JobID, st JobStatus) bool { return st.State == Unknown })
	all := make([]JobStatus, len(ids))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.learnLocked(answers)
	for i, id := range ids {
		all[i] = s.poll.record(id).status
	}
	return all, nil
}

// Cancel ends the given jobs with everything they started. Jobs that are
// finished or unknown are no error.
func (s *Site) Cancel(ctx context.Context, ids ...JobID) error {
	if err := s.check("cancel", ids); err != nil {
		return err
	}
	var errs []error
	for _, g := range s.byHome(ids) {
		if err := s.cancel(ctx, g); err != nil {
			errs = append(errs, err)
		}
	}
	return either(errs)
}

// either returns the one error there is, or all joined.
func either(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

func (s *Site) check(op string, ids []JobID) error {
	for _, id := range ids {
		if err := id.Validate(); err != nil {
			return &Error{Class: Invalid, Op: op, Site: s.cfg.Name, Err: err}
		}
	}
	return nil
}

// cancel ends jobs that share a home. Identifiers mean something only where
// they were given, so anywhere but home a job is cancelled only after that
// middleware said that it knows it.
func (s *Site) cancel(ctx context.Context, g group) error {
	left := g.ids
	var tried []*Error
	for _, r := range s.homeFirst(g.home) {
		err := s.try(ctx, "cancel", r, func(ctx context.Context, r *route, l Login) error {
			here := left
			if r != g.home {
				o := s.observe(r, "status", "")
				all, err := l.Status(ctx, left...)
				if o.end(err) != nil {
					return err
				}
				here = known(all)
			}
			if len(here) == 0 {
				return nil
			}
			if err := s.observe(r, "cancel", "").about(here).end(l.Cancel(ctx, here...)); err != nil {
				return err
			}
			left = slices.DeleteFunc(slices.Clone(left), func(id JobID) bool { return slices.Contains(here, id) })
			return nil
		})
		if err != nil {
			tried = append(tried, s.fill(err, "cancel", r))
		}
		if len(left) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(tried) == 0 {
		return nil // nobody knows them
	}
	return s.join("cancel", tried)
}

// known returns the jobs that a middleware knows.
func known(all []JobStatus) []JobID {
	var ids []JobID
	for _, st := range all {
		if st.State != Unknown {
			ids = append(ids, st.ID)
		}
	}
	return ids
}

// ask asks for the states of jobs, each at its home. Another URL's answer
// counts when it knows the job; that it does not proves nothing.
func (s *Site) ask(ctx context.Context, ids []JobID) (map[JobID]JobStatus, error) {
	answers := make(map[JobID]JobStatus, len(ids))
	var errs []error
	for _, g := range s.byHome(ids) {
		left := g.ids
		var tried []*Error
		for _, r := range s.homeFirst(g.home) {
			var all []JobStatus
			err := s.try(ctx, "status", r, func(ctx context.Context, r *route, l Login) error {
				o := s.observe(r, "status", "")
				var err error
				all, err = l.Status(ctx, left...)
				return o.end(err)
			})
			if err == nil {
				left = s.sift(answers, left, all, r, g.home)
			} else {
				tried = append(tried, s.fill(err, "status", r))
			}
			if len(left) == 0 || ctx.Err() != nil {
				break
			}
		}
		if len(left) > 0 && len(tried) > 0 {
			errs = append(errs, s.join("status", tried))
			continue
		}
		for _, id := range left {
			answers[id] = JobStatus{ID: id, Exit: -1}
		}
	}
	return answers, either(errs)
}

// sift takes over the answers of r that count and returns the jobs still open.
func (s *Site) sift(answers map[JobID]JobStatus, asked []JobID, all []JobStatus, r, home *route) []JobID {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range all {
		if st.State == Unknown && r != home {
			continue
		}
		answers[st.ID] = st
		if st.State != Unknown {
			s.poll.record(st.ID).home = r
		}
	}
	var left []JobID
	for _, id := range asked {
		if _, ok := answers[id]; !ok {
			left = append(left, id)
		}
	}
	return left
}

// group is jobs that were submitted over the same route, nil if not known.
type group struct {
	home *route
	ids  []JobID // sorted, each once
}

// byHome groups jobs, those of unknown homes last.
func (s *Site) byHome(ids []JobID) []group {
	s.mu.Lock()
	defer s.mu.Unlock()
	homes := make(map[*route][]JobID)
	for _, id := range ids {
		var home *route
		if len(s.routes) == 1 {
			home = s.routes[0]
		} else if rec := s.poll.known[id]; rec != nil {
			home = rec.home
		}
		homes[home] = append(homes[home], id)
	}
	var groups []group
	for _, home := range append(slices.Clone(s.routes), nil) {
		if all := homes[home]; len(all) > 0 {
			slices.Sort(all)
			groups = append(groups, group{home, slices.Compact(all)})
		}
	}
	return groups
}

func (s *Site) homeFirst(home *route) []*route {
	if home == nil {
		return s.routes
	}
	order := []*route{home}
	for _, r := range s.routes {
		if r != home {
			order = append(order, r)
		}
	}
	return order
}

// submitted remembers where jobs were submitted and that the site has heard of
// them.
func (s *Site) submitted(r *route, ids []JobID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.poll.record(id).home = r
	}
}

// maxKnown is how many jobs are remembered beyond those being watched.
const maxKnown = 4 * MaxCount

// record is what the site remembers of a job.
type record struct {
	home     *route
	status   JobStatus
	told     bool // status is an answer, not merely the beginning
	missing  int  // consecutive polls that did not know the job
	watchers int
}

// record returns what is remembered of a job, made if it is new.
func (p *poller) record(id JobID) *record {
	rec := p.known[id]
	if rec == nil {
		if len(p.known) >= maxKnown {
			maps.DeleteFunc(p.known, func(_ JobID, rec *record) bool { return rec.watchers == 0 })
		}
		rec = &record{status: JobStatus{ID: id, Exit: -1}}
		p.known[id] = rec
	}
	return rec
}

// merge takes over an answer of the site and reports whether it is news. A
// state lower than one seen is no news, and a final one is the last.
func (rec *record) merge(st JobStatus, grace int) bool {
	first := !rec.told
	rec.told = true
	if rec.status.State.Final() {
		return first
	}
	if st.State == Unknown {
		rec.missing++
		if rec.missing < grace {
			return first
		}
		rec.status.State, rec.status.Exit = Failed, -1
		rec.status.Reason = "the site has no record of the job any more"
		return true
	}
	rec.missing = 0
	if st.State < rec.status.State && rec.status.State > Held || st == rec.status {
		return first
	}
	rec.status = st
	return true
}
