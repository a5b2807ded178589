package transport

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// Frames of a flow: one byte of kind, three of length, eight of offset, big
// endian; the bytes of a data frame follow.
const (
	frameData   = 1 // length bytes at offset
	frameEnd    = 2 // there is nothing from offset on
	frameTurn   = 3 // from offset on, all frames come by the stripe whose number is the length
	frameSpread = 4 // from offset on, frames come by all stripes, in any order
	frameMore   = 5 // the opener should make stripes, up to length of them

	flowHeader  = 12
	maxPiece    = 256 << 10 // bytes in a data frame
	spreadPiece = 32 << 10  // of them where frames are spread
	laneBuffer  = 64 << 10  // read at once from a lane without TLS
)

// frame is the header of one.
type frame struct {
	kind   byte
	length int
	offset uint64
}

func (h frame) put(b []byte) {
	binary.BigEndian.PutUint32(b, uint32(h.kind)<<24|uint32(h.length))
	binary.BigEndian.PutUint64(b[4:], h.offset)
}

func parseFrame(b []byte) frame {
	x := binary.BigEndian.Uint32(b)
	return frame{byte(x >> 24), int(x & 0xffffff), binary.BigEndian.Uint64(b[4:])}
}

// channel is a pipe whose two ends have proven themselves.
type channel struct {
	pipe pipe
	tls  *tls.Conn // nil where the carrier's protection does
	peer Peer
	rtt  time.Duration // about; zero if unknown
}

// name returns what the two ends of a channel, and nobody between them, know
// as the name of the flow that begins on it.
func (c *channel) name(o *wire.Open) (flowName, error) {
	if len(o.Flow) != wire.FlowSize {
		return flowName{}, fmt.Errorf("%w: a bulk stream without a name", wire.ErrInvalid)
	}
	if c.tls == nil {
		return flowName(o.Flow), nil
	}
	cs := c.tls.ConnectionState()
	b, err := cs.ExportKeyingMaterial("zorilla flow", o.Flow, wire.FlowSize)
	if err != nil {
		return flowName{}, err
	}
	return flowName(b), nil
}

// stripe is one channel of a flow. One goroutine at a time reads, one writes.
type stripe struct {
	channel
	number uint8
	piece  int // bytes in a data frame that is written

	r    io.Reader
	head [flowHeader]byte
	have int // bytes of head that have come

	w      io.Writer
	whead  [flowHeader]byte
	record *recordConn // under TLS on a lane
	buf    []byte      // a frame that is to be written in one piece
}

func newStripe(c channel, number uint8) *stripe {
	s := &stripe{channel: c, number: number}
	l, own := c.pipe.(*lane)
	switch {
	case c.tls != nil && own:
		s.r, s.w, s.piece = c.tls, c.tls, maxPiece
		s.record = c.tls.NetConn().(*recordConn)
		s.record.corked = true
	case c.tls != nil:
		s.r, s.w, s.piece = c.tls, c.tls, tlsPiece-flowHeader
	case own:
		s.r, s.w, s.piece = bufio.NewReaderSize(strictConn{c.pipe}, laneBuffer), l.Conn, maxPiece
	default:
		s.r, s.w, s.piece = bufio.NewReaderSize(strictConn{c.pipe}, 4<<10), c.pipe, 4*smallFrame-flowHeader
	}
	return s
}

// local reports whether the stripe shares another connection on its first hop.
func (s *stripe) local() bool {
	l, ok := s.pipe.(*lane)
	return !ok || l.c.kind == Local
}

// next reads the header of a frame. After a deadline has passed it can be
// called again.
func (s *stripe) next() (frame, error) {
	for s.have < flowHeader {
		n, err := s.r.Read(s.head[s.have:])
		s.have += n
		if err != nil {
			return frame{}, err
		}
	}
	s.have = 0
	return parseFrame(s.head[:]), nil
}

// send writes a frame.
func (s *stripe) send(h frame, data []byte) error {
	if _, own := s.pipe.(*lane); !own {
		if s.buf == nil {
			s.buf = make([]byte, 0, flowHeader+min(s.piece, max(len(data), 1<<10)))
		}
		s.buf = append(s.buf[:flowHeader], data...)
		h.put(s.buf)
		_, err := s.w.Write(s.buf)
		return err
	}
	h.put(s.whead[:])
	if s.record == nil {
		frame := net.Buffers{s.whead[:], data}
		if len(data) == 0 {
			frame = frame[:1]
		}
		_, err := frame.WriteTo(s.w)
		return err
	}
	if _, err := s.w.Write(s.whead[:]); err != nil {
		return err
	}
	if len(data) > 0 {
		if _, err := s.w.Write(data); err != nil {
			return err
		}
	}
	return s.record.flush()
}
