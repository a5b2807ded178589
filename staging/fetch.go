package staging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/zeebo/blake3"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Request says what to fetch for whom, and from whom.
type Request struct {
	Job     wire.JobID
	Root    wire.Digest   // the manifest's digest
	Holders []wire.NodeID // who should have it, nearest first, the origin last
	// Open opens a fetch stream to a holder. It may be called from several
	// goroutines at once, and must end with its context.
	Open func(context.Context, wire.NodeID) (Stream, error)
	// Progress is told bytes of file content that are there, of all; what was
	// there before counts. One call at a time; it must not block.
	Progress func(done, total int64)
	Streams  int           // open at once; 0 means 2
	Stall    time.Duration // silence after which a stream is given up; 0 means 30 s
	Patience time.Duration // how long to go on without a single blob; 0 means 2 min
	Log      *slog.Logger  // nil discards
}

func (r *Request) validate() error {
	if r.Open == nil || len(r.Holders) == 0 {
		return errors.New("nobody to fetch from")
	}
	if r.Streams <= 0 {
		r.Streams = 2
	}
	if r.Stall <= 0 {
		r.Stall = 30 * time.Second
	}
	if r.Patience <= 0 {
		r.Patience = 2 * time.Minute
	}
	if r.Log == nil {
		r.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// callKey names a fetch that several workers may wait for.
type callKey struct {
	job  wire.JobID
	root wire.Digest
}

// call is a fetch under way.
type call struct {
	done     chan struct{}
	cancel   context.CancelFunc
	waiters  int // guarded by Store.mu
	mu       sync.Mutex
	progress []func(done, total int64)
	manifest *wire.Manifest
	err      error
}

func (c *call) report(done, total int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.progress {
		f(done, total)
	}
}

// Fetch gets a set for a job: its manifest and every chunk that the store does
// not have yet, each verified before it is kept. Breaks of a stream, absent
// blobs and silent holders are met by the next holder; one that sends wrong
// bytes is not asked again. What has arrived stays, so that a later Fetch
// resumes. Workers that want the same set for the same job at once share one
// fetch: the first one's request is used for all.
func (s *Store) Fetch(ctx context.Context, r Request) (*wire.Manifest, error) {
	if err := r.validate(); err != nil {
		return nil, fmt.Errorf("fetch %s: %w", r.Root, err)
	}
	key := callKey{r.Job, r.Root}
	s.mu.Lock()
	c := s.calls[key]
	if c == nil {
		c = &call{done: make(chan struct{})}
		var callCtx context.Context
		callCtx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
		s.calls[key] = c
		go func() { // owned by its waiters: the last one ends it and waits
			defer close(c.done)
			defer c.cancel()
			c.manifest, c.err = s.fetch(callCtx, r, c.report)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.calls[key] == c {
				delete(s.calls, key)
			}
		}()
	}
	c.waiters++
	s.mu.Unlock()
	if r.Progress != nil {
		c.mu.Lock()
		c.progress = append(c.progress, r.Progress)
		c.mu.Unlock()
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		s.mu.Lock()
		c.waiters--
		last := c.waiters == 0
		if last && s.calls[key] == c {
			delete(s.calls, key)
		}
		s.mu.Unlock()
		if last {
			c.cancel()
			<-c.done
		}
		return nil, fmt.Errorf("fetch %s: %w", r.Root, context.Cause(ctx))
	}
	if c.err != nil {
		return nil, fmt.Errorf("fetch %s: %w", r.Root, c.err)
	}
	return c.manifest, nil
}

func (s *Store) fetch(ctx context.Context, r Request, report func(done, total int64)) (*wire.Manifest, error) {
	f := newFetcher(&r)
	defer f.close()
	encoded, err := s.Blob(ctx, r.Root, nil)
	if err == nil {
		s.keep(r.Job, r.Root)
	} else if encoded, err = f.manifest(ctx); err != nil {
		return nil, err
	} else if err := s.Put(r.Job, r.Root, encoded); err != nil {
		return nil, err
	}
	m, err := decodeSet(encoded)
	if err != nil {
		return nil, err
	}

	var done, total int64
	var missing []wire.Chunk
	seen := make(map[wire.Digest]bool)
	for i := range m.Files {
		for _, c := range m.Files[i].Chunks {
			if seen[c.Digest] {
				continue
			}
			seen[c.Digest] = true
			total += int64(c.Size)
			if s.keep(r.Job, c.Digest) {
				done += int64(c.Size)
			} else {
				missing = append(missing, c)
			}
		}
	}
	report(done, total)
	var mu sync.Mutex
	err = f.get(ctx, missing, func(c wire.Chunk, data []byte) error {
		if err := s.Put(r.Job, c.Digest, data); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		done += int64(c.Size)
		report(done, total)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// decodeSet is DecodeManifest and the checks beyond its limits.
func decodeSet(encoded []byte) (*wire.Manifest, error) {
	m, err := wire.DecodeManifest(encoded)
	if err != nil {
		return nil, err
	}
	return m, checkSet(m)
}

// FetchInto gets a set and writes it below dir/worker-RANK: what a worker
// produced, brought home. Nothing is written anywhere else, whatever the
// manifest says, and no file is seen there before it is whole. A collected
// file or directory named stdout or stderr at the top would hide the worker's
// output streams: it is written as stdout.file or stderr.file (and so on until
// the name is free), and the returned manifest says so.
func FetchInto(ctx context.Context, r Request, dir *os.Root, rank uint32) (*wire.Manifest, error) {
	m, err := fetchInto(ctx, r, dir, rank)
	if err != nil {
		return nil, fmt.Errorf("fetch files of worker %d: %w", rank, err)
	}
	return m, nil
}

func fetchInto(ctx context.Context, r Request, dir *os.Root, rank uint32) (*wire.Manifest, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	f := newFetcher(&r)
	defer f.close()
	encoded, err := f.manifest(ctx)
	if err != nil {
		return nil, err
	}
	m, err := decodeSet(encoded)
	if err != nil {
		return nil, err
	}
	root, err := workerDir(dir, rank)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	t, err := newTree(root, setAside(m))
	if err != nil {
		return nil, err
	}
	p, err := t.parts()
	if err != nil {
		return nil, err
	}
	defer p.clean()
	var mu sync.Mutex
	var done, total int64
	var wanted []wire.Chunk
	for d, places := range p.places {
		total += int64(places[0].size)
		wanted = append(wanted, wire.Chunk{Digest: d, Size: places[0].size})
	}
	p.sortByPlace(wanted)
	if r.Progress != nil {
		r.Progress(0, total)
	}
	err = f.get(ctx, wanted, func(c wire.Chunk, data []byte) error {
		if wire.Digest(blake3.Sum256(data)) != c.Digest {
			return fmt.Errorf("chunk %s: %w", c.Digest, ErrWrongBytes)
		}
		if err := p.put(c.Digest, data); err != nil {
			return diskError(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if done += int64(c.Size); r.Progress != nil {
			r.Progress(done, total)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return t.manifest, t.finish()
}
