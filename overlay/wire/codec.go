package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// Limits of a frame.
const (
	// MaxFrame is the largest frame on a link, in bytes, its length field not counted.
	MaxFrame = 256 << 10
	// MaxManifest is the largest encoded manifest, in bytes.
	MaxManifest = 16 << 20
)

// Kind tells messages apart on the wire. Numbers are never reused.
type Kind uint8

// Message is something that can cross a link. Every message is a pointer to a
// struct of this package.
type Message interface {
	// Kind returns the message's number on the wire.
	Kind() Kind
	// Validate reports the first field that is out of its limits. Decode calls it.
	Validate() error
}

// ErrInvalid matches every error about bytes that are no valid message.
var ErrInvalid = errors.New("invalid message")

func invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// codec holds the two modes of the CBOR library; it is immutable.
type codec struct {
	enc cbor.EncMode
	dec cbor.DecMode
}

func newCodec(maxItems int) codec {
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // constant options
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		IntDec:            cbor.IntDecConvertSignedOrFail,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		MaxNestedLevels:   8,
		MaxArrayElements:  maxItems,
		MaxMapPairs:       1024,
	}.DecMode()
	if err != nil {
		panic(err) // constant options
	}
	return codec{enc, dec}
}

var (
	messages  = newCodec(16 << 10)
	manifests = newCodec(512 << 10)
)

// Encode returns the message's kind byte and body, without the length field.
// It panics when the message is over its limits: that is a bug of the sender.
func Encode(m Message) []byte {
	if err := m.Validate(); err != nil {
		panic(fmt.Sprintf("wire: encode %T: %v", m, err))
	}
	body, err := messages.enc.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("wire: encode %T: %v", m, err))
	}
	if len(body)+1 > MaxFrame {
		panic(fmt.Sprintf("wire: encode %T: %d bytes", m, len(body)))
	}
	return append([]byte{byte(m.Kind())}, body...)
}

// Decode is the inverse of Encode for bytes from anywhere. Its errors match
// ErrInvalid.
func Decode(b []byte) (Message, error) {
	if len(b) == 0 {
		return nil, invalidf("empty")
	}
	if len(b) > MaxFrame {
		return nil, invalidf("%d bytes", len(b))
	}
	m := newMessage(Kind(b[0]))
	if m == nil {
		return nil, invalidf("unknown kind %d", b[0])
	}
	if err := messages.dec.Unmarshal(b[1:], m); err != nil {
		return nil, invalidf("%T: %v", m, err)
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

// WriteFrame writes one message with its length, in one Write.
func WriteFrame(w io.Writer, m Message) error {
	b := Encode(m)
	frame := make([]byte, 4, 4+len(b))
	binary.BigEndian.PutUint32(frame, uint32(len(b)))
	_, err := w.Write(append(frame, b...))
	return err
}

// ReadFrame reads one message of at most limit bytes (0 means [MaxFrame]).
// It returns io.EOF only at a frame's boundary.
func ReadFrame(r io.Reader, limit int) (Message, error) {
	if limit <= 0 || limit > MaxFrame {
		limit = MaxFrame
	}
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > uint32(limit) {
		return nil, invalidf("frame of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return Decode(b)
}
