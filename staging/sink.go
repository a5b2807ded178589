package staging

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// SinkOptions are the options of [NewSink]. Every function may be nil; they
// are called from several goroutines, for one output never at once.
type SinkOptions struct {
	// Begun says that a new or newer attempt's output begins.
	Begun func(rank uint32, fd uint8, attempt uint32)
	// Tee shows each byte once, in order, after it was written. It must not
	// keep p; while it blocks, so does in the end the worker.
	Tee func(rank uint32, fd uint8, p []byte)
	// Failed says that an output could not be written at home. Nothing is
	// lost: it is tried again when the pilot opens its next stream.
	Failed func(rank uint32, fd uint8, err error)
	Log    *slog.Logger // nil discards
}

// Sink brings home what the workers of one job print: it writes each output
// byte for byte to DIR/worker-RANK/stdout or stderr. Only the newest attempt
// of a rank counts; when one begins, the files of the older are emptied. It is
// safe for concurrent use.
type Sink struct {
	job    wire.JobID
	dir    *os.Root
	o      SinkOptions
	blocks sync.Pool // *[sinkBlock]byte: only busy streams need one

	mu     sync.Mutex
	closed bool
	ranks  map[uint32]*sinkRank
	wake   chan struct{} // not nil when somebody waits: closed when any output moves
	active sync.WaitGroup
}

type sinkRank struct {
	attempt uint32
	outputs [3]*sinkOutput // by descriptor
}

// sinkOutput is one output of a rank's newest attempt.
type sinkOutput struct {
	token chan struct{} // held by the stream that writes
	begun bool          // guarded by the token: the file is this attempt's

	// Guarded by Sink.mu:
	stream   Stream        // the newest: it holds or waits for the token
	replaced chan struct{} // closed when there is a newer one
	offset   int64         // bytes in the file
	ended    bool
	stale    bool // a newer attempt began
}

const (
	sinkBlock = 128 << 10
	ackBytes  = 256 << 10
	ackDelay  = 200 * time.Millisecond
)

var errSinkClosed = errors.New("the job's outputs are closed")

// NewSink makes the sink of a job. dir must stay open until Close.
func NewSink(job wire.JobID, dir *os.Root, o SinkOptions) *Sink {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Sink{
		job: job, dir: dir, o: o,
		blocks: sync.Pool{New: func() any { return new([sinkBlock]byte) }},
		ranks:  make(map[uint32]*sinkRank),
	}
}

// ReadOutput reads the first message of an output stream, within 30 s: whose
// output it is. The caller finds the job's sink, checks that the stream's peer
// holds the rank, and calls [Sink.Accept]; or closes the stream.
func ReadOutput(ctx context.Context, s Stream) (wire.Output, error) {
	t := time.AfterFunc(greetingLimit, func() { s.Close() })
	defer t.Stop()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	m, err := wire.ReadFrame(s, 1<<10)
	if err != nil {
		return wire.Output{}, fmt.Errorf("read whose output it is: %w", err)
	}
	out, ok := m.(*wire.Output)
	if !ok {
		return wire.Output{}, fmt.Errorf("read whose output it is: %w: %T", wire.ErrInvalid, m)
	}
	return *out, nil
}

// Accept receives an output over one stream, from where the stream before it
// ended: nil when all has come. It closes the stream. An older attempt is
// refused; the error matches [ErrSuperseded]. A new stream for the same output
// ends the older stream.
func (k *Sink) Accept(ctx context.Context, s Stream, out wire.Output) error {
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	o, replaced, err := k.enter(s, out)
	if errors.Is(err, ErrSuperseded) {
		_ = wire.WriteFrame(s, &wire.Resume{Refused: true}) // the error says it anyhow
	}
	if err != nil {
		return fmt.Errorf("output of worker %d: %w", out.Rank, err)
	}
	defer k.active.Done()
	select {
	case o.token <- struct{}{}:
	case <-replaced:
		return fmt.Errorf("output of worker %d: a newer stream took over", out.Rank)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-o.token }()
	if err := k.receive(ctx, s, out, o); err != nil {
		return fmt.Errorf("output of worker %d: %w", out.Rank, err)
	}
	return nil
}

// enter finds an output, beginning it when it is new, and ends its older
// stream. The channel is closed when a newer stream enters.
func (k *Sink) enter(s Stream, out wire.Output) (*sinkOutput, <-chan struct{}, error) {
	if err := out.Validate(); err != nil {
		return nil, nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, nil, errSinkClosed
	}
	if out.Job != k.job {
		return nil, nil, fmt.Errorf("%w: of another job", wire.ErrInvalid)
	}
	if err := k.advance(out.Rank, out.Attempt); err != nil {
		return nil, nil, err
	}
	o := k.ranks[out.Rank].outputs[out.FD]
	o.leave()
	o.stream, o.replaced = s, make(chan struct{})
	k.active.Add(1)
	return o, o.replaced, nil
}

// leave ends the output's stream. Sink.mu is held.
func (o *sinkOutput) leave() {
	if o.stream != nil {
		o.stream.Close()
		close(o.replaced)
		o.stream = nil
	}
}

// Advance makes an attempt the newest of its rank: older ones are refused from
// now on, and their streams end. The error matches [ErrSuperseded] when a
// newer one is known.
func (k *Sink) Advance(rank, attempt uint32) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.advance(rank, attempt)
}

func (k *Sink) advance(rank, attempt uint32) error {
	r := k.ranks[rank]
	if r != nil && attempt < r.attempt {
		return fmt.Errorf("attempt %d: %w: %d", attempt, ErrSuperseded, r.attempt)
	}
	if r != nil && attempt == r.attempt {
		return nil
	}
	next := &sinkRank{attempt: attempt}
	for fd := 1; fd <= 2; fd++ {
		next.outputs[fd] = &sinkOutput{token: make(chan struct{}, 1)}
		if r == nil {
			continue
		}
		old := r.outputs[fd]
		old.stale = true
		old.leave()
		// The new attempt's stream waits until the old one's has left the file.
		next.outputs[fd].token = old.token
	}
	k.ranks[rank] = next
	k.moved()
	return nil
}

// moved wakes those who wait. The mutex is held.
func (k *Sink) moved() {
	if k.wake != nil {
		close(k.wake)
		k.wake = nil
	}
}

// receive reads blocks into the file. The output's token is held.
func (k *Sink) receive(ctx context.Context, s Stream, out wire.Output, o *sinkOutput) (err error) {
	file, err := k.begin(out, o)
	if err != nil {
		k.failed(out, err)
		return err
	}
	defer func() {
		if cerr := file.Close(); cerr != nil { // a network file system may tell only now
			k.failed(out, cerr)
			err = errors.Join(err, cerr)
		}
	}()
	k.mu.Lock()
	off := o.offset
	k.mu.Unlock()
	if err := wire.WriteFrame(s, &wire.Resume{Offset: off}); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { s.Close() })()
	moved := make(chan struct{}, 1)
	g.Go(func() error { return k.acknowledge(ctx, s, o, off, moved) })
	g.Go(func() error {
		defer close(moved)
		r := bufio.NewReaderSize(s, 4<<10)
		for {
			var head [4]byte
			if _, err := io.ReadFull(r, head[:]); err != nil {
				return err
			}
			n := binary.BigEndian.Uint32(head[:])
			if n > MaxBlock {
				return fmt.Errorf("%w: block of %d bytes", wire.ErrInvalid, n)
			}
			if n == 0 {
				k.mu.Lock()
				o.ended = true
				k.moved()
				k.mu.Unlock()
				return nil
			}
			if err := k.block(r, int(n), out, o, file, moved); err != nil {
				return err
			}
		}
	})
	return g.Wait()
}

// block writes one block to the file and the display.
func (k *Sink) block(r io.Reader, n int, out wire.Output, o *sinkOutput, file *os.File, moved chan<- struct{}) error {
	buf := k.blocks.Get().(*[sinkBlock]byte)
	defer k.blocks.Put(buf)
	for n > 0 {
		p := buf[:min(n, len(buf))]
		if _, err := io.ReadFull(r, p); err != nil {
			return err
		}
		k.mu.Lock()
		off, ended, stale := o.offset, o.ended, o.stale
		k.mu.Unlock()
		if stale {
			return ErrSuperseded
		}
		if ended {
			return fmt.Errorf("%w: bytes after the end", wire.ErrInvalid)
		}
		if _, err := file.WriteAt(p, off); err != nil {
			err = diskError(err)
			k.failed(out, err)
			return err
		}
		if k.o.Tee != nil {
			k.o.Tee(out.Rank, out.FD, p)
		}
		k.mu.Lock()
		o.offset += int64(len(p))
		k.moved()
		k.mu.Unlock()
		signal(moved)
		n -= len(p)
	}
	return nil
}

// acknowledge tells the spool what is in the file: at once after 256 KiB and
// at the end, else within 200 ms.
func (k *Sink) acknowledge(ctx context.Context, s Stream, o *sinkOutput, told int64, moved <-chan struct{}) error {
	t := time.NewTimer(ackDelay)
	t.Stop()
	waiting := false
	for {
		due, last := false, false
		select {
		case _, ok := <-moved:
			last = !ok
		case <-t.C:
			due, waiting = true, false
		case <-ctx.Done():
			return nil // the reader knows why
		}
		k.mu.Lock()
		off, ended := o.offset, o.ended
		k.mu.Unlock()
		if last && !ended {
			return nil
		}
		switch {
		case last || off-told >= ackBytes || due && off > told:
			if err := wire.WriteFrame(s, &wire.Received{Offset: off}); err != nil {
				return err
			}
			told = off
		case off > told && !waiting:
			t.Reset(ackDelay)
			waiting = true
		}
		if last {
			return nil
		}
	}
}

// begin opens an output's file; the first time, it empties that of an older
// attempt. The output's token is held.
func (k *Sink) begin(out wire.Output, o *sinkOutput) (*os.File, error) {
	k.mu.Lock()
	stale := o.stale
	k.mu.Unlock()
	if stale {
		return nil, ErrSuperseded
	}
	dir, err := workerDir(k.dir, out.Rank)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	name := "stdout"
	if out.FD == 2 {
		name = "stderr"
	}
	if fi, err := dir.Lstat(name); err == nil && !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is a %s, not a file", name, kindOf(fi.Mode()))
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	flags := os.O_WRONLY | os.O_CREATE
	if !o.begun {
		flags |= os.O_TRUNC
	}
	f, err := dir.OpenFile(name, flags, 0o666)
	if err != nil {
		return nil, diskError(err)
	}
	if !o.begun && k.o.Begun != nil {
		k.o.Begun(out.Rank, out.FD, out.Attempt)
	}
	o.begun = true
	return f, nil
}

func (k *Sink) failed(out wire.Output, err error) {
	if errors.Is(err, ErrSuperseded) {
		return
	}
	k.o.Log.Warn("cannot write output", "rank", out.Rank, "fd", out.FD, "error", err)
	if k.o.Failed != nil {
		k.o.Failed(out.Rank, out.FD, err)
	}
}

// Wait waits until the first size bytes of an output are in its file and were
// shown. The error matches [ErrSuperseded] when a newer attempt begins.
func (k *Sink) Wait(ctx context.Context, out wire.Output, size int64) error {
	if err := out.Validate(); err != nil {
		return err
	}
	for {
		k.mu.Lock()
		if k.wake == nil {
			k.wake = make(chan struct{})
		}
		r, wake, closed := k.ranks[out.Rank], k.wake, k.closed
		var err error
		var have int64
		switch {
		case r != nil && r.attempt > out.Attempt:
			err = fmt.Errorf("attempt %d: %w: %d", out.Attempt, ErrSuperseded, r.attempt)
		case r != nil && r.attempt == out.Attempt:
			have = r.outputs[out.FD].offset
		}
		k.mu.Unlock()
		if err == nil && have < size && closed {
			err = errSinkClosed
		}
		if err != nil {
			return fmt.Errorf("output of worker %d: %w", out.Rank, err)
		}
		if have >= size {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return fmt.Errorf("output of worker %d: %d of %d bytes are here: %w", out.Rank, have, size, context.Cause(ctx))
		}
	}
}

// Close ends all streams and waits for them; no function of the options is
// called afterwards.
func (k *Sink) Close() {
	k.mu.Lock()
	k.closed = true
	for _, r := range k.ranks {
		for _, o := range r.outputs[1:] {
			o.leave()
		}
	}
	k.moved()
	k.mu.Unlock()
	k.active.Wait()
}
