package transport

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// spliceBuffer is how much a relay holds of one direction of a stream whose
// bytes do not stay in the kernel.
const spliceBuffer = 64 << 10

// pass opens a stream that this node passes on, by a lane if it came by one and
// one can be made.
func (c *carrier) pass(ctx context.Context, o *wire.Open) (pipe, error) {
	lane := len(o.Ticket) > 0
	o.Ticket, o.Call = nil, false
	if lane {
		l, err := c.openLane(ctx, o)
		if err == nil || !errors.Is(err, errNoLane) {
			return l, err
		}
	}
	st, err := c.mux.OpenStream()
	if err != nil {
		return nil, err
	}
	st.bulk = isBulk(o.Stream)
	if err := wire.WriteFrame(st, o); err != nil {
		st.reset()
		return nil, err
	}
	return st, nil
}

// splice copies bytes both ways between two pipes until both are closed, or
// one is reset, which resets the other. Between two lanes the kernel does it,
// where it can. Bulk keeps to the limits.
func (e *Endpoint) splice(ctx context.Context, a, b pipe, bulk bool) {
	defer context.AfterFunc(ctx, func() { a.reset(); b.reset() })()
	var wg sync.WaitGroup
	wg.Go(func() { e.pour(a, b, bulk) })
	e.pour(b, a, bulk)
	wg.Wait()
	_ = a.Close()
	_ = b.Close()
}

// pour copies from one pipe to another, its close and reset included.
func (e *Endpoint) pour(from, to pipe, bulk bool) {
	var err error
	in, a := from.(*lane)
	out, b := to.(*lane)
	switch {
	case a && b && e.throttle == nil:
		_, err = io.Copy(out.Conn, in.Conn)
	case a && b && bulk:
		err = e.throttle.copy(out.Conn, in.Conn)
	case e.throttle != nil && bulk:
		err = e.throttle.copy(to, from)
	default:
		_, err = io.CopyBuffer(countedWriter{to, e.throttle}, onlyReader{from}, make([]byte, spliceBuffer))
	}
	// Closed: the other end of from wants nothing more, and all that it sent has
	// been passed on. Or was it a reset?
	if err == nil && from.whole() && to.closeWrite() == nil {
		return
	}
	to.reset()
	from.reset()
}

// onlyReader and onlyWriter hide everything else from io.Copy.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)
