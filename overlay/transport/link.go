package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

const (
	maxQueue = 1 << 20          // bytes that wait for one peer
	maxBatch = 32 << 10         // bytes written at once
	drain    = 30 * time.Second // for the rest of a link that is not in use any more
)

// node is what an endpoint knows about another one. It exists while there is a
// carrier, a link or a waiting message. Guarded by the endpoint's mutex.
type node struct {
	id       wire.NodeID
	carriers []*carrier
	next     int // carrier for the next bulk stream
	links    []*link
	coming   int   // links that the other end may use already, this end not yet
	link     *link // the one in use
	queue    [][]byte
	queued   int // bytes
	dialling bool
	changed  chan struct{} // closed and replaced at each change of link or dialling
	epoch    *epoch
}

// epoch is the time from LinkUp to LinkDown: its events come in order.
type epoch struct {
	before  *epoch
	ended   bool
	up      chan struct{} // LinkUp has been emitted; nil if there was never a link
	down    chan struct{} // LinkDown has been emitted
	failure error         // why it ends, if this end knows better than the link
}

// link is one authenticated control conversation.
type link struct {
	*Stream
	n     *node
	epoch *epoch
	first bool          // the one that emits LinkUp
	mine  bool          // opened by this end
	wake  chan struct{} // something for the writer to look at
	wrote chan struct{} // closed when the writer is done
	bye   bool          // write what waits, then say good-bye
	over  chan struct{} // closed when the reader is done
}

func (e *Endpoint) nodeLocked(id wire.NodeID) *node {
	n := e.nodes[id]
	if n == nil {
		n = &node{id: id, changed: make(chan struct{})}
		e.nodes[id] = n
	}
	return n
}

// tidyLocked forgets a node that nothing is left of.
func (e *Endpoint) tidyLocked(n *node) {
	if len(n.carriers) == 0 && len(n.links) == 0 && n.coming == 0 && !n.dialling && (n.epoch == nil || isClosed(n.epoch.down)) {
		delete(e.nodes, n.id)
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// carrier picks a carrier to the node: for bulk, one made for it, in turn. One
// that has just died is passed over.
func (n *node) carrier(bulk bool) *carrier {
	if bulk {
		for range n.carriers {
			n.next++
			if c := n.carriers[n.next%len(n.carriers)]; c.bulk && !c.mux.session.IsClosed() {
				return c
			}
		}
	}
	// The newest: an older one may be dead without knowing.
	for _, c := range slices.Backward(n.carriers) {
		if !c.bulk && !c.mux.session.IsClosed() {
			return c
		}
	}
	for _, c := range n.carriers {
		if !c.mux.session.IsClosed() {
			return c
		}
	}
	return nil
}

func (n *node) change() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// use makes a link the one that is written to.
func (n *node) use(l *link) {
	n.link = l
	n.change()
	for _, any := range n.links {
		any.poke()
	}
}

func (n *node) leave() {
	for _, l := range n.links {
		l.bye = true
		l.poke()
	}
}

func (l *link) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// attach takes a new link into use. Both ends write to the newest direct link,
// or else to the newest; the end with the smaller identity alone closes the
// others, and the other end follows. So the two agree on one link at the end,
// and nothing that was queued or written is lost.
func (e *Endpoint) attach(s *Stream, mine bool) error {
	err := e.attachLink(s, mine)
	if err != nil {
		s.raw.reset() // which may wait for the carrier: not under the lock
	}
	return err
}

func (e *Endpoint) attachLink(s *Stream, mine bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	n := e.nodeLocked(s.peer.ID)
	if len(n.links) >= maxLinks {
		e.tidyLocked(n)
		return fmt.Errorf("%w: %d links already", ErrRefused, maxLinks)
	}
	l := &link{Stream: s, n: n, mine: mine, wake: make(chan struct{}, 1), wrote: make(chan struct{}), over: make(chan struct{})}
	if n.epoch == nil || n.epoch.ended {
		n.epoch = &epoch{before: n.epoch, up: make(chan struct{}), down: make(chan struct{})}
		l.first = true
	}
	l.epoch = n.epoch
	n.links = append(n.links, l)
	if n.link == nil || l.peer.Direct || !n.link.peer.Direct {
		n.use(l)
	}
	e.wg.Go(func() { e.readLink(l) })
	e.wg.Go(func() { e.writeLink(l) })
	return nil
}

// readLink turns frames into events until the link ends.
func (e *Endpoint) readLink(l *link) {
	ep := l.epoch
	if l.first {
		if ep.before != nil {
			e.await(ep.before.down)
			ep.before = nil
		}
		e.emit(LinkUp{l.peer})
		close(ep.up)
	}
	e.await(ep.up)
	var err error
	for {
		var m wire.Message
		if m, err = wire.ReadFrame(l.conn, 0); err != nil {
			break
		}
		e.emit(Received{l.peer.ID, m})
	}
	if err == io.EOF {
		err = nil // good-bye
	} else if errors.Is(err, wire.ErrInvalid) {
		e.once.warn("link closed", l.Stream, err)
		l.raw.reset()
	}
	e.endLink(l, err)
}

func (e *Endpoint) await(c chan struct{}) {
	select {
	case <-c:
	case <-e.life.Done():
	}
}

// endLink takes a link that is not read any more out of use.
func (e *Endpoint) endLink(l *link, err error) {
	e.mu.Lock()
	n := l.n
	n.links = slices.DeleteFunc(n.links, func(x *link) bool { return x == l })
	if n.link == l {
		n.link = nil
		for _, other := range n.links {
			if n.link == nil || other.peer.Direct {
				n.link = other
			}
		}
		n.use(n.link)
	}
	close(l.over)
	down := e.lastLocked(n, err)
	e.mu.Unlock()
	l.poke()
	if err == nil {
		_ = l.Stream.Close()
	} else {
		l.Stream.Reset()
	}
	down()
}

// lastLocked ends a node's epoch if there is no link any more nor one coming.
// It returns what to do then without the lock. Messages that wait for a link
// which did not come about get an epoch of their own: a LinkDown without a
// LinkUp.
func (e *Endpoint) lastLocked(n *node, err error) (down func()) {
	if len(n.links) > 0 || n.coming > 0 {
		return func() {}
	}
	if n.epoch == nil || n.epoch.ended {
		if len(n.queue) == 0 || n.dialling {
			return func() {}
		}
		n.failLocked()
	}
	ep := n.epoch
	ep.ended = true
	n.queue, n.queued = nil, 0
	if ep.failure != nil {
		err = ep.failure
	}
	ep.failure = err
	n.change()
	return func() {
		if ep.up == nil && ep.before != nil {
			e.await(ep.before.down)
		}
		if err != nil {
			err = fmt.Errorf("link to %s: %w", n.id.Short(), err)
		}
		e.emit(LinkDown{n.id, err})
		e.mu.Lock()
		defer e.mu.Unlock()
		close(ep.down)
		ep.before = nil
		e.tidyLocked(n)
	}
}

// failLocked begins an epoch that never comes up.
func (n *node) failLocked() {
	n.epoch = &epoch{before: n.epoch, down: make(chan struct{})}
}

// expect counts a link to a peer as coming until the function it returns is
// called with what became of it.
func (e *Endpoint) expect(id wire.NodeID) (done func(error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodeLocked(id)
	n.coming++
	return func(err error) {
		e.mu.Lock()
		n.coming--
		down := e.lastLocked(n, err)
		e.tidyLocked(n)
		n.change()
		e.mu.Unlock()
		down()
	}
}

// writeLink writes what is queued for the peer while the link is in use.
func (e *Endpoint) writeLink(l *link) {
	defer close(l.wrote)
	self := e.ID()
	decides := self.Compare(l.peer.ID) < 0
	if l.mine {
		if err := accept(l.Stream); err != nil {
			l.raw.reset()
			return
		}
	}
	var batch []byte
	for {
		batch = batch[:0]
		e.mu.Lock()
		n := l.n
		inUse := n.link == l
		if inUse {
			batch = n.take(batch)
		}
		done := !inUse && decides || l.bye && len(batch) == 0 || isClosed(l.over)
		e.mu.Unlock()
		if len(batch) > 0 {
			if _, err := l.Stream.Write(batch); err != nil {
				l.raw.reset() // the reader tells
				return
			}
			if cap(batch) > 2*maxBatch {
				batch = nil
			}
			continue
		}
		if done {
			break
		}
		select {
		case <-l.wake:
		case <-e.life.Done():
			return
		}
	}
	if err := l.Stream.CloseWrite(); err != nil {
		l.raw.reset()
		return
	}
	timer := time.NewTimer(drain)
	defer timer.Stop()
	select {
	case <-l.over:
	case <-e.life.Done():
	case <-timer.C:
		l.raw.reset()
	}
}

// take moves frames from the queue to a batch.
func (n *node) take(batch []byte) []byte {
	var i int
	for i < len(n.queue) && len(batch) < maxBatch {
		batch = append(batch, n.queue[i]...)
		n.queued -= len(n.queue[i])
		n.queue[i] = nil
		i++
	}
	n.queue = n.queue[i:]
	if len(n.queue) == 0 {
		n.queue = nil
	}
	return batch
}

// Send queues a message for a node and returns at once. Messages to one node
// arrive in order while its link holds; [LinkDown] says that some may be lost.
// Without a link, one is made in the background. No way matches [ErrNoRoute].
// More than 1 MiB waiting closes the link: [ErrOverflow].
func (e *Endpoint) Send(dst wire.NodeID, m wire.Message) error {
	frame := frameOf(m)
	e.mu.Lock()
	defer e.mu.Unlock()
	n, err := e.wantLocked(dst)
	if err != nil {
		return fmt.Errorf("send to %s: %w", dst.Short(), err)
	}
	if n.queued+len(frame) > maxQueue {
		n.queue, n.queued = nil, 0
		if n.epoch != nil {
			n.epoch.failure = ErrOverflow
		}
		for _, l := range n.links {
			e.wg.Go(l.raw.reset)
		}
		return fmt.Errorf("send to %s: %w", dst.Short(), ErrOverflow)
	}
	n.queue = append(n.queue, frame)
	n.queued += len(frame)
	if n.link != nil {
		n.link.poke()
	}
	return nil
}

// HangUp gives up the links to a node that cross hubs, of which nothing is
// heard: a hub that is gone with its whole machine takes as long as
// Config.DeadAfter to be noticed. [LinkDown] follows, and the next message
// makes a link over the way that is known then. Direct links stay.
func (e *Endpoint) HangUp(id wire.NodeID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.nodes[id]
	if n == nil {
		return
	}
	for _, l := range n.links {
		if !l.peer.Direct {
			e.wg.Go(l.raw.reset)
		}
	}
}

// frameOf returns a message as it crosses the link.
func frameOf(m wire.Message) []byte {
	var b bytes.Buffer
	_ = wire.WriteFrame(&b, m) // a buffer takes everything
	return b.Bytes()
}

// wantLocked returns a node that has a link or will have one.
func (e *Endpoint) wantLocked(dst wire.NodeID) (*node, error) {
	switch {
	case e.closed:
		return nil, ErrClosed
	case e.identity == nil:
		return nil, ErrNotAdmitted
	case dst == e.identity.ID:
		return nil, errors.New("that is this node")
	}
	if n := e.nodes[dst]; n != nil && (n.link != nil || n.dialling || n.coming > 0) {
		return n, nil
	}
	if _, ok := e.findLocked(dst, wire.StreamLink); !ok {
		return nil, ErrNoRoute
	}
	n := e.nodeLocked(dst)
	n.dialling = true
	e.wg.Go(func() { e.dial(n) })
	return n, nil
}

// dial makes a link to a node.
func (e *Endpoint) dial(n *node) {
	s, err := e.openTo(e.life, n.id, wire.StreamLink)
	if err == nil {
		if err = s.confirmed(); err != nil {
			s.raw.reset()
		} else {
			err = e.attach(s, true)
		}
	}
	e.mu.Lock()
	n.dialling = false
	n.change()
	if err == nil || len(n.links) > 0 || n.coming > 0 {
		e.mu.Unlock()
		return
	}
	if n.epoch == nil || n.epoch.ended {
		n.failLocked()
	}
	down := e.lastLocked(n, err)
	e.mu.Unlock()
	down()
}

// Link waits until there is a link to a node, and makes one if need be. No way
// matches [ErrNoRoute].
func (e *Endpoint) Link(ctx context.Context, dst wire.NodeID) error {
	e.mu.Lock()
	n, err := e.wantLocked(dst)
	for err == nil && n.link == nil {
		changed := n.changed
		e.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("link to %s: %w", dst.Short(), ctx.Err())
		case <-e.life.Done():
			return fmt.Errorf("link to %s: %w", dst.Short(), ErrClosed)
		}
		e.mu.Lock()
		if n.link == nil && !n.dialling && n.coming == 0 {
			err = ErrRefused
			if n.epoch != nil && n.epoch.failure != nil {
				err = n.epoch.failure
			}
		}
	}
	e.mu.Unlock()
	if err != nil {
		return fmt.Errorf("link to %s: %w", dst.Short(), err)
	}
	return nil
}
