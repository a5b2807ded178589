package launcher

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
)

var (
	// ErrRunning matches errors that say that a run's launcher is alive.
	ErrRunning = errors.New("its launcher is running")
	// ErrNotRunning matches errors that say that a run has no launcher any more.
	ErrNotRunning = errors.New("its launcher is not running")
	// ErrNoRun matches errors that say that no such run is known.
	ErrNoRun = errors.New("no such run")
)

// Names in a run's directory.
const (
	ledgerName  = "ledger.jsonl"
	eventsName  = "events.jsonl"
	controlName = "control.sock"
	lockName    = "lock"
)

// KeepRuns is how long the state of a run that ended and left nothing behind is
// kept.
const KeepRuns = 30 * 24 * time.Hour

// State is the directory that holds what is known of the user's runs, one
// directory for each: its ledger, its events, what was done at its sites, a control
// socket while it runs, and a lock that its launcher holds.
type State struct {
	dir string // of all runs
}

// StateDir returns the default state directory: $XDG_STATE_HOME/zorilla, or
// ~/.local/state/zorilla.
func StateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "zorilla"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no state directory: %w; set XDG_STATE_HOME", err)
	}
	return filepath.Join(home, ".local", "state", "zorilla"), nil
}

// OpenState opens the state directory dir, or the default one if dir is empty.
// It is made, with mode 0700, if it does not exist; one that others own or may enter is
// refused.
func OpenState(dir string) (*State, error) {
	if dir == "" {
		var err error
		if dir, err = StateDir(); err != nil {
			return nil, err
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	runs := filepath.Join(dir, "runs")
	if err := os.MkdirAll(runs, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	for _, d := range []string{dir, runs} {
		if err := checkPrivate(d); err != nil {
			return nil, fmt.Errorf("state directory %w", err)
		}
	}
	return &State{dir: runs}, nil
}

// RunDir is the state of one run, held by its launcher or by whoever cleans up
// after it.
type RunDir struct {
	Name    string
	Path    string
	Ledger  *Ledger
	Journal *Journal

	operations *operations // what was done at the sites
	lock       *os.File
	followers  sync.WaitGroup // those who follow the journal over the control socket
}

// Create makes the state of a new run, takes its lock and writes the head of
// its ledger. It forgets old runs on the way, see [State.Prune].
func (s *State) Create(b Begun) (*RunDir, error) {
	if err := wire.SessionID(b.Run).Validate(); err != nil {
		return nil, err
	}
	if b.Time.IsZero() {
		b.Time = time.Now().UTC()
	}
	if b.PID == 0 {
		b.PID = os.Getpid()
	}
	s.Prune(KeepRuns) // what stays for a reason or an error is shown by Runs
	path := filepath.Join(s.dir, b.Run)
	// Nobody sees the run before its lock is held.
	hidden := filepath.Join(s.dir, ".new-"+b.Run)
	if err := os.Mkdir(hidden, 0o700); err != nil {
		return nil, fmt.Errorf("state of run %s: %w", b.Run, err)
	}
	r, err := openRun(b.Run, hidden)
	if err == nil {
		if err = r.Ledger.Begin(b); err == nil {
			err = os.Rename(hidden, path)
		}
		if err != nil {
			r.Close()
		}
	}
	if err != nil {
		os.RemoveAll(hidden)
		return nil, fmt.Errorf("state of run %s: %w", b.Run, err)
	}
	r.Path = path
	return r, nil
}

// openRun takes the lock of a run and opens its files.
func openRun(name, path string) (*RunDir, error) {
	lock, err := takeLock(filepath.Join(path, lockName))
	if err != nil {
		return nil, err
	}
	r := &RunDir{Name: name, Path: path, lock: lock}
	if r.Ledger, err = OpenLedger(filepath.Join(path, ledgerName)); err == nil {
		r.Journal, err = OpenJournal(filepath.Join(path, eventsName))
	}
	if err == nil {
		r.operations, err = openOperations(path)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Adopt takes over the run with the given name from a launcher that is dead,
// to clean up after it. The error matches [ErrRunning] when it is not, and
// [ErrNoRun] when there is no such run.
func (s *State) Adopt(name string) (*RunDir, error) {
	path, err := s.path(name)
	if err != nil {
		return nil, err
	}
	r, err := openRun(name, path)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	return r, nil
}

// Close ends the use of the run's state and gives up its lock.
func (r *RunDir) Close() error {
	var errs []error
	if r.Journal != nil {
		errs = append(errs, r.Journal.Close())
		r.followers.Wait() // for the end to be told; each write is bounded
	}
	if r.Ledger != nil {
		errs = append(errs, r.Ledger.Close())
	}
	errs = append(errs, r.operations.close())
	if r.lock != nil {
		errs = append(errs, r.lock.Close())
		r.lock = nil
	}
	return errors.Join(errs...)
}

// path returns the directory of a run that exists.
func (s *State) path(name string) (string, error) {
	if err := wire.SessionID(name).Validate(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoRun, err)
	}
	path := filepath.Join(s.dir, name)
	if _, err := os.Lstat(path); err != nil {
		return "", fmt.Errorf("%w: %q", ErrNoRun, name)
	}
	return path, nil
}

// RunInfo is what is known of a run from outside.
type RunInfo struct {
	Begun
	Path    string // its state directory
	Running bool   // its launcher is alive
	Ended   bool   // its end was recorded
	Status  Status // as of its last recorded event
	// Leftovers are what the ledger does not know to be gone. While the run
	// is running that is what it uses.
	Leftovers []Made
	Err       error // why part of it could not be read
}

// Run returns what is known of one run. The error matches [ErrNoRun] when
// there is no such run.
func (s *State) Run(name string) (RunInfo, error) {
	path, err := s.path(name)
	if err != nil {
		return RunInfo{}, err
	}
	return readRun(name, path), nil
}

// Runs returns what is known of all runs, oldest first.
func (s *State) Runs() ([]RunInfo, error) {
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var runs []RunInfo
	for _, d := range list {
		if !d.IsDir() || wire.SessionID(d.Name()).Validate() != nil {
			continue
		}
		runs = append(runs, readRun(d.Name(), filepath.Join(s.dir, d.Name())))
	}
	slices.SortStableFunc(runs, func(a, b RunInfo) int {
		return cmp.Or(a.Begun.Time.Compare(b.Begun.Time), strings.Compare(a.Begun.Run, b.Begun.Run))
	})
	return runs, nil
}

func readRun(name, path string) RunInfo {
	// The lock first: a run that ends while we read is then seen as running,
	// not as dead.
	held, lockErr := lockHeld(filepath.Join(path, lockName))
	info := RunInfo{Path: path, Running: held}
	l, ledgerErr := ReadLedger(filepath.Join(path, ledgerName))
	if ledgerErr == nil {
		info.Begun = l.Begun()
		for _, m := range l.All() {
			if m.Leftover() {
				info.Leftovers = append(info.Leftovers, m)
			}
		}
	}
	var t Tally
	eventsErr := readEvents(filepath.Join(path, eventsName), func(e Event) { t.Add(e) })
	info.Status = t.Status()
	info.Ended = info.Status.Outcome != ""
	info.Begun.Run = name
	info.Err = errors.Join(lockErr, ledgerErr, eventsErr)
	return info
}

// Prune forgets runs that ended longer than age ago and left nothing behind,
// and returns how many. Only what has not been touched for that long is looked
// at, so that it is cheap.
func (s *State) Prune(age time.Duration) (int, error) {
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, fmt.Errorf("list runs: %w", err)
	}
	var errs []error
	n := 0
	for _, d := range list {
		name := d.Name()
		info, err := d.Info()
		if err != nil || time.Since(info.ModTime()) < age || wire.SessionID(name).Validate() != nil {
			continue
		}
		r := readRun(name, filepath.Join(s.dir, name))
		if r.Running || r.Err != nil || len(r.Leftovers) > 0 {
			continue
		}
		if err := s.Forget(name); err != nil {
			errs = append(errs, err)
			continue
		}
		n++
	}
	return n, errors.Join(errs...)
}

// Forget removes the state of a run that is not running, whatever its ledger
// says.
func (s *State) Forget(name string) error {
	r, err := s.Adopt(name)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := os.RemoveAll(r.Path); err != nil {
		return fmt.Errorf("forget run %s: %w", name, err)
	}
	return nil
}
