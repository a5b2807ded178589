package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zorilla-grid/zorilla/gat"
)

// Put writes to a temporary file beside path and renames it.
func (l *login) Put(ctx context.Context, path string, mode fs.FileMode, r io.Reader) error {
	if err := l.fileOp(ctx, "put", path); err != nil {
		return err
	}
	return classify("put", put(ctx, path, mode, r))
}

func put(ctx context.Context, path string, mode fs.FileMode, r io.Reader) (err error) {
	part := filepath.Join(filepath.Dir(path), ".gat-"+rand.Text())
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("%s: %w", path, errors.Unwrap(err))
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(part)
		}
	}()
	if _, err := io.Copy(f, reader{ctx, r}); err != nil {
		return err
	}
	if err := f.Chmod(mode.Perm()); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// Get copies a file.
func (l *login) Get(ctx context.Context, path string, w io.Writer, limit int64) error {
	if err := l.fileOp(ctx, "get", path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return classify("get", err)
	}
	defer f.Close()
	var r io.Reader = reader{ctx, f}
	if limit >= 0 {
		r = io.LimitReader(r, limit)
	}
	_, err = io.Copy(w, r)
	return classify("get", err)
}

// Remove removes files, and directories that are empty.
func (l *login) Remove(ctx context.Context, paths ...string) error {
	var errs []error
	for _, path := range paths {
		if err := l.fileOp(ctx, "remove", path); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return classify("remove", errors.Join(errs...))
}

func (l *login) fileOp(ctx context.Context, op, path string) error {
	if err := l.usable(ctx, op); err != nil {
		return err
	}
	if !filepath.IsAbs(path) {
		return &gat.Error{Class: gat.Invalid, Op: op, Err: fmt.Errorf("path %q is not absolute", path)}
	}
	return nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}
