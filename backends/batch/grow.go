package batch

import (
	"context"
	"fmt"
	"path"

	"github.com/zorilla-grid/zorilla/gat"
)

// A Growing is what a [Dialect] needs to leave somebody at the host means to submit,
// follow and cancel jobs: texts for sh that print words for machines.
type Growing struct {
	ID     string // a filter: of what the submit command printed for one job, its identifier
	Status string // prints lines of an identifier and queued, held, running or done for the user's jobs
	Cancel string // ends the jobs "$@"; fails unless each has ended or is being ended
	Refuse func(spec gat.JobSpec) error
}

// more is sh that submits "$1" jobs; the command line and the filter follow.
const more = `gat_n=$1
while [ "$gat_n" -gt 0 ]; do
	gat_n=$((gat_n - 1))
	gat_o=$(%s <%s) || exit
	printf '%%s\n' "$gat_o" | %s
done
`

// Grow renders submissions of single jobs, for others to make.
func (l *login) Grow(ctx context.Context, spec gat.JobSpec, script string) (gat.Growth, error) {
	const op = "render submissions"
	d := l.d
	if spec.Resources.Shape == gat.Multi {
		return gat.Growth{}, &gat.Error{Class: gat.Permanent, Op: op, Err: fmt.Errorf("jobs of several nodes are not submitted by others: %w", gat.ErrCannot)}
	}
	if d.Growing == nil {
		return gat.Growth{}, &gat.Error{Class: gat.Permanent, Op: op, Err: fmt.Errorf("%s has no texts by which others submit jobs: %w", d.Title, gat.ErrCannot)}
	}
	if !path.IsAbs(script) {
		return gat.Growth{}, invalid(op, fmt.Errorf("script %q is not an absolute path", script))
	}
	spec.Count = 1
	if err := d.valid(spec); err != nil {
		return gat.Growth{}, err
	}
	if d.Growing.Refuse != nil {
		if err := d.Growing.Refuse(spec); err != nil {
			return gat.Growth{}, &gat.Error{Class: gat.Permanent, Op: op, Err: fmt.Errorf("%w: %w", err, gat.ErrCannot)}
		}
	}
	facts, err := l.permitting(ctx, spec)
	if err != nil {
		return gat.Growth{}, err
	}
	j := d.job(spec, 1, facts)
	argv, err := d.Submit(j)
	if err != nil {
		return gat.Growth{}, invalid(op, err)
	}
	body, err := l.script(j)
	if err != nil {
		return gat.Growth{}, err
	}
	begin := d.tools() + plain
	return gat.Growth{
		Script: []byte(body),
		Submit: d.tools() + fmt.Sprintf(more, quoteAll(argv), Quote(script), d.Growing.ID),
		Status: begin + d.Growing.Status,
		Cancel: begin + d.Growing.Cancel,
	}, nil
}

var _ gat.Grower = (*login)(nil)
