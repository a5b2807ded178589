// Package bundle finds or makes a pilot binary for a platform.
//
// The ways are tried in a fixed order: a path given by the user, a binary
// embedded in this program by a release, the user's cache, a build from the
// source with the Go toolchain, and this program itself where it can play the
// pilot. Whatever a way comes up with is inspected before it is accepted: an
// executable for the wanted platform, static (it must run on machines whose C
// library we do not know), and of a sane size. When every way fails the error
// lists each of them with its reason.
//
// The one rule: a binary in the cache or in a release belongs to exactly one
// build of this program. Pilots and launchers of different builds are never
// mixed.
//
// Bringing the binary to a site is not done here.
package bundle

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// MaxSize is the largest binary that is shipped, in bytes. A stripped pilot has
	// less than a tenth of that.
	MaxSize = 128 << 20
	// BuildLimit bounds a build from source, waiting for a build of another
	// process included.
	BuildLimit = 5 * time.Minute
	// PilotPackage is the package of the pilot's main.
	PilotPackage = "github.com/zorilla-grid/zorilla/cmd/zorilla-pilot"
)

// Options say where to look. The zero value is the default of each.
type Options struct {
	Pilot string // explicit path, from a flag; empty means $ZORILLA_PILOT
	Cache string // cache directory; empty means zorilla/pilots in the user's cache directory
	Go    string // go command; empty means the one in PATH or in GOROOT, "none" means no builds
	Dir   string // directory of the module's source; empty means to look for it

	// Log is told in one line, for people, that something slow begins; nil
	// discards that.
	Log func(text string)
}

// Binary is a pilot binary that was found and inspected.
type Binary struct {
	Platform string // such as "linux/amd64"
	Path     string // file that holds it; empty when it is in memory only
	Digest   string // SHA-256 of the content, hexadecimal
	Size     int64  // bytes
	Static   bool   // needs no dynamic loader
	Source   string // how it was found, for people

	data []byte // when Path is empty

	pack   sync.Once
	packed []byte
	bad    error // why it could not be packed
}

// Open returns the content. The caller closes it.
func (b *Binary) Open() (io.ReadCloser, error) {
	if b.Path == "" {
		return io.NopCloser(bytes.NewReader(b.data)), nil
	}
	f, err := os.Open(b.Path)
	if err != nil {
		return nil, fmt.Errorf("pilot binary: %w", err)
	}
	return f, nil
}

// Gzip returns the content compressed, as a whole; the caller does not change
// it. It is made once, however many hosts want it, and verifies on the way that
// the content is still what it was when it was found. It may be called from
// any goroutine.
func (b *Binary) Gzip() ([]byte, error) {
	b.pack.Do(func() { b.packed, b.bad = b.gzip() })
	return b.packed, b.bad
}

func (b *Binary) gzip() ([]byte, error) {
	r, err := b.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out bytes.Buffer
	// Measured on a pilot: level 6 costs a third of the time of 9 for 1 % more bytes.
	z, err := gzip.NewWriterLevel(&out, 6)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(z, sum), io.LimitReader(r, MaxSize+1))
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("compress pilot binary %s: %w", b.Path, err)
	}
	if n != b.Size || hex.EncodeToString(sum.Sum(nil)) != b.Digest {
		return nil, fmt.Errorf("pilot binary %s changed while it was in use", b.Path)
	}
	return out.Bytes(), nil
}

// NotFoundError says that no way led to a pilot binary.
type NotFoundError struct {
	Platform string
	Tries    []Try
}

// Try is one way that failed.
type Try struct {
	Way string
	Err error
}

func (e *NotFoundError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no pilot binary for %s; tried:", e.Platform)
	for _, t := range e.Tries {
		fmt.Fprintf(&b, "\n  %s: %v", t.Way, t.Err)
	}
	return b.String()
}

// Unwrap returns the errors of all tries.
func (e *NotFoundError) Unwrap() []error {
	errs := make([]error, len(e.Tries))
	for i, t := range e.Tries {
		errs[i] = t.Err
	}
	return errs
}

// Finder finds pilot binaries and remembers what it found. Its methods may be
// called from any goroutine.
type Finder struct {
	opts Options

	mu    sync.Mutex
	found map[string]*search // by platform
	wg    sync.WaitGroup
}

// search is one search that is under way or done.
type search struct {
	done   chan struct{}
	cancel context.CancelFunc
	binary *Binary
	err    error
}

// New returns a Finder.
func New(opts Options) *Finder {
	return &Finder{opts: opts, found: make(map[string]*search)}
}

// Prefetch starts to look for the binary of a platform, such as "linux/amd64",
// without waiting: a build takes a while, and so does a login.
func (f *Finder) Prefetch(platform string) { f.start(platform) }

// Find returns the binary for a platform, such as "linux/amd64". The error is a
// [NotFoundError] when there is none.
func (f *Finder) Find(ctx context.Context, platform string) (*Binary, error) {
	s := f.start(platform)
	select {
	case <-s.done:
		return s.binary, s.err
	case <-ctx.Done():
		return nil, fmt.Errorf("find pilot binary for %s: %w", platform, ctx.Err())
	}
}

// start begins a search unless there is one; all callers share it, so it does not end
// with the context of one of them.
func (f *Finder) start(platform string) *search {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.found[platform]; s != nil {
		return s
	}
	ctx, cancel := context.WithTimeout(context.Background(), BuildLimit)
	s := &search{done: make(chan struct{}), cancel: cancel}
	f.found[platform] = s
	f.wg.Go(func() {
		defer close(s.done)
		defer cancel()
		s.binary, s.err = f.search(ctx, platform)
	})
	return s
}

// Close ends searches that are under way, the builds they started included.
func (f *Finder) Close() {
	f.mu.Lock()
	for _, s := range f.found {
		s.cancel()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

// Local returns the path of a program that plays the pilot on this machine, at
// once: a pilot binary when one is at hand without a build, else this very
// program under the name zorilla-pilot, by which its main knows what to be. In
// that case a link of that name is made in dir, which must be the caller's
// own; removing it is up to the caller. The program need not be static.
func (f *Finder) Local(dir string) (path string, err error) {
	return f.local(dir)
}
