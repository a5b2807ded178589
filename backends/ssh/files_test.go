//go:build unix

package ssh_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/gat"
)

// TestFilesEveryWay moves files by sftp, without it, and where start files spoil it.
func TestFilesEveryWay(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]string{"sftp": "", "no sftp": "none", "spoilt": "Welcome to this fine host!\nToday is a good day.\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, tg := setup(t, "h")
			s.sftp = how
			l := login(t, ssh.Backend{}, tg)
			f := l.(gat.Files)
			dir := t.TempDir()
			data := make([]byte, 1<<20)
			rand.Read(data)
			for _, mode := range []fs.FileMode{0o755, 0o600, 0o444} {
				path := filepath.Join(dir, "a 'file'"+mode.String())
				for range 2 { // the second replaces the first
					if err := f.Put(t.Context(), path, mode, bytes.NewReader(data)); err != nil {
						t.Fatal(err)
					}
				}
				info, err := os.Stat(path)
				if err != nil || info.Mode() != mode {
					t.Errorf("mode %v, want %v (%v)", info.Mode(), mode, err)
				}
				for _, limit := range []int64{-1, 0, 70_000, 1 << 30} {
					var got bytes.Buffer
					want := data
					if limit >= 0 && limit < int64(len(data)) {
						want = data[:limit]
					}
					if err := f.Get(t.Context(), path, &got, limit); err != nil || !bytes.Equal(got.Bytes(), want) {
						t.Errorf("get %d: %d bytes, %v", limit, got.Len(), err)
					}
				}
			}
			boom := errors.New("boom")
			for _, mode := range []fs.FileMode{0o644, 0o600} {
				err := f.Put(t.Context(), filepath.Join(dir, "broken"), mode, io.MultiReader(bytes.NewReader(data), errReader{boom}))
				if !errors.Is(err, boom) {
					t.Errorf("a source that breaks: %v", err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				err = f.Put(ctx, filepath.Join(dir, "broken"), mode, io.MultiReader(bytes.NewReader(data), funcReader(func([]byte) (int, error) { cancel(); return 0, nil })))
				if !errors.Is(err, context.Canceled) {
					t.Errorf("a context that ends: %v", err)
				}
				if err := f.Put(t.Context(), dir, mode, bytes.NewReader(data)); err == nil {
					t.Error("a file replaced a directory")
				}
				if err := f.Put(t.Context(), filepath.Join(dir, "no", "such"), mode, bytes.NewReader(data)); gat.ClassOf(err) != gat.NotFound {
					t.Errorf("put into a missing directory: %v", err)
				}
			}
			if err := f.Get(t.Context(), filepath.Join(dir, "none"), io.Discard, 0); gat.ClassOf(err) != gat.NotFound {
				t.Errorf("get a missing file: %v", err)
			}
			if err := f.Get(t.Context(), dir, io.Discard, -1); err == nil {
				t.Error("a directory was read as a file")
			}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			var paths []string
			for _, e := range entries {
				if strings.HasPrefix(e.Name(), ".") || e.Name() == "broken" {
					t.Errorf("left behind: %s", e.Name())
				}
				paths = append(paths, filepath.Join(dir, e.Name()))
			}
			if err := f.Remove(t.Context(), append(paths, filepath.Join(dir, "none"))...); err != nil {
				t.Error(err)
			}
			if entries, _ := os.ReadDir(dir); len(entries) > 0 {
				t.Errorf("%d files are left", len(entries))
			}
			if err := f.Remove(t.Context(), dir); err == nil {
				t.Error("a directory was removed")
			}
		})
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

type funcReader func([]byte) (int, error)

func (f funcReader) Read(p []byte) (int, error) { return f(p) }
