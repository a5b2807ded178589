package launcher

import (
	"cmp"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/zorilla-grid/zorilla/gat"
)

// queue says what follows from what a queueing system told.
func (c *SiteCheck) queue(site *Site, info gat.QueueInfo, err error, f facts, about surroundings) {
	switch {
	case errors.Is(err, gat.ErrCannot):
		c.Queue = &QueueCheck{Scheduler: queueing(site.URLs[0])}
		c.note("the queueing system cannot be asked about itself; a job tells")
	case err != nil:
		c.wrong("%s", strings.TrimPrefix(err.Error(), "site "+site.Name+": "))
		return
	default:
		c.Queue = queueOf(info)
		c.Notes = append(c.Notes, info.Notes...)
		c.choice(site, info)
	}
	c.shared(site, f, about)
}

func queueOf(info gat.QueueInfo) *QueueCheck {
	q := &QueueCheck{Scheduler: info.Scheduler, Version: info.Version, AccountNeeded: info.AccountNeeded, Accounts: info.Accounts}
	for _, s := range info.Queues {
		q.Queues = append(q.Queues, QueueLimit{Name: s.Name, Default: s.Default, Walltime: s.MaxWalltime.Seconds(), Nodes: s.Nodes,
			Free: s.FreeSlots, Slots: s.Slots, State: s.State, Usable: s.Usable, Why: s.Why})
	}
	return q
}

// choice looks whether the queue and the account that the site names will do.
func (c *SiteCheck) choice(site *Site, info gat.QueueInfo) {
	if info.AccountNeeded && site.Account == "" {
		hint := `account = "..."`
		if len(info.Accounts) > 0 {
			hint = `account = "` + info.Accounts[0] + `"`
		}
		c.wrong("jobs need an account; write %s", hint)
	}
	if site.Account != "" && len(info.Accounts) > 0 && !slices.Contains(info.Accounts, site.Account) {
		c.wrong("the account %q is not one of yours: %s", site.Account, strings.Join(info.Accounts, ", "))
	}
	if len(info.Queues) == 0 {
		return
	}
	q, ok := chosenQueue(site, info)
	switch {
	case !ok && site.Queue == "" && !slices.ContainsFunc(info.Queues, func(q gat.QueueState) bool { return q.Usable }):
		c.wrong("none of the queues takes jobs of yours")
	case !ok && site.Queue == "":
		return // the scheduler chooses
	case !ok && strings.ContainsAny(site.Queue, ",@"):
		return // several, or a part of one: only the scheduler knows
	case !ok:
		c.wrong("there is no queue %q%s; there is %s", site.Queue, didYouMean(site.Queue, queueNames(info)), strings.Join(queueNames(info), ", "))
	case !q.Usable:
		c.wrong("the queue %s cannot be used: %s", q.Name, cmp.Or(q.Why, q.State, "the scheduler says so"))
	case q.MaxWalltime > 0 && site.Walltime > q.MaxWalltime:
		c.wrong("walltime is %s, the queue %s ends jobs after %s", FormatDuration(site.Walltime), q.Name, FormatDuration(q.MaxWalltime))
	case q.Nodes > 0 && site.Shape == ShapeMulti && site.PilotCount() > q.Nodes:
		c.wrong("a job of %d nodes is asked for, the queue %s has %d", site.PilotCount(), q.Name, q.Nodes)
	}
	if ok && q.MaxWalltime > 0 && site.Walltime == 0 {
		c.note("walltime is not set: the queue's default counts; %s ends jobs after %s", q.Name, FormatDuration(q.MaxWalltime))
	}
}

// chosenQueue is the queue that the site's pilots go to.
func chosenQueue(site *Site, info gat.QueueInfo) (gat.QueueState, bool) {
	for _, q := range info.Queues {
		if site.Queue == q.Name || site.Queue == "" && q.Default {
			return q, true
		}
	}
	return gat.QueueState{}, false
}

func queueNames(info gat.QueueInfo) (names []string) {
	for _, q := range info.Queues {
		names = append(names, q.Name)
	}
	return names
}

// shared says which way pilots get to compute nodes, as far as it can be known
// without a job.
func (c *SiteCheck) shared(site *Site, f facts, about surroundings) {
	dir, why := sharedDir(site, f)
	switch {
	case site.Shared == dir && about.missing:
		c.wrong("shared: %s: no such directory", dir)
	case site.Shared == dir && about.locked:
		c.wrong("shared: %s cannot be written", dir)
	case dir != "":
		c.Queue.Shared = dir
		c.note("pilots are started from %s, %s", dir, why)
	case site.Shared == "" && (&facts{FS: about.homeFS}).networked():
		c.note("pilot and token travel in the script body; %s is on a network file system (%s): shared = %q starts pilots from there, if the compute nodes see it",
			about.home, about.homeFS, about.home)
	default:
		c.note("pilot and token travel in the script body: no directory is known that the compute nodes share")
	}
}

// sharedDir returns the directory from which pilots are started at a site with a
// queueing system, and why it is taken to be shared with the compute nodes; none
// means that pilots travel in the script. The home directory is never taken by
// itself: its quota is the user's.
func sharedDir(site *Site, f facts) (dir, why string) {
	switch {
	case site.Shared == "none":
		return "", ""
	case site.Shared != "":
		return site.Shared, "which the sites file says is shared"
	case f.Base != "" && f.networked():
		return path.Dir(f.Base), "scratch on a network file system (" + f.FS + ")"
	}
	return "", ""
}
