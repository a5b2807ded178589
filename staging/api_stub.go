package staging

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

var errStub = errors.New("not there yet")

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
