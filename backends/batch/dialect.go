package batch

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/zorilla-grid/zorilla/gat"
)

// A Dialect is what the engine knows of one queueing system. Its functions are
// pure and safe for concurrent use. Texts called sh are run by /bin/sh at the
// host logged in to, with the tools found; parsers get the output of commands
// that succeeded, to the last line, and return an error for anything they do not
// understand: what is not understood proves nothing.
type Dialect struct {
	Name  string // how URLs call it: "slurm"
	Title string // what its makers call it: "Slurm"

	Tool  string   // a command that is there where the system is: "sbatch"
	Paths []string // directories it often is in when PATH does not have it

	// ID reports whether an identifier has this system's form. Others never
	// reach a command line.
	ID func(id gat.JobID) bool

	// Limits of one submission. 0 means no limit for the script, and no arrays.
	MaxScript int // bytes of a script
	MaxTasks  int // jobs of an array

	JobName func(name string) string       // makes a name one that the system takes
	Refuse  func(spec gat.JobSpec) error   // what it cannot be asked for, nil for nothing
	Submit  func(j *Job) ([]string, error) // the command line that reads the script from its standard input

	// Unsure matches errors of the submit command after which the jobs may be in the
	// queue all the same. What is said of any system to time out is among them.
	Unsure *regexp.Regexp

	// Directives are lines of the script, below "#!/bin/sh".
	Directives func(j *Job) []string

	// IDs reads the identifiers of the submitted jobs, in order, from what the
	// command printed, whatever a site's wrapper prints around them.
	IDs func(out string, j *Job) []gat.JobID

	// Env is sh for the job's script that sets and exports what the scheduler
	// tells: the variables of [gat.JobSpec], without GAT_NODE in jobs of one node.
	// In a job of several nodes it runs on each, too.
	Env func(j *Job) string

	// Spread is sh for a job of several nodes: it runs the output of the function
	// gat_node, a script, once on each of them, as "gat_node | ... &", calls
	// "gat_wait $!", which hands signals on, and leaves the exit status in gat_s.
	// Nil means that there are no such jobs, or Everywhere.
	Spread func(j *Job) string

	// Everywhere says that the system itself runs a script on each node of a job, so
	// that Spread is not needed. Env sets GAT_NODE then.
	Everywhere bool

	// Status is sh that lists the user's jobs, in one command where the ids are of
	// one cluster; States reads it.
	Status func(ids []gat.JobID) string
	States func(out string) (*Listing, error)

	Nameless bool // listings do not tell the jobs' names

	// Account is sh that looks up jobs that are not listed any more, or whose exit
	// status the listing does not tell; Accounts reads it. Its failure means that
	// nothing is known. Nil means that there is no accounting.
	Account  func(ids []gat.JobID) string
	Accounts func(out string) (*Listing, error)

	// Unclear reports that a listed job's state is to be looked up, too, because the
	// listing does not tell its reason. Nil means never. Exit statuses are looked
	// up anyway.
	Unclear func(st gat.JobStatus) bool

	// Cancel is the command line that ends jobs. Gone matches lines of its error
	// output that say that a job ended already or never was.
	Cancel func(ids []gat.JobID) []string
	Gone   *regexp.Regexp

	// Inside is sh that runs "$@" in a running job, on one of its nodes, counted from
	// 0. Nil means that it cannot be done.
	Inside func(id gat.JobID, node int) string

	// Growing is what others need to submit, follow and cancel jobs. Nil means that
	// they cannot.
	Growing *Growing

	// Probe is sh that describes the system, for Facts to read. An error of class
	// Invalid from Facts says that this is another system.
	Probe string
	Facts func(out string) (*Facts, error)

	// Faults tell errors of the system's commands apart; the first that matches
	// counts.
	Faults []Fault
}

// A Job is one submission: what a [Dialect] renders.
type Job struct {
	Spec  gat.JobSpec // valid; Spec.Count does not count
	Name  string      // fit for the system, never empty
	Count int         // jobs of this submission: an array when above 1
	Facts *Facts      // what is known of the site; nil when only a rendering is wanted
}

// Facts is what is known of a site.
type Facts struct {
	Info gat.QueueInfo

	// Features holds the constraints that some node of a queue fulfils, by queue;
	// nil means that they are not known.
	Features map[string][]string

	// Largest is what the largest node of a queue has, by queue; 0 is not known.
	Largest map[string]Node

	MaxTasks  int // jobs of an array, when the site says so
	MaxScript int // bytes of a script, when the site says so

	Own any // the dialect's own
}

// A Node is the size of a node.
type Node struct {
	Cores  int
	Memory int64 // bytes
}

// Queue returns what is known of the queue that a job would go to.
func (f *Facts) Queue(name string) (gat.QueueState, bool) {
	if f == nil {
		return gat.QueueState{}, false
	}
	for _, q := range f.Info.Queues {
		if q.Name == name || name == "" && (q.Default || len(f.Info.Queues) == 1) {
			return q, true
		}
	}
	return gat.QueueState{}, false
}

// A Listing holds states of jobs, and of ranges of tasks that share one.
type Listing struct {
	Jobs   map[gat.JobID]gat.JobStatus
	Names  map[gat.JobID]string // where they are told
	Ranges []Range
}

// A Range is tasks of an array: Prefix, a number from First to Last by Step,
// Suffix.
type Range struct {
	Prefix, Suffix    string
	First, Last, Step int
	Status            gat.JobStatus // without ID
	Name              string
}

// Add puts a job's state into the listing.
func (l *Listing) Add(st gat.JobStatus) {
	if l.Jobs == nil {
		l.Jobs = make(map[gat.JobID]gat.JobStatus)
	}
	l.Jobs[st.ID] = st
}

// AddNamed puts a job's state and name into the listing.
func (l *Listing) AddNamed(st gat.JobStatus, name string) {
	l.Add(st)
	if l.Names == nil {
		l.Names = make(map[gat.JobID]string)
	}
	l.Names[st.ID] = name
}

// named returns the jobs of a name that have not ended, sorted.
func (l *Listing) named(name string) []gat.JobStatus {
	var all []gat.JobStatus
	for id, n := range l.Names {
		if st := l.Jobs[id]; n == name && !st.State.Final() {
			all = append(all, st)
		}
	}
	for _, r := range l.Ranges {
		for n := r.First; r.Name == name && !r.Status.State.Final() && n <= r.Last && len(all) < gat.MaxCount; n += max(r.Step, 1) {
			st := r.Status
			st.ID = gat.JobID(r.Prefix + strconv.Itoa(n) + r.Suffix)
			all = append(all, st)
		}
	}
	slices.SortFunc(all, func(a, b gat.JobStatus) int {
		if d := len(a.ID) - len(b.ID); d != 0 {
			return d // 9 before 10
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return all[:min(len(all), gat.MaxCount)]
}

// Find returns the state of a job.
func (l *Listing) Find(id gat.JobID) (gat.JobStatus, bool) {
	if st, ok := l.Jobs[id]; ok {
		return st, true
	}
	for _, r := range l.Ranges {
		if n, ok := r.number(string(id)); ok && n >= r.First && n <= r.Last && (n-r.First)%max(r.Step, 1) == 0 {
			st := r.Status
			st.ID = id
			return st, true
		}
	}
	return gat.JobStatus{}, false
}

func (r Range) number(id string) (int, bool) {
	text, ok := strings.CutPrefix(id, r.Prefix)
	if !ok {
		return 0, false
	}
	if text, ok = strings.CutSuffix(text, r.Suffix); !ok {
		return 0, false
	}
	return Number(text)
}

// Number reads a decimal number of at most nine digits without a sign.
func Number(text string) (int, bool) {
	if text == "" || len(text) > 9 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}
