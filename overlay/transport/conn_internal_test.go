package transport

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
)

// TestOnceLog holds that whoever always fails in another way is told of a few
// times only, and that this hides nobody else.
func TestOnceLog(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	o := newOnceLog(slog.New(slog.NewTextHandler(&b, nil)))
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	for i := range 5000 {
		o.warn("connection refused", ours, fmt.Errorf("name %d is wrong", i%100))
	}
	if n := strings.Count(b.String(), "level=WARN"); n == 0 || n > maxTexts {
		t.Errorf("logged %d times, want 1 to %d", n, maxTexts)
	}
	b.Reset()
	for range 3 {
		o.warn("stream altered on its way", ours, fmt.Errorf("bad record"))
	}
	if n := strings.Count(b.String(), "level=WARN"); n != 1 {
		t.Errorf("another thing is logged %d times, want once", n)
	}
}
