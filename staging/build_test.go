package staging_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/staging"
)

// list shows a manifest, an entry a line.
func list(m *wire.Manifest) (out []string) {
	for _, f := range m.Files {
		line := fmt.Sprintf("%o %s", f.Mode&0o777, f.Path)
		switch {
		case f.Mode&wire.ModeDir != 0:
			line += "/"
		case f.Mode&wire.ModeLink != 0:
			line = f.Path + " -> " + f.Link
		default:
			line += fmt.Sprintf(" %d", f.Size)
		}
		out = append(out, line)
	}
	return out
}

func TestBuild(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/app.sh", []byte("#!/bin/sh\n"), 0o755)
	write(t, dir+"/data/b.txt", []byte("b"), 0o640)
	write(t, dir+"/data/sub/c.txt", nil, 0o600)
	symlink(t, "../b.txt", dir+"/data/sub/up")
	symlink(t, "nowhere", dir+"/data/dangling")
	symlink(t, "data", dir+"/alias")
	s := build(t,
		staging.Input{Src: dir + "/app.sh"},
		staging.Input{Src: dir + "/alias", Dst: "in/"},
		staging.Input{Src: dir + "/app.sh", Dst: "./x/../bin/run"},
		staging.Input{Src: dir + "/data/sub", Dst: "in/alias/more"},
	)
	_ = s
	want := []string{
		"755 app.sh 10",
		"755 bin/",
		"755 bin/run 10",
		"755 in/",
		"755 in/alias/",
		"640 in/alias/b.txt 1",
		"in/alias/dangling -> nowhere",
		"755 in/alias/more/",
		"600 in/alias/more/c.txt 0",
		"in/alias/more/up -> ../b.txt",
		"755 in/alias/sub/",
		"600 in/alias/sub/c.txt 0",
		"in/alias/sub/up -> ../b.txt",
	}
	if diff := cmp.Diff(want, list(s.Manifest())); diff != "" {
		t.Error(diff)
	}
	again := build(t, staging.Input{Src: dir + "/data", Dst: "."})
	if again.Root() != build(t, staging.Input{Src: dir + "/data/", Dst: "."}).Root() {
		t.Error("the same files have two roots")
	}
}

func TestBuildRefuses(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir+"/f", []byte("x"), 0o644)
	with := func(name string, make func(path string)) string {
		d := filepath.Join(dir, name)
		write(t, d+"/f", nil, 0o644)
		make(d + "/bad")
		return d
	}
	abs := with("abs", func(p string) { symlink(t, "/etc/passwd", p) })
	out := with("out", func(p string) { symlink(t, "../f", p) })
	zigzag := with("zigzag", func(p string) { symlink(t, "a/../f", p) })
	sock := with("sock", func(p string) {
		l, err := net.Listen("unix", p)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	})
	tests := []struct {
		name   string
		inputs []staging.Input
		want   []string
	}{
		{"absent", []staging.Input{{Src: dir + "/none"}}, []string{"none", "no such file"}},
		{"absolute link", []staging.Input{{Src: abs}}, []string{"abs/bad", "/etc/passwd", "leave it out"}},
		{"escaping link", []staging.Input{{Src: out}}, []string{"out/bad", "outside", "leave it out"}},
		{"down and up", []staging.Input{{Src: zigzag}}, []string{"zigzag/bad", "middle"}},
		{"socket", []staging.Input{{Src: sock}}, []string{"sock/bad", "socket"}},
		{"device", []staging.Input{{Src: os.DevNull}}, []string{os.DevNull, "device"}},
		{"absolute destination", []staging.Input{{Src: file, Dst: "/tmp/x"}}, []string{"absolute"}},
		{"escaping destination", []staging.Input{{Src: file, Dst: "a/../../x"}}, []string{"leads out"}},
		{"file at the top", []staging.Input{{Src: file, Dst: "."}}, []string{"needs a name"}},
		{"same place", []staging.Input{{Src: file}, {Src: file, Dst: "./f"}}, []string{"another input", "SRC:DST"}},
		{"inside a file", []staging.Input{{Src: file}, {Src: file, Dst: "f/g"}}, []string{"both be at f"}},
		{"inside a directory", []staging.Input{{Src: abs + "/f", Dst: "d/f"}, {Src: zigzag, Dst: "d"}}, []string{"both be at d/f"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := staging.Build(t.Context(), tt.inputs, staging.BuildOptions{})
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
}

// A link between two inputs stays inside the set.
func TestBuildLinkAcross(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/lib/x", []byte("x"), 0o644)
	write(t, dir+"/app/y", []byte("y"), 0o644)
	symlink(t, "../lib/x", dir+"/app/x")
	build(t, staging.Input{Src: dir + "/app"}, staging.Input{Src: dir + "/lib"})
	if _, err := staging.Build(t.Context(), []staging.Input{{Src: dir + "/app"}}, staging.BuildOptions{}); err == nil {
		t.Error("a link out of what is sent was accepted")
	}
}

func TestBuildChunks(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		size   int64
		chunks int
		first  uint32
	}{
		{0, 0, 0}, {1, 1, 1}, {1 << 20, 1, 1 << 20}, {1<<20 + 1, 2, 1 << 20},
		{256 << 20, 256, 1 << 20}, {256<<20 + 1, 129, 2 << 20}, {1<<30 + 1, 257, 4 << 20},
	} {
		name := filepath.Join(dir, fmt.Sprint(tt.size))
		write(t, name, nil, 0o644)
		if err := os.Truncate(name, tt.size); err != nil { // sparse
			t.Fatal(err)
		}
		if testing.Short() && tt.size > 1<<28 {
			continue
		}
		var last int64
		s, err := staging.Build(t.Context(), []staging.Input{{Src: name}}, staging.BuildOptions{Progress: func(done, total int64) { last = done }})
		if err != nil {
			t.Fatal(err)
		}
		chunks := s.Manifest().Files[0].Chunks
		if len(chunks) != tt.chunks || (tt.chunks > 0 && chunks[0].Size != tt.first) || last != tt.size || s.Size() != tt.size {
			t.Errorf("size %d: %d chunks, progress %d, size %d", tt.size, len(chunks), last, s.Size())
		}
	}
}

func TestSetNoticesChange(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string, fi os.FileInfo){
		"gone":  func(t *testing.T, path string, _ os.FileInfo) { os.Remove(path) },
		"grown": func(t *testing.T, path string, _ os.FileInfo) { write(t, path, []byte("longer than it was"), 0o644) },
		"same size and time": func(t *testing.T, path string, fi os.FileInfo) {
			write(t, path, []byte("bb"), 0o644)
			os.Chtimes(path, fi.ModTime(), fi.ModTime())
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, t.TempDir()+"/data.csv", []byte("aa"), 0o644)
			fi, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			s := build(t, staging.Input{Src: path})
			spoil(t, path, fi)
			_, err = s.Blob(t.Context(), s.Manifest().Files[0].Chunks[0].Digest, nil)
			if !errors.Is(err, staging.ErrChanged) || !strings.Contains(err.Error(), "data.csv changed while it was being sent") {
				t.Errorf("got %v", err)
			}
			// The one who fetches is told, too, and by name.
			store := openStore(t, 0)
			_, err = store.Fetch(t.Context(), request(serving(t, s), s.Root()))
			if err == nil || !strings.Contains(err.Error(), "data.csv changed while it was being sent") {
				t.Errorf("fetch: got %v", err)
			}
		})
	}
}
