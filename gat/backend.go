package gat

import (
	"context"
	"io"
	"io/fs"
	"net"
	"net/url"
	"time"
)

// Backend is the adapter for one kind of middleware.
//
// Implementations are stateless values, safe for concurrent use.
type Backend interface {
	// Schemes lists the URL schemes served, such as "ssh".
	Schemes() []string

	// Check reports what is wrong with a URL, without any I/O: an unknown
	// option, a missing host, a bad port. The text says what to write instead.
	Check(u *url.URL) error

	// Open logs in. It returns within the context's deadline and makes one
	// login only, whatever is done over it later. Errors are classified
	// (see [Class]).
	Open(ctx context.Context, t Target) (Login, error)
}

// Target says where to log in and with what.
type Target struct {
	Site string   // the site's name, for prompts and messages
	URL  *url.URL // as in the sites file

	// Dial opens network connections. Nil means a plain [net.Dialer].
	Dial DialFunc

	// Ask asks the user for a secret or a decision; nil means nobody can be
	// asked, and whatever needs an answer fails with class Denied.
	Ask Asker

	// Prompted is called by a login that uses an answer which cannot be given again
	// without the user, such as a password or a code, or that the user has to confirm
	// elsewhere; ctx is that of the call that logs in. When such a login breaks it is
	// not renewed silently. Nil means that nobody wants to know.
	//
	// A passphrase or a decision that is kept for the next login is none of these.
	Prompted func(ctx context.Context)

	// Pause runs wait, which waits for other logins: for the answer to a question of
	// another one, or for a turn at the same server. Like a question it does not count
	// towards the login's time, and it takes no room at the [Gate]. Nil means to run
	// wait plainly.
	Pause func(ctx context.Context, wait func())

	// Home is the directory that holds the user's .ssh; empty means the
	// user's home directory.
	Home string

	// PollEvery is the least time between two commands that ask a queueing system
	// for its jobs; 0 means the backend's own, see [Paced].
	PollEvery time.Duration

	// Polls shares the answers of such commands; nil means within the login.
	Polls Polls

	// Observe is told of commands that the backend runs by itself, as operations
	// of Op "command"; nil means nobody. Site and URL need not be filled in.
	Observe func(Operation)
}

// DialFunc opens a network connection as [net.Dialer.DialContext] does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Asker puts a question to the user, one at a time, and returns the answer.
// The site's name is part of the question. With secret set the answer is not
// echoed. It fails at once when there is no terminal, and when ctx ends the
// question is withdrawn.
type Asker func(ctx context.Context, site, question string, secret bool) (string, error)

// Login is one open login to a site. All methods are safe for concurrent use.
// A Login may implement the optional abilities [Runner], [Files], [Forwarder]
// and [Inward], that of a queueing system [Headed], [Describer], [Finder],
// [Insider] and [Paced], and [Described].
type Login interface {
	Jobs

	// Done is closed when the login is no longer usable, because it was
	// closed or because the connection broke. Err then says why; it is nil
	// after Close.
	Done() <-chan struct{}
	Err() error

	// Close ends the login. Jobs submitted through it go on.
	Close() error
}

// Jobs starts and follows jobs: commands that outlive the login.
type Jobs interface {
	// Submit starts spec.Count jobs and returns their identifiers, in order.
	// When only some could be started it returns those together with an error.
	// Identifiers are valid for later logins to the same site too.
	Submit(ctx context.Context, spec JobSpec) ([]JobID, error)

	// Status reports what the middleware knows of the given jobs, in the same
	// order. A job it has no record of is reported as [Unknown]; that is no error.
	Status(ctx context.Context, ids ...JobID) ([]JobStatus, error)

	// Cancel ends the given jobs with everything they started. Cancelling a job that is
	// finished or unknown is no error. It returns when the request is accepted;
	// Status tells when the job is gone.
	Cancel(ctx context.Context, ids ...JobID) error
}

// JobID identifies a job at its site: printable ASCII without white space, at
// most 256 bytes. Its form belongs to the backend.
type JobID string

// JobSpec describes a job. The fields are data: a backend never lets a shell
// interpret them, with the one exception of Setup, which is for sh.
//
// A job in a queueing system finds in its environment what its scheduler tells,
// a variable that is not set being unknown: GAT_JOB (exactly its JobID),
// GAT_CORES (cores granted on this node), GAT_MEMORY (bytes), GAT_GPUS (the
// granted devices, with commas, as CUDA_VISIBLE_DEVICES has them), GAT_LEFT
// (seconds of wall time left at the start) and GAT_NODE (0 to n-1 in a job of n
// nodes). Signals that the scheduler sends before it ends a job reach the command.
type JobSpec struct {
	Name  string   // shown where the middleware shows names; [A-Za-z0-9._-], may be empty
	Argv  []string // the command, Argv[0] an absolute path, or relative with Files
	Env   []string // K=V, added to what the site gives
	Dir   string   // working directory; empty means the site's choice
	Count int      // how many; 0 means 1

	// Stdin is given to the job as its standard input (at most 64 KiB); it may hold
	// a secret and never appears in an argument list, environment or log.
	Stdin []byte

	// Stderr is an absolute path that takes the job's standard output and
	// error; empty discards both.
	Stderr string

	// Files travel with the job where site and node share no file system. With
	// any, the job gets a private directory of mode 0700 on the node it runs
	// on, its working directory, removed when the command ends; Argv[0] and
	// arguments may then be relative names of them ("./name"), and Dir is empty.
	// Backends that cannot carry files refuse them with class Invalid.
	Files []JobFile

	// Setup is lines of the user's for sh, run before the command and inherited by
	// it. The command module is made available to them where the site has it.
	Setup []string

	// Resources is what is asked of a queueing system; others ignore it.
	Resources Resources
}

// JobStatus is what the middleware says of a job.
type JobStatus struct {
	ID     JobID
	State  State
	Exit   int    // exit status, for Done and Failed; -1 when not known
	Reason string // the middleware's own words, may be empty
}

// Runner is the ability to run a command and talk to it while it runs.
type Runner interface {
	// Run starts a command. The process's output holds exactly what the
	// command wrote: whatever login shells and start files print is kept out.
	// When ctx ends the process is closed.
	Run(ctx context.Context, c Command) (Process, error)
}

// Command describes a process for [Runner]. The fields are data: they pass
// unchanged whatever they contain, except NUL bytes, which are refused.
type Command struct {
	Argv []string
	Env  []string // K=V, added to what the site gives
	Dir  string
}

// Process is a command that runs at a site.
type Process interface {
	Stdin() io.WriteCloser
	Stdout() io.Reader
	Stderr() io.Reader

	// Wait returns the exit status after the command ended and its output was
	// read or discarded: 128+n when signal n ended it, -1 with an error when
	// the login broke first.
	Wait() (int, error)

	// Close ends the conversation: the command sees the end of its input and
	// a broken output, and is killed where the middleware can do that.
	Close() error
}

// Forwarder is the ability to connect to something that listens at the site's
// own host, without a command there.
type Forwarder interface {
	// Forward connects to a socket of the host: network is "unix" with an
	// absolute path, or "tcp" with host:port as that host resolves it. If the
	// host forbids it the error matches [ErrForwarding].
	Forward(ctx context.Context, network, address string) (net.Conn, error)
}

// Files is the ability to move files. Paths are absolute.
type Files interface {
	// Put writes a file in one step (temporary name, then rename).
	Put(ctx context.Context, path string, mode fs.FileMode, r io.Reader) error

	// Get copies at most limit bytes of a file to w; negative means all.
	Get(ctx context.Context, path string, w io.Writer, limit int64) error

	// Remove removes files; missing ones are no error.
	Remove(ctx context.Context, paths ...string) error
}

// Inward is the ability to log in further, to hosts that only the site's own
// host can reach.
type Inward interface {
	// Inner logs in to host ("name" or "user@name:port") with the same
	// credentials. The connection is made by dial, or, when dial is nil, by
	// this login's host itself. If that host forbids it the error matches
	// [ErrForwarding].
	Inner(ctx context.Context, host string, dial DialFunc) (Login, error)
}
