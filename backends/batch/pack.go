package batch

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
)

// parcel is a file packed for a script: gzip's output in lines of text, and the
// function of the script that makes bytes of these.
type parcel struct {
	decode string
	lines  []byte
}

// packer packs files for scripts.
type packer func(data []byte) parcel

// wide writes packed bytes as base64, four digits for three bytes: every host has a
// tool that reads it quickly.
func wide(packed []byte) parcel {
	text := base64.StdEncoding.EncodeToString(packed)
	var lines bytes.Buffer
	for len(text) > 0 {
		n := min(len(text), 1024)
		lines.WriteString(text[:n])
		lines.WriteByte('\n')
		text = text[n:]
	}
	return parcel{"gat_base64", lines.Bytes()}
}

// digits are those of base 85. None of them is a mark of a scheduler's directives,
// or means anything in a string of awk: no number sign, no quotes, no backslash.
const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!$%&()*+,-./:;<=>?@[]^_"

// denseLine is how many bytes a line of base 85 has: whole groups of four.
const denseLine = 800

// dense writes packed bytes in base 85, five digits for four bytes: a sixteenth
// less text than base64. It is for schedulers with a limit, because it is read by
// awk, in about a second for a pilot.
func dense(packed []byte) parcel {
	var lines bytes.Buffer
	for i := 0; i < len(packed); i += 4 {
		v := binary.BigEndian.Uint32(packed[i:])
		var group [5]byte
		for k := len(group) - 1; k >= 0; k-- {
			group[k] = digits[v%85]
			v /= 85
		}
		lines.Write(group[:])
		if (i+4)%denseLine == 0 || i+4 == len(packed) {
			lines.WriteByte('\n')
		}
	}
	return parcel{"gat_base85", lines.Bytes()}
}

// squeeze compresses data to gzip's format, to a multiple of four bytes: what is
// missing of that is a file name in the header, which nobody reads.
func squeeze(data []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	z.Write(data) // neither can fail: the buffer takes everything
	z.Close()
	packed := out.Bytes()
	const header, flags, named = 10, 3, 8
	if odd := len(packed) % 4; odd > 0 {
		name := strings.Repeat("-", 3-odd) + "\x00"
		packed[flags] |= named
		packed = append(packed[:header:header], append([]byte(name), packed[header:]...)...)
	}
	return packed
}

// large is from where on compressing takes time, in bytes.
const large = 64 << 10

// squeezer compresses files, a large one that comes again and again once.
type squeezer struct {
	mu   sync.Mutex
	last [2]squeezed // the last large files, the newest first
}

type squeezed struct {
	digest [sha256.Size]byte
	packed []byte
}

func (s *squeezer) squeeze(data []byte) []byte {
	if len(data) < large {
		return squeeze(data)
	}
	digest := sha256.Sum256(data)
	s.mu.Lock()
	defer s.mu.Unlock() // whoever comes meanwhile wants the same file most likely
	for _, f := range s.last {
		if f.digest == digest && f.packed != nil {
			return f.packed
		}
	}
	f := squeezed{digest, squeeze(data)}
	s.last = [2]squeezed{f, s.last[0]}
	return f.packed
}

// shorten is a packer for scripts that people read.
func shorten(data []byte) parcel {
	return parcel{"gat_base64", fmt.Appendf(nil, "(%d bytes, packed with gzip and base64)\n", len(data))}
}
