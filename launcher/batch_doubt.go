package launcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// doubtTime is how long a scheduler may still be at a submission whose answer was lost.
const doubtTime = 10 * time.Second

// A doubt is about a submission whose answer was lost: its jobs may be in the queue.
type doubt struct {
	since time.Time // zero: there is none
	each  int       // pilots of each of its jobs
}

// lost looks for jobs of a submission whose answer was lost, before anything is
// submitted in their place: they have the session's name, and we do not know them. The
// listing that tells is one that all share, so that this may take a minute.
func (b *batchRun) lost(ctx context.Context) (ids []gat.JobID, each int, err error) {
	b.mu.Lock()
	d := b.doubt
	b.mu.Unlock()
	if d.since.IsZero() {
		return nil, 0, nil
	}
	r := b.r
	settled := doubtTime
	if r.s.opts.Poll > 0 {
		settled = min(settled, r.s.opts.Poll)
	}
	name := r.site.PilotJob(r.s.id, 1).Name
	found, err := r.gat.Find(ctx, name, d.since.Add(settled))
	if err != nil && !errors.Is(err, gat.ErrCannot) {
		return nil, 0, fmt.Errorf("look for jobs of a submission whose answer was lost: %w", err)
	}
	b.mu.Lock()
	for _, st := range found {
		if !b.queue.Knows(st.ID) {
			ids = append(ids, st.ID)
		}
	}
	b.mu.Unlock()
	if len(ids) > 0 {
		what := What{Name: name}
		for _, id := range ids {
			what.Jobs = append(what.Jobs, string(id))
		}
		seq, err := r.record(KindJob, "", what)
		if err == nil {
			err = r.s.run.Ledger.Confirm(seq, nil)
		}
		if err != nil {
			return nil, 0, err
		}
		r.s.log.Info("jobs found of a submission whose answer was lost", "site", r.site.Name, "jobs", len(ids))
	}
	b.mu.Lock()
	b.doubt = doubt{}
	b.mu.Unlock()
	return ids, d.each, nil
}
