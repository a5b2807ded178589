package runtimes

import "io"

// InspectContent is Inspect without the file.
func InspectContent(r io.ReaderAt, size int64, kind Kind) (App, error) {
	return inspect(r, size, kind, "app")
}
