package launcher

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// pollsName is the directory of answers of queueing systems in the state directory.
const pollsName = "polls"

// Bounds on the answers of queueing systems.
const (
	maxPoll   = 16 << 20       // bytes of one
	keepPoll  = 24 * time.Hour // one that nobody asks for any more
	freshPoll = time.Second    // the most one may be old of those that have to be fresh
)

// A pollStore keeps the answers of queueing systems where all runs of the user on this
// machine find them, so that together they ask a scheduler no more often than one of
// them would. It implements [gat.Polls]: a file of mode 0600 for each question, locked
// while it is asked.
type pollStore struct {
	dir string

	mu    sync.Mutex
	since time.Time       // answers from before do not do
	kept  map[string]poll // where the file cannot be written
}

// poll is the head of a kept answer; the answer's bytes follow it.
type poll struct {
	V     int       `json:"v"`
	Asked time.Time `json:"asked"`
	Size  int       `json:"size"`            // of the answer
	Error string    `json:"error,omitempty"` // in place of an answer
	Class gat.Class `json:"class,omitempty"` // of the error

	answer []byte
}

// polls opens the store of what queueing systems answered, and forgets what is old in it.
func (s *State) polls() (*pollStore, error) {
	dir := filepath.Join(filepath.Dir(s.dir), pollsName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := checkPrivate(dir); err != nil {
		return nil, fmt.Errorf("state directory %w", err)
	}
	list, _ := os.ReadDir(dir)
	for _, e := range list {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > keepPoll {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	return &pollStore{dir: dir, kept: make(map[string]poll)}, nil
}

// refresh makes answers from before now too old: it is called when something was
// changed that must show in the next one.
func (s *pollStore) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Now()
}

// Poll implements [gat.Polls].
func (s *pollStore) Poll(ctx context.Context, key string, every time.Duration, ask func(context.Context) ([]byte, error)) ([]byte, time.Time, error) {
	sum := sha256.Sum256([]byte(key))
	name := filepath.Join(s.dir, hex.EncodeToString(sum[:16]))
	f, err := lockWithin(ctx, name)
	if ctx.Err() != nil {
		return nil, time.Time{}, ctx.Err()
	}
	if err != nil { // a state directory that fails is no reason to fail
		f = nil
	} else {
		defer f.Close()
	}
	p := s.recall(f, key)
	if s.fresh(p, every) {
		return p.result()
	}
	p = poll{V: 1, Asked: time.Now()}
	p.answer, err = ask(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, p.Asked, err // it was not the scheduler's
	}
	if p.Size = len(p.answer); err != nil {
		p.Size, p.answer, p.Error, p.Class = 0, nil, err.Error(), gat.ClassOf(err)
	}
	s.remember(f, key, p)
	return p.answer, p.Asked, err
}

// result is what Poll returns for a kept answer.
func (p poll) result() ([]byte, time.Time, error) {
	if p.Error != "" {
		return nil, p.Asked, &gat.Error{Class: p.Class, Err: errors.New(p.Error)}
	}
	return p.answer, p.Asked, nil
}

// fresh reports whether a kept answer does.
func (s *pollStore) fresh(p poll, every time.Duration) bool {
	s.mu.Lock()
	since := s.since
	s.mu.Unlock()
	if !since.IsZero() {
		if p.Asked.Before(since) {
			return false
		}
		every = min(every, freshPoll)
	}
	age := time.Since(p.Asked)
	return p.V == 1 && age >= 0 && age < every
}

// recall reads a kept answer. What is not one is none.
func (s *pollStore) recall(f *os.File, key string) (p poll) {
	if f == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.kept[key]
	}
	r := bufio.NewReader(io.LimitReader(f, maxPoll+4096))
	line, err := r.ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &p) != nil || p.V != 1 || p.Size < 0 || p.Size > maxPoll {
		return poll{}
	}
	p.answer = make([]byte, p.Size)
	if _, err := io.ReadFull(r, p.answer); err != nil {
		return poll{}
	}
	return p
}

// remember keeps an answer. One that was cut off is none.
func (s *pollStore) remember(f *os.File, key string, p poll) {
	if f != nil && p.Size <= maxPoll {
		head, err := json.Marshal(p)
		if err == nil {
			err = f.Truncate(0)
		}
		if err == nil {
			_, err = f.WriteAt(append(append(head, '\n'), p.answer...), 0)
		}
		if err == nil {
			return
		}
		f.Truncate(0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[key] = p
}

// lockWithin opens a file, made if it is not there, and locks it as soon as nobody else
// has it locked.
func lockWithin(ctx context.Context, name string) (*os.File, error) {
	for {
		f, err := takeLock(name)
		if !errors.Is(err, ErrRunning) {
			return f, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

var _ gat.Polls = (*pollStore)(nil)
