package transport

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Limits of frames that wait for others before them.
const (
	maxGather    = 16 << 20         // bytes in one flow
	maxGatherAll = 128 << 20        // bytes in all flows of an endpoint
	gapPatience  = 10 * time.Second // for a frame that none of the stripes can bring any more
)

// gatherer puts the frames of several stripes in order. The frame that comes
// next is always taken; others wait in memory up to a limit, then on their
// stripe, which the path holds back.
type gatherer struct {
	ready chan struct{} // 1: the reader may find something

	mu      sync.Mutex
	room    *sync.Cond
	held    map[uint64]*piece // by offset
	now     *piece            // taken from there, the reader's
	bytes   int               // of them
	need    uint64            // what the reader takes next
	end     uint64            // of the flow, once known
	ended   bool
	readers int  // stripes that are read
	waiting int  // of them, those that wait for room
	over    bool // the flow has ended
	err     error
}

// startGather begins to read all stripes but the stream itself, by which
// nothing comes any more.
func (f *flow) startGather() {
	g := &gatherer{ready: make(chan struct{}, 1), held: make(map[uint64]*piece), need: f.got}
	g.room = sync.NewCond(&g.mu)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gather = g
	for _, s := range f.stripes[1:] {
		_ = s.pipe.SetReadDeadline(time.Time{}) // those of the reader are not theirs
		g.read(f, s)
	}
	f.e.spawn(func() {
		<-f.life.Done()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.failLocked(ErrClosed)
		g.over = true
		g.clearLocked(f)
	})
}

// read has a stripe read in the background.
func (g *gatherer) read(f *flow, s *stripe) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.readers++
	if !f.e.spawn(func() { g.finish(f, s, g.run(f, s)) }) {
		g.readers--
	}
}

// run takes frames from a stripe until it ends, which is an error as well.
func (g *gatherer) run(f *flow, s *stripe) error {
	var last uint64 // frames of a stripe come in order
	for {
		h, err := s.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			_ = s.pipe.SetReadDeadline(time.Time{}) // set before the stripe was one of many
			continue
		}
		if err != nil {
			return err
		}
		switch {
		case h.kind == frameMore:
			if err := f.takeMore(h); err != nil {
				return err
			}
		case h.kind == frameEnd:
			if err := g.finishAt(h.offset); err != nil {
				return err
			}
		case h.kind != frameData || h.length == 0 || h.length > spreadPiece || h.offset < last:
			return fmt.Errorf("%w: kind %d, %d bytes at %d", errFrame, h.kind, h.length, h.offset)
		default:
			last = h.offset + uint64(h.length)
			if err := g.take(f, s, h); err != nil {
				return err
			}
		}
	}
}

// take waits for room and reads a data frame.
func (g *gatherer) take(f *flow, s *stripe, h frame) error {
	all := &f.e.bulk.held
	g.mu.Lock()
	for g.err == nil && h.offset > g.need && (g.bytes+h.length > maxGather || all.Load()+int64(h.length) > maxGatherAll) {
		g.waiting++
		g.wake() // the reader looks whether all wait
		g.room.Wait()
		g.waiting--
	}
	err := g.err
	g.bytes += h.length
	all.Add(int64(h.length))
	g.mu.Unlock()
	p := f.e.bulk.piece()
	p.frame, p.read = h, 0
	if err == nil {
		_, err = io.ReadFull(s.r, p.data[:h.length])
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, twice := g.held[h.offset]; err == nil && (twice || h.offset < g.need || g.now != nil && h.offset == g.need) {
		err = fmt.Errorf("%w: %d bytes at %d twice", errFrame, h.length, h.offset)
	}
	if err != nil {
		g.drop(f, p)
		return err
	}
	g.held[h.offset] = p
	if h.offset == g.need {
		g.wake()
	}
	return nil
}

// drop lets go of a frame. The mutex is held.
func (g *gatherer) drop(f *flow, p *piece) {
	g.bytes -= p.length
	f.e.bulk.held.Add(-int64(p.length))
	f.e.bulk.free(p)
}

func (g *gatherer) wake() {
	select {
	case g.ready <- struct{}{}:
	default:
	}
}

// finishAt notes where the flow ends.
func (g *gatherer) finishAt(end uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended && g.end != end || end < g.need {
		return fmt.Errorf("%w: ends at %d", errFrame, end)
	}
	g.end, g.ended = end, true
	g.wake()
	return nil
}

// finish notes that a stripe has ended: it may, one after the other, when all
// has come.
func (g *gatherer) finish(f *flow, s *stripe, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.readers--
	if clean := errors.Is(err, errCut) && s.have == 0; !clean || g.readers == 0 {
		g.failLocked(err)
	}
	g.clearLocked(f)
	g.wake()
}

// clearLocked lets go of all frames once the flow has ended and nobody brings more.
func (g *gatherer) clearLocked(f *flow) {
	if !g.over || g.readers > 0 {
		return
	}
	f.e.bulk.held.Add(-int64(g.bytes))
	g.bytes, g.held = 0, nil
}

func (g *gatherer) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failLocked(err)
}

func (g *gatherer) failLocked(err error) {
	if g.err == nil {
		g.err = err
	}
	g.room.Broadcast()
	g.wake()
}

// Read returns what comes next. It is for the flow's reader.
func (g *gatherer) Read(f *flow, p []byte) (int, error) {
	var gap *time.Timer // runs while no stripe can bring what is next
	defer func() { stop(gap) }()
	for {
		next, stuck, err := g.next()
		switch {
		case next != nil:
			n := copy(p, next.data[next.read:next.length])
			next.read += n
			if next.read == next.length {
				g.done(f, next)
			}
			return n, nil
		case err != nil:
			return 0, err
		case stuck && gap == nil:
			gap = time.AfterFunc(gapPatience, func() { g.fail(fmt.Errorf("%w: one is missing", errFrame)) })
		case !stuck:
			stop(gap)
			gap = nil
		}
		select {
		case <-g.ready:
		case <-f.alarm.wait():
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// next returns the frame that is read now, or what keeps it away; stuck means
// that all stripes wait for room without having brought it.
func (g *gatherer) next() (p *piece, stuck bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now == nil {
		g.now = g.held[g.need]
		delete(g.held, g.need)
	}
	switch {
	case g.now != nil:
		return g.now, false, nil
	case g.ended && g.need == g.end && len(g.held) > 0:
		return nil, false, fmt.Errorf("%w: some overlap", errFrame)
	case g.ended && g.need == g.end:
		return nil, false, io.EOF
	}
	return nil, g.waiting == g.readers, g.err
}

// done lets go of a frame that was read.
func (g *gatherer) done(f *flow, p *piece) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.need += uint64(p.length)
	g.now = nil
	if g.bytes > 0 { // else all was let go of already
		g.drop(f, p)
	}
	g.room.Broadcast()
}

// alarm is a deadline that a select can wait for. The zero value never rings.
type alarm struct {
	mu    sync.Mutex
	timer *time.Timer
	rings chan struct{} // closed when it does
}

func (a *alarm) wait() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rings == nil {
		a.rings = make(chan struct{})
	}
	return a.rings
}

// set changes when the alarm rings; zero means never.
func (a *alarm) set(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil && !a.timer.Stop() {
		<-a.rings // it is ringing
	}
	a.timer = nil
	if a.rings == nil || isClosed(a.rings) {
		a.rings = make(chan struct{})
	}
	if at.IsZero() {
		return
	}
	if d := time.Until(at); d > 0 {
		rings := a.rings
		a.timer = time.AfterFunc(d, func() { close(rings) })
		return
	}
	close(a.rings)
}
