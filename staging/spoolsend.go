package staging

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

const (
	redialFirst   = 50 * time.Millisecond
	redialLast    = 5 * time.Second
	openLimit     = 30 * time.Second
	greetingLimit = 30 * time.Second
	farewellLimit = time.Second
)

// deliver keeps a stream to the sink until everything is there.
func (s *Spool) deliver(ctx context.Context, open func(context.Context) (Stream, error)) error {
	pause := redialFirst
	for {
		before := s.ackedBytes()
		err := s.attempt(ctx, open)
		switch {
		case err == nil:
			close(s.done)
			return nil
		case errors.Is(err, ErrSuperseded):
			s.supersede()
			close(s.done)
			return err // ends the reading too: the worker is to be killed
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		s.o.Log.Debug("output stream broke", "rank", s.key.Rank, "fd", s.key.FD, "error", err)
		if s.ackedBytes() > before {
			pause = redialFirst
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
		pause = min(2*pause, redialLast)
	}
}

func (s *Spool) ackedBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}

// attempt opens one stream and sends over it.
func (s *Spool) attempt(ctx context.Context, open func(context.Context) (Stream, error)) error {
	openCtx, cancel := context.WithTimeout(ctx, openLimit)
	stream, err := open(openCtx)
	cancel()
	if err != nil {
		return fmt.Errorf("open output stream: %w", err)
	}
	defer stream.Close()
	s.setOnline(true)
	defer s.setOnline(false)
	return s.send(ctx, stream)
}

// send speaks the output protocol on one stream: nil when the sink has all.
func (s *Spool) send(ctx context.Context, stream Stream) error {
	w := watch(ctx, stream, greetingLimit)
	defer w.stop()
	if err := wire.WriteFrame(stream, &s.key); err != nil {
		return w.cause(err)
	}
	m, err := wire.ReadFrame(stream, 1<<10)
	if err != nil {
		return w.cause(err)
	}
	resume, ok := m.(*wire.Resume)
	if !ok {
		return fmt.Errorf("%w: %T instead of an offset", wire.ErrInvalid, m)
	}
	if resume.Refused {
		return fmt.Errorf("output of worker %d, attempt %d: %w", s.key.Rank, s.key.Attempt, ErrSuperseded)
	}
	if err := s.ack(resume.Offset); err != nil {
		return err
	}
	if !w.timer.Stop() {
		return w.cause(errors.New("greeting took too long"))
	}

	// From here on only the overlay says that a stream is dead: the user may
	// hold the output for hours.
	g, ctx := errgroup.WithContext(ctx)
	undo := context.AfterFunc(ctx, func() { stream.Close() })
	defer undo()
	all := make(chan int64, 1) // the size, once the end is sent
	g.Go(func() error {
		size, err := s.sendBlocks(ctx, stream, resume.Offset)
		if err == nil {
			all <- size
		}
		return err
	})
	g.Go(func() error {
		size := int64(-1)
		for {
			m, err := wire.ReadFrame(stream, 1<<10)
			if err != nil {
				return err
			}
			received, ok := m.(*wire.Received)
			if !ok {
				return fmt.Errorf("%w: %T instead of an acknowledgement", wire.ErrInvalid, m)
			}
			if err := s.ack(received.Offset); err != nil {
				return err
			}
			// The sink has all when it says so after it was told the end.
			select {
			case size = <-all:
			default:
			}
			if size < 0 {
				if n, ended := s.Size(); ended && received.Offset == n {
					select {
					case size = <-all:
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				}
			}
			if received.Offset == size {
				s.farewell(stream)
				return nil
			}
		}
	})
	if err := g.Wait(); err != nil {
		return w.cause(err)
	}
	return nil
}

// farewell lets the sink end the stream, so that closing it here does not take
// the end of the output away while it is under way.
func (s *Spool) farewell(stream Stream) {
	t := time.AfterFunc(farewellLimit, func() { stream.Close() })
	defer t.Stop()
	for {
		if _, err := wire.ReadFrame(stream, 1<<10); err != nil {
			return
		}
	}
}

// sendBlocks sends blocks from an offset on, as soon as there is anything,
// and the end. It returns the output's size.
func (s *Spool) sendBlocks(ctx context.Context, stream Stream, off int64) (int64, error) {
	buf := make([]byte, 4+firstRing)
	for {
		n, end, err := s.next(buf[4:], off)
		if err != nil {
			return 0, err
		}
		if n == 0 && !end {
			select {
			case <-s.data:
				continue
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
		}
		binary.BigEndian.PutUint32(buf, uint32(n))
		if _, err := stream.Write(buf[:4+n]); err != nil {
			return 0, err
		}
		off += int64(n)
		if end {
			return off, nil
		}
		if 4+n == len(buf) && n < MaxBlock {
			buf = make([]byte, 4+min(2*n, MaxBlock)) // a busy worker earns larger blocks
		}
	}
}
