package staging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Set is a file set and the files behind it. It holds no file content: it
// serves chunks by reading the files again, and notices when they are not what
// they were. It is safe for concurrent use.
type Set struct {
	manifest *wire.Manifest
	encoded  []byte
	root     wire.Digest
	size     int64
	files    []setFile // beside manifest.Files
	at       map[wire.Digest]piece
}

// setFile is where the content of one entry comes from.
type setFile struct {
	kind  string // "input" or "output", for messages
	name  string // likewise
	open  func() (*os.File, error)
	size  int64
	mtime time.Time
}

// piece is one place of a chunk.
type piece struct {
	file   int32
	size   uint32
	offset int64
}

// Manifest returns the set's manifest, which the caller must not change.
func (s *Set) Manifest() *wire.Manifest { return s.manifest }

// Root returns the digest that names the set.
func (s *Set) Root() wire.Digest { return s.root }

// Size returns the bytes in all files.
func (s *Set) Size() int64 { return s.size }

// Blob implements [Source]. The error matches [ErrChanged], and names the
// file, when it is not what it was when the set was made.
func (s *Set) Blob(_ context.Context, d wire.Digest, buf []byte) ([]byte, error) {
	if d == s.root {
		return s.encoded, nil
	}
	p, ok := s.at[d]
	if !ok {
		return nil, ErrNotHeld
	}
	src := &s.files[p.file]
	f, err := src.open()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%v %w: it is gone", src, ErrChanged)
		}
		return nil, fmt.Errorf("%v: %w", src, err)
	}
	defer f.Close()
	if err := src.check(f); err != nil {
		return nil, err
	}
	if cap(buf) < int(p.size) {
		buf = make([]byte, p.size)
	}
	buf = buf[:p.size]
	if _, err := f.ReadAt(buf, p.offset); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%v %w", src, ErrChanged)
		}
		return nil, fmt.Errorf("%v: %w", src, err)
	}
	if wire.Digest(blake3.Sum256(buf)) != d {
		return nil, fmt.Errorf("%v %w", src, ErrChanged)
	}
	return buf, nil
}

func (f *setFile) String() string { return f.kind + " " + f.name }

// check compares an open file with what it was.
func (f *setFile) check(open *os.File) error {
	fi, err := open.Stat()
	if err != nil {
		return fmt.Errorf("%v: %w", f, err)
	}
	if fi.Size() != f.size || !fi.ModTime().Equal(f.mtime) || !fi.Mode().IsRegular() {
		return fmt.Errorf("%v %w", f, ErrChanged)
	}
	return nil
}

// chunkSize returns the size of a file's chunks: the smallest of 1, 2 and
// 4 MiB that gives at most 256 of them, or else 4 MiB. It depends on nothing
// but the file's size, so that equal files have equal chunks in every set.
func chunkSize(size int64) int64 {
	c := int64(1 << 20)
	for c < wire.MaxChunk && size > 256*c {
		c *= 2
	}
	return c
}

// entry is an entry of a set that is being made.
type entry struct {
	file wire.File
	src  setFile
}

// hashBatch is how many bytes of a file are hashed as one piece of work.
const hashBatch = 16 << 20

// newSet hashes the files of entries, which are sorted by path.
func newSet(ctx context.Context, entries []entry, parallel int, progress func(done, total int64)) (*Set, error) {
	if parallel <= 0 {
		parallel = 2
	}
	s := &Set{manifest: new(wire.Manifest), at: make(map[wire.Digest]piece)}
	if len(entries) > wire.MaxFiles {
		return nil, fmt.Errorf("%d files are more than %d: pack them into an archive", len(entries), wire.MaxFiles)
	}
	type job struct {
		entry int
		first int64 // offset
	}
	var jobs []job
	chunks := int64(0)
	for i := range entries {
		f := &entries[i].file
		if f.Size == 0 {
			continue
		}
		c := chunkSize(f.Size)
		n := (f.Size + c - 1) / c
		s.size += f.Size
		if chunks += n; chunks > wire.MaxChunks || f.Size > wire.MaxFileSize || s.size > wire.MaxTotal {
			return nil, fmt.Errorf("%v: the files are too large to be sent together (%d bytes so far)", &entries[i].src, s.size)
		}
		f.Chunks = make([]wire.Chunk, n)
		for first := int64(0); first < f.Size; first += hashBatch {
			jobs = append(jobs, job{i, first})
		}
	}
	var mu sync.Mutex
	var done int64
	next := make(chan job)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(next)
		for _, j := range jobs {
			select {
			case next <- j:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range min(parallel, max(len(jobs), 1), 4*runtime.GOMAXPROCS(0)) {
		g.Go(func() error {
			var buf []byte
			for j := range next {
				e := &entries[j.entry]
				var err error
				if buf, err = hashRange(ctx, e, j.first, buf); err != nil {
					return err
				}
				if progress != nil {
					mu.Lock()
					done += min(hashBatch, e.file.Size-j.first)
					progress(done, s.size)
					mu.Unlock()
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}

	s.manifest.Files = make([]wire.File, len(entries))
	s.files = make([]setFile, len(entries))
	for i := range entries {
		f := &entries[i].file
		s.manifest.Files[i], s.files[i] = *f, entries[i].src
		var off int64
		for _, c := range f.Chunks {
			if _, ok := s.at[c.Digest]; !ok {
				s.at[c.Digest] = piece{file: int32(i), size: c.Size, offset: off}
			}
			off += int64(c.Size)
		}
	}
	if err := checkSet(s.manifest); err != nil {
		return nil, err
	}
	s.encoded = wire.EncodeManifest(s.manifest)
	if len(s.encoded) > wire.MaxManifest {
		return nil, fmt.Errorf("the list of %d files takes %d bytes, more than %d: pack them into an archive", len(entries), len(s.encoded), wire.MaxManifest)
	}
	s.root = blake3.Sum256(s.encoded)
	return s, nil
}

// hashRange fills in the chunks of one entry from an offset on, hashBatch
// bytes at most. It returns its buffer for the next call.
func hashRange(ctx context.Context, e *entry, first int64, buf []byte) ([]byte, error) {
	f, err := e.src.open()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return buf, fmt.Errorf("%v %w: it is gone", &e.src, ErrChanged)
		}
		return buf, fmt.Errorf("%v: %w", &e.src, err)
	}
	defer f.Close()
	size := chunkSize(e.file.Size)
	for off := first; off < min(first+hashBatch, e.file.Size); off += size {
		if err := ctx.Err(); err != nil {
			return buf, err
		}
		n := min(size, e.file.Size-off)
		if int64(cap(buf)) < n {
			buf = make([]byte, n)
		}
		b := buf[:n]
		if _, err := f.ReadAt(b, off); err != nil {
			if errors.Is(err, io.EOF) {
				return buf, fmt.Errorf("%v %w", &e.src, ErrChanged)
			}
			return buf, fmt.Errorf("%v: %w", &e.src, err)
		}
		e.file.Chunks[off/size] = wire.Chunk{Digest: blake3.Sum256(b), Size: uint32(n)}
	}
	return buf, e.src.check(f)
}

// checkSet holds a manifest to what its limits alone do not say: whatever has
// something below it is a directory, and links lead nowhere but into the set,
// also when they lead through other links. The latter is so when every ".." of
// a target comes before its other elements: up from a real directory, then
// down, perhaps through links for which the same is true.
func checkSet(m *wire.Manifest) error {
	if err := m.Validate(); err != nil {
		return err
	}
	kinds := make(map[string]bool, len(m.Files)) // path: is a directory
	for i := range m.Files {
		f := &m.Files[i]
		kinds[f.Path] = f.Mode&wire.ModeDir != 0
	}
	for i := range m.Files {
		f := &m.Files[i]
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			isDir, listed := kinds[dir]
			if !listed {
				return fmt.Errorf("%w: directory %q of %q is not listed", wire.ErrInvalid, dir, f.Path)
			}
			if !isDir {
				return fmt.Errorf("%w: %q is below %q, which is no directory", wire.ErrInvalid, f.Path, dir)
			}
		}
		if f.Mode&wire.ModeLink != 0 && !upThenDown(f.Link) {
			return fmt.Errorf("%w: link %q has %q in the middle of its target", wire.ErrInvalid, f.Path, "..")
		}
	}
	return nil
}

// upThenDown reports whether a link's target has ".." only at its beginning.
func upThenDown(target string) bool {
	down := false
	for elem := range strings.SplitSeq(target, "/") {
		switch elem {
		case "", ".":
		case "..":
			if down {
				return false
			}
		default:
			down = true
		}
	}
	return !strings.ContainsAny(target, "\\\x00")
}
