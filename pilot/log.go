package pilot

import (
	"io"
	"log/slog"
	"os"
	"sync"
)

// maxLog bounds an agent's log file, in bytes: half of it is dropped when it is full.
const maxLog = 1 << 20

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
	if l.size+int64(len(p)) > maxLog {
		if err := l.halve(); err != nil {
			return 0, err
		}
	}
	n, err := l.f.WriteAt(p, l.size)
	l.size += int64(n)
	return n, err
}

// halve drops the older half.
func (l *logFile) halve() error {
	rest := make([]byte, l.size/2)
	n, err := l.f.ReadAt(rest, l.size-int64(len(rest)))
	if err != nil && err != io.EOF {
		return err
	}
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	l.size = 0
	m, err := l.f.WriteAt(rest[:n], 0)
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
