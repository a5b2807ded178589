package worker

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

var (
	// ErrLost is the error of an [Exit] that nobody saw: the guard died, or
	// the yard was closed, while the worker ran.
	ErrLost = errors.New("worker lost")
	// ErrBusy is returned by Start for a slot whose worker has not ended.
	ErrBusy = errors.New("slot is busy")
	// ErrClosed is returned by a yard after Close.
	ErrClosed = errors.New("yard is closed")
	// ErrInUse is returned by Open when another live pilot, or a process it
	// left behind, holds the directory.
	ErrInUse = errors.New("directory is in use by another pilot")
	// ErrHostile is returned by Open for a directory that somebody else could
	// have prepared: not ours, not a real directory, or open to others.
	ErrHostile = errors.New("directory cannot be trusted")
)

// Limits of a yard.
const (
	MaxSlots     = 4096             // slots of one yard
	MaxID        = 128              // bytes of a worker's ID
	maxFrame     = 8 << 20          // bytes of argv and environment together, with framing
	sweepLimit   = 5 * time.Second  // to kill what one worker left running
	closeLimit   = 10 * time.Second // for all guards to go after Close, beyond the grace
	startDefault = 30 * time.Second // Config.StartTimeout
)

// Config says where and how a [Yard] works.
type Config struct {
	// Root is the directory of this pilot's sandboxes. It is made with mode
	// 0700 if absent; an existing one is refused unless it is a real directory
	// of our own user without any group or other permission. Its parent
	// must exist.
	Root string
	// Guard is the command that runs this program as a guard; two arguments
	// are added to it. Its main must pass those to [GuardMain]. Not used where
	// there are no guards.
	Guard []string
	// Program is the path that guards are started by, if it is not Guard[0],
	// which then is what they are listed as.
	Program string
	// Slots is the number of slots, from 1 to [MaxSlots].
	Slots int
	// StartTimeout bounds one start of a worker, that of its guard included;
	// 30 s if zero.
	StartTimeout time.Duration
	// Logger gets the deaths of guards and what could not be cleaned; nil
	// discards it.
	Logger *slog.Logger
}

func (c Config) validate() (Config, error) {
	if c.Root == "" {
		return c, errors.New("open yard: no root directory given")
	}
	if c.Slots < 1 || c.Slots > MaxSlots {
		return c, fmt.Errorf("open yard: %d slots, want 1 to %d", c.Slots, MaxSlots)
	}
	if hasGuards && len(c.Guard) == 0 {
		return c, errors.New("open yard: no guard command given")
	}
	c.StartTimeout = cmp.Or(c.StartTimeout, startDefault)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Spec says what one worker is.
type Spec struct {
	Slot int    // from 0 to Config.Slots-1
	ID   string // names the sandbox; unique in the yard; letters, digits, '.', '_' and '-'
	// Argv is the command. Argv[0] is a path, relative to the working
	// directory if not absolute, or a bare name that is looked up in the PATH
	// of Env.
	Argv []string
	// Env is the complete environment, KEY=VALUE. Nothing is added.
	Env []string
	// Dir is the working directory, relative to the sandbox and inside it; "."
	// if empty.
	Dir string
	// Stdin is the standard input, /dev/null if nil. It stays the caller's,
	// who may close it once Start has returned; a pipe is made to block.
	Stdin *os.File
	// KillGrace is how long the worker has between SIGTERM and SIGKILL when
	// the yard is closed, and for Kill with a negative grace.
	KillGrace time.Duration
}

// Exit says how a worker ended.
type Exit struct {
	// Code is the exit status, -1 for a worker that was ended by a signal or
	// lost.
	Code       int
	Signal     syscall.Signal // that ended it, or 0
	SignalName string         // such as "SIGKILL", or ""
	// Err is nil for a worker whose end was seen, whatever its status; else it
	// wraps [ErrLost].
	Err error
	// Killed tells that the worker ended after Kill or Close, not by itself.
	Killed bool
	// Swept is how many processes the worker left running and we killed.
	Swept int
	// Left is how many of them would not die in time (stuck in the kernel, or
	// running as another user).
	Left int
	// User and System are the processor time of the main process and of all
	// descendants that were waited for. MaxRSS is the largest resident set of
	// any one of them, in bytes; 0 where unknown.
	User, System time.Duration
	MaxRSS       int64
}

// Success reports whether the worker ended by itself with status 0.
func (e Exit) Success() bool { return e.Err == nil && e.Code == 0 }

func (e Exit) String() string {
	switch {
	case e.Err != nil:
		return e.Err.Error()
	case e.SignalName != "":
		return "killed by " + e.SignalName
	default:
		return fmt.Sprintf("exit status %d", e.Code)
	}
}

// Process is a worker that was started. Its methods may be called from any
// goroutine.
type Process struct {
	// Stdout and Stderr are the read ends of the worker's output. They accept
	// deadlines. The caller must read them, or the worker will block, and must
	// close them. After Done both are at end of file as soon as what is in the
	// pipe has been read, unless Exit.Left is not zero or the worker handed
	// its output to a process that is not its descendant.
	Stdout, Stderr *os.File
	// Sandbox is where the worker runs. It stays until the caller removes it.
	Sandbox *Sandbox

	spec Spec
	pid  int
	done chan struct{}
	once sync.Once
	exit Exit
	free func() // gives the slot back; called once, before done is closed
	link link   // what the keeper knows of it
}

// PID is the process id of the main process.
func (p *Process) PID() int { return p.pid }

// Done is closed when the worker has ended and what it left running has been
// killed.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit waits for Done and says how the worker ended.
func (p *Process) Exit() Exit {
	<-p.done
	return p.exit
}

// Kill ends the worker: SIGTERM to its process group and, after the grace,
// SIGKILL to all of its descendants. A grace of zero kills at once; a negative
// one stands for Spec.KillGrace. Kill does not wait; see Done. It may be called
// again to shorten the grace, and does nothing once the worker has ended.
func (p *Process) Kill(grace time.Duration) {
	if grace < 0 {
		grace = max(0, p.spec.KillGrace)
	}
	select {
	case <-p.done:
	default:
		p.Sandbox.yard.keep.kill(p, grace)
	}
}

// finish records the end; only the first call counts.
func (p *Process) finish(e Exit) {
	p.once.Do(func() {
		p.exit = e
		p.free()
		close(p.done)
	})
}

// closePipes releases the output of a worker that never started.
func (p *Process) closePipes() {
	for _, f := range []*os.File{p.Stdout, p.Stderr} {
		if f != nil {
			f.Close()
		}
	}
}
