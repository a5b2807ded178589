package launcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/launcher/queue"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot"
)

// Files of pilots in the directory that head node and compute nodes share.
const (
	bootName = "boot-%d" // of one submission
	hubsName = "hubs"    // the hub's addresses, which the hub keeps
)

// Where compute nodes get the pilot from, as SiteChanged.Files tells it, when it is no
// directory.
const carried = "carried in the job"

// maxListen is on how many addresses a hub listens for the pilots in a queue.
const maxListen = 3

// A batchRun is the part of a site's run that goes through a queueing system: a hub on
// the head node, and pilots that the scheduler starts when it likes to.
type batchRun struct {
	r    *siteRun
	head *host
	wake chan struct{} // takes one value

	// Known before anything is submitted.
	info   gat.QueueInfo
	shared *host // where nodes find the pilot; nil when it is carried to them

	cancelling sync.Mutex // held while jobs are being cancelled

	mu          sync.Mutex
	queue       *queue.Queue
	addresses   []string // on which the hub listens for pilots, HOST:PORT
	tokens      []wire.Token
	submissions int
	growth      growth      // what the hub is to do while we are away
	grown       []gat.JobID // that it has submitted
	doubt       doubt       // about the last submission
	inside      bool        // pilots are called through the scheduler
	reached     bool        // a pilot has called by itself
	told        bool        // why the site was given up
	silent      bool        // the scheduler does not answer
}

func newBatchRun(r *siteRun) *batchRun {
	site := r.site
	pilots := site.PilotCount()
	join := joinPatience
	if site.NoHub {
		join = callSoon
	}
	return &batchRun{
		r:      r,
		head:   &host{name: site.Name, gat: r.gat.Head()},
		wake:   make(chan struct{}, 1),
		inside: site.NoHub,
		queue: queue.New(queue.Limits{
			Pilots:   pilots,
			Lost:     maxRestarts * pilots,
			Patience: cmp.Or(site.Patience, DefaultPatience),
			Join:     join,
			Cores:    site.Resources().Cores,
			CoreTime: time.Duration(site.MaxCoreHours * float64(time.Hour)),
		}),
	}
}

// Resources is what is asked of the site's queueing system for one pilot.
func (s *Site) Resources() gat.Resources {
	shape, _ := gat.ParseShape(string(s.Shape)) // an unknown one was refused when the file was read
	return gat.Resources{
		Shape:      shape,
		Cores:      cmp.Or(s.Cores, s.Slots),
		GPUs:       s.GPUs,
		Memory:     s.Memory,
		Walltime:   s.Walltime,
		Queue:      s.Queue,
		Account:    s.Account,
		Constraint: s.Constraint,
		Exclusive:  s.Exclusive,
		Inside:     s.NoHub,
		Native:     s.Native,
		Warning:    warningBefore(s.Walltime),
	}
}

// warningBefore is how long before its wall time ends a job is warned.
func warningBefore(walltime time.Duration) time.Duration {
	if walltime == 0 || walltime >= 10*time.Minute {
		return time.Minute
	}
	return walltime / 10
}

// PilotJob is the submission of n pilots of a session to the site's queueing system,
// without the command, and what travels with it.
func (s *Site) PilotJob(session wire.SessionID, n int) gat.JobSpec {
	spec := gat.JobSpec{Name: "zorilla-" + string(session), Setup: s.Setup, Resources: s.Resources(), Count: n}
	if spec.Resources.Shape == gat.Multi {
		spec.Count, spec.Resources.Nodes = 1, n
	}
	return spec
}

// deployBatch logs in, prepares the head node, starts the hub there, and has the rest
// of the run look after the pilots in the queue.
func (r *siteRun) deployBatch(ctx context.Context) error {
	r.s.pilots.Prefetch("linux/amd64")
	r.state("connecting")
	if err := r.gat.Login(ctx); err != nil {
		return err
	}
	b := newBatchRun(r)
	described := make(chan error, 1)
	go func() {
		info, err := r.gat.Describe(ctx)
		b.info = info
		described <- err
	}()
	err := b.prepare(ctx)
	if err == nil {
		r.state("starting")
		err = b.startHub(ctx, described)
	} else {
		<-described
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.batch = b
	r.mu.Unlock()
	r.s.deploys.Go(func() { b.keep(ctx) })
	return ctx.Err()
}

// prepare sees to it that a pilot binary is at the head node, and decides where the
// nodes get it from.
func (b *batchRun) prepare(ctx context.Context) error {
	r, head := b.r, b.head
	r.add(head)
	r.state("probing")
	if err := r.lookAt(ctx, head, r.site.Scratch); err != nil {
		// Scratch of the compute nodes need not be there on the head node.
		if r.site.Scratch == "" || ctx.Err() != nil || gat.ClassOf(err) != gat.Permanent {
			return err
		}
		if err := r.lookAt(ctx, head, ""); err != nil {
			return err
		}
	}
	store := head
	switch shared := r.site.Shared; {
	case shared == "none":
	case shared != "":
		store = &host{name: head.name, gat: head.gat}
		if err := r.lookAt(ctx, store, shared); err != nil {
			return err
		}
		b.shared = store
		if store.Base != head.Base {
			head.store = store
		}
	case head.networked():
		b.shared = head
	}
	if b.shared != nil && !r.site.NoHub {
		head.publish = []string{b.hubsFile()}
	}
	if b.shared != nil || !r.site.NoHub {
		if err := r.bring(ctx, store, r.site.Keep); err != nil {
			return err
		}
		head.binary = store.binary
	}
	r.change(func(c *SiteChanged) {
		c.Files = carried
		if b.shared != nil {
			c.Files = path.Dir(b.shared.Base)
		}
	})
	return nil
}

// hubsFile is the file in which the hub says where it listens.
func (b *batchRun) hubsFile() string {
	return path.Join(b.shared.sessionDir(b.r.s.id), b.r.own(hubsName))
}

// networked reports whether the host's scratch lies on a file system that other
// hosts most likely see too. The home directory, of which only a quota is certain, does
// not count.
func (f *facts) networked() bool {
	if f.AtHome {
		return false
	}
	switch f.FS {
	case "nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "panfs", "smb", "smb2", "smb3", "cifs", "afs", "pvfs2", "orangefs", "glusterfs":
		return true
	}
	return strings.HasPrefix(f.FS, "fuse.")
}

// startHub starts the hub on the head node and has it listen where the compute
// nodes can reach it.
func (b *batchRun) startHub(ctx context.Context, described <-chan error) error {
	r := b.r
	if r.site.NoHub {
		<-described
		return nil
	}
	err := r.startHub(ctx, b.head, true)
	if derr := <-described; derr != nil {
		r.s.log.Info("the queueing system does not describe itself", "site", r.site.Name, "error", derr)
	}
	if err != nil {
		return err
	}
	addresses, err := b.listen(ctx)
	b.mu.Lock()
	b.addresses = addresses
	b.mu.Unlock()
	return err
}

// listen has the hub listen toward the compute nodes, or, where nobody can name one, on
// the private addresses of the head node.
func (b *batchRun) listen(ctx context.Context) (list []string, err error) {
	var errs []error
	add := func(want wire.Listen) {
		address, err := b.r.listenOn(ctx, b.head, want)
		if err != nil {
			errs = append(errs, err)
		} else if !slices.Contains(list, address) {
			list = append(list, address)
		}
	}
	for _, node := range b.info.Nodes[:min(len(b.info.Nodes), maxListen)] {
		add(wire.Listen{Toward: node})
	}
	if len(list) > 0 {
		return list, nil
	}
	out, err := b.head.script(ctx, privateScript, nil)
	if err != nil {
		return nil, fmt.Errorf("site %s: look for an address that compute nodes reach: %w", b.r.site.Name, errors.Join(append(errs, err)...))
	}
	for _, address := range strings.Fields(string(out)) {
		if len(list) < maxListen && private(address) {
			add(wire.Listen{Host: address})
		}
	}
	if len(list) == 0 {
		return nil, &gat.Error{Class: gat.Permanent, Op: "find an address of the head node that compute nodes reach", Site: b.r.site.Name,
			Err: cmp.Or(errors.Join(errs...), errors.New("it has no private one"))}
	}
	return list, nil
}

// privateScript prints the addresses of a host.
const privateScript = `hostname -I 2>/dev/null || ip -o -4 addr 2>/dev/null | while read -r _ _ _ a _; do echo "${a%%/*}"; done`

// private reports whether an address is one of a network of the site's own.
func private(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && (ip.IsPrivate() || ip.Is4() && ip.As4()[0] == 100 && ip.As4()[1]&0xc0 == 64)
}

// listening returns the addresses on which the hub listens for pilots.
func (b *batchRun) listening() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.addresses)
}

// mayGrow reports whether pilots may still come out of the queue.
func (b *batchRun) mayGrow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queue.MayGrow()
}

// nudge has the queue looked at soon.
func (b *batchRun) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// up takes a pilot that has called home.
func (b *batchRun) up(p wire.Peer) {
	b.mu.Lock()
	b.reached = b.reached || !b.inside
	again := b.queue.Up(time.Now(), gat.JobID(p.Job), p.ID, int(p.Offer.Cores))
	b.mu.Unlock()
	if again {
		b.r.s.log.Info("the scheduler runs a job again", "site", b.r.site.Name, "job", p.Job, "node", p.Name)
	}
	b.nudge()
}

// waiting is how many pilots are in the queue, and how many of them are held.
func (b *batchRun) waiting() (queued, held int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.queue.Counts()
	return c.Queued, c.Held
}

// down takes the loss of a pilot.
func (b *batchRun) down(p wire.Peer, reason string) {
	why := queue.Lost
	switch {
	case reason == "walltime", reason == pilot.Ended:
		why = queue.Expired
	case strings.HasPrefix(reason, "its scheduler has started its job "):
		why = queue.Restarted
		b.r.s.log.Info("the scheduler runs a job again", "site", b.r.site.Name, "job", p.Job, "node", p.Name)
	}
	b.mu.Lock()
	b.queue.Down(time.Now(), p.ID, why)
	b.mu.Unlock()
	b.nudge()
}

// refused takes it that the administrator of a node lets no pilot run there: the next
// job would be denied, too, unless other nodes let some.
func (b *batchRun) refused(err error) {
	b.mu.Lock()
	alone := b.queue.Counts().Up == 0
	b.mu.Unlock()
	if alone {
		b.r.gone(err)
	}
}

// giveUp submits nothing more.
func (b *batchRun) giveUp(err error) {
	b.mu.Lock()
	b.queue.GiveUp(err)
	b.mu.Unlock()
	b.nudge()
}
