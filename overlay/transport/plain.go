package transport

import (
	"bufio"
	"encoding/binary"
	"io"
	"sync"
)

// duplex is a byte stream whose ends are marked in the data: a TLS connection
// or, where the carrier is TLS to the right node already, a plainConn.
type duplex interface {
	io.ReadWriter
	CloseWrite() error
}

// maxRecord is the largest payload of a plain record, in bytes. With its two
// bytes of length it fills one frame of a fast path, four of a slow one.
const maxRecord = 4*smallFrame - recordHeader

const recordHeader = 2

// plainConn marks the end of the data as TLS does, without its cost: records
// of a big-endian uint16 length and that many bytes; length zero is the end.
// Reads and writes are each for one goroutine at a time, Write and CloseWrite
// lock.
type plainConn struct {
	r    *bufio.Reader
	left int // of the current record
	end  bool

	mu    sync.Mutex
	w     io.Writer
	buf   []byte
	ended bool
}

func newPlainConn(s io.ReadWriter) *plainConn {
	return &plainConn{r: bufio.NewReaderSize(s, 16<<10), w: s}
}

func (c *plainConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for c.left == 0 {
		if c.end {
			return 0, io.EOF
		}
		head, err := c.r.Peek(recordHeader) // takes nothing when a deadline passes
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		c.left = int(binary.BigEndian.Uint16(head))
		c.end = c.left == 0
		_, _ = c.r.Discard(recordHeader)
	}
	n, err := c.r.Read(p[:min(len(p), c.left)])
	c.left -= n
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *plainConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, ErrClosed
	}
	var done int
	for done < len(p) {
		piece := p[done:min(done+maxRecord, len(p))]
		c.buf = append(binary.BigEndian.AppendUint16(c.buf[:0], uint16(len(piece))), piece...)
		n, err := c.w.Write(c.buf)
		done += max(n-recordHeader, 0)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (c *plainConn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil
	}
	c.ended = true
	_, err := c.w.Write([]byte{0, 0})
	return err
}
