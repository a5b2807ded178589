package staging

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Materialize writes a set, whose chunks a store holds, into a worker's
// sandbox. Every file is a copy of its own, because workers may change what
// they are given; where the file system can, the copy shares its blocks.
// Permission bits are kept, except that a directory's owner may always use it.
// What is there already under a name of the set is replaced. Nothing is
// written outside root, whatever the manifest says.
//
// Times of files are a little in the past, so that whatever the program writes
// is newer: see [TakeSnapshot].
func Materialize(ctx context.Context, m *wire.Manifest, store *Store, root *os.Root) error {
	t, err := newTree(root, m)
	if err != nil {
		return fmt.Errorf("materialize: %w", err)
	}
	if err := t.dirs(); err != nil {
		return fmt.Errorf("materialize: %w", err)
	}
	past := time.Now().Add(-2 * time.Second).Truncate(time.Second)
	for i := range m.Files {
		f := &m.Files[i]
		if f.Mode&(wire.ModeDir|wire.ModeLink) != 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("materialize: %w", context.Cause(ctx))
		}
		if err := t.copy(f, t.names[i], store, past); err != nil {
			return fmt.Errorf("materialize %s: %w", f.Path, diskError(err))
		}
	}
	if err := t.finish(); err != nil {
		return fmt.Errorf("materialize: %w", err)
	}
	return nil
}

// tree writes the entries of a manifest below a root.
type tree struct {
	root     *os.Root
	manifest *wire.Manifest
	names    []string // local names, beside manifest.Files
}

func newTree(root *os.Root, m *wire.Manifest) (*tree, error) {
	if err := checkSet(m); err != nil {
		return nil, err
	}
	t := &tree{root: root, manifest: m, names: make([]string, len(m.Files))}
	for i := range m.Files {
		name, err := filepath.Localize(m.Files[i].Path)
		if err != nil {
			return nil, fmt.Errorf("%q cannot be a file's name on this system", m.Files[i].Path)
		}
		t.names[i] = name
	}
	return t, nil
}

// dirs makes all directories. Each is a real one: a link in its place, left by
// an earlier attempt, is removed, so that no file is written through it.
func (t *tree) dirs() error {
	for i := range t.manifest.Files {
		if t.manifest.Files[i].Mode&wire.ModeDir == 0 {
			continue
		}
		err := t.root.Mkdir(t.names[i], 0o700)
		if errors.Is(err, fs.ErrExist) {
			fi, serr := t.root.Lstat(t.names[i])
			switch {
			case serr != nil:
				err = serr
			case fi.IsDir():
				err = t.root.Chmod(t.names[i], 0o700)
			default:
				if err = t.root.Remove(t.names[i]); err == nil {
					err = t.root.Mkdir(t.names[i], 0o700)
				}
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// finish makes the links, after all files, and sets the modes of directories,
// the deepest first.
func (t *tree) finish() error {
	for i := range t.manifest.Files {
		f := &t.manifest.Files[i]
		if f.Mode&wire.ModeLink == 0 {
			continue
		}
		target := filepath.FromSlash(f.Link)
		err := t.root.Symlink(target, t.names[i])
		if errors.Is(err, fs.ErrExist) {
			if err = t.root.Remove(t.names[i]); err == nil {
				err = t.root.Symlink(target, t.names[i])
			}
		}
		if err != nil {
			return err
		}
	}
	for i, f := range slices.Backward(t.manifest.Files) {
		if f.Mode&wire.ModeDir != 0 {
			if err := t.root.Chmod(t.names[i], fs.FileMode(f.Mode&0o777)|0o700); err != nil {
				return err
			}
		}
	}
	return nil
}

// copy writes one file from a store's chunks.
func (t *tree) copy(f *wire.File, name string, store *Store, past time.Time) (err error) {
	out, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if err = t.root.Remove(name); err == nil {
			out, err = t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		}
	}
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = t.root.Chtimes(name, past, past)
		}
		if err != nil {
			t.root.Remove(name) // best effort: no half a file
		}
	}()
	for _, c := range f.Chunks {
		if err := store.copyTo(out, c); err != nil {
			return err
		}
	}
	return out.Chmod(fs.FileMode(f.Mode & 0o777))
}

// copyTo appends a chunk to a file, inside the kernel where it can.
func (s *Store) copyTo(out *os.File, c wire.Chunk) error {
	s.mu.Lock()
	b := s.blobs[c.Digest]
	s.mu.Unlock()
	if b == nil || b.size != int64(c.Size) {
		return fmt.Errorf("chunk %s: %w", c.Digest, ErrNotHeld)
	}
	in, err := s.root.Open(c.Digest.String())
	if err != nil {
		return fmt.Errorf("chunk store in %s: %w", s.dir, err)
	}
	defer in.Close()
	n, err := io.Copy(out, in)
	if err == nil && n != int64(c.Size) {
		err = fmt.Errorf("chunk store in %s: %s: %w", s.dir, c.Digest, ErrWrongBytes)
	}
	return err
}

// workerDir opens dir/worker-RANK, making it when absent.
func workerDir(dir *os.Root, rank uint32) (*os.Root, error) {
	name := "worker-" + strconv.FormatUint(uint64(rank), 10)
	if err := dir.Mkdir(name, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if fi, err := dir.Lstat(name); err != nil {
		return nil, err
	} else if !fi.IsDir() {
		return nil, fmt.Errorf("%s is a %s, not a directory", name, kindOf(fi.Mode()))
	}
	return dir.OpenRoot(name)
}

// setAside renames what would hide a worker's output streams: stdout and
// stderr at the top, in any case of letters, because of file systems that
// ignore it.
func setAside(m *wire.Manifest) *wire.Manifest {
	tops := make(map[string]bool)
	reserved := false
	for i := range m.Files {
		top, _, _ := strings.Cut(m.Files[i].Path, "/")
		tops[strings.ToLower(top)] = true
		reserved = reserved || isReserved(top)
	}
	if !reserved {
		return m
	}
	renamed := make(map[string]string)
	out := &wire.Manifest{Files: slices.Clone(m.Files)}
	for i := range out.Files {
		f := &out.Files[i]
		top, rest, below := strings.Cut(f.Path, "/")
		if !isReserved(top) {
			continue
		}
		to, ok := renamed[top]
		if !ok {
			for to = top + ".file"; tops[strings.ToLower(to)]; {
				to += ".file"
			}
			tops[strings.ToLower(to)] = true
			renamed[top] = to
		}
		f.Path = to
		if below {
			f.Path += "/" + rest
		}
	}
	sort.Slice(out.Files, func(i, j int) bool { return out.Files[i].Path < out.Files[j].Path })
	return out
}

func isReserved(top string) bool {
	return strings.EqualFold(top, "stdout") || strings.EqualFold(top, "stderr")
}

// parts writes files from chunks that arrive in any order: each file grows
// under a temporary name until it is whole.
type parts struct {
	t      *tree
	prefix string
	places map[wire.Digest][]piece
	mu     sync.Mutex
	left   []int // chunks that a file waits for
	open   map[int32]struct{}
}

// parts makes directories and empty files, and plans the others.
func (t *tree) parts() (*parts, error) {
	p := &parts{
		t: t, prefix: ".part-" + rand.Text() + "-",
		places: make(map[wire.Digest][]piece),
		left:   make([]int, len(t.manifest.Files)),
		open:   make(map[int32]struct{}),
	}
	if err := t.dirs(); err != nil {
		return nil, err
	}
	for i := range t.manifest.Files {
		f := &t.manifest.Files[i]
		if f.Mode&(wire.ModeDir|wire.ModeLink) != 0 {
			continue
		}
		p.left[i] = len(f.Chunks)
		if len(f.Chunks) == 0 {
			if err := p.write(piece{file: int32(i)}, nil); err != nil {
				return nil, err
			}
		}
		var off int64
		for _, c := range f.Chunks {
			if old := p.places[c.Digest]; len(old) > 0 && old[0].size != c.Size {
				return nil, fmt.Errorf("%w: chunk %s has two sizes", wire.ErrInvalid, c.Digest)
			}
			p.places[c.Digest] = append(p.places[c.Digest], piece{file: int32(i), size: c.Size, offset: off})
			off += int64(c.Size)
		}
	}
	return p, nil
}

// sortByPlace orders chunks as they lie in the files, so that files become
// whole one after the other.
func (p *parts) sortByPlace(chunks []wire.Chunk) {
	sort.Slice(chunks, func(i, j int) bool {
		x, y := p.places[chunks[i].Digest][0], p.places[chunks[j].Digest][0]
		return x.file < y.file || x.file == y.file && x.offset < y.offset
	})
}

// put writes a verified chunk to all its places.
func (p *parts) put(d wire.Digest, data []byte) error {
	for _, at := range p.places[d] {
		if err := p.write(at, data); err != nil {
			return err
		}
	}
	return nil
}

func (p *parts) write(at piece, data []byte) error {
	temp := p.prefix + strconv.Itoa(int(at.file))
	p.mu.Lock()
	p.open[at.file] = struct{}{}
	p.mu.Unlock()
	out, err := p.t.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if len(data) > 0 {
		_, err = out.WriteAt(data, at.offset)
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", p.t.manifest.Files[at.file].Path, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left[at.file]--; p.left[at.file] > 0 {
		return nil
	}
	name := p.t.names[at.file]
	mode := fs.FileMode(p.t.manifest.Files[at.file].Mode&0o777) | 0o600
	if err := p.t.root.Chmod(temp, mode); err != nil {
		return err
	}
	if err := p.t.root.Rename(temp, name); err != nil {
		return fmt.Errorf("write %s: %w", path.Base(name), err)
	}
	delete(p.open, at.file)
	return nil
}

// clean removes what did not become whole.
func (p *parts) clean() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.open {
		p.t.root.Remove(p.prefix + strconv.Itoa(int(i)))
	}
}
