package batch

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// Status reports what the listing that all share says, and what the accounting
// knows of jobs that are not listed any more.
func (l *login) Status(ctx context.Context, ids ...gat.JobID) ([]gat.JobStatus, error) {
	if err := l.usable(ctx, "status"); err != nil {
		return nil, err
	}
	all := make([]gat.JobStatus, len(ids))
	var ours []gat.JobID
	for i, id := range ids {
		all[i] = gat.JobStatus{ID: id, Exit: -1}
		if l.d.ID(id) {
			ours = append(ours, id)
		}
	}
	if len(ours) == 0 {
		return all, nil
	}
	if l.young(ours) {
		for i, id := range ids {
			if l.d.ID(id) {
				all[i].State = gat.Queued
			}
		}
		return all, nil
	}
	listing, when, err := l.list(ctx, ours)
	if err != nil {
		return nil, err
	}
	if err := l.lookUp(ctx, listing, when, ours); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, id := range ids {
		if l.d.ID(id) {
			all[i] = l.judge(id, listing, when)
		}
	}
	return all, nil
}

// young reports that all the jobs were submitted a moment ago, so that asking for
// them would be a waste of the one listing in a while.
func (l *login) young(ids []gat.JobID) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.askedAt = now
	return !slices.ContainsFunc(ids, func(id gat.JobID) bool {
		m := l.memo(id)
		return m.cancelled || now.Sub(m.submitted) >= l.settle()
	})
}

// list returns the listing, and when the system was asked for it.
func (l *login) list(ctx context.Context, ids []gat.JobID) (*Listing, time.Time, error) {
	text := l.d.Status(ids)
	out, when, err := l.polls.Poll(ctx, l.key+" "+text, l.every, func(ctx context.Context) ([]byte, error) {
		out, err := l.ask(ctx, "status", text)
		if err != nil {
			return nil, err
		}
		if _, err := l.d.States(out); err != nil {
			return nil, l.d.transient("status", err)
		}
		return []byte(out), nil
	})
	if err != nil {
		l.listed(time.Now())
		return nil, when, err
	}
	listing, err := l.d.States(string(out))
	if err != nil {
		return nil, when, l.d.transient("status", err)
	}
	l.listed(when)
	return listing, when, nil
}

// listed notes that the system was asked.
func (l *login) listed(when time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if when.After(l.listedAt) {
		l.listedAt = when
	}
}

// Find returns the jobs of a name that a shared listing holds which is new enough.
func (l *login) Find(ctx context.Context, name string, since time.Time) ([]gat.JobStatus, error) {
	if err := l.usable(ctx, "find jobs"); err != nil {
		return nil, err
	}
	if l.d.Nameless {
		return nil, lacks("find jobs by name")
	}
	listing, err := l.listSince(ctx, since)
	if err != nil {
		return nil, err
	}
	return listing.named(l.d.job(gat.JobSpec{Name: name}, 1, nil).Name), nil
}

// listSince returns a listing that was asked for no earlier than that, and waits
// until that may be done. A listing that failed may be the last one for a while.
func (l *login) listSince(ctx context.Context, since time.Time) (*Listing, error) {
	for {
		next := time.Until(since)
		if next <= 0 {
			listing, when, err := l.list(ctx, nil)
			if !when.Before(since) || when.IsZero() {
				return listing, err
			}
			next = time.Until(when.Add(l.every))
		}
		timer := time.NewTimer(max(next, time.Millisecond))
		select {
		case <-timer.C:
		case <-l.Done():
			timer.Stop()
			return nil, l.usable(ctx, "find jobs")
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

// lookUp asks the accounting about jobs that the listing does not tell enough of,
// once for each listing. What it does not answer stays unknown.
func (l *login) lookUp(ctx context.Context, listing *Listing, when time.Time, ids []gat.JobID) error {
	if l.d.Account == nil {
		return nil
	}
	var missing []gat.JobID
	l.mu.Lock()
	for _, id := range ids {
		m := l.memo(id)
		st, listed := listing.Find(id)
		if listed && !(st.State == gat.Failed && st.Exit < 0) && !l.d.unclear(st) || !listed && m.submitted.After(when) ||
			m.found.State.Final() || !m.looked.Before(when) || slices.Contains(missing, id) {
			continue
		}
		m.looked = when
		missing = append(missing, id)
	}
	l.mu.Unlock()
	for len(missing) > 0 {
		part := missing[:min(len(missing), idsAtOnce)]
		missing = missing[len(part):]
		out, err := l.ask(ctx, "status", l.d.Account(part))
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		found, err := l.d.Accounts(out)
		if err != nil {
			continue
		}
		l.mu.Lock()
		for _, id := range part {
			if st, ok := found.Find(id); ok {
				l.memo(id).found = st
			}
		}
		l.mu.Unlock()
	}
	return nil
}

func (d *Dialect) unclear(st gat.JobStatus) bool { return d.Unclear != nil && d.Unclear(st) }

// judge says what is known of a job. l.mu is held.
func (l *login) judge(id gat.JobID, listing *Listing, when time.Time) gat.JobStatus {
	m := l.memo(id)
	st, listed := listing.Find(id)
	switch {
	case m.found.State.Final() && (!listed || st.State.Final()):
		st = m.found
	case listed && m.found.State == st.State && l.d.unclear(st) && m.found.Reason != "":
		st.Reason = m.found.Reason
	case listed:
	case m.submitted.After(when):
		st = gat.JobStatus{State: gat.Queued, Exit: -1} // the listing is older
	case m.found.State != gat.Unknown && !m.looked.Before(when):
		st = m.found
	case m.cancelled:
		st = gat.JobStatus{State: gat.Cancelled, Exit: -1} // while it waited: no system keeps a record of that
	default:
		st = gat.JobStatus{Exit: -1}
	}
	if m.cancelled && st.State == gat.Failed {
		st.State = gat.Cancelled // how it ended is our own doing
	}
	if why := exitReasons[st.Exit]; why != "" && st.State == gat.Failed {
		st.Reason = strings.TrimPrefix(st.Reason+"; perhaps "+why, "; ")
	}
	st.ID = id
	return st
}
