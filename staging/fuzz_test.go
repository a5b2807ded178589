package staging_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/staging"
)

// canned is a stream whose peer has said all it will say.
type canned struct {
	io.Reader
	io.Writer
}

func (canned) Close() error      { return nil }
func (canned) CloseWrite() error { return nil }

// FuzzSink sends arbitrary bytes as an output: what is written is never more
// than was sent.
func FuzzSink(f *testing.F) {
	f.Add([]byte{0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 'x'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 4, 0, 1, 'x'})
	dir := f.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { root.Close() })
	f.Fuzz(func(t *testing.T, data []byte) {
		var shown int
		k := staging.NewSink(testJob, root, staging.SinkOptions{Tee: func(_ uint32, _ uint8, p []byte) { shown += len(p) }})
		err := k.Accept(t.Context(), canned{bytes.NewReader(data), io.Discard}, stdout)
		k.Close()
		fi, serr := os.Stat(dir + "/worker-2/stdout")
		if serr != nil {
			t.Fatal(serr)
		}
		if fi.Size() != int64(shown) || shown > len(data) || err == nil && len(data) < 4 {
			t.Errorf("%d bytes sent, %d shown, %d in the file: %v", len(data), shown, fi.Size(), err)
		}
	})
}

// FuzzServe sends arbitrary bytes as wants.
func FuzzServe(f *testing.F) {
	var want bytes.Buffer
	wire.WriteFrame(&want, &wire.Want{Job: testJob, Digests: []wire.Digest{{1}}})
	f.Add(want.Bytes())
	f.Add([]byte{0, 0, 0, 1, 0x40})
	f.Fuzz(func(t *testing.T, data []byte) {
		lib := new(staging.Library)
		lib.Add(testJob, raw{})
		staging.Serve(t.Context(), canned{bytes.NewReader(data), io.Discard}, lib.Lookup)
	})
}

// manifestOf reads a manifest from text, an entry a line: "d PATH", "f PATH"
// or "l PATH TARGET". Files hold their own path.
func manifestOf(text string) (*wire.Manifest, raw) {
	m, src := new(wire.Manifest), raw{}
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		path, target, _ := strings.Cut(rest, " ")
		switch kind {
		case "d":
			m.Files = append(m.Files, wire.File{Path: path, Mode: wire.ModeDir | 0o500})
		case "l":
			m.Files = append(m.Files, wire.File{Path: path, Mode: wire.ModeLink | 0o777, Link: target})
		case "f":
			f := wire.File{Path: path, Mode: 0o444, Size: int64(len(path))}
			if len(path) > 0 {
				f.Chunks = []wire.Chunk{{Digest: src.add([]byte(path)), Size: uint32(len(path))}}
			}
			m.Files = append(m.Files, f)
		}
	}
	slices.SortFunc(m.Files, func(a, b wire.File) int { return strings.Compare(a.Path, b.Path) })
	return m, src
}

// FuzzMaterialize materializes arbitrary manifests: nothing outside the root
// is made or changed, and no link leads there.
func FuzzMaterialize(f *testing.F) {
	f.Add("d a\nf a/b\nl c a/b\n")
	f.Add("l a ..\nf a/b\n")
	f.Add("d d\nd d/e\nl d/e/u ../..\nl v d/e/u/../x\n")
	f.Add("f ../x\nf /etc/x\nf a/../../x\n")
	f.Add("d d\nl d/l ..\nl k d/l\nf stdout\nd Stderr\nf Stderr/l\n")
	f.Add("l a b\nl b a\n")
	f.Fuzz(func(t *testing.T, text string) {
		outer, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		m, src := manifestOf(text)
		write(t, outer+"/sentinel", []byte("as it was"), 0o600)
		for i, act := range []func(root *os.Root) error{
			func(root *os.Root) error {
				store, err := staging.OpenStore(outer+"/chunks", 0)
				if err != nil {
					t.Fatal(err)
				}
				defer store.Close()
				for d, b := range src {
					if err := store.Put(testJob, d, b); err != nil {
						t.Fatal(err)
					}
				}
				return staging.Materialize(t.Context(), m, store, root)
			},
			func(root *os.Root) error {
				if m.Validate() != nil {
					return nil
				}
				encoded := wire.EncodeManifest(m)
				src.add(encoded)
				p := serving(t, src)
				_, err := staging.FetchInto(t.Context(), request(p, blake3.Sum256(encoded)), root, 1)
				return err
			},
		} {
			dir := outer + "/in"
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			root := openRoot(t, dir)
			_ = act(root) // most are refused
			err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
				if err != nil {
					return err
				}
				if to, err := filepath.EvalSymlinks(name); err == nil && to != dir && !strings.HasPrefix(to, dir+"/") {
					t.Errorf("act %d: %s leads to %s", i, name, to)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			entries, _ := os.ReadDir(outer)
			got, err := os.ReadFile(outer + "/sentinel")
			if len(entries) != 1 || string(got) != "as it was" {
				t.Errorf("act %d: outside the root: %v, %q, %v", i, entries, got, err)
			}
		}
	})
}

// FuzzGlob holds that every accepted glob can be collected with.
func FuzzGlob(f *testing.F) {
	for _, s := range []string{"*", "**/x", "a/**/b/**", "[a-z]", "\\*", "a//b/."} {
		f.Add(s)
	}
	dir := f.TempDir()
	write(f, dir+"/a/b/x", nil, 0o644)
	root, err := os.OpenRoot(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { root.Close() })
	f.Fuzz(func(t *testing.T, pattern string) {
		bad := staging.CheckGlob(pattern)
		c, err := staging.Collect(context.Background(), root, []string{pattern}, nil)
		if (bad == nil) != (err == nil) {
			t.Fatalf("%q: checked %v, collected %v", pattern, bad, err)
		}
		if err == nil && (len(c.Set.Manifest().Files) == 0) != (len(c.Unmatched) == 1) {
			t.Errorf("%q: %d files, unmatched %q", pattern, len(c.Set.Manifest().Files), c.Unmatched)
		}
	})
}
