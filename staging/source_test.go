package staging_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/staging"
)

// TestLibraryTriesAll looks that a set whose files are gone does not stand
// before another one with the same content.
func TestLibraryTriesAll(t *testing.T) {
	dir := t.TempDir()
	var sets []*staging.Set
	l := new(staging.Library)
	for _, name := range []string{"a", "b"} {
		path := write(t, filepath.Join(dir, name), []byte("the same"), 0o644)
		set, err := staging.Build(t.Context(), []staging.Input{{Src: path}}, staging.BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, set)
		l.Add(testJob, set)
	}
	chunk := sets[0].Manifest().Files[0].Chunks[0].Digest
	if err := os.Remove(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	src, err := l.Lookup(testJob)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := src.Blob(t.Context(), chunk, nil); err != nil || string(b) != "the same" {
		t.Errorf("blob %q, error %v", b, err)
	}
	if err := os.Remove(filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if _, err := src.Blob(t.Context(), chunk, nil); !errors.Is(err, staging.ErrChanged) {
		t.Errorf("error %v of a blob whose files are gone", err)
	}
	if _, err := src.Blob(t.Context(), wire.Digest{1}, nil); !errors.Is(err, staging.ErrNotHeld) {
		t.Errorf("error %v of an unknown blob", err)
	}
}
