package bundle

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// keepCached is how many pilot binaries stay in the cache; the one that was not used
// for the longest time goes first.
const keepCached = 8

// cachePath returns where the cache has the binary of this build for a platform. The
// directory exists when it returns.
func (f *Finder) cachePath(platform string) (string, error) {
	dir := f.opts.Cache
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("%w; set XDG_CACHE_HOME", err)
		}
		dir = filepath.Join(base, "zorilla", "pilots")
	}
	id, err := buildID()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("%s: others may write to it (mode %04o); chmod 700 it", dir, info.Mode().Perm())
	}
	return filepath.Join(dir, id+"-"+fileName(platform)), nil
}

// buildID identifies the build of this program: it differs whenever a source of the program
// does. The pilot is linked into this program too, so that holds for the
// pilot's sources.
var buildID = sync.OnceValues(func() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if note := goBuildID(f); note != nil {
		sum.Write(note)
	} else if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(sum.Sum(nil)[:12]), nil
})

// goBuildID returns the identity that the Go linker wrote into a program, a
// digest of its content among other things, or nil: reading it is a hundred
// times faster than to digest the file.
func goBuildID(r io.ReaderAt) []byte {
	if e, err := elf.NewFile(r); err == nil {
		s := e.Section(".note.go.buildid")
		if s == nil {
			return nil
		}
		note, err := s.Data()
		if err != nil || len(note) < 40 || len(note) > 1024 {
			return nil
		}
		return note
	}
	// Elsewhere it is at the start of the program's text.
	head := make([]byte, 64<<10)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil
	}
	_, rest, ok := bytes.Cut(head[:n], []byte("Go build ID: \""))
	id, _, ok2 := bytes.Cut(rest, []byte("\""))
	if !ok || !ok2 || len(id) < 40 {
		return nil
	}
	return id
}

// touch notes that a cached binary was used.
func touch(path string) {
	now := time.Now()
	os.Chtimes(path, now, now) // best effort: it only orders what is forgotten first
}

// store writes a cached binary in one step and forgets the oldest ones.
func store(path string, write func(io.Writer) error) error {
	part, err := os.CreateTemp(filepath.Dir(path), ".part-*")
	if err != nil {
		return err
	}
	err = write(part)
	err = errors.Join(err, part.Chmod(0o700), part.Close())
	if err == nil {
		err = os.Rename(part.Name(), path)
	}
	if err != nil {
		os.Remove(part.Name())
		return err
	}
	prune(filepath.Dir(path))
	return nil
}

// prune bounds the cache. Errors do no harm: the next one tries again.
func prune(dir string) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	var files []os.FileInfo
	for _, d := range list {
		info, err := d.Info()
		switch {
		case err != nil || !info.Mode().IsRegular():
		case d.Name()[0] != '.':
			files = append(files, info)
		case time.Since(info.ModTime()) > 24*time.Hour:
			os.Remove(filepath.Join(dir, d.Name())) // of a build that was killed
		}
	}
	slices.SortFunc(files, func(a, b os.FileInfo) int {
		return cmp.Or(b.ModTime().Compare(a.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, info := range files[min(keepCached, len(files)):] {
		os.Remove(filepath.Join(dir, info.Name()))
	}
}
