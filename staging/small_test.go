package staging_test

import (
	"testing"

	"github.com/zorilla-grid/zorilla/staging"
)

// BenchmarkSmallSet is what stands between a grant and the start of a small
// program: build, fetch, materialize, look.
func BenchmarkSmallSet(b *testing.B) {
	app := write(b, b.TempDir()+"/hello.sh", []byte("#!/bin/sh\necho hello\n"), 0o755)
	for b.Loop() {
		set := build(b, staging.Input{Src: app})
		store := openStore(b, 0)
		m, err := store.Fetch(b.Context(), request(serving(b, set), set.Root()))
		if err != nil {
			b.Fatal(err)
		}
		root := openRoot(b, b.TempDir())
		if err := staging.Materialize(b.Context(), m, store, root); err != nil {
			b.Fatal(err)
		}
		if _, err := staging.TakeSnapshot(b.Context(), root); err != nil {
			b.Fatal(err)
		}
	}
}
