package staging

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Input is one file or directory of an input set.
type Input struct {
	// Src is a path on this machine. A symbolic link here is followed.
	Src string
	// Dst is where it goes: a slash-separated path in the set. Empty means
	// Src's base name; a path that ends in "/" means the base name below it;
	// "." puts a directory's contents at the top of the set.
	Dst string
}

// BuildOptions are the options of [Build]; the zero value is good.
type BuildOptions struct {
	Parallel int                     // files read at once; 0 means 2
	Progress func(done, total int64) // bytes hashed; one call at a time, must not block
}

// Build makes a set of files and directories. Permission bits are kept, and
// so are symbolic links below a directory, when they stay inside the set; a
// device, socket, named pipe, or a link that leads outside is an error that
// names the path and what to do. Two inputs for one place are an error too.
// A file that changes meanwhile is an error that matches [ErrChanged].
func Build(ctx context.Context, inputs []Input, o BuildOptions) (*Set, error) {
	b := builder{entries: make(map[string]*builtEntry)}
	for i := range inputs {
		if err := b.add(ctx, &inputs[i]); err != nil {
			return nil, err
		}
	}
	if err := b.checkLinks(); err != nil {
		return nil, err
	}
	entries := make([]entry, 0, len(b.entries))
	for _, e := range b.entries {
		entries = append(entries, e.entry)
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].file.Path < entries[j].file.Path })
	return newSet(ctx, entries, o.Parallel, o.Progress)
}

// builtEntry is an entry with what is known of its origin.
type builtEntry struct {
	entry
	top     string // path of its input in the set
	implied bool   // a directory made only to hold others
}

type builder struct {
	entries map[string]*builtEntry
	tops    []string
}

func (b *builder) add(ctx context.Context, in *Input) error {
	fi, err := os.Stat(in.Src)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("input %s: no such file or directory", in.Src)
		}
		return fmt.Errorf("input %s: %w", in.Src, err)
	}
	dst, err := destination(in, fi.IsDir())
	if err != nil {
		return err
	}
	if slices.Contains(b.tops, dst) {
		return fmt.Errorf("input %s: another input goes to %s already; give it another place with SRC:DST", in.Src, dst)
	}
	b.tops = append(b.tops, dst)
	for dir := path.Dir(dst); dir != "."; dir = path.Dir(dir) {
		e := &builtEntry{entry: entry{file: wire.File{Path: dir, Mode: wire.ModeDir | 0o755}, src: setFile{kind: "input", name: in.Src}}, top: dst, implied: true}
		if err := b.put(e); err != nil {
			return err
		}
	}
	if !fi.IsDir() {
		return b.regular(in.Src, dst, dst, fi)
	}
	// Walk the directory itself, not a link to it.
	src, err := filepath.EvalSymlinks(in.Src)
	if err != nil {
		return fmt.Errorf("input %s: %w", in.Src, err)
	}
	return filepath.WalkDir(src, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("input %s: %w", name, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(src, name)
		if err != nil {
			return fmt.Errorf("input %s: %w", name, err)
		}
		at := path.Join(dst, filepath.ToSlash(rel))
		if at == "." {
			return nil
		}
		if !utf8.ValidString(at) || len(at) > wire.MaxPath {
			return fmt.Errorf("input %q: the name is not UTF-8 or longer than %d bytes; rename it", name, wire.MaxPath)
		}
		if len(b.entries) > wire.MaxFiles {
			return fmt.Errorf("input %s: more than %d files; pack them into an archive", in.Src, wire.MaxFiles)
		}
		fi, err := d.Info()
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("input %s %w: it is gone", name, ErrChanged)
			}
			return fmt.Errorf("input %s: %w", name, err)
		}
		switch {
		case fi.IsDir():
			return b.put(&builtEntry{entry: entry{file: wire.File{Path: at, Mode: wire.ModeDir | uint32(fi.Mode().Perm())}, src: setFile{kind: "input", name: name}}, top: dst})
		case fi.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(name)
			if err != nil {
				return fmt.Errorf("input %s: %w", name, err)
			}
			return b.put(&builtEntry{entry: entry{file: wire.File{Path: at, Mode: wire.ModeLink | 0o777, Link: filepath.ToSlash(target)}, src: setFile{kind: "input", name: name}}, top: dst})
		}
		return b.regular(name, at, dst, fi)
	})
}

func (b *builder) regular(name, at, top string, fi fs.FileInfo) error {
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("input %s: it is a %s, which cannot be sent; leave it out", name, kindOf(fi.Mode()))
	}
	return b.put(&builtEntry{
		entry: entry{
			file: wire.File{Path: at, Mode: uint32(fi.Mode().Perm()), Size: fi.Size()},
			src: setFile{
				kind: "input", name: name, size: fi.Size(), mtime: fi.ModTime(),
				open: func() (*os.File, error) { return os.OpenFile(name, readFlags, 0) },
			},
		},
		top: top,
	})
}

// put adds an entry, unless its place is taken by something else.
func (b *builder) put(e *builtEntry) error {
	old, ok := b.entries[e.file.Path]
	switch {
	case !ok:
		b.entries[e.file.Path] = e
	case old.isDir() && e.isDir():
		if old.implied { // the real one knows its mode
			b.entries[e.file.Path] = e
		}
	default:
		return fmt.Errorf("inputs %s and %s would both be at %s; give one another place with SRC:DST", old.src.name, e.src.name, e.file.Path)
	}
	return nil
}

func (e *builtEntry) isDir() bool  { return e.file.Mode&wire.ModeDir != 0 }
func (e *builtEntry) isLink() bool { return e.file.Mode&wire.ModeLink != 0 }

// checkLinks refuses links that lead out of what is sent.
func (b *builder) checkLinks() error {
	for _, e := range b.entries {
		if !e.isLink() {
			continue
		}
		const hint = "replace it by what it leads to, or leave it out"
		target := e.file.Link
		if path.IsAbs(target) || filepath.IsAbs(target) {
			return fmt.Errorf("input %s: the link leads to the absolute path %s; %s", e.src.name, target, hint)
		}
		if !upThenDown(target) {
			return fmt.Errorf("input %s: the link to %s goes down and up again; write it without \"..\" in the middle", e.src.name, target)
		}
		to := path.Join(path.Dir(e.file.Path), target)
		within := e.top == "." || to == e.top || strings.HasPrefix(to, e.top+"/")
		if _, sent := b.entries[to]; !fs.ValidPath(to) || !within && !sent {
			return fmt.Errorf("input %s: the link leads to %s, which is outside the input; %s", e.src.name, target, hint)
		}
	}
	return nil
}

// destination returns the clean place of an input in the set.
func destination(in *Input, isDir bool) (string, error) {
	if strings.HasPrefix(in.Dst, "/") || filepath.IsAbs(in.Dst) {
		return "", fmt.Errorf("input %s: destination %s is absolute; give a path below the worker's directory", in.Src, in.Dst)
	}
	dst := path.Clean(in.Dst) // of "" is "."
	if in.Dst == "" || (strings.HasSuffix(in.Dst, "/") && dst != "." || in.Dst == "./") {
		abs, err := filepath.Abs(in.Src)
		if err != nil {
			return "", fmt.Errorf("input %s: %w", in.Src, err)
		}
		base := filepath.Base(abs)
		if base == string(filepath.Separator) {
			return "", fmt.Errorf("input %s: it has no name; give it one with SRC:DST", in.Src)
		}
		dst = path.Join(dst, base)
	}
	if dst == ".." || strings.HasPrefix(dst, "../") {
		return "", fmt.Errorf("input %s: destination %s leads out of the worker's directory", in.Src, in.Dst)
	}
	if dst == "." && !isDir {
		return "", fmt.Errorf("input %s: destination %q is a directory; a file needs a name", in.Src, in.Dst)
	}
	if !fs.ValidPath(dst) || len(dst) > wire.MaxPath || strings.ContainsAny(dst, "\\\x00") {
		return "", fmt.Errorf("input %s: destination %q is no valid path; use slashes and UTF-8", in.Src, dst)
	}
	return dst, nil
}

// kindOf names what is not a regular file.
func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeDevice != 0:
		return "device"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m.IsDir():
		return "directory"
	}
	return "special file"
}
