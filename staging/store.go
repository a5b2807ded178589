package staging

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/zeebo/blake3"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// DefaultStoreBytes is the limit of a [Store] that is given none: 64 GiB.
const DefaultStoreBytes = 64 << 30

// Store keeps the blobs of a pilot in a directory, once for all its workers
// and jobs. A blob stays as long as a job refers to it. Nothing is synced to
// the disk: a store does not outlive its process. It is safe for concurrent
// use, by one process at a time.
type Store struct {
	root  *os.Root
	dir   string
	limit int64
	temp  atomic.Uint64

	mu    sync.Mutex
	blobs map[wire.Digest]*blob
	jobs  map[wire.JobID]map[wire.Digest]struct{}
	used  int64
	calls map[callKey]*call // fetches under way
}

type blob struct {
	size int64
	refs int // jobs that refer to it
}

const tempPrefix = "new-"

// OpenStore opens a store in a directory, which it makes (0700) when absent,
// and which must be for the store alone. Blobs of an earlier process are
// removed, not trusted. maxBytes bounds all blobs together; 0 means
// [DefaultStoreBytes].
func OpenStore(dir string, maxBytes int64) (*Store, error) {
	if maxBytes <= 0 {
		maxBytes = DefaultStoreBytes
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make chunk store: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open chunk store: %w", err)
	}
	s := &Store{
		root: root, dir: dir, limit: maxBytes,
		blobs: make(map[wire.Digest]*blob),
		jobs:  make(map[wire.JobID]map[wire.Digest]struct{}),
		calls: make(map[callKey]*call),
	}
	if err := s.sweep(); err != nil {
		root.Close()
		return nil, err
	}
	return s, nil
}

// sweep removes what has the name of a blob.
func (s *Store) sweep() error {
	d, err := s.root.Open(".")
	if err != nil {
		return fmt.Errorf("open chunk store: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list chunk store: %w", err)
	}
	for _, name := range names {
		if b, err := hex.DecodeString(name); err == nil && len(b) == 32 || strings.HasPrefix(name, tempPrefix) {
			if err := s.root.Remove(name); err != nil {
				return fmt.Errorf("clean chunk store: %w", err)
			}
		}
	}
	return nil
}

// Put verifies a blob and keeps it for a job. Its error matches
// [ErrWrongBytes], or [ErrFull] when the store's limit is reached or its disk
// is full; the store is then as it was. To keep what is there already is cheap.
func (s *Store) Put(job wire.JobID, d wire.Digest, data []byte) error {
	if s.keep(job, d) {
		return nil
	}
	if wire.Digest(blake3.Sum256(data)) != d {
		return fmt.Errorf("chunk %s: %w", d, ErrWrongBytes)
	}
	size := int64(len(data))
	s.mu.Lock()
	if s.used+size > s.limit {
		used := s.used
		s.mu.Unlock()
		return fmt.Errorf("chunk store in %s: %w: it holds %d of %d bytes", s.dir, ErrFull, used, s.limit)
	}
	s.used += size // reserved
	s.mu.Unlock()

	temp, err := s.write(data)

	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.blobs[d] == nil {
		// Renamed under the lock, so that no Drop can remove it unseen.
		if err = s.root.Rename(temp, d.String()); err == nil {
			s.blobs[d] = &blob{size: size}
			s.refer(job, d)
			return nil
		}
	}
	s.used -= size
	s.root.Remove(temp) // best effort: the first error counts
	if err != nil {
		return fmt.Errorf("chunk store in %s: %w", s.dir, diskError(err))
	}
	s.refer(job, d) // somebody else was faster
	return nil
}

// write puts data into a file with a name of its own, complete or not.
func (s *Store) write(data []byte) (name string, err error) {
	name = tempPrefix + strconv.FormatUint(s.temp.Add(1), 36)
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return name, err
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr // a full quota may show here only
	}
	return name, err
}

// diskError makes an error match ErrFull when it says so in the system's way.
func diskError(err error) error {
	if noSpace(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// keep refers to a blob that is there; it reports whether it is.
func (s *Store) keep(job wire.JobID, d wire.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blobs[d] == nil {
		return false
	}
	s.refer(job, d)
	return true
}

func (s *Store) refer(job wire.JobID, d wire.Digest) {
	held := s.jobs[job]
	if held == nil {
		held = make(map[wire.Digest]struct{})
		s.jobs[job] = held
	}
	if _, ok := held[d]; !ok {
		held[d] = struct{}{}
		s.blobs[d].refs++
	}
}

// Blob implements [Source]. What it returns is verified again: disks of
// strangers are not trusted with what is passed on.
func (s *Store) Blob(_ context.Context, d wire.Digest, buf []byte) ([]byte, error) {
	s.mu.Lock()
	b := s.blobs[d]
	s.mu.Unlock()
	if b == nil {
		return nil, ErrNotHeld
	}
	f, err := s.root.Open(d.String())
	if err != nil {
		return nil, fmt.Errorf("chunk store in %s: %w", s.dir, err)
	}
	defer f.Close()
	if int64(cap(buf)) < b.size {
		buf = make([]byte, b.size)
	}
	buf = buf[:b.size]
	if _, err := f.ReadAt(buf, 0); err != nil {
		return nil, fmt.Errorf("chunk store in %s: read %s: %w", s.dir, d, err)
	}
	if wire.Digest(blake3.Sum256(buf)) != d {
		return nil, fmt.Errorf("chunk store in %s: %s: %w", s.dir, d, ErrWrongBytes)
	}
	return buf, nil
}

// Used returns the bytes of all blobs.
func (s *Store) Used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Drop ends a job's references and removes the blobs that no job refers to.
// The job's fetches must have ended.
func (s *Store) Drop(job wire.JobID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first error
	for d := range s.jobs[job] {
		b := s.blobs[d]
		if b.refs--; b.refs > 0 {
			continue
		}
		delete(s.blobs, d)
		s.used -= b.size
		if err := s.root.Remove(d.String()); err != nil && first == nil {
			first = fmt.Errorf("chunk store in %s: %w", s.dir, err)
		}
	}
	delete(s.jobs, job)
	return first
}

// Close removes all blobs, and the directory when nothing else is in it.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.sweep()
	clear(s.blobs)
	clear(s.jobs)
	s.used = 0
	return errors.Join(err, s.root.Close(), os.Remove(s.dir))
}
