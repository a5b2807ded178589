package gat

import "context"

// Grower is the ability to leave at the host of a queueing system what somebody
// else needs there to submit more jobs of a kind, to follow and to cancel them,
// when this program cannot.
type Grower interface {
	// Grow renders a submission of single jobs like spec, whose Count does not
	// count. Script is the absolute path, at the host logged in to, of the file
	// that Growth.Script will be put into. Nothing is submitted.
	Grow(ctx context.Context, spec JobSpec, script string) (Growth, error)
}

// Growth is what [Grower] renders. Its texts are for /bin/sh to read from its
// standard input. They hold nothing secret; the script may.
type Growth struct {
	Script []byte // to be put into the file, of mode 0600

	Submit string // submits as many jobs as its argument says; prints each one's JobID, one a line
	Status string // prints "JobID queued", "held", "running" or "done" for jobs that are known, those of its arguments among them
	Cancel string // cancels the jobs that its arguments name; those that are over do no harm
}

// Grow renders what is needed to submit, follow and cancel jobs at the site's
// first URL that can. Sites without a queueing system, and those whose system
// has no such texts, give an error that matches [ErrCannot]. See [Grower].
func (s *Site) Grow(ctx context.Context, spec JobSpec, script string) (Growth, error) {
	var g Growth
	err := s.each(ctx, "render submissions", s.routes, func(ctx context.Context, r *route, l Login) error {
		a, err := able[Grower](l, "render submissions for others")
		if err != nil {
			return err
		}
		o := s.observe(r, "render submissions", script)
		g, err = a.Grow(ctx, spec, script)
		return o.end(err)
	})
	return g, err
}
