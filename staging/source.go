package staging

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Errors that callers branch on.
var (
	// ErrNotHeld says that a source does not hold a blob.
	ErrNotHeld = errors.New("not held")
	// ErrChanged says that a file is not what it was when its set was made.
	ErrChanged = errors.New("changed while it was being sent")
	// ErrWrongBytes says that bytes do not have the digest they were sent under.
	ErrWrongBytes = errors.New("wrong bytes")
	// ErrFull says that a store has reached its limit or its disk is full.
	ErrFull = errors.New("no space left")
	// ErrSuperseded says that a newer attempt of the rank counts.
	ErrSuperseded = errors.New("a newer attempt counts")
)

// Stream is a byte stream to one peer. Read, Write and Close may be called
// from different goroutines at once; Close ends blocked calls. CloseWrite ends
// one's own direction only.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Source holds blobs: chunks and encoded manifests. It is safe for concurrent
// use.
type Source interface {
	// Blob returns the blob with a digest. It may use buf's memory or return
	// memory of its own, which the caller must not change. Without the blob,
	// the error matches [ErrNotHeld].
	Blob(ctx context.Context, d wire.Digest, buf []byte) ([]byte, error)
}

// Library says which sources a node serves to the members of which job. The
// zero value is empty and ready; it is safe for concurrent use.
type Library struct {
	mu   sync.Mutex
	jobs map[wire.JobID][]Source
}

// Add lets members of a job fetch from a source, after those added before.
func (l *Library) Add(job wire.JobID, src Source) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.jobs == nil {
		l.jobs = make(map[wire.JobID][]Source)
	}
	l.jobs[job] = append(l.jobs[job], src)
}

// Remove takes one source away from a job again.
func (l *Library) Remove(job wire.JobID, src Source) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs[job] = slices.DeleteFunc(slices.Clone(l.jobs[job]), func(s Source) bool { return s == src })
	if len(l.jobs[job]) == 0 {
		delete(l.jobs, job)
	}
}

// Drop takes all sources of a job away.
func (l *Library) Drop(job wire.JobID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.jobs, job)
}

// Lookup returns what a job's members may fetch; see [Serve]. Its error
// matches [ErrNotHeld] for unknown jobs.
func (l *Library) Lookup(job wire.JobID) (Source, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.jobs[job]
	if len(s) == 0 {
		return nil, ErrNotHeld
	}
	return shelf(s[:len(s):len(s)]), nil
}

// shelf tries several sources in order. A source that fails does not hide the
// others: equal blobs may be in several, of which one is being taken away.
type shelf []Source

func (s shelf) Blob(ctx context.Context, d wire.Digest, buf []byte) ([]byte, error) {
	failed := error(ErrNotHeld)
	for _, src := range s {
		b, err := src.Blob(ctx, d, buf)
		if err == nil || ctx.Err() != nil {
			return b, err
		}
		if !errors.Is(err, ErrNotHeld) {
			failed = err
		}
	}
	return nil, failed
}

var (
	_ Source = (*Set)(nil)
	_ Source = (*Store)(nil)
)
