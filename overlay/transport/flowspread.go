package transport

import (
	"sync"
)

// spreader sends the frames of a flow over several stripes: each takes the next
// frame when it has written its last.
type spreader struct {
	f       *flow
	stripes int
	frames  chan *piece
	wg      sync.WaitGroup

	once   sync.Once
	broken chan struct{} // closed when a stripe has failed
	err    error
}

// piece is a data frame on its way, or a note to the opener.
type piece struct {
	frame
	read int // bytes that were read of it already
	data [spreadPiece]byte
}

// piece returns memory for a frame; free takes it back.
func (b *bulk) piece() *piece {
	if p, ok := b.pieces.Get().(*piece); ok {
		return p
	}
	return new(piece)
}

func (b *bulk) free(p *piece) { b.pieces.Put(p) }

func newSpreader(f *flow) *spreader {
	return &spreader{f: f, frames: make(chan *piece), broken: make(chan struct{})}
}

// over takes stripes that have joined into use.
func (s *spreader) over(lanes []*stripe) {
	for _, lane := range lanes[s.stripes:] {
		shorten(lane.pipe)
		s.wg.Add(1)
		if !s.f.e.spawn(func() { defer s.wg.Done(); s.run(lane) }) {
			s.wg.Done()
			s.fail(ErrClosed)
		}
	}
	s.stripes = len(lanes)
}

// run writes frames to one stripe.
func (s *spreader) run(lane *stripe) {
	for {
		select {
		case p, ok := <-s.frames:
			if !ok {
				return
			}
			err := lane.send(p.frame, p.data[:p.size()])
			s.f.e.bulk.free(p)
			if err != nil {
				s.fail(err)
				return
			}
		case <-s.f.life.Done():
			return
		}
	}
}

// size is how many bytes follow the frame's header.
func (p *piece) size() int {
	if p.kind != frameData {
		return 0
	}
	return p.length
}

func (s *spreader) fail(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.broken)
	})
}

// send hands over one frame with the first bytes of p.
func (s *spreader) send(p []byte, offset uint64) (int, error) {
	next := s.f.e.bulk.piece()
	n := copy(next.data[:], p)
	next.frame = frame{frameData, n, offset}
	return n, s.hand(next)
}

// more asks the opener for stripes.
func (s *spreader) more(want int) error {
	next := s.f.e.bulk.piece()
	next.frame = frame{frameMore, want, 0}
	return s.hand(next)
}

func (s *spreader) hand(p *piece) error {
	select {
	case s.frames <- p:
		return nil
	case <-s.broken:
		return s.err
	case <-s.f.life.Done():
		return ErrClosed
	}
}

// finish waits until all frames are written.
func (s *spreader) finish() error {
	close(s.frames)
	s.wg.Wait()
	select {
	case <-s.broken:
		return s.err
	default:
		return nil
	}
}
