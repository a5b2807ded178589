package pilot

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"sync"
)

// Limits of an agent's log file, in bytes.
const (
	maxLog   = 1 << 20  // half of it is dropped when it is full
	maxEntry = 64 << 10 // of one write; the rest is cut off
)

// A logFile is an agent's log in the session directory, bounded in size. It
// goes with the directory; while the agent lives the launcher can read it over
// a log stream.
type logFile struct {
	mu   sync.Mutex
	f    *os.File
	size int64
}

func openLog(path string) (*logFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR|openNoFollow, 0o600)
	if err != nil {
		return nil, err
	}
	return &logFile{f: f}, nil
}

// Write implements io.Writer.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entry := p
	if len(entry) > maxEntry {
		entry = append(entry[:maxEntry-1:maxEntry-1], '\n')
	}
	if l.size+int64(len(entry)) > maxLog {
		if err := l.halve(); err != nil {
			return 0, err
		}
	}
	n, err := l.f.WriteAt(entry, l.size)
	l.size += int64(n)
	if err != nil {
		return n, err
	}
	return len(p), nil
}

// halve drops the older half, up to the end of a line.
func (l *logFile) halve() error {
	rest := make([]byte, l.size/2)
	n, err := l.f.ReadAt(rest, l.size-int64(len(rest)))
	if err != nil && err != io.EOF {
		return err
	}
	rest = rest[:n]
	if i := bytes.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[i+1:]
	}
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	l.size = 0
	m, err := l.f.WriteAt(rest, 0)
	l.size = int64(m)
	return err
}

// tail returns the newest part of the log, at most n bytes.
func (l *logFile) tail(n int64) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, l.size)
	b := make([]byte, n)
	m, err := l.f.ReadAt(b, l.size-n)
	if err != nil && err != io.EOF {
		return nil
	}
	return b[:m]
}

// Close closes the file.
func (l *logFile) Close() error { return l.f.Close() }

func newLogger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
