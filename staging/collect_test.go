package staging_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/blake3"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/staging"
)

func TestCheckGlob(t *testing.T) {
	for _, bad := range []string{"", "/abs", "../x", "a/../b", "[", "a/[x", strings.Repeat("a/", 65) + "b"} {
		if staging.CheckGlob(bad) == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	for _, good := range []string{"*", "**", "a/**/b", "out/", "./x", "[a-z]?.txt"} {
		if err := staging.CheckGlob(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

// collect runs Collect on what make leaves in a sandbox that holds input.txt
// and sub/old.
func collect(t *testing.T, globs []string, make func(dir string)) *staging.Collected {
	t.Helper()
	src, dir := t.TempDir(), t.TempDir()
	write(t, src+"/input.txt", []byte("input"), 0o644)
	write(t, src+"/sub/old", []byte("old"), 0o644)
	set := build(t, staging.Input{Src: src, Dst: "."})
	store := openStore(t, 0)
	m, err := store.Fetch(t.Context(), request(serving(t, set), set.Root()))
	if err != nil {
		t.Fatal(err)
	}
	root := openRoot(t, dir)
	if err := staging.Materialize(t.Context(), m, store, root); err != nil {
		t.Fatal(err)
	}
	before, err := staging.TakeSnapshot(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	make(dir)
	c, err := staging.Collect(t.Context(), root, globs, before)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCollect(t *testing.T) {
	results := func(dir string) {
		write(t, dir+"/result.txt", []byte("r"), 0o644)
		write(t, dir+"/sub/new", []byte("n"), 0o600)
		write(t, dir+"/out/a/deep.txt", []byte("d"), 0o644)
		write(t, dir+"/out/b.bin", []byte("b"), 0o755)
		os.Mkdir(dir+"/out/empty", 0o755)
	}
	tests := []struct {
		globs     []string
		want      []string
		unmatched []string
	}{
		{nil, nil, nil},
		{[]string{"*.txt"}, []string{"644 result.txt 1"}, nil},
		{[]string{"input.txt", "*.nope"}, nil, []string{"input.txt", "*.nope"}},
		{[]string{"out"}, []string{"755 out/", "755 out/a/", "644 out/a/deep.txt 1", "755 out/b.bin 1", "755 out/empty/"}, nil},
		{[]string{"**/*.txt"}, []string{"755 out/", "755 out/a/", "644 out/a/deep.txt 1", "644 result.txt 1"}, nil},
		{[]string{"out/*.bin", "sub/"}, []string{"755 out/", "755 out/b.bin 1", "755 sub/", "600 sub/new 1"}, nil},
		{[]string{"**"}, []string{"755 out/", "755 out/a/", "644 out/a/deep.txt 1", "755 out/b.bin 1", "755 out/empty/", "644 result.txt 1", "755 sub/", "600 sub/new 1"}, nil},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.globs), func(t *testing.T) {
			c := collect(t, tt.globs, results)
			if diff := cmp.Diff(tt.want, list(c.Set.Manifest())); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.unmatched, c.Unmatched); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A change is seen although size and place stay, and however soon it comes.
func TestCollectSeesChange(t *testing.T) {
	c := collect(t, []string{"input.txt"}, func(dir string) {
		f, err := os.OpenFile(dir+"/input.txt", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("INPUT")
		f.Close()
	})
	if got := list(c.Set.Manifest()); len(got) != 1 {
		t.Errorf("got %v", got)
	}
	c = collect(t, []string{"input.txt"}, func(dir string) {
		os.Chtimes(dir+"/input.txt", time.Now(), time.Now().Add(time.Hour))
	})
	if got := list(c.Set.Manifest()); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

func TestCollectLinks(t *testing.T) {
	c := collect(t, []string{"*"}, func(dir string) {
		write(t, dir+"/a", nil, 0o644)
		symlink(t, "a", dir+"/good")
		symlink(t, "/etc/passwd", dir+"/absolute")
		symlink(t, "../../x", dir+"/escaping")
		symlink(t, "sub/../../x", dir+"/hidden")
		symlink(t, "/etc", dir+"/etcdir")
	})
	want := []string{"644 a 0", "good -> a"}
	if diff := cmp.Diff(want, list(c.Set.Manifest())); diff != "" {
		t.Error(diff)
	}
	if len(c.Skipped) != 4 || !strings.HasPrefix(c.Skipped[0], "absolute: ") {
		t.Errorf("skipped %q", c.Skipped)
	}
}

func TestFetchInto(t *testing.T) {
	c := collect(t, []string{"*"}, func(dir string) {
		write(t, dir+"/big", random(3<<20), 0o755)
		write(t, dir+"/d/e", []byte("e"), 0o444)
		write(t, dir+"/stdout", []byte("not the stream"), 0o644)
		write(t, dir+"/Stderr/x", []byte("x"), 0o644)
		write(t, dir+"/stdout.file", []byte("taken"), 0o644)
		write(t, dir+"/none", nil, 0o644)
		symlink(t, "d/e", dir+"/link")
	})
	home := t.TempDir()
	write(t, home+"/worker-3/stdout", []byte("the stream"), 0o644)
	write(t, home+"/worker-3/big", []byte("of an earlier attempt"), 0o644)
	symlink(t, "..", home+"/worker-3/d")
	p := serving(t, c.Set)
	p.wrap = func(s staging.Stream) staging.Stream { return &cutting{s, 1<<20 + 2000} }
	m, err := staging.FetchInto(t.Context(), request(p, c.Set.Root()), openRoot(t, home), 3)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"755 Stderr.file/", "644 Stderr.file/x 1", "755 big 3145728", "755 d/", "444 d/e 1",
		"link -> d/e", "644 none 0", "644 stdout.file 5", "644 stdout.file.file 14",
	}
	if diff := cmp.Diff(want, list(m)); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{"stdout": "the stream", "stdout.file": "taken", "stdout.file.file": "not the stream", "d/e": "e", "link": "e"} {
		if got, err := os.ReadFile(home + "/worker-3/" + name); err != nil || string(got) != want {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	if entries, _ := os.ReadDir(home); len(entries) != 1 {
		t.Errorf("outside the worker's directory: %v", entries)
	}
	if parts, _ := filepath.Glob(home + "/worker-3/.part*"); len(parts) != 0 {
		t.Errorf("left: %v", parts)
	}
}

// raw is a source of whatever it was given.
type raw map[wire.Digest][]byte

func (r raw) add(b []byte) wire.Digest {
	d := wire.Digest(blake3.Sum256(b))
	r[d] = b
	return d
}

func hostileManifests() map[string][]byte {
	file := func(path string) wire.File { return wire.File{Path: path, Mode: 0o644} }
	dir := func(path string) wire.File { return wire.File{Path: path, Mode: wire.ModeDir | 0o755} }
	link := func(path, to string) wire.File {
		return wire.File{Path: path, Mode: wire.ModeLink | 0o777, Link: to}
	}
	out := map[string][]byte{"garbage": []byte("\xa1garbage"), "empty": {}}
	for name, files := range map[string][]wire.File{
		"below a link":     {link("a", "b"), file("a/x"), dir("b")},
		"below a file":     {file("a"), file("a/x")},
		"unlisted parent":  {file("a/x")},
		"up through links": {dir("d"), dir("d/e"), link("d/e/u", "../.."), link("v", "d/e/u/../x")},
	} {
		out[name] = wire.EncodeManifest(&wire.Manifest{Files: files})
	}
	return out
}

func TestHostileManifests(t *testing.T) {
	for name, encoded := range hostileManifests() {
		t.Run(name, func(t *testing.T) {
			src := raw{}
			root := src.add(encoded)
			p := serving(t, src)
			home := t.TempDir()
			if _, err := staging.FetchInto(t.Context(), request(p, root), openRoot(t, home), 0); err == nil {
				t.Error("FetchInto accepted it")
			}
			store := openStore(t, 0)
			if _, err := store.Fetch(t.Context(), request(p, root)); err == nil {
				t.Error("Fetch accepted it")
			}
			if m, err := wire.DecodeManifest(encoded); err == nil {
				if staging.Materialize(t.Context(), m, store, openRoot(t, home)) == nil {
					t.Error("Materialize accepted it")
				}
			}
		})
	}
}

func (r raw) Blob(_ context.Context, d wire.Digest, _ []byte) ([]byte, error) {
	b, ok := r[d]
	if !ok {
		return nil, staging.ErrNotHeld
	}
	return b, nil
}
