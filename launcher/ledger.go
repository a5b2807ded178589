package launcher

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind says what kind of thing an entry of the ledger is about, and so how to
// find and remove it.
type Kind string

// The kinds of things.
const (
	KindLogin    Kind = "login"    // the site itself: how to log in again (URLs, Hosts)
	KindDir      Kind = "dir"      // a directory (Path), removed with all that is in it
	KindFile     Kind = "file"     // a file (Path)
	KindBinary   Kind = "binary"   // a pilot binary (Path, Digest); stays if Keep is set
	KindHub      Kind = "hub"      // a hub's process (PID, Start, Path of its socket)
	KindPilot    Kind = "pilot"    // a pilot's process (PID, Start, Path of its directory)
	KindJob      Kind = "job"      // jobs of the site's queueing system (Name, and Jobs once they are known)
	KindSocket   Kind = "socket"   // a unix socket (Path)
	KindLocalDir Kind = "localdir" // a directory on this machine (Path)
)

// What is all that is needed to find a thing and remove it. Which fields are
// set depends on the kind. No field ever holds a secret.
type What struct {
	Path   string   `json:"path,omitempty"`   // absolute, at Host
	PID    int      `json:"pid,omitempty"`    // a process at Host
	Start  string   `json:"start,omitempty"`  // token of the process's start: tells it from a later one with the same PID
	Job    string   `json:"job,omitempty"`    // identifier the middleware gave
	Name   string   `json:"name,omitempty"`   // what the jobs are called there
	Jobs   []string `json:"jobs,omitempty"`   // identifiers that the middleware gave
	URLs   []string `json:"urls,omitempty"`   // how to log in, in order
	Hosts  []string `json:"hosts,omitempty"`  // hosts behind the login
	Digest string   `json:"digest,omitempty"` // content of a file, hexadecimal
	Keep   bool     `json:"keep,omitempty"`   // stays on purpose: not a leftover
}

// Made is a thing that was made, or that was about to be made when the
// launcher died.
type Made struct {
	Seq   int
	Time  time.Time
	Site  string
	Host  string // host of the site, empty for the one that the login leads to
	Kind  Kind
	Local bool // on this machine
	What  What

	// Confirmed tells that it was surely made. Without that it may be there
	// or not.
	Confirmed bool
	// Removed tells that it is surely gone, RemovedAt when that was written down and
	// How by what it was found out.
	Removed   bool
	RemovedAt time.Time
	How       string
}

// Begun is the head of a ledger.
type Begun struct {
	Run     string    `json:"run"`
	Time    time.Time `json:"time"`
	Command []string  `json:"command,omitempty"`
	Dir     string    `json:"dir,omitempty"` // working directory of the command
	Out     string    `json:"out,omitempty"` // output directory
	PID     int       `json:"pid"`           // of the launcher
	Version string    `json:"version,omitempty"`
	User    string    `json:"user,omitempty"` // who ran it, on this machine
	Machine string    `json:"machine,omitempty"`
}

// entry is one line of a ledger.
type entry struct {
	V     int       `json:"v"`
	Op    string    `json:"op"` // "begun", "made", "confirmed" or "removed"
	Seq   int       `json:"seq,omitempty"`
	Time  time.Time `json:"time,omitzero"`
	Site  string    `json:"site,omitempty"`
	Host  string    `json:"host,omitempty"`
	Kind  Kind      `json:"kind,omitempty"`
	Local bool      `json:"local,omitempty"`
	What  *What     `json:"what,omitempty"`
	How   string    `json:"how,omitempty"`
	Begun *Begun    `json:"begun,omitempty"`
}

// maxLedgerEntry is the longest line of a ledger, in bytes.
const maxLedgerEntry = 1 << 20

// Ledger is the append-only record of all that a run makes anywhere. Each entry
// is on its way to the disk in one write before the thing is made, so that a
// launcher that dies at any moment leaves a complete list. Its methods may be
// called from any goroutine.
type Ledger struct {
	mu    sync.Mutex
	file  *os.File
	begun Begun
	made  []Made // by Seq-1
	err   error  // the first write that failed: nothing may be made after it
}

// OpenLedger opens the ledger at path for more entries; it is made, with mode
// 0600, if it does not exist. Only the holder of the run's lock may do so.
func OpenLedger(path string) (*Ledger, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{file: f}
	whole, err := l.replay(f)
	if err == nil {
		// A line that was cut off belongs to a Make that never returned.
		err = f.Truncate(whole)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read ledger %s: %w", path, err)
	}
	return l, nil
}

// ReadLedger reads a ledger, also one that is being written. A last line that
// was cut off in the middle is passed over. The result is for reading only.
func ReadLedger(path string) (*Ledger, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	defer f.Close()
	l := &Ledger{err: errors.New("the ledger was opened for reading")}
	if _, err := l.replay(f); err != nil {
		return nil, fmt.Errorf("read ledger %s: %w", path, err)
	}
	return l, nil
}

// maxLedger is how many bytes of a ledger are read by salvageLedger.
const maxLedger = 256 << 20

// salvageLedger reads what it can of a ledger, for reading only, and counts the lines that
// it cannot read. What one of those made is an entry without a [Kind].
func salvageLedger(path string) (l *Ledger, damaged int, err error) {
	l = &Ledger{err: errors.New("the ledger was opened for reading")}
	f, err := os.Open(path)
	if err != nil {
		return l, 0, fmt.Errorf("open ledger: %w", err)
	}
	defer f.Close()
	bad := 0 // lines so far that may have been about something made
	damaged, err = eachLine(f, maxLedger, maxLedgerEntry, func(line []byte) bool {
		var e entry
		if json.Unmarshal(line, &e) != nil || e.V != 1 {
			bad++
			return false
		}
		if gap := e.Seq - len(l.made) - 1; e.Op == "made" && gap <= bad {
			for range gap {
				l.made = append(l.made, Made{Seq: len(l.made) + 1})
				bad--
			}
		}
		l.apply(e)
		return true
	})
	if err != nil {
		err = fmt.Errorf("read ledger %s: %w", path, err)
	}
	return l, damaged, err
}

// replay reads all entries. It returns the number of bytes of whole lines.
func (l *Ledger) replay(r io.Reader) (whole int64, err error) {
	br := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := readLine(br, maxLedgerEntry)
		if err == io.EOF {
			return whole, nil
		}
		if err != nil {
			return 0, fmt.Errorf("line %d: %w", n, err)
		}
		whole += int64(len(line)) + 1
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return 0, fmt.Errorf("line %d: %w", n, err)
		}
		if e.V != 1 {
			return 0, fmt.Errorf("line %d: version %d is not known to this program", n, e.V)
		}
		l.apply(e)
	}
}

func (l *Ledger) apply(e entry) {
	switch e.Op {
	case "begun":
		if e.Begun != nil {
			l.begun = *e.Begun
		}
	case "made":
		if e.Seq != len(l.made)+1 || e.What == nil {
			return
		}
		l.made = append(l.made, Made{Seq: e.Seq, Time: e.Time, Site: e.Site, Host: e.Host, Kind: e.Kind, Local: e.Local, What: *e.What})
	case "confirmed", "removed":
		if e.Seq < 1 || e.Seq > len(l.made) {
			return
		}
		m := &l.made[e.Seq-1]
		if e.What != nil {
			m.What = *e.What
		}
		m.Confirmed = m.Confirmed || e.Op == "confirmed"
		if e.Op == "removed" && !m.Removed {
			m.Removed, m.RemovedAt, m.How = true, e.Time, e.How
		}
	}
}

// append writes one entry in one write. With sync set it is on the disk when
// append returns.
func (l *Ledger) append(e entry, sync bool) error {
	if l.err != nil {
		return l.err
	}
	e.V = 1
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	if len(line) > maxLedgerEntry {
		return fmt.Errorf("write ledger: entry of %d bytes", len(line))
	}
	if _, err = l.file.Write(append(line, '\n')); err == nil && sync {
		err = l.file.Sync()
	}
	if err != nil {
		l.err = fmt.Errorf("write ledger: %w", err)
		return l.err
	}
	l.apply(e)
	return nil
}

// Begin writes the head of the ledger.
func (l *Ledger) Begin(b Begun) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.append(entry{Op: "begun", Begun: &b}, false)
}

// Make records that a thing is about to be made and returns its number. Seq,
// Confirmed and Removed of m are ignored; a zero Time means now. The thing must
// not be made when Make fails.
//
// Entries about other machines are on the disk when Make returns. Those about
// this machine are only handed to the system: whatever ends it ends our
// processes too.
func (l *Ledger) Make(m Made) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.Time.IsZero() {
		m.Time = time.Now()
	}
	e := entry{Op: "made", Seq: len(l.made) + 1, Time: m.Time.UTC(), Site: m.Site, Host: m.Host, Kind: m.Kind, Local: m.Local, What: &m.What}
	if err := l.append(e, !m.Local); err != nil {
		return 0, err
	}
	return e.Seq, nil
}

// Confirm records that a thing was made, and what is known of it since. Change
// gets the thing's fields to fill in; it may be nil.
func (l *Ledger) Confirm(seq int, change func(*What)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq < 1 || seq > len(l.made) {
		return fmt.Errorf("write ledger: no entry %d", seq)
	}
	e := entry{Op: "confirmed", Seq: seq}
	if change != nil {
		w := l.made[seq-1].What
		w.URLs, w.Hosts, w.Jobs = slices.Clone(w.URLs), slices.Clone(w.Hosts), slices.Clone(w.Jobs)
		change(&w)
		e.What = &w
	}
	return l.append(e, false)
}

// Remove records that a thing is gone: it was removed, or was seen to be
// absent. How says which, for people.
func (l *Ledger) Remove(seq int, how string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq < 1 || seq > len(l.made) {
		return fmt.Errorf("write ledger: no entry %d", seq)
	}
	if l.made[seq-1].Removed {
		return nil
	}
	return l.append(entry{Op: "removed", Seq: seq, Time: time.Now().UTC(), How: how}, false)
}

// Begun returns the head of the ledger.
func (l *Ledger) Begun() Begun {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun
}

// All returns everything that was ever made, in order.
func (l *Ledger) All() []Made {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.made)
}

// Open returns what may still be there, in the order in which it was made;
// remove it in reverse. What stays on purpose is part of it: see
// [Made.Leftover].
func (l *Ledger) Open() []Made {
	return slices.DeleteFunc(l.All(), func(m Made) bool { return m.Removed })
}

// Leftover reports whether the thing should not be there any more once its run
// has ended: it is not gone, not kept on purpose, and more than a login.
func (m Made) Leftover() bool {
	return !m.Removed && !m.What.Keep && m.Kind != KindLogin
}

// Name describes the thing in one line, for people.
func (m Made) Name() string {
	var s string
	switch {
	case m.What.PID != 0:
		s = fmt.Sprintf("%s process %d", m.Kind, m.What.PID)
	case m.What.Job != "":
		s = fmt.Sprintf("job %s", m.What.Job)
	case len(m.What.Jobs) > 3:
		s = fmt.Sprintf("jobs %s to %s", m.What.Jobs[0], m.What.Jobs[len(m.What.Jobs)-1])
	case len(m.What.Jobs) > 0:
		s = plural(len(m.What.Jobs), "job") + " " + strings.Join(m.What.Jobs, ", ")
	case m.Kind == KindJob:
		s = "jobs named " + m.What.Name
	default:
		s = fmt.Sprintf("%s %s", m.Kind, m.What.Path)
	}
	if m.Host != "" {
		s += " on " + m.Host
	}
	return s
}

// Close ends the writing. It does not end the run.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	l.err = errors.New("write ledger: it is closed")
	return err
}
