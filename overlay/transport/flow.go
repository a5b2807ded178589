package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// When a flow asks for its first stripe: after this many bytes were sent.
const firstStripe = 256 << 10

// joinPatience is how long a stripe that the other end uses already may take
// to be made on this side.
const joinPatience = 10 * time.Second

type (
	flowName [wire.FlowSize]byte
	flowKey  struct {
		peer wire.NodeID
		name flowName
	}
)

// flow is a bulk stream: its bytes in frames with offsets, which begin on the
// stream that was opened and go on over stripes, each a stream of its own that
// has proven its two ends, once much is sent.
//
// On one stripe at a time frames come in order and are read where they are
// wanted. Spread over several they are put in order first. Frames are cut in
// order of their offsets and a stripe keeps its order, so a receiver that reads
// no further than a limit ahead always gets the frame that is next.
//
// A stripe that fails while it is used fails the flow: nothing is sent twice.
type flow struct {
	e      *Endpoint
	peer   wire.NodeID
	self   *Identity
	name   flowName
	opener bool
	life   context.Context // ends with the flow
	stop   context.CancelFunc

	mu      sync.Mutex
	stripes []*stripe     // by when they joined; the first is the stream itself
	joined  chan struct{} // closed and replaced when one does
	opening bool
	readBy  time.Time
	writeBy time.Time

	// Sending; held while a frame is written.
	sending sync.Mutex
	out     *stripe
	sent    uint64
	ended   bool
	nextAsk uint64
	waited  time.Duration // for the path
	wider   widener
	spread  *spreader

	// Receiving; the stream's reader alone.
	in     *stripe
	got    uint64
	left   int // of the frame
	eof    bool
	gather *gatherer
	alarm  alarm
}

// newFlow begins a flow on a channel that was opened as one.
func (e *Endpoint) newFlow(c channel, o *wire.Open, self *Identity, opener bool) (*flow, error) {
	name, err := c.name(o)
	if err != nil {
		return nil, err
	}
	first := newStripe(c, 0)
	f := &flow{
		e: e, peer: c.peer.ID, self: self, name: name, opener: opener,
		stripes: []*stripe{first}, joined: make(chan struct{}), out: first, in: first, nextAsk: firstStripe,
	}
	f.life, f.stop = context.WithCancel(e.life)
	if opener {
		return f, nil
	}
	e.bulk.mu.Lock()
	defer e.bulk.mu.Unlock()
	if e.bulk.flows == nil {
		e.bulk.flows = make(map[flowKey]*flow)
	}
	key := flowKey{f.peer, name}
	if e.bulk.flows[key] != nil {
		f.stop()
		return nil, fmt.Errorf("%w: two flows of one name", ErrRefused)
	}
	e.bulk.flows[key] = f
	return f, nil
}

// end takes the flow out of use. It returns its stripes.
func (f *flow) end() []*stripe {
	f.stop()
	if !f.opener {
		f.e.bulk.mu.Lock()
		if key := (flowKey{f.peer, f.name}); f.e.bulk.flows[key] == f {
			delete(f.e.bulk.flows, key)
		}
		f.e.bulk.mu.Unlock()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stripes
}

// Close ends the flow in good order, after both ends have said all.
func (f *flow) Close() error {
	for _, s := range f.end() {
		_ = s.pipe.Close()
	}
	return nil
}

func (f *flow) reset() {
	for _, s := range f.end() {
		s.pipe.reset()
	}
}

// join adds a stripe that both ends know.
func (f *flow) join(s *stripe) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.life.Err() != nil {
		return ErrClosed
	}
	if f.stripeLocked(s.number) != nil {
		return fmt.Errorf("%w: a second stripe %d", ErrRefused, s.number)
	}
	if f.gather == nil {
		_ = s.pipe.SetReadDeadline(f.readBy)
	} else {
		f.gather.read(f, s)
	}
	_ = s.pipe.SetWriteDeadline(f.writeBy)
	f.stripes = append(f.stripes, s)
	close(f.joined)
	f.joined = make(chan struct{})
	return nil
}

func (f *flow) stripeLocked(number uint8) *stripe {
	for _, s := range f.stripes {
		if s.number == number {
			return s
		}
	}
	return nil
}

// await returns the stripe of a number, which may be about to join.
func (f *flow) await(number uint8) (*stripe, error) {
	timer := time.NewTimer(joinPatience)
	defer timer.Stop()
	for {
		f.mu.Lock()
		s, joined := f.stripeLocked(number), f.joined
		f.mu.Unlock()
		if s != nil {
			return s, nil
		}
		select {
		case <-joined:
		case <-f.life.Done():
			return nil, ErrClosed
		case <-timer.C:
			return nil, fmt.Errorf("%w: stripe %d is used but not there", wire.ErrInvalid, number)
		}
	}
}

// lanes returns the stripes beside the stream itself.
func (f *flow) lanes() []*stripe {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stripes[1:len(f.stripes):len(f.stripes)]
}

// Write sends p.
func (f *flow) Write(p []byte) (int, error) {
	f.sending.Lock()
	defer f.sending.Unlock()
	if f.ended {
		return 0, ErrClosed
	}
	var done int
	for done < len(p) {
		if err := f.turn(); err != nil {
			return done, err
		}
		begin := time.Now()
		var n int
		var err error
		if f.spread != nil {
			n, err = f.spread.send(p[done:], f.sent)
		} else {
			n = min(len(p)-done, f.out.piece)
			err = f.out.send(frame{frameData, n, f.sent}, p[done:done+n])
		}
		if err != nil {
			return done, err
		}
		done += n
		f.sent += uint64(n)
		if err := f.widen(begin); err != nil {
			return done, err
		}
	}
	return done, nil
}

// turn goes over to stripes that have joined since the last frame.
func (f *flow) turn() error {
	lanes := f.lanes()
	if len(lanes) == 0 || f.spread != nil && len(lanes) == f.spread.stripes {
		return nil
	}
	if f.out.number == 0 {
		to := lanes[0]
		if err := f.out.send(frame{frameTurn, int(to.number), f.sent}, nil); err != nil {
			return err
		}
		f.out = to
		f.wider = widener{}
	}
	if len(lanes) == 1 {
		return nil
	}
	if f.spread == nil {
		if err := f.out.send(frame{frameSpread, 0, f.sent}, nil); err != nil {
			return err
		}
		f.spread = newSpreader(f)
	}
	f.spread.over(lanes)
	return nil
}

// widen asks for stripes when that promises to be worth while.
func (f *flow) widen(begin time.Time) error {
	want := 0
	if f.out.number == 0 {
		if f.sent < f.nextAsk {
			return nil
		}
		f.nextAsk = 4 * f.sent
		want = 1
	} else if want = f.look(begin); want == 0 {
		return nil
	}
	if f.opener {
		f.ask(want)
		return nil
	}
	if f.spread != nil {
		return f.spread.more(want)
	}
	return f.out.send(frame{frameMore, want, f.sent}, nil)
}

// Write writes bytes that are no frame of a flow.
func (s *stripe) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err == nil && s.record != nil {
		err = s.record.flush()
	}
	return n, err
}

// CloseWrite says that no more comes.
func (f *flow) CloseWrite() error {
	f.sending.Lock()
	defer f.sending.Unlock()
	if f.ended {
		return nil
	}
	f.ended = true
	if f.spread != nil {
		if err := f.spread.finish(); err != nil {
			return err
		}
	}
	return f.out.send(frame{frameEnd, 0, f.sent}, nil)
}

// Read returns what comes next.
func (f *flow) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for f.gather == nil {
		if f.left > 0 {
			n, err := f.in.r.Read(p[:min(len(p), f.left)])
			f.left -= n
			f.got += uint64(n)
			if n > 0 {
				err = nil
			}
			return n, err
		}
		if f.eof {
			return 0, io.EOF
		}
		h, err := f.in.next()
		if err != nil {
			return 0, err
		}
		if err := f.take(h); err != nil {
			return 0, err
		}
	}
	return f.gather.Read(f, p)
}

var errFrame = fmt.Errorf("%w: frame of a flow", wire.ErrInvalid)

// take takes in the header of a frame that comes in order.
func (f *flow) take(h frame) error {
	if h.kind == frameMore {
		return f.takeMore(h)
	}
	if h.offset != f.got {
		return fmt.Errorf("%w: at %d instead of %d", errFrame, h.offset, f.got)
	}
	switch h.kind {
	case frameData:
		if h.length == 0 || h.length > maxPiece {
			return fmt.Errorf("%w: of %d bytes", errFrame, h.length)
		}
		f.left = h.length
	case frameEnd:
		f.eof = true
	case frameTurn:
		if h.length == 0 || h.length > wire.MaxStripes {
			return fmt.Errorf("%w: goes on at stripe %d", errFrame, h.length)
		}
		s, err := f.await(uint8(h.length))
		if err != nil {
			return err
		}
		f.in = s
	case frameSpread:
		f.startGather()
	default:
		return fmt.Errorf("%w: of kind %d", errFrame, h.kind)
	}
	return nil
}

// takeMore does what the other end asks for: only the opener knows the way.
func (f *flow) takeMore(h frame) error {
	if !f.opener || h.length == 0 || h.length > wire.MaxStripes {
		return fmt.Errorf("%w: wants %d stripes", errFrame, h.length)
	}
	f.ask(h.length)
	return nil
}

// SetDeadline sets both deadlines.
func (f *flow) SetDeadline(t time.Time) error {
	return errors.Join(f.SetReadDeadline(t), f.SetWriteDeadline(t))
}

// SetReadDeadline bounds Read.
func (f *flow) SetReadDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readBy = t
	f.alarm.set(t)
	if f.gather != nil {
		return nil
	}
	var err error
	for _, s := range f.stripes {
		err = errors.Join(err, s.pipe.SetReadDeadline(t))
	}
	return err
}

// SetWriteDeadline bounds Write.
func (f *flow) SetWriteDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writeBy = t
	var err error
	for _, s := range f.stripes {
		err = errors.Join(err, s.pipe.SetWriteDeadline(t))
	}
	return err
}
