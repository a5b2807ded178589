package staging_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/blake3"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/staging"
)

// sample makes a set of some MiB with two equal files.
func sample(t testing.TB) (*staging.Set, []byte) {
	dir := t.TempDir()
	big := random(5<<20 + 77)
	write(t, dir+"/in/big", big, 0o644)
	write(t, dir+"/in/copy", big, 0o444)
	write(t, dir+"/in/sub/run", []byte("#!/bin/sh\n"), 0o755)
	write(t, dir+"/in/empty", nil, 0o600)
	symlink(t, "sub/run", dir+"/in/link")
	return build(t, staging.Input{Src: dir + "/in", Dst: "."}), big
}

func TestFetchAndMaterialize(t *testing.T) {
	set, big := sample(t)
	store := openStore(t, 0)
	p := serving(t, set)
	r := request(p, set.Root())
	var last, total int64
	r.Progress = func(d, n int64) { last, total = d, n }
	m, err := store.Fetch(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(set.Manifest(), m); diff != "" {
		t.Error(diff)
	}
	if want := int64(len(big) + 10); last != want || total != want {
		t.Errorf("progress ends at %d of %d, want %d", last, total, want)
	}
	opened := p.opened.Load()
	if _, err := store.Fetch(t.Context(), r); err != nil || p.opened.Load() != opened {
		t.Errorf("what is there was fetched again: %v", err)
	}

	dir := t.TempDir()
	root := openRoot(t, dir)
	for range 2 { // twice: an attempt that finds what the one before left
		if err := staging.Materialize(t.Context(), m, store, root); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string][]byte{"big": big, "copy": big, "link": []byte("#!/bin/sh\n"), "empty": nil} {
		if got, err := os.ReadFile(dir + "/" + name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if fi, err := os.Stat(dir + "/sub/run"); err != nil || fi.Mode().Perm() != 0o755 {
		t.Errorf("sub/run: %v %v", fi.Mode(), err)
	}
	if fi, err := os.Stat(dir + "/copy"); err != nil || fi.Mode().Perm() != 0o444 {
		t.Errorf("copy: %v %v", fi.Mode(), err)
	}
	// A worker that changes its copy changes nobody else's.
	write(t, dir+"/big", []byte("changed"), 0o644)
	other := t.TempDir()
	if err := staging.Materialize(t.Context(), m, store, openRoot(t, other)); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(other + "/big"); !bytes.Equal(got, big) {
		t.Error("a worker's change reached another worker")
	}
}

// cutting breaks the serving end after some bytes.
type cutting struct {
	staging.Stream
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) > c.left {
		c.Stream.Write(p[:c.left])
		c.Stream.Close()
		return c.left, io.ErrClosedPipe
	}
	c.left -= len(p)
	return c.Stream.Write(p)
}

func TestFetchResumes(t *testing.T) {
	set, big := sample(t)
	store := openStore(t, 0)
	p := serving(t, set)
	p.wrap = func(s staging.Stream) staging.Stream { return &cutting{s, 2<<20 + 100} }
	var high int64
	r := request(p, set.Root())
	r.Progress = func(d, _ int64) {
		if d < high {
			t.Errorf("progress falls from %d to %d", high, d)
		}
		high = d
	}
	if _, err := store.Fetch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if n := p.opened.Load(); n < 3 || n > 8 {
		t.Errorf("%d streams for %d bytes, each broken after 2 MiB", n, len(big))
	}
}

// lying serves wrong bytes of the right size.
type lying struct{ staging.Source }

func (l lying) Blob(ctx context.Context, d wire.Digest, buf []byte) ([]byte, error) {
	b, err := l.Source.Blob(ctx, d, buf)
	if err == nil && len(b) > 1000 {
		b = bytes.Clone(b)
		b[500]++
	}
	return b, err
}

func TestFetchDropsLiar(t *testing.T) {
	set, _ := sample(t)
	liar, honest := serving(t, lying{set}), serving(t, set)
	r := request(honest, set.Root())
	r.Holders = []wire.NodeID{{0xba}, {1}}
	r.Open = func(ctx context.Context, id wire.NodeID) (staging.Stream, error) {
		if id == r.Holders[0] {
			return liar.open(ctx, id)
		}
		return honest.open(ctx, id)
	}
	store := openStore(t, 0)
	if _, err := store.Fetch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if n := liar.opened.Load(); n > 2 {
		t.Errorf("the liar was asked %d times", n)
	}
	// Alone, it is named.
	r.Holders = r.Holders[:1]
	_, err := openStore(t, 0).Fetch(t.Context(), r)
	if !errors.Is(err, staging.ErrWrongBytes) || !strings.Contains(err.Error(), r.Holders[0].String()) {
		t.Errorf("got %v", err)
	}
}

func TestFetchNeedsPermission(t *testing.T) {
	set, _ := sample(t)
	r := request(serving(t, set), set.Root())
	r.Job = wire.JobID{9}
	_, err := openStore(t, 0).Fetch(t.Context(), r)
	if err == nil || !strings.Contains(err.Error(), "not held") {
		t.Errorf("got %v", err)
	}
}

func TestFetchSilentHolder(t *testing.T) {
	set, _ := sample(t)
	honest := serving(t, set)
	r := request(honest, set.Root())
	r.Stall = 50 * time.Millisecond
	r.Holders = []wire.NodeID{{7}, {1}}
	r.Open = func(ctx context.Context, id wire.NodeID) (staging.Stream, error) {
		if id == r.Holders[0] {
			a, _ := pair(t)
			return a, nil
		}
		return honest.open(ctx, id)
	}
	if _, err := openStore(t, 0).Fetch(t.Context(), r); err != nil {
		t.Error(err)
	}
	r.Holders, r.Patience = r.Holders[:1], 100*time.Millisecond
	if _, err := openStore(t, 0).Fetch(t.Context(), r); err == nil || !strings.Contains(err.Error(), "nothing moved") {
		t.Errorf("got %v", err)
	}
}

func TestFetchIsShared(t *testing.T) {
	set, _ := sample(t)
	store := openStore(t, 0)
	p := serving(t, set)
	r := request(p, set.Root())
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.Open = func(ctx context.Context, id wire.NodeID) (staging.Stream, error) {
		once.Do(func() { close(entered) })
		<-release
		return p.open(ctx, id)
	}
	// The first to come gives up; the others do not notice.
	first, cancel := context.WithCancel(t.Context())
	firstErr := make(chan error)
	go func() { _, err := store.Fetch(first, r); firstErr <- err }()
	<-entered
	var progress [8]atomic.Int64
	var wg sync.WaitGroup
	joined := make(chan struct{}, len(progress))
	for i := range progress {
		r := r
		r.Progress = func(done, _ int64) { progress[i].Store(done) }
		wg.Go(func() {
			joined <- struct{}{}
			if _, err := store.Fetch(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
	}
	for range progress {
		<-joined
	}
	cancel()
	if err := <-firstErr; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(release)
	wg.Wait()
	if n := p.opened.Load(); n > 4 {
		t.Errorf("%d streams for one set", n)
	}
}

func TestStoreLimit(t *testing.T) {
	set, _ := sample(t)
	store := openStore(t, 3<<20)
	_, err := store.Fetch(t.Context(), request(serving(t, set), set.Root()))
	if !errors.Is(err, staging.ErrFull) {
		t.Fatalf("got %v", err)
	}
	if store.Used() > 3<<20 {
		t.Errorf("holds %d bytes", store.Used())
	}
	if err := store.Drop(testJob); err != nil || store.Used() != 0 {
		t.Errorf("after drop: %d bytes, %v", store.Used(), err)
	}
}

func TestStore(t *testing.T) {
	dir := t.TempDir() + "/s"
	s, err := staging.OpenStore(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if fi, _ := os.Stat(dir); fi.Mode().Perm() != 0o700 {
		t.Errorf("mode %v", fi.Mode())
	}
	data := []byte("chunk")
	d := wire.Digest(blake3.Sum256(data))
	one, two := wire.JobID{1}, wire.JobID{2}
	if err := s.Put(one, d, []byte("chunq")); !errors.Is(err, staging.ErrWrongBytes) {
		t.Errorf("wrong bytes: %v", err)
	}
	for _, job := range []wire.JobID{one, two, one} {
		if err := s.Put(job, d, data); err != nil {
			t.Fatal(err)
		}
	}
	if s.Used() != 5 {
		t.Errorf("used %d", s.Used())
	}
	s.Drop(one)
	if b, err := s.Blob(t.Context(), d, nil); err != nil || string(b) != "chunk" {
		t.Errorf("%q %v", b, err)
	}
	// A damaged disk is noticed.
	write(t, dir+"/"+d.String(), []byte("chunX"), 0o600)
	if _, err := s.Blob(t.Context(), d, nil); !errors.Is(err, staging.ErrWrongBytes) {
		t.Errorf("damaged: %v", err)
	}
	s.Drop(two)
	if _, err := s.Blob(t.Context(), d, nil); !errors.Is(err, staging.ErrNotHeld) {
		t.Errorf("dropped: %v", err)
	}
	// What an earlier process left is not trusted.
	s.Put(one, d, data)
	write(t, dir+"/new-x", []byte("half"), 0o600)
	s, err = staging.OpenStore(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after close: %v", err)
	}
}

func TestServeRefusesHostileWants(t *testing.T) {
	set, _ := sample(t)
	lib := new(staging.Library)
	lib.Add(testJob, set)
	full := &wire.Want{Job: testJob, Digests: make([]wire.Digest, 1024)}
	for i := range full.Digests {
		full.Digests[i] = set.Root()
	}
	for name, send := range map[string]func(w io.Writer){
		"garbage":       func(w io.Writer) { w.Write([]byte("GET / HTTP/1.1\r\n\r\n")) },
		"other message": func(w io.Writer) { wire.WriteFrame(w, &wire.Received{}) },
		"too many": func(w io.Writer) {
			for range 64 { // nothing is read: the answers fill the stream
				if wire.WriteFrame(w, full) != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			done := make(chan error, 1)
			go func() { done <- staging.Serve(t.Context(), b, lib.Lookup) }()
			go send(a)
			if err := <-done; !errors.Is(err, wire.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestServeEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, b := pair(t)
	done := make(chan error, 1)
	go func() { done <- staging.Serve(ctx, b, new(staging.Library).Lookup) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
