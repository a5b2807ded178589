package batch

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
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
	return parcel{"gat_base64", folded([]byte(base64.StdEncoding.EncodeToString(packed)))}
}

// folded breaks text into lines.
func folded(text []byte) []byte {
	var lines bytes.Buffer
	for line := range slices.Chunk(text, 1024) {
		lines.Write(line)
		lines.WriteByte('\n')
	}
	return lines.Bytes()
}

// twins are further digits for the first ones of base64, in their order: all that can
// be printed but the mark of schedulers' directives.
const twins = "!\"$%&'()*,.:;<=>?@\\^_`{|}~][-"

// twinned are the digits that have a twin.
const twinned = "ABCDEFGHIJKLMNOPQRSTUVWXYZabc"

// dense writes packed bytes so that they need a fourteenth less text than base64: as
// base64 of most of them, in which the digits that have a twin tell the bits of the
// rest, by whether the twin is in their place. It is for schedulers with a limit. The
// first line is how many bytes that rest has.
func dense(packed []byte) parcel {
	text := []byte(base64.StdEncoding.EncodeToString(packed))
	// The first bytes, three by three, until what they can tell is all that is left.
	first, room := 0, 0
	for ; len(packed)-first > 2 && room < 8*(len(packed)-first); first += 3 {
		for _, c := range text[first/3*4:][:4] {
			if strings.IndexByte(twinned, c) >= 0 {
				room++
			}
		}
	}
	if room < 8*(len(packed)-first) {
		return wide(packed) // there is hardly anything
	}
	rest := packed[first:]
	text = text[:base64.StdEncoding.EncodedLen(first)]
	for i, bit := 0, 0; bit < 8*len(rest); i++ {
		twin := strings.IndexByte(twinned, text[i])
		if twin < 0 {
			continue
		}
		if rest[bit/8]>>(7-bit%8)&1 == 1 {
			text[i] = twins[twin]
		}
		bit++
	}
	return parcel{"gat_dense", fmt.Appendf(nil, "%d\n%s", len(rest), folded(text))}
}

// squeeze compresses data to gzip's format.
func squeeze(data []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	z.Write(data) // neither can fail: the buffer takes everything
	z.Close()
	return out.Bytes()
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
