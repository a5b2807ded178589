package staging

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of a fetch stream.
const (
	// MaxOutstanding is how many blobs a peer may have asked for on one
	// stream and not yet received.
	MaxOutstanding = 4096
	// ServeIdle is how long a stream on which nothing moves is kept open.
	ServeIdle = 2 * time.Minute
)

// pieceSize is how much of a blob is written at once, so that an idle timer
// sees slow links move.
const pieceSize = 64 << 10

// Serve answers the wants on a fetch stream until the peer ends it (nil), ctx
// ends, the peer breaks the protocol or its limits, or nothing moves for
// [ServeIdle]. It closes the stream. lookup returns what the members of a job
// may have, or why nothing: [Library.Lookup], or a function that first checks
// that the stream's peer is such a member. Memory is bounded by one blob. When
// a source had an error of its own (a file changed), the peer is told, and
// Serve returns the first one in the end.
func Serve(ctx context.Context, s Stream, lookup func(wire.JobID) (Source, error)) error {
	type want struct {
		job    wire.JobID
		digest wire.Digest
	}
	var outstanding atomic.Int64
	wants := make(chan want, MaxOutstanding)
	g, ctx := errgroup.WithContext(ctx)
	w := watch(ctx, s, ServeIdle)
	defer w.stop()

	g.Go(func() error { // reads
		defer close(wants)
		r := bufio.NewReader(s)
		for {
			m, err := wire.ReadFrame(r, 64<<10)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return w.cause(fmt.Errorf("read wants: %w", err))
			}
			w.touch()
			m2, ok := m.(*wire.Want)
			if !ok {
				return fmt.Errorf("read wants: %w: %T on a fetch stream", wire.ErrInvalid, m)
			}
			if n := outstanding.Add(int64(len(m2.Digests))); n > MaxOutstanding {
				return fmt.Errorf("read wants: %w: %d at once", wire.ErrInvalid, n)
			}
			for _, d := range m2.Digests {
				wants <- want{m2.Job, d} // has room: outstanding counts
			}
		}
	})
	var sourceErr error
	g.Go(func() error { // answers
		var (
			buf []byte
			job wire.JobID
			src Source
			no  error = ErrNotHeld
		)
		for {
			var q want
			var ok bool
			select {
			case q, ok = <-wants:
			case <-ctx.Done():
				return w.cause(ctx.Err())
			}
			if !ok {
				return s.CloseWrite()
			}
			if src == nil || q.job != job {
				job = q.job
				src, no = lookup(job)
			}
			blob, err := []byte(nil), no
			if no == nil {
				blob, err = src.Blob(ctx, q.digest, buf)
			}
			if err != nil {
				src = nil // asked again next time: it may be allowed by then
				if no == nil && !errors.Is(err, ErrNotHeld) && sourceErr == nil {
					sourceErr = err
				}
				err = wire.WriteFrame(s, &wire.Missing{Digest: q.digest, Reason: reason(err)})
			} else {
				if len(blob) > cap(buf) && len(blob) <= wire.MaxChunk {
					buf = make([]byte, 0, len(blob)) // blob itself may be the source's own memory
				}
				err = writeBlob(s, w, q.digest, blob)
			}
			if err != nil {
				return w.cause(fmt.Errorf("send chunk: %w", err))
			}
			w.touch()
			outstanding.Add(-1)
		}
	})
	return errors.Join(g.Wait(), sourceErr)
}

func writeBlob(s Stream, w *watchdog, d wire.Digest, blob []byte) error {
	if err := wire.WriteFrame(s, &wire.BlobHeader{Digest: d, Size: uint32(len(blob))}); err != nil {
		return err
	}
	for len(blob) > 0 {
		n := min(len(blob), pieceSize)
		if _, err := s.Write(blob[:n]); err != nil {
			return err
		}
		w.touch()
		blob = blob[n:]
	}
	return nil
}

// reason is what a peer is told of an error.
func reason(err error) string {
	s := strings.ToValidUTF8(err.Error(), "?")
	if len(s) > 1000 {
		s = strings.ToValidUTF8(s[:1000], "")
	}
	return s
}

// watchdog closes a stream when nothing moves on it or its context ends.
type watchdog struct {
	s     Stream
	limit time.Duration
	timer *time.Timer
	fired atomic.Bool
	undo  func() bool
	ctx   context.Context
}

func watch(ctx context.Context, s Stream, limit time.Duration) *watchdog {
	w := &watchdog{s: s, limit: limit, ctx: ctx}
	w.timer = time.AfterFunc(limit, func() {
		w.fired.Store(true)
		s.Close()
	})
	w.undo = context.AfterFunc(ctx, func() { s.Close() })
	return w
}

// touch says that something moved.
func (w *watchdog) touch() { w.timer.Reset(w.limit) }

// stop closes the stream.
func (w *watchdog) stop() {
	w.timer.Stop()
	w.undo()
	w.s.Close()
}

// cause returns the reason for an error of the stream.
func (w *watchdog) cause(err error) error {
	if w.fired.Load() {
		return fmt.Errorf("nothing moved for %v: %w", w.limit, err)
	}
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return err
}
