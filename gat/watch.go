package gat

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"
)

// pollLimit bounds one poll, login included.
const pollLimit = 2 * time.Minute

// poller is the one poll for all watched jobs of a site. Guarded by Site.mu.
type poller struct {
	known    map[JobID]*record
	watchers []*watcher
	running  bool
	last     time.Time // start of the last poll
}

// watcher is one run of a Watch sequence.
type watcher struct {
	open  []JobID            // jobs not told to be final yet
	news  map[JobID]struct{} // jobs whose status is to be told
	err   error              // the last poll's, to be told
	ready chan struct{}      // holds a token when there is something to tell
}

func (w *watcher) wake() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// Watch follows jobs: it gives each job's state, as soon as the site has been
// asked, and again whenever it or its reason changed. States never move back: a
// lower one than was seen before is not believed, except that a job held may be
// released. A job the site has no record of is
// given as [Unknown], and as [Failed] with a reason when that stays so for
// SiteConfig.Grace polls. A slow consumer gets the latest state only.
//
// The sequence ends when all jobs ended, when ctx ends, or when the site is
// closed (the last error then matches [ErrClosed]). A poll that failed is told
// as an error with an empty status, and polling goes on; breaking off is up to
// the consumer. However many watchers there are, the site is asked at most
// once per SiteConfig.PollEvery.
func (s *Site) Watch(ctx context.Context, ids ...JobID) iter.Seq2[JobStatus, error] {
	return func(yield func(JobStatus, error) bool) {
		if err := s.check("watch", ids); err != nil {
			yield(JobStatus{}, err)
			return
		}
		w, err := s.watch(ids)
		if err != nil {
			yield(JobStatus{}, err)
			return
		}
		defer s.unwatch(w, ids)
		for {
			news, err, left := s.take(w)
			for _, st := range news {
				if !yield(st, nil) {
					return
				}
			}
			if err != nil && !yield(JobStatus{}, err) {
				return
			}
			if left == 0 {
				return
			}
			select {
			case <-w.ready:
			case <-ctx.Done():
				return
			case <-s.life.Done():
				yield(JobStatus{}, &Error{Class: Permanent, Op: "watch", Site: s.cfg.Name, Err: ErrClosed})
				return
			}
		}
	}
}

func (s *Site) watch(ids []JobID) (*watcher, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, &Error{Class: Permanent, Op: "watch", Site: s.cfg.Name, Err: ErrClosed}
	}
	w := &watcher{news: make(map[JobID]struct{}), ready: make(chan struct{}, 1)}
	for _, id := range ids {
		rec := s.poll.record(id)
		rec.watchers++
		if !slices.Contains(w.open, id) {
			w.open = append(w.open, id)
		}
		if rec.told {
			w.news[id] = struct{}{}
		}
	}
	s.poll.watchers = append(s.poll.watchers, w)
	if !s.poll.running {
		s.poll.running = true
		s.wg.Go(s.pollLoop)
	}
	return w, nil
}

func (s *Site) unwatch(w *watcher, ids []JobID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.poll.record(id).watchers--
	}
	s.poll.watchers = slices.DeleteFunc(s.poll.watchers, func(o *watcher) bool { return o == w })
}

// take returns what is to be told to w, and how many of its jobs go on.
func (s *Site) take(w *watcher) (news []JobStatus, err error, left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.open = slices.DeleteFunc(w.open, func(id JobID) bool {
		if _, ok := w.news[id]; !ok {
			return false
		}
		st := s.poll.record(id).status
		news = append(news, st)
		return st.State.Final()
	})
	clear(w.news)
	err, w.err = w.err, nil
	return news, err, len(w.open)
}

// pollLoop polls while there are watchers.
func (s *Site) pollLoop() {
	for {
		s.mu.Lock()
		if len(s.poll.watchers) == 0 || s.closed {
			s.poll.running = false
			s.mu.Unlock()
			return
		}
		wait := s.pollEveryLocked() - time.Since(s.poll.last)
		s.mu.Unlock()
		if pause(s.life, wait) != nil {
			continue
		}
		s.pollOnce()
	}
}

// pollEveryLocked is the least time between two polls: what was configured, else
// the longest that a login asks for.
func (s *Site) pollEveryLocked() time.Duration {
	if s.cfg.PollEvery > 0 {
		return s.cfg.PollEvery
	}
	var every time.Duration
	for _, r := range s.routes {
		if p, ok := r.login.(Paced); ok {
			every = max(every, p.PollEvery())
		}
	}
	if every > 0 {
		return every
	}
	return DefaultPollEvery
}

func (s *Site) pollOnce() {
	s.mu.Lock()
	s.poll.last = time.Now()
	var ids []JobID
	for _, w := range s.poll.watchers {
		for _, id := range w.open {
			if !s.poll.record(id).status.State.Final() {
				ids = append(ids, id)
			}
		}
	}
	s.mu.Unlock()
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeoutCause(s.life, pollLimit, fmt.Errorf("no answer within %v", pollLimit))
	defer cancel()
	answers, err := s.ask(ctx, ids)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.learnLocked(answers)
	for _, w := range s.poll.watchers {
		w.err = err
		if err != nil {
			w.wake()
		}
	}
}

// learnLocked takes over answers of the site and tells the watchers the news.
func (s *Site) learnLocked(answers map[JobID]JobStatus) {
	changed := make(map[JobID]bool, len(answers))
	for id, st := range answers {
		changed[id] = s.poll.record(id).merge(st, s.cfg.Grace)
	}
	for _, w := range s.poll.watchers {
		for _, id := range w.open {
			if changed[id] {
				w.news[id] = struct{}{}
			}
		}
		if len(w.news) > 0 {
			w.wake()
		}
	}
}
