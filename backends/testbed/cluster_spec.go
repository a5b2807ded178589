package testbed

import (
	"errors"
	"fmt"
	"path"
	"slices"
)

// System is a kind of queueing system, by the name that it has in addresses of
// sites.
type System string

const (
	// Slurm 22.05, with accounting disabled. Nodes have two cores; the last has
	// two GPUs as well, which are files. Partitions: "batch" is the default;
	// "short" has the first two nodes, two minutes and one node a job at most;
	// "members" is for the account "physics", which nobody has; "down" starts no
	// jobs. What asks for more than a partition's limits waits for ever. The first
	// two nodes have the feature "old", the others "new".
	Slurm System = "slurm"
	// SGE is Son of Grid Engine 8.1.9. Nodes have two slots in the queue "all.q"
	// and, when these are taken, two in "short.q", which warns jobs with SIGUSR1
	// after 50 s and ends them after a minute. Parallel environments: "mpi" takes
	// slots of nodes in turn, "onepernode" one of each, "smp" all of one; qrsh
	// -inherit starts what runs on other nodes. What asks for more than there is
	// waits for ever.
	SGE System = "sge"
)

// Spec is what a cluster is to be.
type Spec struct {
	// Name is the head's name: at most eight lower-case letters. Nodes have it
	// with a number after it, from 1.
	Name string
	// System is what runs the queue.
	System System
	// Nodes is how many nodes there are, at most nine.
	Nodes int
	// Shared is the path of a directory that head and nodes share and all users
	// can write to, or of a home directory of that kind: "/home". Empty, they
	// share nothing.
	Shared string
	// Walled keeps nodes from making connections to the head, other than to the
	// scheduler: what they send to all other ports vanishes. Slurm only.
	Walled bool
	// Prun gives the head the command prun of the DAS clusters, on top of Slurm.
	Prun bool
}

func (s Spec) check() error {
	switch {
	case s.Name == "" || len(s.Name) > 8 || slices.ContainsFunc([]byte(s.Name), func(c byte) bool { return c < 'a' || c > 'z' }):
		return errors.New("want a name of up to eight lower-case letters")
	case s.Nodes < 1 || s.Nodes > 9:
		return fmt.Errorf("%d nodes, want 1 to 9", s.Nodes)
	case s.Shared != "" && (!path.IsAbs(s.Shared) || path.Clean(s.Shared) != s.Shared):
		return fmt.Errorf("shared directory %q is no clean absolute path", s.Shared)
	case s.System != Slurm && s.System != SGE:
		return fmt.Errorf("unknown queueing system %q", s.System)
	case s.Walled && s.System != Slurm && s.System != SGE:
		return fmt.Errorf("no wall for %s: its nodes answer from any port", s.System)
	}
	return nil
}
