package staging

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Limits of what one stream asks for ahead.
const (
	aheadBlobs = 64
	aheadBytes = 8 << 20
	manyBytes  = 2 << 20 // less than this does not need a second stream
)

// fetcher gets blobs from holders over a few streams.
type fetcher struct {
	r *Request

	mu      sync.Mutex
	holders []*holder
	pending []*item
	last    time.Time // when the last blob came
}

// holder is a peer that is asked.
type holder struct {
	id      wire.NodeID
	fails   int // in a row
	err     error
	dropped bool
	idle    []*fetchStream
}

// item is a blob that is wanted.
type item struct {
	wire.Chunk // Size 0: not known
	lacking    map[*holder]string
}

func newFetcher(r *Request) *fetcher {
	f := &fetcher{r: r}
	for _, id := range r.Holders {
		f.holders = append(f.holders, &holder{id: id})
	}
	return f
}

// close closes idle streams.
func (f *fetcher) close() {
	for _, h := range f.holders {
		for _, s := range h.idle {
			s.stop()
		}
	}
}

// manifest gets the request's manifest, verified.
func (f *fetcher) manifest(ctx context.Context) (encoded []byte, err error) {
	err = f.get(ctx, []wire.Chunk{{Digest: f.r.Root}}, func(c wire.Chunk, data []byte) error {
		if wire.Digest(blake3.Sum256(data)) != c.Digest {
			return fmt.Errorf("manifest %s: %w", c.Digest, ErrWrongBytes)
		}
		encoded = append([]byte(nil), data...)
		return nil
	})
	return encoded, err
}

// get gets blobs and hands each to take, from several goroutines; take must
// not keep the data. When take finds wrong bytes, the holder is dropped; its
// other errors end everything.
func (f *fetcher) get(ctx context.Context, blobs []wire.Chunk, take func(wire.Chunk, []byte) error) error {
	if len(blobs) == 0 {
		return nil
	}
	var total int64
	f.pending = make([]*item, len(blobs))
	for i, c := range blobs {
		f.pending[i] = &item{Chunk: c}
		total += int64(c.Size)
	}
	f.last = time.Now()
	n := 1
	if total >= manyBytes {
		n = min(f.r.Streams, len(blobs))
	}
	g, ctx := errgroup.WithContext(ctx)
	for i := range n {
		g.Go(func() error { return f.work(ctx, i, take) })
	}
	return g.Wait()
}

// errFatal marks errors that no other holder can mend.
type errFatal struct{ error }

func (e errFatal) Unwrap() error { return e.error }

// work keeps one stream busy until nothing is pending.
func (f *fetcher) work(ctx context.Context, i int, take func(wire.Chunk, []byte) error) error {
	for {
		h, wait, err := f.pick(i)
		if h == nil || err != nil {
			return err
		}
		if wait > 0 {
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return context.Cause(ctx)
			}
		}
		err = f.drain(ctx, h, take)
		if err == nil {
			continue
		}
		if fatal, ok := errors.AsType[errFatal](err); ok {
			return fatal.error
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f.mu.Lock()
		h.fails++
		h.err = fmt.Errorf("node %s: %w", h.id, err)
		if errors.Is(err, ErrWrongBytes) || errors.Is(err, wire.ErrInvalid) {
			h.dropped = true
			f.r.Log.Warn("holder sent wrong bytes and is not asked again", "holder", h.id, "error", err)
		} else {
			f.r.Log.Info("holder failed", "holder", h.id, "fails", h.fails, "error", err)
		}
		f.mu.Unlock()
	}
}

// pick chooses the holder to ask next and how long to wait before: the one
// that failed least, then the nearest, stream i beginning at the i-th of them.
// Without anything pending it returns none; without anybody to ask, an error.
func (f *fetcher) pick(i int) (*holder, time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pending) == 0 {
		return nil, 0, nil
	}
	var best []*holder
	for _, h := range f.holders {
		if h.dropped || !f.useful(h) {
			continue
		}
		if len(best) > 0 && h.fails < best[0].fails {
			best = best[:0]
		}
		if len(best) == 0 || h.fails == best[0].fails {
			best = append(best, h)
		}
	}
	silence := time.Since(f.last)
	if len(best) == 0 || silence > f.r.Patience {
		return nil, 0, f.whyNot(len(best) > 0, silence)
	}
	h := best[i%len(best)]
	if h.fails == 0 {
		return h, 0, nil
	}
	return h, 50 * time.Millisecond << min(h.fails-1, 6), nil
}

// useful reports whether a holder may have something that is pending.
func (f *fetcher) useful(h *holder) bool {
	for _, it := range f.pending {
		if _, lacks := it.lacking[h]; !lacks {
			return true
		}
	}
	return false
}

// whyNot says why what is pending cannot be had.
func (f *fetcher) whyNot(silent bool, silence time.Duration) error {
	var errs []error
	if silent {
		errs = append(errs, fmt.Errorf("nothing came for %v", silence.Round(time.Second)))
	}
	for _, h := range f.holders {
		switch why, lacks := f.pending[0].lacking[h]; {
		case lacks:
			errs = append(errs, fmt.Errorf("node %s cannot serve %s: %s", h.id, f.pending[0].Digest, why))
		case h.err != nil:
			errs = append(errs, h.err)
		}
	}
	return errors.Join(errs...)
}

// take moves items that a holder may have from pending to its stream.
func (f *fetcher) take(h *holder, blobs int, bytes int64) []*item {
	f.mu.Lock()
	defer f.mu.Unlock()
	var got []*item
	rest := f.pending[:0]
	for n, it := range f.pending {
		if len(got) == blobs || bytes <= 0 {
			rest = append(rest, f.pending[n:]...)
			break
		}
		if _, lacks := it.lacking[h]; lacks {
			rest = append(rest, it)
			continue
		}
		got = append(got, it)
		bytes -= int64(it.Size)
	}
	clear(f.pending[len(rest):])
	f.pending = rest
	return got
}

// drain gets what it can from one holder. It returns nil when nothing that
// the holder may have is pending.
func (f *fetcher) drain(ctx context.Context, h *holder, take func(wire.Chunk, []byte) error) (err error) {
	var asked []*item
	var askedBytes int64
	defer func() { // what did not come is pending again
		if len(asked) > 0 {
			f.mu.Lock()
			f.pending = append(asked, f.pending...)
			f.mu.Unlock()
		}
	}()
	var s *fetchStream
	for {
		// Ask for more when half of what was asked for has come.
		if len(asked) <= aheadBlobs/2 && askedBytes <= aheadBytes/2 {
			more := f.take(h, aheadBlobs-len(asked), aheadBytes-askedBytes)
			if len(asked)+len(more) == 0 {
				f.release(h, s)
				return nil
			}
			if len(more) > 0 {
				asked = append(asked, more...)
				want := &wire.Want{Job: f.r.Job}
				for _, it := range more {
					want.Digests = append(want.Digests, it.Digest)
					askedBytes += int64(it.Size)
				}
				if s == nil {
					if s, err = f.stream(ctx, h); err != nil {
						return err
					}
				}
				s.touch()
				if err := wire.WriteFrame(s, want); err != nil {
					s.stop()
					return s.cause(err)
				}
			}
		}
		data, missing, err := s.next(asked[0])
		if err != nil {
			s.stop()
			return err
		}
		it := asked[0]
		if missing != nil {
			f.mu.Lock()
			if it.lacking == nil {
				it.lacking = make(map[*holder]string)
			}
			it.lacking[h] = missing.Reason
			f.pending = append(f.pending, it)
			f.mu.Unlock()
		} else {
			if err := take(it.Chunk, data); err != nil {
				s.stop()
				if errors.Is(err, ErrWrongBytes) {
					return err
				}
				return errFatal{err}
			}
			f.mu.Lock()
			h.fails = 0
			f.last = time.Now()
			f.mu.Unlock()
		}
		asked = asked[1:]
		askedBytes -= int64(it.Size)
	}
}

// stream returns an idle stream to a holder, or a new one.
func (f *fetcher) stream(ctx context.Context, h *holder) (*fetchStream, error) {
	f.mu.Lock()
	if n := len(h.idle); n > 0 {
		s := h.idle[n-1]
		h.idle = h.idle[:n-1]
		f.mu.Unlock()
		// The context of the fetch before has ended; this one counts now.
		return &fetchStream{watchdog: watch(ctx, s.s, f.r.Stall), r: s.r, buf: s.buf}, nil
	}
	f.mu.Unlock()
	openCtx, cancel := context.WithTimeout(ctx, f.r.Stall)
	defer cancel()
	raw, err := f.r.Open(openCtx, h.id)
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	return &fetchStream{watchdog: watch(ctx, raw, f.r.Stall), r: bufio.NewReaderSize(raw, 16<<10)}, nil
}

// release keeps a stream for the fetcher's next get.
func (f *fetcher) release(h *holder, s *fetchStream) {
	if s == nil {
		return
	}
	s.timer.Stop()
	if !s.undo() || s.fired.Load() {
		s.s.Close()
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	h.idle = append(h.idle, s)
}

// fetchStream is the asking end of a fetch stream.
type fetchStream struct {
	*watchdog
	r   *bufio.Reader
	buf []byte
}

func (s *fetchStream) Write(p []byte) (int, error) { return s.s.Write(p) }

// next reads the answer to the oldest want. The data are valid until the next
// call, and not verified.
func (s *fetchStream) next(it *item) (data []byte, missing *wire.Missing, err error) {
	m, err := wire.ReadFrame(s.r, 8<<10)
	if err != nil {
		return nil, nil, s.cause(err)
	}
	s.touch()
	switch m := m.(type) {
	case *wire.Missing:
		if m.Digest != it.Digest {
			break
		}
		return nil, m, nil
	case *wire.BlobHeader:
		if m.Digest != it.Digest {
			break
		}
		if it.Size != 0 && m.Size != it.Size {
			return nil, nil, fmt.Errorf("chunk %s of %d bytes, not %d: %w", m.Digest, m.Size, it.Size, ErrWrongBytes)
		}
		if cap(s.buf) < int(m.Size) {
			s.buf = make([]byte, m.Size)
		}
		data = s.buf[:m.Size]
		for off := 0; off < len(data); {
			n, err := io.ReadFull(s.r, data[off:min(off+pieceSize, len(data))])
			if err != nil {
				return nil, nil, s.cause(err)
			}
			s.touch()
			off += n
		}
		return data, nil, nil
	}
	return nil, nil, fmt.Errorf("%w: %T that was not asked for", wire.ErrInvalid, m)
}
