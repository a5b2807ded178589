package staging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of an output stream.
const (
	// MaxBlock is the largest block on an output stream, in bytes.
	MaxBlock = 256 << 10

	firstRing  = 16 << 10 // a quiet worker costs no more
	spillPiece = 1 << 20
)

// SpoolOptions are the options of [NewSpool]; the zero value never spills.
type SpoolOptions struct {
	// Memory is how many bytes are kept in memory at most; 0 means 4 MiB. A
	// quiet worker takes far less. Below 512 KiB the output is slow, because
	// the sink acknowledges every 256 KiB or 200 ms.
	Memory   int
	Dir      string       // where to spill; empty: nowhere
	MaxSpill int64        // bytes spilled; 0 means 256 MiB
	Log      *slog.Logger // nil discards
}

// Spool takes home what a worker prints on one descriptor. It reads the
// worker's pipe and keeps every byte until the sink has acknowledged it: in
// memory while home is there, and in a file when home is away for longer. When
// both are full it stops reading, so that the worker's writes block; nothing
// is ever lost or out of order.
type Spool struct {
	key  wire.Output
	pipe *os.File
	o    SpoolOptions

	data  chan struct{} // 1: there may be more to send
	space chan struct{} // 1: there may be room again, or home went away
	done  chan struct{}
	ended chan struct{}

	mu     sync.Mutex
	ring   ring     // what is not in the file
	spill  *os.File // bytes acked to ring.start, at their offset modulo MaxSpill
	acked  int64
	isEnd  bool // ring.end is the end of the output
	online bool // a stream is open
	noDisk bool // spilling failed: block instead
	gone   bool // superseded: the rest is discarded
}

// NewSpool makes the spool of a worker's descriptor. The pipe's reading end is
// the spool's from now on; closing it from elsewhere ends the output there. It
// must be as [os.Pipe] made it: Fd makes a file's reads uninterruptible.
func NewSpool(key wire.Output, pipe *os.File, o SpoolOptions) *Spool {
	if o.Memory <= 0 {
		o.Memory = 4 << 20
	}
	if o.MaxSpill <= 0 {
		o.MaxSpill = 256 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Spool{
		key: key, pipe: pipe, o: o,
		data:  make(chan struct{}, 1),
		space: make(chan struct{}, 1),
		done:  make(chan struct{}),
		ended: make(chan struct{}),
		ring:  ring{buf: make([]byte, min(firstRing, o.Memory))},
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run reads the pipe to its end and delivers everything, until all is
// acknowledged (nil), a newer attempt counts (the error matches
// [ErrSuperseded]) or ctx ends. open opens an output stream to the job's
// primary; it is called again, with growing pauses of up to 5 s, whenever a
// stream breaks, and must end with its context. Run is called once; it closes
// the pipe and removes what it spilled.
func (s *Spool) Run(ctx context.Context, open func(context.Context) (Stream, error)) error {
	widenPipe(s.pipe)
	g, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { s.pipe.Close() })
	g.Go(func() error { return s.fill(ctx) })
	g.Go(func() error { return s.deliver(ctx, open) })
	err := g.Wait()
	stop()
	s.pipe.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropSpill()
	s.ring.buf = nil
	return err
}

// Done is closed when all is acknowledged, or superseded.
func (s *Spool) Done() <-chan struct{} { return s.done }

// Ended is closed when the pipe has been read to its end, or superseded.
func (s *Spool) Ended() <-chan struct{} { return s.ended }

// Size returns how many bytes were read so far, and whether that is all.
func (s *Spool) Size() (n int64, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ring.end, s.isEnd
}

// fill reads the pipe into the ring.
func (s *Spool) fill(ctx context.Context) error {
	for {
		room, err := s.room(ctx)
		if err != nil {
			return err
		}
		n, err := s.pipe.Read(room[:min(len(room), MaxBlock)])
		s.mu.Lock()
		if s.gone {
			n = 0
		}
		s.ring.end += int64(n)
		end := err != nil
		if end && !s.isEnd {
			s.isEnd = true
			close(s.ended)
		}
		s.mu.Unlock()
		signal(s.data)
		if end {
			if ctx.Err() != nil && errors.Is(err, os.ErrClosed) {
				return context.Cause(ctx) // closed by Run, not read to its end
			}
			if ctx.Err() == nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				s.o.Log.Warn("output ends early", "rank", s.key.Rank, "fd", s.key.FD, "error", err)
			}
			return nil
		}
	}
}

// room returns memory to read into. It waits, grows the ring or spills when
// there is none.
func (s *Spool) room(ctx context.Context) ([]byte, error) {
	for {
		s.mu.Lock()
		p := s.ring.free()
		if p == nil && s.ring.grow(s.o.Memory) {
			p = s.ring.free()
		}
		if p == nil && !s.online && s.spillSome() {
			p = s.ring.free()
		}
		s.mu.Unlock()
		if p != nil {
			return p, nil
		}
		select {
		case <-s.space:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// spillSome moves the ring's oldest bytes to the file; it reports whether it
// did. The mutex is held.
func (s *Spool) spillSome() bool {
	if s.o.Dir == "" || s.noDisk || s.gone {
		return false
	}
	n := min(spillPiece, int64(len(s.ring.buf)), s.o.MaxSpill-(s.ring.start-s.acked))
	at := s.ring.start % s.o.MaxSpill
	from := s.ring.start % int64(len(s.ring.buf))
	n = min(n, s.o.MaxSpill-at, int64(len(s.ring.buf))-from)
	if n <= 0 {
		return false
	}
	var err error
	if s.spill == nil {
		s.spill, err = os.CreateTemp(s.o.Dir, "output-")
	}
	if err == nil {
		_, err = s.spill.WriteAt(s.ring.buf[from:from+n], at)
	}
	if err != nil {
		s.noDisk = true // until home is back
		s.o.Log.Warn("cannot spill output; the worker waits", "rank", s.key.Rank, "fd", s.key.FD, "error", diskError(err))
		return false
	}
	s.ring.start += n
	return true
}

// dropSpill removes the file. The mutex is held.
func (s *Spool) dropSpill() {
	if s.spill == nil {
		return
	}
	name := s.spill.Name()
	s.spill.Close()
	if err := os.Remove(name); err != nil {
		s.o.Log.Warn("cannot remove spilled output", "error", err)
	}
	s.spill = nil
}

// ack forgets the bytes before an offset.
func (s *Spool) ack(off int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if off < s.acked || off > s.ring.end {
		return fmt.Errorf("%w: offset %d of an output of which %d to %d are kept", wire.ErrInvalid, off, s.acked, s.ring.end)
	}
	s.acked = off
	if off >= s.ring.start {
		s.ring.start = off
		s.dropSpill()
	}
	signal(s.space)
	return nil
}

// next copies bytes from an offset on into p. At the end of what was read it
// returns zero, and whether the output ends there.
func (s *Spool) next(p []byte, off int64) (n int, end bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if off < s.acked {
		return 0, false, fmt.Errorf("%w: offset %d acknowledged before it was sent", wire.ErrInvalid, s.acked)
	}
	if off < s.ring.start {
		at := off % s.o.MaxSpill
		n := min(int64(len(p)), s.ring.start-off, s.o.MaxSpill-at)
		if _, err := s.spill.ReadAt(p[:n], at); err != nil {
			return 0, false, fmt.Errorf("read spilled output: %w", err)
		}
		return int(n), false, nil
	}
	if off == s.ring.end {
		return 0, s.isEnd, nil
	}
	return s.ring.copyOut(p, off), false, nil
}

// supersede discards the output, and what is still printed.
func (s *Spool) supersede() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	s.acked = s.ring.end
	s.ring.start = s.ring.end
	s.dropSpill()
	signal(s.space)
}

func (s *Spool) setOnline(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.online = on
	if on {
		s.noDisk = false
	}
	signal(s.space)
}
