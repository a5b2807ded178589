package shell

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	maxNoise = 1 << 20 // bytes dropped while waiting for a frame
	maxWord  = 64      // bytes behind the nonce
)

// errNoise says that a start file prints without end.
var errNoise = fmt.Errorf("start files printed more than %d bytes before the command began", maxNoise)

// errNoFrame says that the stream ended before the frame.
var errNoFrame = errors.New("the session ended before the command began")

// awaitFrame reads r up to and including the line "NONCE[ word]\n" and drops all before
// it. It returns the word and a reader of exactly the bytes after that line.
// On failure it returns the last bytes of noise instead, for the message.
func awaitFrame(r io.Reader, n nonce) (word string, rest io.Reader, noise []byte, err error) {
	marker := []byte(n)
	buf := make([]byte, 0, 4096)
	dropped := 0
	for {
		if i := bytes.Index(buf, marker); i >= 0 {
			tail := buf[i+len(marker):]
			if j := bytes.IndexByte(tail, '\n'); j >= 0 && j <= maxWord {
				word := string(bytes.TrimPrefix(tail[:j], []byte(" ")))
				if tail = tail[j+1:]; len(tail) == 0 {
					return word, r, nil, nil
				}
				return word, &prefixed{tail, r}, nil, nil
			} else if j > maxWord || len(tail) > maxWord {
				return "", nil, buf, errors.New("the frame before the command's output is malformed")
			}
			if i > 0 { // keep the frame only, to make room for its end
				dropped += i
				buf = buf[:copy(buf, buf[i:])]
			}
		} else if keep := 512 + len(marker); len(buf) > keep {
			// The nonce may be cut in two by the end of the buffer; some noise is kept to show.
			dropped += len(buf) - keep
			buf = buf[:copy(buf, buf[len(buf)-keep:])]
		}
		if dropped+len(buf) > maxNoise {
			return "", nil, buf, errNoise
		}
		m, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+m]
		if err != nil && m == 0 {
			if err == io.EOF {
				err = errNoFrame
			}
			return "", nil, buf, err
		}
	}
}

// prefixed reads some bytes that were read too early, then the rest.
type prefixed struct {
	head []byte
	r    io.Reader
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.head) > 0 {
		n := copy(b, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	return p.r.Read(b)
}
