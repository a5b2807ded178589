package staging_test

import (
	"context"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/zorilla-grid/zorilla/staging"
)

// TestOutputMemory passes 512 MiB through TLS in one process: neither side's
// memory grows.
func TestOutputMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("passes 512 MiB")
	}
	var n atomic.Int64
	total, stats := int64(512<<20), runtime.MemStats{}
	runtime.GC()
	runtime.ReadMemStats(&stats)
	before, high := stats.HeapAlloc, uint64(0)
	stream(t, total, func(p []byte) {
		if n.Add(int64(len(p)))%(128<<20) < int64(len(p)) {
			runtime.ReadMemStats(&stats)
			high = max(high, stats.HeapAlloc)
		}
	})
	if high > before+16<<20 {
		t.Errorf("heap grew from %d to %d bytes", before, high)
	}
	t.Logf("heap: %d KiB before, %d KiB at most, %d objects", before>>10, high>>10, stats.Mallocs)
}

// stream passes zeros from a pipe over TLS to a file.
func stream(t testing.TB, total int64, tee func([]byte)) {
	k := staging.NewSink(testJob, openRoot(t, t.TempDir()), staging.SinkOptions{Tee: func(_ uint32, _ uint8, p []byte) {
		if tee != nil {
			tee(p)
		}
	}})
	client, server := tlsPair(t)
	accepted := make(chan error, 1)
	go func() {
		out, err := staging.ReadOutput(context.Background(), server)
		if err == nil {
			err = k.Accept(context.Background(), server, out)
		}
		accepted <- err
	}()
	w, _, done := start(t, stdout, staging.SpoolOptions{}, func(context.Context) (staging.Stream, error) { return client, nil })
	feed(w, total)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	if err := k.Wait(context.Background(), stdout, total); err != nil {
		t.Fatal(err)
	}
	k.Close()
}

func feed(w *os.File, total int64) {
	buf := make([]byte, 64<<10)
	for total > 0 {
		n, err := w.Write(buf[:min(total, int64(len(buf)))])
		if err != nil {
			return
		}
		total -= int64(n)
	}
	w.Close()
}

// BenchmarkOutput compares a worker's output, from a pipe over TLS to a file,
// with io.Copy over the same path.
func BenchmarkOutput(b *testing.B) {
	const total = 256 << 20
	b.Run("spool", func(b *testing.B) {
		b.SetBytes(total)
		b.ReportAllocs()
		for b.Loop() {
			stream(b, total, nil)
		}
	})
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(total)
		for b.Loop() {
			client, server := tlsPair(b)
			r, w, err := os.Pipe()
			if err != nil {
				b.Fatal(err)
			}
			f, err := os.Create(b.TempDir() + "/out")
			if err != nil {
				b.Fatal(err)
			}
			go feed(w, total)
			go func() { io.Copy(client, r); client.CloseWrite() }()
			if n, err := io.Copy(f, server); n != total || err != nil {
				b.Fatal(n, err)
			}
			f.Close()
			r.Close()
		}
	})
}
