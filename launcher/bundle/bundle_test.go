package bundle_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/zorilla-grid/zorilla/launcher/bundle"
)

var here = runtime.GOOS + "/" + runtime.GOARCH

// hermetic keeps the user's own settings and cache out, and returns an empty cache.
func hermetic(t *testing.T) string {
	t.Helper()
	t.Setenv("ZORILLA_PILOT", "")
	return filepath.Join(t.TempDir(), "cache")
}

// program compiles a small static program for a platform.
func program(t *testing.T, platform string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a program")
	}
	gocmd, err := exec.LookPath("go")
	if err != nil {
		t.Skipf("needs a Go toolchain: %v", err)
	}
	dir := t.TempDir()
	src := filepath.Join(dir, "main.go")
	if err := os.WriteFile(src, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "program")
	goos, goarch, _ := strings.Cut(platform, "/")
	cmd := exec.Command(gocmd, "build", "-ldflags=-s -w", "-o", out, src)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch, "GOFLAGS=")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return out
}

func find(t *testing.T, o bundle.Options, platform string) (*bundle.Binary, error) {
	t.Helper()
	f := bundle.New(o)
	t.Cleanup(f.Close)
	return f.Find(t.Context(), platform)
}

func TestExplicit(t *testing.T) {
	cache := hermetic(t)
	path := program(t, "linux/arm64")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)

	b, err := find(t, bundle.Options{Pilot: path, Cache: cache}, "linux/arm64")
	if err != nil {
		t.Fatal(err)
	}
	if b.Path != path || b.Size != int64(len(content)) || b.Digest != hex.EncodeToString(sum[:]) || !b.Static || b.Platform != "linux/arm64" {
		t.Errorf("found %+v", b)
	}
	packed, err := b.Gzip()
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, content) {
		t.Errorf("unpacked: %d bytes, %v; want the %d of the file", len(got), err, len(content))
	}

	if again, err := b.Gzip(); err != nil || &again[0] != &packed[0] {
		t.Errorf("packed twice for two hosts: %v", err)
	}

	t.Setenv("ZORILLA_PILOT", path)
	if b, err := find(t, bundle.Options{Cache: cache}, "linux/arm64"); err != nil || b.Path != path {
		t.Errorf("named by the environment: %+v, %v", b, err)
	}

	// What changes on the way to a site is not shipped.
	if b, err = find(t, bundle.Options{Pilot: path, Cache: cache}, "linux/arm64"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(content, 0), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Gzip(); err == nil || !strings.Contains(err.Error(), "changed while it was in use") {
		t.Errorf("a changed file was packed: %v", err)
	}
}

// What the user names is taken or refused, never replaced.
func TestExplicitRefused(t *testing.T) {
	cache := hermetic(t)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	arm := program(t, "linux/arm64")
	whole, err := os.ReadFile(arm)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, path, want string }{
		{"missing", filepath.Join(dir, "none"), "no such file"},
		{"directory", dir, "is not a regular file"},
		{"empty", write("empty", nil), "is empty"},
		{"script", write("script", []byte("#!/bin/sh\n")), "is not an executable that we know"},
		{"head only", write("head", whole[:40]), "is not an executable that we know"},
		{"another platform", arm, "is for linux/arm64, not for linux/amd64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := find(t, bundle.Options{Pilot: tt.path, Cache: cache, Go: "none"}, "linux/amd64")
			e, ok := errors.AsType[*bundle.NotFoundError](err)
			if !ok || len(e.Tries) != 1 || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "given by --pilot") {
				t.Errorf("found %+v, %v; want a NotFoundError with %q", b, err, tt.want)
			}
		})
	}
}

// A dynamic program would run on machines like this one only.
func TestDynamicRefused(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks for a dynamic ELF file")
	}
	cache := hermetic(t)
	for _, path := range []string{"/bin/ls", "/usr/bin/env"} {
		_, err := find(t, bundle.Options{Pilot: path, Cache: cache}, here)
		if err == nil || !strings.Contains(err.Error(), "is not static") {
			t.Errorf("%s: %v, want a refusal because it is not static", path, err)
		}
	}
}

// The error tells of each way why it did not lead to a binary.
func TestNotFound(t *testing.T) {
	cache := hermetic(t)
	_, err := find(t, bundle.Options{Cache: cache, Go: "none"}, "plan9/mips")
	e, ok := errors.AsType[*bundle.NotFoundError](err)
	if !ok || len(e.Tries) != 5 {
		t.Fatalf("got %v, want five tries", err)
	}
	want := []string{
		"no pilot binary for plan9/mips; tried:",
		"given by --pilot or $ZORILLA_PILOT: not given",
		"embedded in this program: none",
		"cache: no " + cache,
		"build from source: builds are turned off",
		"this program itself: is for " + here,
	}
	for i, line := range strings.Split(err.Error(), "\n") {
		if !strings.HasPrefix(strings.TrimSpace(line), want[i]) {
			t.Errorf("line %d is %q, want %q", i, line, want[i])
		}
	}
	for _, p := range []string{"", "linux", "linux/", "../x", "linux/amd64/v2"} {
		if _, err := find(t, bundle.Options{Cache: cache, Go: "none"}, p); err == nil || !strings.Contains(err.Error(), "want OS/ARCH") {
			t.Errorf("platform %q: %v", p, err)
		}
	}
}

func TestHostileCache(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("directories have no modes on Windows")
	}
	cache := hermetic(t)
	if err := errors.Join(os.Mkdir(cache, 0o700), os.Chmod(cache, 0o777)); err != nil {
		t.Fatal(err)
	}
	_, err := find(t, bundle.Options{Cache: cache, Go: "none"}, "linux/s390x")
	if err == nil || !strings.Contains(err.Error(), "others may write to it (mode 0777); chmod 700 it") {
		t.Errorf("a cache open to all: %v", err)
	}
}

// A build from source is static, small, cached, and done once however many want it.
func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the pilot")
	}
	gocmd, err := exec.LookPath("go")
	if err != nil {
		t.Skipf("needs a Go toolchain: %v", err)
	}
	cache := hermetic(t)
	var mu sync.Mutex
	builds := 0
	o := bundle.Options{Cache: cache, Go: gocmd, Log: func(string) {
		mu.Lock()
		defer mu.Unlock()
		builds++
	}}
	const platform = "linux/amd64"
	finders := []*bundle.Finder{bundle.New(o), bundle.New(o)}
	var wg sync.WaitGroup
	found := make([]*bundle.Binary, len(finders))
	for i, f := range finders {
		defer f.Close()
		f.Prefetch(platform)
		wg.Go(func() {
			b, err := f.Find(t.Context(), platform)
			if err != nil {
				t.Error(err)
			}
			found[i] = b
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	if builds != 1 {
		t.Errorf("%d builds, want 1", builds)
	}
	if found[0].Digest != found[1].Digest {
		t.Errorf("two binaries: %+v and %+v", found[0], found[1])
	}
	if b := found[0]; !b.Static || b.Size > 8<<20 || filepath.Dir(b.Path) != cache {
		t.Errorf("built %+v; want a static one of at most 8 MiB, in %s", b, cache)
	}
	// Later ones need no toolchain.
	b, err := find(t, bundle.Options{Cache: cache, Go: "none"}, platform)
	if err != nil || b.Source != "cache" || b.Digest != found[0].Digest {
		t.Errorf("afterwards: %+v, %v; want it from the cache", b, err)
	}

	// Damage in the cache is seen and mended.
	if err := os.Truncate(b.Path, 100); err != nil {
		t.Fatal(err)
	}
	b, err = find(t, o, platform)
	if err != nil || b.Digest != found[0].Digest || builds != 2 {
		t.Errorf("after damage: %+v, %v, %d builds; want the same binary built again", b, err, builds)
	}
}

func TestFindGivesUp(t *testing.T) {
	cache := hermetic(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := bundle.New(bundle.Options{Cache: cache, Go: filepath.Join(cache, "no-go")})
	defer f.Close()
	// The search may be done at once; if it is not, the context ends the wait.
	if _, err := f.Find(ctx, "linux/s390x"); err == nil {
		t.Error("found a binary for a platform without one")
	}
}

func TestLocal(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("makes symbolic links")
	}
	cache := hermetic(t)
	dir := t.TempDir()
	f := bundle.New(bundle.Options{Cache: cache, Go: "none"})
	defer f.Close()
	for range 2 { // the second time the link is there already
		path, err := f.Local(dir)
		if err != nil {
			t.Fatal(err)
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if to, err := filepath.EvalSymlinks(path); err != nil || to != self || filepath.Base(path) != bundle.LocalName {
			t.Errorf("Local = %q which is %q, %v; want this program, %q, as %s", path, to, err, self, bundle.LocalName)
		}
	}
	explicit := bundle.New(bundle.Options{Pilot: filepath.Join(dir, "none"), Cache: cache})
	defer explicit.Close()
	if path, err := explicit.Local(dir); err == nil {
		t.Errorf("a pilot that is not there was replaced by %q", path)
	}
}
