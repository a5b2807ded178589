package launcher

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

const (
	// followQueue is how many bytes of events a follower may be behind before
	// output is withheld from it.
	followQueue = 4 << 20
	// transferEvery is how often the bytes moved are written to the file.
	transferEvery = 10 * time.Second
)

// Journal takes the events of a run. It writes them to the run's
// events.jsonl, output excepted, and hands them, output included, to
// followers, who never hold it up. Its methods may be called from any goroutine.
type Journal struct {
	mu        sync.Mutex
	file      *os.File
	path      string
	size      int64
	err       error
	tally     Tally
	followers map[*follower]bool
	transfers map[string]time.Time // when last written, by site
	closed    bool
}

// OpenJournal opens the events file at path for more events; it is made, with
// mode 0600, if it does not exist.
func OpenJournal(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open events: %w", err)
	}
	j := &Journal{file: f, path: path, followers: make(map[*follower]bool), transfers: make(map[string]time.Time)}
	if err := scanEvents(f, j.tally.Add); err != nil {
		f.Close()
		return nil, err
	}
	if j.size, err = f.Seek(0, 2); err == nil && j.size > 0 {
		// End a line that a crash cut off; an empty line does no harm.
		n, werr := f.WriteString("\n")
		j.size, err = j.size+int64(n), werr
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open events: %w", err)
	}
	return j, nil
}

// Write takes the next event. Its error is the first one of writing to the
// file; followers get the event all the same.
func (j *Journal) Write(e Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return errors.New("write events: closed")
	}
	_, output := e.Data.(OutputWritten)
	if output && len(j.followers) == 0 {
		return nil
	}
	line, err := EncodeEvent(e)
	if err != nil {
		return err
	}
	for f := range j.followers {
		f.offer(line, output)
	}
	if output {
		return nil
	}
	j.tally.Add(e)
	if t, ok := e.Data.(Transferred); ok {
		if last, ok := j.transfers[t.Site]; ok && e.Time.Sub(last) < transferEvery {
			return j.err
		}
		j.transfers[t.Site] = e.Time
	}
	if j.err == nil {
		n, err := j.file.Write(line)
		j.size += int64(n)
		if err != nil {
			j.err = fmt.Errorf("write events: %w", err)
		}
	}
	return j.err
}

// Status returns how the run does, as of the last event.
func (j *Journal) Status() Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tally.Status()
}

// Report returns the report as of the last event; see [Tally.Report].
func (j *Journal) Report() Report {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tally.Report()
}

// Close ends the journal. Followers get what they have not got yet, and the end.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	for f := range j.followers {
		f.end()
	}
	return j.file.Close()
}

// follow returns a follower that gets every event from now on, output only if
// wanted, and the number of bytes of the file that came before.
func (j *Journal) follow(output bool) (*follower, int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, 0, ErrNotRunning
	}
	f := &follower{ready: make(chan struct{}, 1), mute: !output}
	j.followers[f] = true
	return f, j.size, nil
}

func (j *Journal) unfollow(f *follower) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.followers, f)
}

// follower is the bounded queue of one who follows a journal.
type follower struct {
	mu      sync.Mutex
	mute    bool // wants no output
	queue   []byte
	skipped int64 // output events withheld
	ended   bool
	ready   chan struct{}
}

func (f *follower) offer(line []byte, output bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ended, output && f.mute:
		return
	case output && len(f.queue)+len(line) > followQueue:
		f.skipped++
		return
	case len(f.queue) > 2*followQueue:
		f.ended = true // too slow even for the rest
	default:
		f.queue = append(f.queue, line...)
	}
	f.wake()
}

func (f *follower) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.wake()
}

func (f *follower) wake() {
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

// take returns what is queued, how many output events were withheld since the last call, and
// whether that was all.
func (f *follower) take() (lines []byte, skipped int64, ended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lines, f.queue = f.queue, nil
	skipped, f.skipped = f.skipped, 0
	return lines, skipped, f.ended
}
