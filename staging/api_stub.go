package staging

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

var errStub = errors.New("not there yet")

// Input is one file or directory of an input set.
type Input struct {
	Src string // path on this machine; a symbolic link is followed
	Dst string // slash-separated path in the set; empty: base name of Src; ending in "/": base name of Src below it; ".": a directory's contents at the set's top
}

// BuildOptions are the options of [Build]; the zero value is good.
type BuildOptions struct {
	Parallel int                     // files read at once; 0 means 2
	Progress func(done, total int64) // bytes hashed; called from one goroutine at a time, must not block
}

// Set is a manifest and the files behind it.
type Set struct{}

// Build makes a set.
func Build(ctx context.Context, inputs []Input, o BuildOptions) (*Set, error) { return nil, errStub }

// Manifest returns the set's manifest, which the caller must not change.
func (s *Set) Manifest() *wire.Manifest { return nil }

// Root returns the manifest's digest.
func (s *Set) Root() wire.Digest { return wire.Digest{} }

// Size returns the bytes in all files.
func (s *Set) Size() int64 { return 0 }

// Blob implements [Source].
func (s *Set) Blob(ctx context.Context, d wire.Digest, buf []byte) ([]byte, error) {
	return nil, errStub
}

// Store is a pilot's chunks.
type Store struct{}

// OpenStore opens dir (made 0700 when absent), at most maxBytes (0: 64 GiB).
func OpenStore(dir string, maxBytes int64) (*Store, error) { return nil, errStub }

// Put, Blob, Drop(job), Close (removes everything).
func (s *Store) Put(job wire.JobID, d wire.Digest, data []byte) error { return errStub }

// Blob implements [Source].
func (s *Store) Blob(ctx context.Context, d wire.Digest, buf []byte) ([]byte, error) {
	return nil, errStub
}

// Drop forgets a job's references.
func (s *Store) Drop(job wire.JobID) error { return errStub }

// Close removes all chunks and the directory.
func (s *Store) Close() error { return errStub }

// Request says what to fetch from whom.
type Request struct {
	Job      wire.JobID
	Root     wire.Digest
	Holders  []wire.NodeID                                      // nearest first, the origin last
	Open     func(context.Context, wire.NodeID) (Stream, error) // opens a fetch stream (StreamFetch)
	Progress func(done, total int64)                            // bytes; one call at a time
	Streams  int                                                // at once; 0 means 2
	Stall    time.Duration                                      // silence after which a stream is given up; 0 means 30 s
	Log      *slog.Logger
}

// Fetch gets a set's manifest and all its chunks into the store.
func (s *Store) Fetch(ctx context.Context, r Request) (*wire.Manifest, error) { return nil, errStub }

// FetchInto gets a set and writes it below dir/worker-RANK.
func FetchInto(ctx context.Context, r Request, dir *os.Root, rank uint32) (*wire.Manifest, error) {
	return nil, errStub
}

// Serve answers wants on a stream until the peer ends it (nil), ctx ends or the stream breaks.
// lookup authorises by job: Library.Lookup, or any func.
func Serve(ctx context.Context, s Stream, lookup func(wire.JobID) (Source, error)) error {
	return errStub
}

// Materialize writes a set from a store into a directory.
func Materialize(ctx context.Context, m *wire.Manifest, store *Store, root *os.Root) error {
	return errStub
}

// Snapshot is what was in a sandbox before the program started.
type Snapshot struct{}

// TakeSnapshot records what is in a sandbox.
func TakeSnapshot(ctx context.Context, root *os.Root) (*Snapshot, error) { return nil, errStub }

// Collected is what Collect found.
type Collected struct {
	Set       *Set     // serve it; reads through root, which must stay open while it is served
	Unmatched []string // globs that matched nothing new or changed
	Skipped   []string // "path: reason", for warnings
}

// Collect finds new or changed files that match globs.
func Collect(ctx context.Context, root *os.Root, globs []string, before *Snapshot) (*Collected, error) {
	return nil, errStub
}

// CheckGlob reports what is wrong with an output glob.
func CheckGlob(glob string) error { return errStub }

// SpoolOptions are the options of NewSpool.
type SpoolOptions struct {
	Memory   int    // bytes kept in memory; 0 means 4 MiB
	Dir      string // where to spill; empty: never spills
	MaxSpill int64  // bytes spilled; 0 means 256 MiB
	Log      *slog.Logger
}

// Spool takes a worker's output home.
type Spool struct{}

// NewSpool makes a spool for one pipe, which it owns from now on.
func NewSpool(key wire.Output, pipe *os.File, o SpoolOptions) *Spool { return nil }

// Run reads the pipe to its end and delivers everything, redialling with open (a StreamOutput stream
// to the primary) until all is acknowledged (nil), a newer attempt counts (ErrSuperseded) or ctx ends. Call once.
// Closing the pipe from elsewhere ends the output there.
func (s *Spool) Run(ctx context.Context, open func(context.Context) (Stream, error)) error {
	return errStub
}

// Done is closed when all is acknowledged or superseded.
func (s *Spool) Done() <-chan struct{} { return nil }

// Size returns the bytes read so far, and whether that is all.
func (s *Spool) Size() (n int64, ended bool) { return 0, false }

// Ended is closed when the pipe has been read to its end.
func (s *Spool) Ended() <-chan struct{} { return nil }

// SinkOptions are the options of NewSink.
type SinkOptions struct {
	Tee    func(rank uint32, fd uint8, p []byte)       // live display; may block: back-pressure; must not keep p
	Failed func(rank uint32, fd uint8, err error)      // writing at home failed (disk full); retried when the pilot redials
	Begun  func(rank uint32, fd uint8, attempt uint32) // a (newer) attempt's output starts: reset the Lines of the older one
	Log    *slog.Logger
}

// Sink writes a job's outputs to dir/worker-RANK/stdout and stderr.
type Sink struct{}

// NewSink makes the sink of one job.
func NewSink(job wire.JobID, dir *os.Root, o SinkOptions) *Sink { return nil }

// ReadOutput reads the first message of an output stream, so that the caller can find the job's
// sink and check that the peer holds the rank.
func ReadOutput(ctx context.Context, s Stream) (wire.Output, error) { return wire.Output{}, errStub }

// Accept receives one stream until its output has ended (nil) or it breaks.
func (k *Sink) Accept(ctx context.Context, s Stream, out wire.Output) error { return errStub }

// Advance refuses attempts of a rank older than attempt from now on.
func (k *Sink) Advance(rank, attempt uint32) error { return errStub }

// Wait waits until all size bytes of an output are in its file.
func (k *Sink) Wait(ctx context.Context, out wire.Output, size int64) error { return errStub }

// Close ends all streams and closes the files.
func (k *Sink) Close() error { return errStub }

// LinesOptions are the options of NewLines.
type LinesOptions struct {
	Prefix    string // before each line, such as "[3] "
	Terminate bool   // end the last line with a newline even when the worker did not
}

// Lines splits a stream into lines for a display: a WriteCloser.
type Lines struct{}

// NewLines writes whole lines to w, each in one Write with its newline.
func NewLines(w io.Writer, o LinesOptions) *Lines { return nil }

// Write implements io.Writer.
func (l *Lines) Write(p []byte) (int, error) { return 0, errStub }

// Close flushes a partial last line; it does not close w.
func (l *Lines) Close() error { return errStub }
