package gat

import (
	"context"
	"io/fs"
	"net/url"
	"strings"
	"time"
)

// Limits of the files that travel with a job.
const (
	MaxJobFiles    = 8
	MaxJobFileSize = 16 << 20 // bytes of all of them together
)

// JobFile is a file that travels with a job to the node it runs on.
type JobFile struct {
	Name string      // a plain file name: letters, digits, '.', '_' and '-', beginning with a letter
	Mode fs.FileMode // permission bits; group and others get none
	Data []byte
}

// Shape says how jobs of several nodes or processes are asked for.
type Shape int

// The shapes of a submission.
const (
	// Array is one array of JobSpec.Count jobs where the middleware has arrays;
	// each task is a job of its own.
	Array Shape = iota

	// Single is JobSpec.Count jobs, each submitted by itself.
	Single

	// Multi is JobSpec.Count jobs of Resources.Nodes nodes each: the command runs
	// once on every node.
	Multi
)

func (s Shape) String() string {
	switch s {
	case Array:
		return "array"
	case Single:
		return "single"
	case Multi:
		return "multi"
	}
	return "invalid"
}

// ParseShape reads what String writes; empty means [Array].
func ParseShape(text string) (Shape, bool) {
	for s := Array; s <= Multi; s++ {
		if text == s.String() {
			return s, true
		}
	}
	return Array, text == ""
}

// Resources is what is asked of a queueing system for each job. Zero values ask
// for nothing: the queue's own default counts. Other middleware ignores it.
type Resources struct {
	Shape    Shape
	Nodes    int           // nodes of a Multi job; 0 means 1
	Cores    int           // cores of each node
	GPUs     int           // GPUs of each node
	Memory   int64         // bytes of each node
	Walltime time.Duration // rounded up to what the scheduler counts in

	Queue      string // queue, partition or pool
	Account    string // account or project that is charged
	Constraint string // property that nodes must have, in the scheduler's words
	Exclusive  bool   // whole nodes
	Inside     bool   // commands will be run in the job: see [Insider]

	// Native holds flags of the scheduler's own submit command. They come last.
	// Each entry is split into words as sh does it; nothing is expanded.
	Native []string

	// Warning is how long before the end of the wall time the command gets a
	// signal (SIGUSR1 or what the scheduler has), where it can be asked for.
	Warning time.Duration
}

// Headed is the ability of a login to a queueing system to hand out the plain
// login below it.
type Headed interface {
	// Head returns the login that the queueing system's commands run over. Its
	// jobs run on the host logged in to, not in the queue. It is part of the
	// login it was got from, ends with that, and is not to be closed by itself.
	Head() Login
}

// Describer is the ability to describe a queueing system.
type Describer interface {
	Describe(ctx context.Context) (QueueInfo, error)
}

// QueueInfo describes a queueing system as the user of the login sees it.
type QueueInfo struct {
	Scheduler string // such as "Slurm"
	Version   string // as it calls itself; may be empty
	Queues    []QueueState

	AccountNeeded bool     // jobs without an account are refused
	Accounts      []string // those the user may charge, where they can be told
	Nodes         []string // host names of compute nodes, at most 16
	Notes         []string // what else the user should know, a sentence each
}

// QueueState is one queue, partition or pool. Numbers that are not known are 0.
type QueueState struct {
	Name        string
	Default     bool
	MaxWalltime time.Duration // 0: no limit, or not known
	Nodes       int           // nodes that are not down
	FreeSlots   int           // cores that are idle now
	Slots       int           // cores
	State       string        // in the scheduler's words
	Usable      bool          // takes and starts jobs of this user, as far as can be told
	Why         string        // why not
}

// Insider is the ability to run a command where a job runs.
type Insider interface {
	// Inside runs a command on a node of a running job, by the scheduler's own
	// means and within what the job was granted. Nodes are counted from 0; which
	// is which stays the same as long as the job runs. The command is a [Process]
	// like those of [Runner]. Some systems enter only jobs that were submitted
	// with Resources.Inside, and run one command at a time in each.
	Inside(ctx context.Context, id JobID, node int, c Command) (Process, error)
}

// Finder is the ability to find jobs by the name they were submitted with.
type Finder interface {
	// Find returns the user's jobs of that name (JobSpec.Name) that the queueing
	// system lists and that have not ended, tasks of arrays each by itself, at most
	// MaxCount of them. The listing may be the shared one (see [Polls]), but is not
	// older than since: Find waits until there may be one that is new enough.
	Find(ctx context.Context, name string, since time.Time) ([]JobStatus, error)
}

// Renderer is the ability of a [Backend] to show what it would submit.
type Renderer interface {
	// Render does no I/O. What depends on the site's version is shown as for a
	// current one.
	Render(u *url.URL, spec JobSpec) (Rendering, error)
}

// Rendering is what a backend would run at the site, for people to read.
type Rendering struct {
	Script                 string   // goes to the submit command's standard input; bulk data is shortened
	Submit, Status, Cancel []string // command lines
}

// Paced is the ability of a [Login] to say how often it should be polled at
// most, when SiteConfig.PollEvery does not.
type Paced interface {
	PollEvery() time.Duration
}

// Polls lets many logins, of one program or of several, share the answers of
// one query. It is safe for concurrent use.
type Polls interface {
	// Poll returns the answer to the query that key names, at most every old,
	// with the time it was asked. It calls ask when there is none, and
	// remembers what that returns; an error is remembered by nobody but bounds
	// the rate all the same: until every has passed, the same error may be
	// returned again. Of simultaneous callers one asks.
	Poll(ctx context.Context, key string, every time.Duration, ask func(context.Context) ([]byte, error)) ([]byte, time.Time, error)
}

// Command returns the job's argument list, with the lines of Setup before it: sh
// runs them and then, in the same process, becomes the command, which inherits
// what they set. The first line that fails is the end: a command without what
// it was to find would only fail later. The lines do not get to read the
// command's standard input. Backends whose jobs are plain processes use it.
func (s JobSpec) Command() []string {
	if len(s.Setup) == 0 {
		return s.Argv
	}
	return append([]string{"/bin/sh", "-c", `trap 'echo "a line of setup failed with status $?" >&2' 0
set -e
exec 9<&0 </dev/null
` + strings.Join(s.Setup, "\n") + `
exec <&9 9<&-
set +e
trap - 0
exec "$@"
`, "setup"}, s.Argv...)
}
