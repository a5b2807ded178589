package launcher

import (
	"log/slog"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/pilot/worker/runtimes"
)

// Job is what the user wants run.
type Job struct {
	App  string   // path of the application
	Args []string // its arguments

	Workers int // wanted number of workers, at least 1
	Min     int // workers without which nothing starts; 0 means Workers

	Inputs  []Input  // files and directories to stage in, beside the application
	Outputs []string // globs of files to bring home from each worker
	Stdin   string   // file given to every worker as standard input; empty means none
	Env     []string // K=V

	Cores  int   // cores per worker; 0 means one slot
	Memory int64 // bytes per worker; 0 means the slot's share
	GPUs   int   // GPUs per worker
	Disk   int64 // bytes of scratch per worker

	Walltime time.Duration // the job is stopped after this time; 0 means never

	// GangWait is how long pilots that are there are held for a job that still
	// lacks some of Min; then their slots are let go until more are there. 0 means
	// DefaultGangWait.
	GangWait time.Duration

	Runtime string   // "auto", or a runtime's name
	JVMOpts []string // options for the java command

	OnFailure OnFailure // what to do about lost workers
	Retries   int       // how often a program that failed by itself is started again
}

// DefaultGangWait is the gang wait of a job that says nothing about it.
const DefaultGangWait = 10 * time.Minute

// Input is a file or directory to stage in.
type Input struct {
	Src string // path on this machine
	Dst string // path in the worker's directory; empty means the base name of Src
}

// OnFailure says what happens when a worker is lost: its node died, its pilot
// left, or it could not be started.
type OnFailure string

// The policies.
const (
	Replace OnFailure = "replace" // start the rank again elsewhere
	Ignore  OnFailure = "ignore"  // go on without it
	Cancel  OnFailure = "cancel"  // end the job
)

// Options say how to run a job.
type Options struct {
	Sites    []*Site       // where; at least one
	Backends []gat.Backend // the middleware that can be reached
	Dial     gat.DialFunc  // opens connections to sites; nil means plainly
	Home     string        // holds the user's .ssh; empty means the home directory
	Log      *slog.Logger  // for developers; nil is silent
	Out      string        // output directory; empty means ./zorilla-SESSION
	State    string        // state directory; empty means $XDG_STATE_HOME/zorilla or its default
	Lease    time.Duration // lease of everything remote; 0 means 10 min; a site's own lease goes first
	Pilot    string        // explicit pilot binary; empty means the bundle's chain
	Version  string        // shown in reports
	Warnings []string      // said at the start, with the first events
	Command  []string      // the command line, for ps and the report

	// Poll is how often a queueing system is asked for jobs at most; 0 means what its backend
	// says, which is once a minute for all runs of the user together.
	Poll time.Duration

	// Verbose has agents log more, and brings the log of a site's hub into the run's
	// state directory when a pilot of the site is lost or the site fails.
	Verbose bool

	// Ask puts a question to the user (see gat.Asker); nil when nobody is there.
	Ask AskFunc

	// AskTimeout bounds the time for each answer; 0 means 5 min.
	AskTimeout time.Duration

	// Events takes every event, in order, one call at a time. It must not block for long:
	// while it does, workers that print are held back. Nil discards them.
	Events func(Event)
}

// Outcome says how a run ended.
type Outcome string

// The outcomes.
const (
	OutcomeOK          Outcome = "ok"          // every worker exited 0
	OutcomeApp         Outcome = "app"         // the program failed
	OutcomeUsage       Outcome = "usage"       // the command line or a file was wrong
	OutcomeSites       Outcome = "sites"       // no site gave enough, or infrastructure failed
	OutcomeLimit       Outcome = "limit"       // a limit of the user ended it
	OutcomeInterrupted Outcome = "interrupted" // the user ended it
)

// Exit statuses of a run that the program itself does not decide.
const (
	ExitUsage       = 2
	ExitSites       = 3
	ExitLimit       = 4
	ExitInterrupted = 130
)

// App is the recognised application of a job.
type App = runtimes.App
