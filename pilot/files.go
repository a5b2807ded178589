package pilot

import (
	"context"
	"log/slog"
	"sync"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/staging"
)

// A shelf is the files of the jobs of one pilot: what was fetched for a job
// stays, and is served to others, until the job is dropped.
type shelf struct {
	store   *staging.Store
	library *staging.Library
	open    func(ctx context.Context, holder wire.NodeID) (staging.Stream, error)
	log     *slog.Logger

	mu      sync.Mutex
	jobs    map[wire.JobID]*jobFiles
	leaving map[wire.JobID]chan struct{} // dropped jobs whose files are being removed; closed when they are
}

// jobFiles is one stay of a job's files.
type jobFiles struct {
	ctx       context.Context // of its fetches
	cancel    context.CancelFunc
	fetching  sync.WaitGroup
	before    <-chan struct{} // closed when nothing of an earlier stay is left; nil: there was none
	dropped   bool
	manifests map[wire.Digest]*wire.Manifest
}

// expect returns a function that fetches files of a job and says why it could
// not. Which stay of the job they are for is decided when expect is called.
func (s *shelf) expect(ctx context.Context, f core.Fetch) (fetch func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs == nil {
		s.jobs = make(map[wire.JobID]*jobFiles)
	}
	j := s.jobs[f.Job]
	if j == nil {
		j = &jobFiles{before: s.leaving[f.Job], manifests: make(map[wire.Digest]*wire.Manifest)}
		j.ctx, j.cancel = context.WithCancel(ctx)
		s.jobs[f.Job] = j
	}
	j.fetching.Add(1)
	return func() error {
		defer j.fetching.Done()
		return s.fetch(j, f)
	}
}

func (s *shelf) fetch(j *jobFiles, f core.Fetch) error {
	if j.before != nil {
		select {
		case <-j.before:
		case <-j.ctx.Done():
			return j.ctx.Err()
		}
	}
	m, err := s.store.Fetch(j.ctx, staging.Request{Job: f.Job, Root: f.Root, Holders: f.From, Open: s.open, Log: s.log})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.dropped {
		return context.Canceled
	}
	if len(j.manifests) == 0 {
		s.library.Add(f.Job, s.store)
	}
	j.manifests[f.Root] = m
	return nil
}

// manifest returns what was fetched for a job under a root; nil if nothing was.
func (s *shelf) manifest(job wire.JobID, root wire.Digest) *wire.Manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[job]; j != nil {
		return j.manifests[root]
	}
	return nil
}

// drop forgets a job's files at once and returns what is left to do, which
// may take a while, or nil.
func (s *shelf) drop(job wire.JobID) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.library.Drop(job)
	j := s.jobs[job]
	if j == nil {
		return nil
	}
	delete(s.jobs, job)
	j.dropped = true
	j.cancel()
	gone := make(chan struct{})
	if s.leaving == nil {
		s.leaving = make(map[wire.JobID]chan struct{})
	}
	s.leaving[job] = gone
	return func() {
		j.fetching.Wait() // a fetch could bring what is about to be removed
		if err := s.store.Drop(job); err != nil {
			s.log.Warn("forgetting a job's files", "job", job.Short(), "error", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		close(gone)
		if s.leaving[job] == gone {
			delete(s.leaving, job)
		}
	}
}
