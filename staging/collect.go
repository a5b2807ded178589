package staging

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"time"
	"unicode/utf8"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Snapshot is what was in a sandbox before its program started.
type Snapshot struct {
	files map[string]stamp
}

// stamp tells whether a file was changed.
type stamp struct {
	mode  fs.FileMode
	size  int64
	mtime time.Time
	inode uint64
	ctime int64
}

func stampOf(fi fs.FileInfo) stamp {
	if fi.IsDir() {
		return stamp{mode: fs.ModeDir} // its content is compared by itself
	}
	s := stamp{mode: fi.Mode(), size: fi.Size(), mtime: fi.ModTime().Round(0)}
	s.inode, s.ctime = changeStamp(fi)
	return s
}

func (s stamp) equal(o stamp) bool {
	return s.mode == o.mode && s.size == o.size && s.mtime.Equal(o.mtime) && s.inode == o.inode && s.ctime == o.ctime
}

// TakeSnapshot records what is in a sandbox. A change is later seen by type,
// mode, size and times; because [Materialize] sets times into the past, one in
// the very next moment is seen too.
func TakeSnapshot(ctx context.Context, root *os.Root) (*Snapshot, error) {
	s := &Snapshot{files: make(map[string]stamp)}
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		s.files[name] = stampOf(fi)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look at the sandbox: %w", err)
	}
	return s, nil
}

// Collected is what [Collect] found.
type Collected struct {
	// Set may be served; it reads below the root it was collected from, which
	// must stay open as long. Without any match it is an empty set.
	Set *Set
	// Unmatched are the globs that matched nothing new or changed.
	Unmatched []string
	// Skipped says what matched and cannot be brought home, and why: one
	// "PATH: REASON" each, at most 100.
	Skipped []string
}

const maxSkipped = 100

// Collect makes a set of the files in a sandbox that match at least one of the
// globs (see [CheckGlob]) and are new or changed since before. Links are kept
// as links and never followed: those that lead out of the sandbox, devices,
// sockets and named pipes are skipped, and so is what cannot be read. The
// program must have ended: a file that still changes is an error that matches
// [ErrChanged].
func Collect(ctx context.Context, root *os.Root, globs []string, before *Snapshot) (*Collected, error) {
	c := &collector{root: root, before: before, dirs: make(map[string]uint32), entries: make(map[string]entry)}
	for _, pattern := range globs {
		g, err := parseGlob(pattern)
		if err != nil {
			return nil, err
		}
		c.globs = append(c.globs, g)
	}
	c.matched = make([]bool, len(globs))
	out := &Collected{}
	if len(globs) > 0 {
		err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return c.visit(name, d, err)
		})
		if err != nil {
			return nil, fmt.Errorf("collect outputs: %w", err)
		}
	}
	entries := make([]entry, 0, len(c.entries))
	for _, e := range c.entries {
		entries = append(entries, e)
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].file.Path < entries[j].file.Path })
	var err error
	if out.Set, err = newSet(ctx, entries, 0, nil); err != nil {
		return nil, fmt.Errorf("collect outputs: %w", err)
	}
	for i, g := range c.globs {
		if !c.matched[i] {
			out.Unmatched = append(out.Unmatched, g.pattern)
		}
	}
	out.Skipped = c.skipped
	return out, nil
}

type collector struct {
	root    *os.Root
	before  *Snapshot
	globs   []*glob
	matched []bool
	dirs    map[string]uint32 // modes of directories seen
	entries map[string]entry
	skipped []string
}

func (c *collector) skip(name, format string, args ...any) {
	if len(c.skipped) < maxSkipped {
		c.skipped = append(c.skipped, fmt.Sprintf("%s: %s", name, fmt.Sprintf(format, args...)))
	}
}

func (c *collector) visit(name string, d fs.DirEntry, err error) error {
	if name == "." {
		return err
	}
	hit := false
	var hits []int
	for i, g := range c.globs {
		if g.match(name) {
			hit = true
			hits = append(hits, i)
		}
	}
	if err != nil { // a directory that cannot be read, or is gone
		if hit && !errors.Is(err, fs.ErrNotExist) {
			c.skip(name, "%v", err)
		}
		if d != nil && d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	fi, err := d.Info()
	if err != nil {
		if hit && !errors.Is(err, fs.ErrNotExist) {
			c.skip(name, "%v", err)
		}
		return nil
	}
	if fi.IsDir() {
		c.dirs[name] = uint32(fi.Mode().Perm())
	}
	if !hit {
		return nil
	}
	if c.before != nil {
		if old, ok := c.before.files[name]; ok && old.equal(stampOf(fi)) {
			return nil
		}
	}
	if !utf8.ValidString(name) || len(name) > wire.MaxPath {
		c.skip(fmt.Sprintf("%q", name), "the name is not UTF-8 or too long")
		return skipDir(fi)
	}
	e := entry{file: wire.File{Path: name, Mode: uint32(fi.Mode().Perm())}, src: setFile{kind: "output", name: name}}
	switch {
	case fi.IsDir():
		e.file.Mode |= wire.ModeDir
	case fi.Mode()&fs.ModeSymlink != 0:
		target, err := c.root.Readlink(name)
		if err != nil {
			c.skip(name, "%v", err)
			return nil
		}
		target = filepath.ToSlash(target)
		to := path.Join(path.Dir(name), target)
		if path.IsAbs(target) || filepath.IsAbs(target) || !fs.ValidPath(to) || !upThenDown(target) || !utf8.ValidString(target) || target == "" || len(target) > wire.MaxPath {
			c.skip(name, "the link leads to %q, outside the worker's directory", target)
			return nil
		}
		e.file.Mode, e.file.Link = wire.ModeLink|0o777, target
	case fi.Mode().IsRegular():
		f, err := c.root.OpenFile(name, readFlags, 0)
		if err != nil {
			c.skip(name, "%v", err)
			return nil
		}
		f.Close()
		root := c.root
		e.file.Size = fi.Size()
		e.src.size, e.src.mtime = fi.Size(), fi.ModTime()
		e.src.open = func() (*os.File, error) { return root.OpenFile(name, readFlags, 0) }
	default:
		c.skip(name, "it is a %s", kindOf(fi.Mode()))
		return nil
	}
	for _, i := range hits {
		c.matched[i] = true
	}
	c.entries[name] = e
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := c.entries[dir]; ok {
			break
		}
		c.entries[dir] = entry{file: wire.File{Path: dir, Mode: wire.ModeDir | c.dirs[dir]}, src: setFile{kind: "output", name: dir}}
	}
	return nil
}

func skipDir(fi fs.FileInfo) error {
	if fi.IsDir() {
		return fs.SkipDir
	}
	return nil
}
