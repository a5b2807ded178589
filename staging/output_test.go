package staging_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/staging"
)

var stdout = wire.Output{Job: testJob, Rank: 2, Attempt: 1, FD: 1}

// home is a sink behind streams that tests can break and forbid.
type home struct {
	t     testing.TB
	dir   string
	sink  *staging.Sink
	wrap  func(staging.Stream) staging.Stream // of the pilot's end
	away  atomic.Bool
	tries chan struct{} // a token for each stream asked for while away
	wg    sync.WaitGroup
	errs  chan error

	mu   sync.Mutex
	live []staging.Stream
}

func newHome(t testing.TB, o staging.SinkOptions) *home {
	dir := t.TempDir()
	h := &home{t: t, dir: dir, tries: make(chan struct{}, 1000), errs: make(chan error, 10000)}
	h.sink = staging.NewSink(testJob, openRoot(t, dir), o)
	t.Cleanup(func() { h.sink.Close(); h.wg.Wait() })
	return h
}

func (h *home) open(ctx context.Context) (staging.Stream, error) {
	h.mu.Lock() // all that is opened before leave is broken by it
	defer h.mu.Unlock()
	if h.away.Load() {
		select {
		case h.tries <- struct{}{}:
		default:
		}
		return nil, errors.New("home is away")
	}
	a, b := pair(h.t)
	h.live = append(h.live, b)
	h.wg.Go(func() {
		out, err := staging.ReadOutput(context.WithoutCancel(ctx), b)
		if err == nil {
			err = h.sink.Accept(context.WithoutCancel(ctx), b, out)
		}
		b.Close()
		h.errs <- err
	})
	if h.wrap != nil {
		return h.wrap(a), nil
	}
	return a, nil
}

// leave breaks all streams and forbids new ones.
func (h *home) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away.Store(true)
	for _, s := range h.live {
		s.Close()
	}
}

// start runs a spool and returns what the worker writes to.
func start(t testing.TB, key wire.Output, o staging.SpoolOptions, open func(context.Context) (staging.Stream, error)) (*os.File, *staging.Spool, <-chan error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := staging.NewSpool(key, r, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	over := make(chan struct{})
	go func() { defer close(over); done <- s.Run(ctx, open) }()
	t.Cleanup(func() { cancel(); w.Close(); <-over })
	return w, s, done
}

func (h *home) check(key wire.Output, want []byte) {
	h.t.Helper()
	name := []string{1: "stdout", 2: "stderr"}[key.FD]
	got, err := os.ReadFile(fmt.Sprintf("%s/worker-%d/%s", h.dir, key.Rank, name))
	if err != nil || !bytes.Equal(got, want) {
		h.t.Errorf("%s: %d bytes, want %d, first difference at %d, %v", name, len(got), len(want), differ(got, want), err)
	}
}

func differ(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func TestOutput(t *testing.T) {
	for _, n := range []int{0, 1, 16 << 10, 5 << 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var shown bytes.Buffer
			h := newHome(t, staging.SinkOptions{Tee: func(rank uint32, fd uint8, p []byte) { shown.Write(p) }})
			w, s, done := start(t, stdout, staging.SpoolOptions{}, h.open)
			data := random(n)
			w.Write(data)
			w.Close()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			<-s.Done()
			<-s.Ended()
			size, ended := s.Size()
			if size != int64(n) || !ended {
				t.Errorf("size %d, ended %v", size, ended)
			}
			if err := h.sink.Wait(t.Context(), stdout, size); err != nil {
				t.Fatal(err)
			}
			if err := <-h.errs; err != nil {
				t.Errorf("accept: %v", err)
			}
			h.check(stdout, data)
			if !bytes.Equal(shown.Bytes(), data) {
				t.Errorf("%d bytes shown", shown.Len())
			}
		})
	}
}

// A line is at home at once, however long the worker is silent afterwards.
func TestOutputIsPrompt(t *testing.T) {
	shown := make(chan string, 10)
	h := newHome(t, staging.SinkOptions{Tee: func(_ uint32, _ uint8, p []byte) { shown <- string(p) }})
	w, _, _ := start(t, stdout, staging.SpoolOptions{}, h.open)
	for i := range 3 {
		line := fmt.Sprintf("line %d\n", i)
		io.WriteString(w, line)
		if got := <-shown; got != line {
			t.Errorf("got %q", got)
		}
	}
}

// Streams break after every number of bytes, in both directions.
func TestOutputResumesAtEveryBoundary(t *testing.T) {
	data := random(300)
	for part := range 12 {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			for at := part; at < 420; at += 12 {
				resumeAt(t, data, at)
			}
		})
	}
}

// resumeAt passes data over a stream that breaks once.
func resumeAt(t *testing.T, data []byte, at int) {
	h := newHome(t, staging.SinkOptions{})
	broken := false
	h.wrap = func(s staging.Stream) staging.Stream {
		if broken {
			return s
		}
		broken = true
		return &cutting{s, at}
	}
	w, _, done := start(t, stdout, staging.SpoolOptions{}, h.open)
	for i := 0; i < len(data); i += 50 {
		w.Write(data[i : i+50])
	}
	w.Close()
	if err := <-done; err != nil {
		t.Fatalf("broken after %d bytes: %v", at, err)
	}
	h.check(stdout, data)
	if t.Failed() {
		t.Fatalf("broken after %d bytes", at)
	}
}

func TestOutputSurvivesManyBreaks(t *testing.T) {
	h := newHome(t, staging.SinkOptions{})
	n := 0
	h.wrap = func(s staging.Stream) staging.Stream { n++; return &cutting{s, 600<<10 + n*7919} }
	dir := t.TempDir()
	w, _, done := start(t, stdout, staging.SpoolOptions{Memory: 600_000, Dir: dir, MaxSpill: 900_001}, h.open)
	data := random(9<<20 + 5)
	w.Write(data)
	w.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	h.check(stdout, data)
	if n < 5 {
		t.Errorf("only %d streams", n)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// While home is away the spool takes memory and spill, then the worker waits;
// when home is back, nothing is lost.
func TestOutputSpillsThenBlocks(t *testing.T) {
	h := newHome(t, staging.SinkOptions{})
	dir := t.TempDir()
	const memory, spill = 512 << 10, 1 << 20
	w, s, done := start(t, stdout, staging.SpoolOptions{Memory: memory, Dir: dir, MaxSpill: spill}, h.open)
	h.leave()
	data := random(3 << 20)
	written := make(chan error, 1)
	go func() {
		_, err := w.Write(data)
		w.Close()
		written <- err
	}()
	waitFor(t, func() bool { n, _ := s.Size(); return n >= memory+spill })
	for range 3 { // as many redials later it is still so
		<-h.tries
	}
	if n, _ := s.Size(); n != memory+spill {
		t.Errorf("took %d bytes, want %d", n, memory+spill)
	}
	select {
	case err := <-written:
		t.Fatalf("the worker was not held: %v", err)
	default:
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("spilled to %v", left)
	}
	h.away.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	h.check(stdout, data)
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// Without a disk to spill to, the worker waits and nothing is lost.
func TestOutputDiskFullAtPilot(t *testing.T) {
	h := newHome(t, staging.SinkOptions{})
	h.away.Store(true)
	w, s, done := start(t, stdout, staging.SpoolOptions{Memory: 512 << 10, Dir: "/nonexistent/dir"}, h.open)
	data := random(1 << 20)
	go func() { w.Write(data); w.Close() }()
	waitFor(t, func() bool { n, _ := s.Size(); return n == 512<<10 })
	h.away.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	h.check(stdout, data)
}

// waitFor waits for a condition that no channel tells.
func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("the condition did not come")
		}
	}
}

func TestOutputOlderAttempt(t *testing.T) {
	var begun []uint32
	h := newHome(t, staging.SinkOptions{Begun: func(_ uint32, _ uint8, attempt uint32) { begun = append(begun, attempt) }})
	w1, s1, done1 := start(t, stdout, staging.SpoolOptions{}, h.open)
	io.WriteString(w1, "a longer output of the first attempt")
	if err := h.sink.Wait(t.Context(), stdout, 36); err != nil {
		t.Fatal(err)
	}
	newer := stdout
	newer.Attempt = 2
	w2, _, done2 := start(t, newer, staging.SpoolOptions{}, h.open)
	io.WriteString(w2, "second")
	w2.Close()
	if err := <-done2; err != nil {
		t.Fatal(err)
	}
	if err := <-done1; !errors.Is(err, staging.ErrSuperseded) {
		t.Errorf("older attempt: %v", err)
	}
	<-s1.Done()
	h.check(stdout, []byte("second"))
	if err := h.sink.Wait(t.Context(), stdout, 1); !errors.Is(err, staging.ErrSuperseded) {
		t.Errorf("wait: %v", err)
	}
	if fmt.Sprint(begun) != "[1 2]" {
		t.Errorf("begun %v", begun)
	}
	if err := h.sink.Advance(stdout.Rank, 1); !errors.Is(err, staging.ErrSuperseded) {
		t.Errorf("advance: %v", err)
	}
	// An attempt that the primary has given up is refused before the next one prints.
	if err := h.sink.Advance(stdout.Rank, 5); err != nil {
		t.Fatal(err)
	}
	newer.Attempt = 4
	_, _, done4 := start(t, newer, staging.SpoolOptions{}, h.open)
	if err := <-done4; !errors.Is(err, staging.ErrSuperseded) {
		t.Errorf("fenced attempt: %v", err)
	}
}

// When the file cannot be written, the user hears of it and the worker's
// bytes wait.
func TestOutputCannotBeWritten(t *testing.T) {
	failed := make(chan error, 100)
	h := newHome(t, staging.SinkOptions{Failed: func(_ uint32, _ uint8, err error) {
		select {
		case failed <- err:
		default:
		}
	}})
	if err := os.MkdirAll(h.dir+"/worker-2/stdout", 0o755); err != nil {
		t.Fatal(err)
	}
	w, _, done := start(t, stdout, staging.SpoolOptions{}, h.open)
	io.WriteString(w, "kept")
	w.Close()
	if err := <-failed; !strings.Contains(err.Error(), "stdout is a directory") {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(h.dir + "/worker-2/stdout"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	h.check(stdout, []byte("kept"))
}

// A display that blocks holds the worker, not memory.
func TestOutputBackPressure(t *testing.T) {
	gate := make(chan struct{})
	h := newHome(t, staging.SinkOptions{Tee: func(uint32, uint8, []byte) { <-gate }})
	w, s, done := start(t, stdout, staging.SpoolOptions{Memory: 512 << 10, Dir: t.TempDir()}, h.open)
	data := random(8 << 20)
	go func() { w.Write(data); w.Close() }()
	waitFor(t, func() bool { n, _ := s.Size(); return n >= 512<<10 })
	if n, ended := s.Size(); n != 512<<10 || ended {
		t.Errorf("%d bytes taken", n)
	}
	close(gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	h.check(stdout, data)
}

func TestOutputEndsWithContext(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s := staging.NewSpool(stdout, r, staging.SpoolOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	h := newHome(t, staging.SinkOptions{})
	go func() { done <- s.Run(ctx, h.open) }()
	io.WriteString(w, "x")
	if err := h.sink.Wait(t.Context(), stdout, 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	h.sink.Close()
	if err := h.sink.Wait(t.Context(), stdout, 2); err == nil {
		t.Error("waited for a closed sink's bytes")
	}
}

func TestSinkRefusesHostileStreams(t *testing.T) {
	block := func(n uint32, b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), b...) }
	for name, send := range map[string][]byte{
		"giant block":         block(1<<30, nil),
		"block beyond limit":  block(256<<10+1, nil),
		"bytes after the end": nil,
		"cut":                 block(100, []byte("short")),
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t, staging.SinkOptions{})
			s, err := h.open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			wire.WriteFrame(s, &stdout)
			if _, err := wire.ReadFrame(s, 0); err != nil {
				t.Fatal(err)
			}
			if name == "bytes after the end" {
				s.Write(block(0, nil))
				if err := <-h.errs; err != nil {
					t.Fatal(err)
				}
				if s, err = h.open(t.Context()); err != nil {
					t.Fatal(err)
				}
				wire.WriteFrame(s, &stdout)
				send = block(1, []byte("x"))
			}
			s.Write(send)
			s.CloseWrite()
			if err := <-h.errs; err == nil {
				t.Error("accepted")
			}
		})
	}
	h := newHome(t, staging.SinkOptions{})
	a, _ := pair(t)
	if err := h.sink.Accept(t.Context(), a, wire.Output{Job: wire.JobID{9}, FD: 1}); !errors.Is(err, wire.ErrInvalid) {
		t.Errorf("another job: %v", err)
	}
}

// A sink that lies about what it has ends the stream, not the spool.
func TestSpoolRefusesHostileSink(t *testing.T) {
	for name, reply := range map[string][]wire.Message{
		"resume beyond the end": {&wire.Resume{Offset: 1 << 40}},
		"ack beyond the end":    {&wire.Resume{}, &wire.Received{Offset: 1 << 40}},
		"other message":         {&wire.Missing{}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t, staging.SinkOptions{})
			var lied atomic.Bool
			w, _, done := start(t, stdout, staging.SpoolOptions{}, func(ctx context.Context) (staging.Stream, error) {
				if lied.Swap(true) {
					return h.open(ctx)
				}
				a, b := pair(t)
				for _, m := range reply {
					wire.WriteFrame(b, m)
				}
				return a, nil
			})
			io.WriteString(w, "true")
			w.Close()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			h.check(stdout, []byte("true"))
		})
	}
}
