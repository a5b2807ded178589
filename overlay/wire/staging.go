package wire

import (
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"
)

// Kinds of the staging protocol.
const (
	KindWant     Kind = 0x40
	KindChunk    Kind = 0x41
	KindMissing  Kind = 0x42
	KindOutput   Kind = 0x43
	KindResume   Kind = 0x44
	KindReceived Kind = 0x45
)

// Limits of files.
const (
	MaxChunk    = 4 << 20   // bytes in a chunk
	MaxFiles    = 128 << 10 // entries in a manifest
	MaxChunks   = 256 << 10 // chunks in a manifest
	MaxPath     = 4096      // bytes in a path
	MaxFileSize = 1 << 44   // bytes in a file
	MaxTotal    = MaxFileSize
)

// Manifest lists a set of files. Its own digest, over [EncodeManifest], names
// the set.
type Manifest struct {
	Files []File `cbor:"1,keyasint"` // sorted by path, no path twice, directories before what is in them
}

// File is one entry of a manifest: a regular file, a directory or a symbolic link.
type File struct {
	Path   string  `cbor:"1,keyasint"`           // slash-separated, relative, clean, see fs.ValidPath
	Mode   uint32  `cbor:"2,keyasint"`           // permission bits; [ModeDir] or [ModeLink] for the others
	Size   int64   `cbor:"3,keyasint,omitempty"` // bytes
	Link   string  `cbor:"4,keyasint,omitempty"` // a symbolic link's target: relative, stays inside the set
	Chunks []Chunk `cbor:"5,keyasint,omitempty"` // in order; their sizes add up to Size
}

// Type bits of a file's mode.
const (
	ModeDir  uint32 = 1 << 16
	ModeLink uint32 = 1 << 17
)

// Chunk is a piece of a file.
type Chunk struct {
	Digest Digest `cbor:"1,keyasint"`
	Size   uint32 `cbor:"2,keyasint"`
}

// Validate reports the first entry that is out of its limits.
func (m *Manifest) Validate() error {
	if len(m.Files) > MaxFiles {
		return invalidf("manifest of %d files", len(m.Files))
	}
	var chunks int
	var total int64
	for i := range m.Files {
		f := &m.Files[i]
		if err := f.validate(); err != nil {
			return err
		}
		if i > 0 && m.Files[i-1].Path >= f.Path {
			return invalidf("manifest not in order at %q", f.Path)
		}
		chunks += len(f.Chunks)
		total += f.Size
		if chunks > MaxChunks || total > MaxTotal {
			return invalidf("manifest of more than %d chunks or %d bytes", MaxChunks, int64(MaxTotal))
		}
	}
	return nil
}

func (f *File) validate() error {
	if !fs.ValidPath(f.Path) || f.Path == "." || len(f.Path) > MaxPath || !utf8.ValidString(f.Path) || strings.ContainsRune(f.Path, 0) {
		return invalidf("path %q", f.Path)
	}
	if f.Mode&^(ModeDir|ModeLink|0o777) != 0 {
		return invalidf("mode %o of %q", f.Mode, f.Path)
	}
	if f.Mode&ModeLink != 0 {
		if f.Link == "" || path.IsAbs(f.Link) || len(f.Link) > MaxPath || len(f.Chunks) != 0 || f.Mode&ModeDir != 0 {
			return invalidf("link %q", f.Path)
		}
		if to := path.Join(path.Dir(f.Path), f.Link); to == ".." || strings.HasPrefix(to, "../") {
			return invalidf("link %q leads outside", f.Path)
		}
		return nil
	}
	if f.Link != "" || (f.Mode&ModeDir != 0 && (len(f.Chunks) != 0 || f.Size != 0)) {
		return invalidf("entry %q", f.Path)
	}
	if f.Size < 0 || f.Size > MaxFileSize {
		return invalidf("size %d of %q", f.Size, f.Path)
	}
	var sum int64
	for _, c := range f.Chunks {
		if c.Size == 0 || c.Size > MaxChunk {
			return invalidf("chunk of %d bytes in %q", c.Size, f.Path)
		}
		sum += int64(c.Size)
	}
	if sum != f.Size {
		return invalidf("chunks of %q add up to %d, not %d", f.Path, sum, f.Size)
	}
	return nil
}

// EncodeManifest returns the one encoding of a manifest. Like [Encode] it
// panics when the manifest is over its limits; callers validate first.
func EncodeManifest(m *Manifest) []byte {
	if err := m.Validate(); err != nil {
		panic("wire: encode manifest: " + err.Error())
	}
	b, err := manifests.enc.Marshal(m)
	if err != nil {
		panic("wire: encode manifest: " + err.Error())
	}
	return b
}

// DecodeManifest is the inverse of EncodeManifest for bytes from anywhere.
func DecodeManifest(b []byte) (*Manifest, error) {
	if len(b) > MaxManifest {
		return nil, invalidf("manifest of %d bytes", len(b))
	}
	m := new(Manifest)
	if err := manifests.dec.Unmarshal(b, m); err != nil {
		return nil, invalidf("manifest: %v", err)
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

// Want asks for chunks, by digest, on a fetch stream. A manifest is asked for
// by its own digest: it is a blob like any other, up to [MaxManifest] bytes.
type Want struct {
	Job     JobID    `cbor:"1,keyasint"` // whose files; a holder serves a job's members only
	Digests []Digest `cbor:"2,keyasint"`
}

// Kind implements [Message].
func (*Want) Kind() Kind { return KindWant }

// Validate implements [Message].
func (m *Want) Validate() error {
	if len(m.Digests) == 0 || len(m.Digests) > 1024 {
		return invalidf("want of %d digests", len(m.Digests))
	}
	return nil
}

// BlobHeader announces the blob whose Size raw bytes follow the frame. Blobs
// come in the order in which they were wanted.
type BlobHeader struct {
	Digest Digest `cbor:"1,keyasint"`
	Size   uint32 `cbor:"2,keyasint"`
}

// Kind implements [Message].
func (*BlobHeader) Kind() Kind { return KindChunk }

// Validate implements [Message].
func (m *BlobHeader) Validate() error {
	if m.Size > MaxManifest {
		return invalidf("blob of %d bytes", m.Size)
	}
	return nil
}

// Missing says that the holder cannot serve a wanted blob.
type Missing struct {
	Digest Digest `cbor:"1,keyasint"`
	Reason string `cbor:"2,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Missing) Kind() Kind { return KindMissing }

// Validate implements [Message].
func (m *Missing) Validate() error { return checkText("reason", m.Reason, 1024) }

// Output opens one worker's output on an output stream. The acceptor answers
// with [Resume]; raw blocks follow, each a big-endian uint32 length and that
// many bytes (at most 256 KiB); length zero ends the output. The acceptor
// sends [Received] from time to time.
type Output struct {
	Job     JobID  `cbor:"1,keyasint"`
	Rank    uint32 `cbor:"2,keyasint"`
	Attempt uint32 `cbor:"3,keyasint"`
	FD      uint8  `cbor:"4,keyasint"` // 1 standard output, 2 standard error
}

// Kind implements [Message].
func (*Output) Kind() Kind { return KindOutput }

// Validate implements [Message].
func (m *Output) Validate() error {
	if m.FD != 1 && m.FD != 2 {
		return invalidf("output of descriptor %d", m.FD)
	}
	return nil
}

// Resume says from which byte on the acceptor wants the output. Refused means
// that it wants nothing more of it: a newer attempt counts.
type Resume struct {
	Offset  int64 `cbor:"1,keyasint"`
	Refused bool  `cbor:"2,keyasint,omitempty"`
}

// Kind implements [Message].
func (*Resume) Kind() Kind { return KindResume }

// Validate implements [Message].
func (m *Resume) Validate() error {
	if m.Offset < 0 {
		return invalidf("offset %d", m.Offset)
	}
	return nil
}

// Received says that all bytes before Offset are safely home; the sender may
// forget them.
type Received struct {
	Offset int64 `cbor:"1,keyasint"`
}

// Kind implements [Message].
func (*Received) Kind() Kind { return KindReceived }

// Validate implements [Message].
func (m *Received) Validate() error {
	if m.Offset < 0 {
		return invalidf("offset %d", m.Offset)
	}
	return nil
}
