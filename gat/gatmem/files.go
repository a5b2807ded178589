package gatmem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/zorilla-grid/zorilla/gat"
)

type file struct {
	data []byte // never changed in place
	mode fs.FileMode
}

// WriteFile writes a file.
func (m *Machine) WriteFile(name string, data []byte, mode fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writeLocked("write", name, data, mode)
}

func (m *Machine) writeLocked(op, name string, data []byte, mode fs.FileMode) error {
	if !m.dirs[path.Dir(name)] {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	if m.dirs[name] {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrExist}
	}
	m.files[name] = file{data, mode.Perm()}
	return nil
}

// ReadFile returns a file's contents.
func (m *Machine) ReadFile(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	return bytes.Clone(f.data), nil
}

// Mkdir makes a directory.
func (m *Machine) Mkdir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, isFile := m.files[name]; isFile || m.dirs[name] {
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
	}
	if !m.dirs[path.Dir(name)] {
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrNotExist}
	}
	m.dirs[name] = true
	return nil
}

// List returns the names in a directory, sorted.
func (m *Machine) List(dir string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.files {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	for name := range m.dirs {
		if name != "/" && path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names
}

func (m *Machine) mode(name string) (fs.FileMode, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[name]
	return f.mode, ok
}

// appender appends to a file as it is written to.
type appender struct {
	m    *Machine
	name string
}

func (a appender) Write(b []byte) (int, error) {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	old, ok := a.m.files[a.name]
	if !ok {
		old.mode = 0o600
	}
	if err := a.m.writeLocked("append to", a.name, slices.Concat(old.data, b), old.mode); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Put writes a file.
func (l *login) Put(ctx context.Context, name string, mode fs.FileMode, r io.Reader) error {
	if err := l.fileOp(ctx, "put", name); err != nil {
		return err
	}
	data, err := io.ReadAll(reader{ctx, r})
	if err != nil {
		return classify("put", err)
	}
	return classify("put", l.m.WriteFile(name, data, mode))
}

// Get copies a file.
func (l *login) Get(ctx context.Context, name string, w io.Writer, limit int64) error {
	if err := l.fileOp(ctx, "get", name); err != nil {
		return err
	}
	data, err := l.m.ReadFile(name)
	if err != nil {
		return classify("get", err)
	}
	if limit >= 0 && int64(len(data)) > limit {
		data = data[:limit]
	}
	_, err = w.Write(data)
	return classify("get", err)
}

// Remove removes files.
func (l *login) Remove(ctx context.Context, names ...string) error {
	if err := l.fileOp(ctx, "remove", names...); err != nil {
		return err
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	for _, name := range names {
		delete(l.m.files, name)
	}
	return nil
}

func (l *login) fileOp(ctx context.Context, op string, names ...string) error {
	if err := l.begin(ctx, op); err != nil {
		return err
	}
	for _, name := range names {
		if !path.IsAbs(name) {
			return &gat.Error{Class: gat.Invalid, Op: op, Err: fmt.Errorf("path %q is not absolute", name)}
		}
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
