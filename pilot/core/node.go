package core

import (
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// Defaults of a Config.
const (
	DefaultLease   = 10 * time.Minute
	DefaultSuspect = 10 * time.Second
	// Forever, as Config.Idle, keeps a pilot without a job.
	Forever = time.Duration(-1)
)

// Config describes the node itself.
type Config struct {
	ID       wire.NodeID // of this process: a restarted node has another one
	Role     wire.Role
	Site     string
	Name     string     // the host's, for people
	Offer    wire.Offer // without slots no workers
	Platform string     // such as "linux/amd64"

	// Lease is how long a pilot or hub lives without a sign of life from those
	// it works for: a launcher, directly or through hubs, or the primary of a
	// job it has workers of. 0 means [DefaultLease].
	Lease time.Duration
	// Idle is how long a pilot lives without a job once it has had one; 0
	// means that it leaves with its last job, [Forever] that it stays.
	Idle time.Duration
	// Suspect is how long a hub waits for a pilot of its site whose link has
	// ended before it tells that the pilot is gone. 0 means [DefaultSuspect].
	Suspect time.Duration

	Seed uint64 // of the jitter of repeats; any number
}

// Send is a message to hand to the transport. To need not have a link: then
// the shell opens one, direct or through hubs, and calls LinkUp; until then it
// may drop messages for it.
type Send struct {
	To  wire.NodeID
	Msg wire.Message // not to be changed: other Sends may share it
}

// Fetch asks for a job's files. The shell answers with [Node.Fetched].
type Fetch struct {
	Job  wire.JobID
	Root wire.Digest   // of the manifest
	From []wire.NodeID // holders, the origin last
}

// Start asks for a worker's process. The shell answers with [Node.Started] and,
// once it has ended, [Node.Exited]; a start that fails with Exited alone.
type Start struct {
	Key     wire.Key
	Primary wire.NodeID // where its output goes
	Slots   []int       // numbers of the slots it takes, ascending
	Size    int         // workers the job wants in all
	Program *wire.Program
}

// Kill ends a worker's process; Exited follows as for every worker. A second
// Kill for a worker may shorten the grace.
type Kill struct {
	Key    wire.Key
	Grace  time.Duration // from the polite signal to the other one
	Reason string
}

// Collect asks the primary's shell to bring home what a worker left: its
// output files and the bytes of its output streams up to the given sizes. The
// shell answers with [Node.Collected].
type Collect struct {
	Key    wire.Key
	Node   wire.NodeID // its pilot
	Result wire.Result
}

// Leave asks the shell to end: what it has to tell others was sent, its
// workers have ended. Nothing comes after it.
type Leave struct {
	Reason string
}

// Effects are what a Node wants done, in this order.
type Effects struct {
	Sends    []Send
	Fetches  []Fetch
	Starts   []Start
	Kills    []Kill
	Collects []Collect
	Discards []wire.Key     // remove these workers' sandboxes and outputs
	Drops    []wire.JobID   // forget these jobs' files
	Tokens   [][]wire.Token // a hub's join tokens from now on, the last one counts
	Events   []Event        // for the user of this node
	Leave    *Leave
}

// Node is one member of the overlay: a pilot, a hub or a launcher, and the
// primary of any number of jobs. Its methods must be called by one goroutine at a time,
// with a now that never decreases.
type Node struct {
	cfg Config
	fx  Effects
}

// New returns a node that has just started.
func New(cfg Config, now time.Duration) *Node { return &Node{cfg: cfg} }

// LinkUp tells that there is a link to a peer, opened by either side. Of the
// peer, ID, Role and Site must be set and proven; Hello brings the rest. A
// second LinkUp without a LinkDown means that an older link was replaced.
func (n *Node) LinkUp(now time.Duration, p wire.Peer) {}

// LinkDown tells that the link to a peer has ended. The peer may be alive.
func (n *Node) LinkDown(now time.Duration, id wire.NodeID) {}

// Gone tells that a peer's process is known to have ended, for instance
// because this shell started it and saw its end. What it did is lost at once.
func (n *Node) Gone(now time.Duration, id wire.NodeID, reason string) {}

// Receive takes a message that came over the link to from.
func (n *Node) Receive(now time.Duration, from wire.NodeID, m wire.Message) {}

// Tick lets time pass. It is wanted at [Node.Next], and allowed at any time.
func (n *Node) Tick(now time.Duration) {}

// Next returns the time at which Tick is wanted.
func (n *Node) Next() time.Duration { return 0 }

// Ready returns what is to be done since the last call of Ready.
func (n *Node) Ready() Effects {
	fx := n.fx
	n.fx = Effects{}
	return fx
}

// Submit makes this node the primary of a new job.
func (n *Node) Submit(now time.Duration, spec job.Spec) error { return nil }

// Cancel ends a job of which this node is the primary, with the given outcome.
// Graceful lets its workers end within their grace and collects what they
// wrote; otherwise the job ends at once. It does nothing for other jobs.
func (n *Node) Cancel(now time.Duration, id wire.JobID, outcome job.Outcome, graceful bool) {}

// Collected answers a [Collect]: everything is home, or err says what could
// not be had. Either way the worker is done.
func (n *Node) Collected(now time.Duration, key wire.Key, err string) {}

// Fetched answers a [Fetch]: the files are here, or err says why not.
func (n *Node) Fetched(now time.Duration, id wire.JobID, root wire.Digest, err string) {}

// Started tells that a worker's process runs.
func (n *Node) Started(now time.Duration, key wire.Key, pid int) {}

// Exited tells that a worker's process has ended, or could not be started, and
// what there is to collect of it.
func (n *Node) Exited(now time.Duration, key wire.Key, r wire.Result) {}

// Drain lets this node take no new work and leave. Its workers have grace to
// end by themselves before they are killed.
func (n *Node) Drain(now time.Duration, reason string, grace time.Duration) {}

// Admit sets the join tokens of a site; this node, a launcher, sends them to the
// site's hubs, now and whenever one connects.
func (n *Node) Admit(now time.Duration, site string, tokens []wire.Token) {}

// Retire asks all hubs and pilots of a site to leave, now and whenever one
// connects. Site "" means all sites. Only a launcher may.
func (n *Node) Retire(now time.Duration, site, reason string) {}

// Peers returns the nodes known to be part of the session, other than this
// one, by identity.
func (n *Node) Peers() []wire.Peer { return nil }
