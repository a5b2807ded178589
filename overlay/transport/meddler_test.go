package transport_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
)

// meddler is a hub's way to a neighbour as a bad hub would have it: once it is
// told to, it does something to the next frames that carry much of a stream.
type meddler struct {
	net.Conn
	mu   sync.Mutex
	rest []byte                      // of a frame
	do   func(frame []byte) [][]byte // what to send instead; nil: all as it is
}

func (c *meddler) meddle(do func(frame []byte) [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.do = do
}

func (c *meddler) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	const header, typeData, much = 12, 0, 1000
	c.rest = append(c.rest, p...)
	var out []byte
	for len(c.rest) >= header {
		size := header
		if c.rest[1] == typeData {
			size += int(binary.BigEndian.Uint32(c.rest[8:]))
		}
		if len(c.rest) < size {
			break
		}
		frame := c.rest[:size]
		if c.do != nil && size > much {
			for _, f := range c.do(bytes.Clone(frame)) {
				out = append(out, f...)
			}
		} else {
			out = append(out, frame...)
		}
		c.rest = c.rest[size:]
	}
	if _, err := c.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// TestMeddlingHub has a hub drop, reorder, repeat, alter and delay what it
// passes on of a stream: the stream breaks, or is late, and never lies; the
// node that gets it says so once; and the next stream works.
func TestMeddlingHub(t *testing.T) {
	t.Parallel()
	// Each gets the frames of one stream, from the first on.
	for name, tt := range map[string]struct {
		do    func() func([]byte) [][]byte
		whole bool // all arrives all the same
	}{
		"drops": {do: func() func([]byte) [][]byte {
			n := 0
			return func(f []byte) [][]byte {
				if n++; n == 2 {
					return nil
				}
				return [][]byte{f}
			}
		}},
		"reorders": {do: func() func([]byte) [][]byte {
			n, held := 0, []byte(nil)
			return func(f []byte) [][]byte {
				switch n++; n {
				case 2:
					held = f
					return nil
				case 3:
					return [][]byte{f, held}
				}
				return [][]byte{f}
			}
		}},
		"repeats": {do: func() func([]byte) [][]byte {
			n := 0
			return func(f []byte) [][]byte {
				if n++; n == 2 {
					return [][]byte{f, f}
				}
				return [][]byte{f}
			}
		}},
		"alters": {do: func() func([]byte) [][]byte {
			n := 0
			return func(f []byte) [][]byte {
				if n++; n == 2 {
					f[len(f)/2] ^= 1
				}
				return [][]byte{f}
			}
		}},
		"delays": {whole: true, do: func() func([]byte) [][]byte {
			n := 0
			return func(f []byte) [][]byte {
				if n++; n == 2 {
					<-time.After(300 * time.Millisecond)
				}
				return [][]byte{f}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var hub *meddler
			w := newNetwork(t, transport.Config{}, transport.Config{}, func(c net.Conn) net.Conn {
				hub = &meddler{Conn: c}
				return hub
			})
			p := w.pilot(t, transport.Config{Handlers: handle(wire.StreamFetch, echo)})
			const piece, pieces = 8 << 10, 6
			sent := marked(piece * pieces)
			for range 3 {
				s := open(t, w.launcher, p.ID(), wire.StreamFetch)
				hub.meddle(tt.do())
				for i := range pieces {
					if _, err := s.Write(sent[i*piece : (i+1)*piece]); err != nil {
						break // the other end has noticed
					}
				}
				_ = s.CloseWrite()
				got, err := io.ReadAll(s)
				hub.meddle(nil)
				if !bytes.HasPrefix(sent, got) {
					t.Errorf("%d bytes came back that are not what was sent", len(got))
				}
				if tt.whole != (err == nil) || tt.whole && len(got) != len(sent) {
					t.Errorf("%d of %d bytes came back, %v", len(got), len(sent), err)
				}
				if err != nil {
					wantError(t, err, transport.ErrReset, "")
				}
				s.Close()
				trip(t, w.launcher, p)
			}
			if !tt.whole {
				p.log.wait(t, "stream altered on its way")
			}
			for _, n := range []*testNode{w.launcher, w.hub, p} {
				if said := strings.Count(n.log.String(), "level=WARN"); said > 1 {
					t.Errorf("a node says %d times that something is wrong, want once at most:\n%s", said, n.log)
				}
			}
		})
	}
}
