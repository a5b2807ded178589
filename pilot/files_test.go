package pilot

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/staging"
)

// pipeStream is a stream in memory.
type pipeStream struct{ net.Conn }

func (s pipeStream) CloseWrite() error { return nil }

// TestShelf drops a job's files while they are on their way, and fetches them
// again for a second stay: the first one's end takes nothing from the second.
func TestShelf(t *testing.T) {
	t.Parallel()
	src := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(src, []byte("some input"), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := staging.Build(t.Context(), []staging.Input{{Src: src, Dst: "input"}}, staging.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	id := wire.JobID{1}
	var home staging.Library
	home.Add(id, set)
	store, err := staging.OpenStore(filepath.Join(t.TempDir(), "store"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	library := new(staging.Library)
	s := &shelf{store: store, library: library, log: slog.New(slog.DiscardHandler),
		open: func(ctx context.Context, _ wire.NodeID) (staging.Stream, error) {
			asked <- struct{}{}
			select {
			case <-answer:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			ours, theirs := net.Pipe()
			go staging.Serve(t.Context(), pipeStream{theirs}, home.Lookup)
			return pipeStream{ours}, nil
		}}
	want := core.Fetch{Job: id, Root: set.Root(), From: []wire.NodeID{{1}}}

	first := s.expect(t.Context(), want)
	ended := make(chan error, 1)
	go func() { ended <- first() }()
	<-asked
	remove := s.drop(id)
	if remove == nil {
		t.Fatal("dropping a job that is fetched leaves nothing to do")
	}
	second := s.expect(t.Context(), want)
	again := make(chan error, 1)
	go func() { again <- second() }()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the fetch of a dropped job ended with %v", err)
	}
	if s.manifest(id, set.Root()) != nil {
		t.Error("a dropped job has files")
	}
	select {
	case <-asked:
		t.Error("the second stay began before the first had ended")
	default:
	}
	close(answer)
	remove()
	if err := <-again; err != nil {
		t.Fatalf("the second stay: %v", err)
	}
	if m := s.manifest(id, set.Root()); m == nil || len(m.Files) != 1 {
		t.Errorf("the second stay has %+v", m)
	}
	if _, err := library.Lookup(id); err != nil {
		t.Errorf("the files are not served: %v", err)
	}
	if s.manifest(wire.JobID{2}, set.Root()) != nil {
		t.Error("another job has the files")
	}
	if store.Used() == 0 {
		t.Error("the store is empty")
	}
	s.drop(id)()
	if _, err := library.Lookup(id); !errors.Is(err, staging.ErrNotHeld) {
		t.Errorf("dropped files are served: %v", err)
	}
	if store.Used() != 0 {
		t.Errorf("%d bytes stay of a dropped job", store.Used())
	}
	if s.drop(id) != nil {
		t.Error("dropping a job twice leaves something to do")
	}
}
