package transport

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

// Windows and frames of the multiplexer, in bytes. A window is what one stream
// may have buffered at a receiver that does not read: together with
// Config.MaxStreams it bounds the memory of an endpoint.
const (
	smallWindow = 1 << 20  // paths up to 5 ms
	localWindow = 2 << 20  // what an SSH channel has itself
	largeWindow = 16 << 20 // paths of 100 ms
	windowRate  = 160e6    // bytes per second that a window is made for

	muxHeader  = 12
	smallFrame = 16<<10 - muxHeader // fills one TLS record, one write of 16 KiB
	fastFrame  = 64<<10 - muxHeader // fills four
	acceptLog  = 256                // streams that wait to be accepted
	sendWait   = 75 * time.Second   // a frame that is still unsent then fails its stream
	closeWait  = 5 * time.Minute    // how long a closed stream waits for the other end to close too
)

// windowFor returns the window for a path with a round trip time.
func windowFor(rtt time.Duration) uint32 {
	return uint32(min(max(rtt.Seconds()*windowRate, smallWindow), largeWindow))
}

// mux is a multiplexed byte pipe: a yamux session with the things that yamux
// lacks: resets, one write per frame, a sign of life, and fair use of slow
// paths.
type mux struct {
	session *yamux.Session
	config  *yamux.Config
	pipe    *framePipe
	pace    *pacer

	// closing guards config.StreamCloseTimeout, see muxStream.reset.
	closing sync.Mutex
}

// newMux starts multiplexing on a pipe. Close ends it and the pipe.
func newMux(conn io.ReadWriteCloser, client bool, window uint32) (*mux, error) {
	config := yamux.DefaultConfig()
	config.EnableKeepAlive = false // carriers look for any byte instead
	config.AcceptBacklog = acceptLog
	config.MaxStreamWindowSize = window
	config.ConnectionWriteTimeout = sendWait
	config.StreamOpenTimeout = sendWait
	config.StreamCloseTimeout = closeWait
	config.LogOutput = io.Discard // it logs what it also returns
	m := &mux{config: config, pipe: &framePipe{pipe: conn, start: time.Now()}}
	start := yamux.Server
	if client {
		start = yamux.Client
	}
	var err error
	if m.session, err = start(m.pipe, config); err != nil {
		return nil, err
	}
	m.pace = newPacer(m.ping, m.session.CloseChan())
	return m, nil
}

// ping returns how long a ping took, queues of this end included.
func (m *mux) ping() (time.Duration, error) {
	start := time.Now()
	_, err := m.session.Ping()
	return time.Since(start), err
}

func (m *mux) OpenStream() (*muxStream, error) {
	y, err := m.session.OpenStream()
	if err != nil {
		return nil, err
	}
	return &muxStream{Stream: y, mux: m}, nil
}

func (m *mux) acceptStream() (*muxStream, error) {
	y, err := m.session.AcceptStream()
	if err != nil {
		return nil, err
	}
	return &muxStream{Stream: y, mux: m}, nil
}

// Close ends all streams and waits for the mux's goroutines.
func (m *mux) Close() error {
	err := m.session.Close()
	m.pace.wait()
	return err
}

// muxStream is one stream on a mux. Close says that this end neither sends nor
// wants anything more; what was sent before still arrives. A stream's user
// says where its data ends in the data itself, so that half-closing and closing
// are two things on all hops.
type muxStream struct {
	*yamux.Stream
	mux  *mux
	bulk bool // takes credit before it sends
}

// Write sends in frames that leave room for other streams between them.
func (s *muxStream) Write(p []byte) (int, error) {
	var done int
	for done < len(p) {
		frame := smallFrame
		if s.mux.pace.fast() {
			frame = fastFrame
		}
		piece := p[done:min(done+frame, len(p))]
		if s.bulk {
			if err := s.mux.pace.take(len(piece)); err != nil {
				return done, err
			}
		}
		n, err := s.Stream.Write(piece)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Close ends the stream in good order.
func (s *muxStream) Close() error {
	s.mux.closing.Lock()
	defer s.mux.closing.Unlock()
	return s.Stream.Close()
}

// reset ends the stream so that the other end's reads and writes fail. yamux
// has no call for that; its timer for closed streams is the one thing that
// sends a reset, so it is set to (almost) nothing for this one stream.
func (s *muxStream) reset() {
	s.mux.closing.Lock()
	defer s.mux.closing.Unlock()
	s.mux.config.StreamCloseTimeout = time.Millisecond
	_ = s.Stream.Close()
	s.mux.config.StreamCloseTimeout = closeWait
}

// closeWrite ends this end's direction.
func (s *muxStream) closeWrite() error { return s.Close() }

// resetGrace is how long an end of file may turn out to be the first half of a reset.
const resetGrace = 200 * time.Millisecond

// whole reports whether an end of file is one: neither the death of the carrier
// nor the first half of a reset.
func (s *muxStream) whole() bool {
	if s.mux.session.IsClosed() {
		return false
	}
	timer := time.NewTimer(resetGrace)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.mux.session.CloseChan():
	}
	_, err := s.Read(make([]byte, 1))
	return err == io.EOF && !s.mux.session.IsClosed()
}

// framePipe writes a frame's header and body at once, which saves a system
// call, a TLS record or an SSH packet per frame, and remembers when it last
// read anything.
type framePipe struct {
	pipe  io.ReadWriteCloser
	start time.Time
	last  atomic.Int64 // of the last byte read, since start

	// Of the mux's only writing goroutine.
	header  [muxHeader]byte
	pending bool
	buf     []byte
}

func (p *framePipe) Read(b []byte) (int, error) {
	n, err := p.pipe.Read(b)
	if n > 0 {
		p.last.Store(int64(time.Since(p.start)))
	}
	return n, err
}

// silence returns how long nothing has come.
func (p *framePipe) silence() time.Duration {
	return time.Since(p.start) - time.Duration(p.last.Load())
}

// Write holds the header of a frame back until its body comes, which the mux
// writes next.
func (p *framePipe) Write(b []byte) (int, error) {
	const typeData = 0
	if p.pending {
		p.pending = false
		p.buf = append(append(p.buf[:0], p.header[:]...), b...)
		n, err := p.pipe.Write(p.buf)
		return max(n-muxHeader, 0), err
	}
	if len(b) == muxHeader && b[1] == typeData && binary.BigEndian.Uint32(b[8:]) > 0 {
		copy(p.header[:], b)
		p.pending = true
		return len(b), nil
	}
	return p.pipe.Write(b)
}

func (p *framePipe) Close() error { return p.pipe.Close() }

// LocalAddr and RemoteAddr are what yamux logs.
func (p *framePipe) LocalAddr() net.Addr  { return asConn(p.pipe).LocalAddr() }
func (p *framePipe) RemoteAddr() net.Addr { return asConn(p.pipe).RemoteAddr() }

// isTimeout reports whether an error is about a deadline.
func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}
