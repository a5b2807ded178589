package gat

import (
	"context"
	"net/url"
	"time"
)

// Describe describes the site's queueing system. Sites without one give an error
// that matches [ErrCannot]. See [Describer].
func (s *Site) Describe(ctx context.Context) (QueueInfo, error) {
	var info QueueInfo
	err := s.each(ctx, "describe", s.routes, func(ctx context.Context, r *route, l Login) error {
		a, err := able[Describer](l, "describe a queueing system")
		if err != nil {
			return err
		}
		o := s.observe(r, "describe", "")
		info, err = a.Describe(ctx)
		return o.end(err)
	})
	return info, err
}

// Find returns the user's jobs of a name that have not ended, as the first URL
// that can tells, by a listing that is not older than since. It waits for one, up to
// the time between two listings. Sites without a queueing system give an error that matches [ErrCannot].
// See [Finder].
func (s *Site) Find(ctx context.Context, name string, since time.Time) ([]JobStatus, error) {
	var all []JobStatus
	err := s.each(ctx, "find jobs", s.routes, func(ctx context.Context, r *route, l Login) error {
		a, err := able[Finder](l, "find jobs by name")
		if err != nil {
			return err
		}
		o := s.observe(r, "find jobs", name)
		found, err := a.Find(ctx, name, since)
		if o.end(err) != nil {
			return err
		}
		all = found
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, st := range found {
			s.poll.record(st.ID).home = r
		}
		return nil
	})
	return all, err
}

// Inside runs a command on a node of a running job, counted from 0, by the
// scheduler's own means. When ctx ends the process is closed. It is tried over the URL the
// job was submitted by first. See [Insider].
func (s *Site) Inside(ctx context.Context, id JobID, node int, c Command) (Process, error) {
	if err := c.Validate(); err != nil {
		return nil, &Error{Class: Invalid, Op: "run inside", Site: s.cfg.Name, Err: err}
	}
	if err := s.check("run inside", []JobID{id}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	var home *route
	if rec := s.poll.known[id]; rec != nil {
		home = rec.home
	}
	s.mu.Unlock()
	var p Process
	err := s.each(ctx, "run inside", s.homeFirst(home), func(ctx context.Context, r *route, l Login) error {
		a, err := able[Insider](l, "run commands inside jobs")
		if err != nil {
			return err
		}
		o := s.observe(r, "run inside", c.Text()).about([]JobID{id})
		inner, err := a.Inside(ctx, id, node, c)
		if err != nil {
			return o.end(err)
		}
		p = o.process(&process{inner, s, r})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Head returns a site for the host that the queueing system's commands run on:
// its jobs are processes there, not in the queue. It makes no login of its own:
// it uses, renews and waits for those of this site, URL by URL. Where this site
// has no queueing system the operations of its head match [ErrCannot]. Close it
// before this one; that leaves the logins open.
func (s *Site) Head() *Site {
	cfg := s.cfg
	cfg.Name += "/head"
	in := newSite(cfg)
	for _, r := range s.routes {
		in.routes = append(in.routes, &route{url: r.url, text: r.text, backend: head{s, r}, borrowed: true})
	}
	return in
}

// head gets the login below that of one route of a site.
type head struct {
	outer *Site
	via   *route
}

func (b head) Schemes() []string    { return nil }
func (b head) Check(*url.URL) error { return nil }

func (b head) Open(ctx context.Context, _ Target) (Login, error) {
	var login Login
	err := b.outer.once(ctx, "log in", b.via, func(_ context.Context, _ *route, l Login) error {
		a, err := able[Headed](l, "be used without its queueing system: it has none")
		if err == nil {
			login = a.Head()
		}
		return err
	})
	return login, err
}
