package testbed

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// maxClusters is what fits into a [subnet] beside the client.
const maxClusters = int(segments)

// Grid is a running [Net] of clusters: heads that can be logged in to, and
// nodes behind each that reach their head and each other and nothing else, and
// on them a queueing system's own daemons.
//
//	client ─┬─ plain
//	        ├─ tulip ───┬─ tulip1
//	        │  (head)   ├─ tulip2 …
//	        └─ poppy ───┬─ poppy1 …
type Grid struct {
	*Net
	// Plain is a host without a queueing system, for comparison.
	Plain *Host
	// Clusters are in the order they were asked for.
	Clusters []*Cluster

	clientPort port
	machine    *machine
}

// Cluster is one of the clusters of a [Grid]. Its methods may be called by
// several goroutines at once.
type Cluster struct {
	*Net
	Spec  Spec
	Head  *Host
	Nodes []*Host

	grid   *Grid
	system system
}

// system is what a cluster has to know of its queueing system.
type system interface {
	// packages are the Debian packages with the daemons.
	packages() []string
	// disks are directories of the head's that a reboot leaves as they were.
	disks() []string
	// shares are such directories that all hosts have.
	shares() []string
	// prepare makes what hosts have in common; it comes before all else.
	prepare() error
	// files are a host's own settings.
	files(h *Host) []hostFile
	// start starts a host's daemons, which may find no controller yet.
	start(ctx context.Context, h *Host) error
	// ready tells whether every node takes jobs.
	ready(ctx context.Context) (bool, error)
	// controller ends or starts the controller on the head.
	controller(ctx context.Context, run bool) error
	// jobs describes the jobs in the queue, one line each, its number first.
	jobs(ctx context.Context) ([]string, error)
	// fill submits, as bob, what runs a command for sh on all there is, and
	// returns how many times that is on each node.
	fill(ctx context.Context, command string) (int, error)
	// remove cancels all jobs of a user.
	remove(ctx context.Context, user string) error
	// logs are paths of the daemons' logs on a host.
	logs(h *Host) []string
}

// Clusters starts a grid for one test and ends it when the test does. It skips
// or fails the test as [Require] does, and installs and needs the daemons'
// packages besides. Starting takes some seconds; tests that can share a cluster
// had better use [SharedCluster].
func Clusters(t testing.TB, specs ...Spec) *Grid {
	t.Helper()
	g, err := newGrid(specs)
	if err != nil {
		t.Fatalf("start testbed: %v", err)
	}
	require(t, g.packages()...)
	return during(t, func(ctx context.Context) (*Grid, error) { return g, g.start(ctx) })
}

// newGrid lays out a grid, and starts nothing.
func newGrid(specs []Spec) (*Grid, error) {
	if len(specs) > maxClusters {
		return nil, fmt.Errorf("%d clusters, at most %d are possible", len(specs), maxClusters)
	}
	g := &Grid{Net: newNet()}
	s := newSubnet()
	g.clientPort = s.on(outer, "eth0", "client0", 1)
	g.Plain = &Host{Name: "plain", User: "alice", ports: []port{s.on(outer, "eth0", "plain0", 2)}}
	g.Plain.Addr = g.Plain.ports[0].addr.Addr().String()
	g.hosts = []*Host{g.Plain}
	names := []string{g.Plain.Name, "client"}
	for i, spec := range specs {
		if err := spec.check(); err != nil {
			return nil, fmt.Errorf("cluster %q: %w", spec.Name, err)
		}
		if slices.Contains(names, spec.Name) {
			return nil, fmt.Errorf("two hosts are called %s", spec.Name)
		}
		names = append(names, spec.Name)
		c := &Cluster{Net: g.Net, Spec: spec, grid: g}
		c.layOut(s, i)
		g.Clusters = append(g.Clusters, c)
		g.hosts = append(g.hosts, c.Head)
	}
	for _, c := range g.Clusters {
		g.hosts = append(g.hosts, c.Nodes...)
	}
	return g, nil
}

// layOut names the hosts of the cluster of that number and connects them.
func (c *Cluster) layOut(s subnet, number int) {
	switch c.Spec.System {
	case Slurm:
		c.system = &slurm{Cluster: c}
	case SGE:
		c.system = &sge{Cluster: c}
	}
	in := segment(number + 1)
	add := func(name string, ports ...port) *Host {
		h := &Host{Name: name, User: "alice", ports: ports}
		h.Addr = ports[0].addr.Addr().String()
		h.files = func() []hostFile {
			return append(c.system.files(h), hostFile{path: "/etc/hosts", content: c.hostsFile(), mode: 0o644})
		}
		h.daemons = func(ctx context.Context) error { return c.system.start(ctx, h) }
		h.disks = []disk{{dir: filepath.Join(c.dir, "disks", name, "home"), at: "/home"}}
		if c.Spec.Shared != "" {
			h.disks = slices.DeleteFunc(h.disks, func(d disk) bool { return d.at == c.Spec.Shared })
			h.disks = append(h.disks, disk{filepath.Join(c.dir, "disks", c.Spec.Name, "shared"), c.Spec.Shared, true})
		}
		for _, at := range c.system.shares() {
			h.disks = append(h.disks, disk{dir: filepath.Join(c.dir, "disks", c.Spec.Name, path.Base(at)), at: at})
		}
		return h
	}
	name := c.Spec.Name
	c.Head = add(name, s.on(outer, "eth0", name+"o", byte(10+number)), s.on(in, "eth1", name+"i", 1))
	c.Head.InnerAddr = c.Head.ports[1].addr.Addr().String()
	for _, at := range c.system.disks() {
		c.Head.disks = append(c.Head.disks, disk{dir: filepath.Join(c.dir, "disks", name, path.Base(at)), at: at})
	}
	for i := range c.Spec.Nodes {
		node := fmt.Sprintf("%s%d", name, i+1)
		h := add(node, s.on(in, "eth0", node+"n", byte(11+i)))
		h.jump = c.Head
		c.Nodes = append(c.Nodes, h)
	}
}

// SharedDir is a directory that head and nodes share and alice can write to;
// empty if there is none.
func (c *Cluster) SharedDir() string {
	if c.Spec.Shared == "/home" {
		return "/home/alice"
	}
	return c.Spec.Shared
}

// Hosts are the cluster's hosts, the head first.
func (c *Cluster) Hosts() []*Host { return append([]*Host{c.Head}, c.Nodes...) }

// hostsFile is /etc/hosts within the cluster: all names mean inner addresses.
func (c *Cluster) hostsFile() []byte {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n")
	for _, h := range c.Hosts() {
		fmt.Fprintf(&b, "%s %s\n", h.innerAddr(), h.Name)
	}
	return []byte(b.String())
}

// innerAddr is the host's address in the innermost of its networks.
func (h *Host) innerAddr() netip.Addr { return h.ports[len(h.ports)-1].addr.Addr() }

func (g *Grid) packages() []string {
	var all []string
	for _, c := range g.Clusters {
		all = append(all, c.system.packages()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// start starts the hosts and then the daemons.
func (g *Grid) start(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Close())
		}
	}()
	if err := g.make(1); err != nil {
		return err
	}
	if g.machine, err = g.makeFiles(); err != nil {
		return err
	}
	for _, c := range g.Clusters {
		if err := c.prepare(); err != nil {
			return fmt.Errorf("prepare %s: %w", c.Spec.Name, err)
		}
	}
	if err := g.connect(ctx); err != nil {
		return err
	}
	if err := g.boot(ctx, g.machine); err != nil {
		return err
	}
	var wait errgroup.Group
	for _, c := range g.Clusters {
		wait.Go(func() error {
			if err := c.startDaemons(ctx); err != nil {
				return fmt.Errorf("start %s on %s: %w\n%s", c.Spec.System, c.Spec.Name, err, c.logTails())
			}
			return nil
		})
	}
	return wait.Wait()
}

// connect makes a network for the client and one for each cluster.
func (g *Grid) connect(ctx context.Context) error {
	var w wiring
	for i := range 1 + len(g.Clusters) {
		w.bridge(fmt.Sprintf("br%d", i))
	}
	w.plug(g.client, netip.Addr{}, g.clientPort)
	for _, h := range g.hosts {
		h.switches = g.routers[0]
		w.plug(h.net, h.gateway, h.ports...)
	}
	if err := w.make(ctx, g.routers[0]); err != nil {
		return err
	}
	for _, c := range g.Clusters {
		if !c.Spec.Walled {
			continue
		}
		if err := runIn(ctx, c.Head.net, wallRules(), "nft", "-f", "-"); err != nil {
			return fmt.Errorf("wall of %s: %w", c.Spec.Name, err)
		}
	}
	return nil
}

// prepare makes the cluster's disks.
func (c *Cluster) prepare() error {
	for _, h := range c.Hosts() {
		for _, d := range h.disks {
			if err := os.MkdirAll(d.dir, 0o755); err != nil {
				return err
			}
			if d.at == c.Spec.Shared && d.at != "/home" {
				if err := os.Chmod(d.dir, 0o777|os.ModeSticky); err != nil {
					return err
				}
			}
		}
	}
	return c.system.prepare()
}

// startDaemons starts the daemons of all hosts for the first time.
func (c *Cluster) startDaemons(ctx context.Context) error {
	if err := c.Head.daemons(ctx); err != nil {
		return err
	}
	var wait errgroup.Group
	for _, h := range c.Nodes {
		wait.Go(func() error { return h.daemons(ctx) })
	}
	if err := wait.Wait(); err != nil {
		return err
	}
	if err := c.awaitReady(ctx); err != nil {
		return err
	}
	for _, h := range c.Hosts() {
		if err := h.takeBaseline(); err != nil {
			return err
		}
	}
	return nil
}

// readyPoll is how often a cluster is asked whether it is ready: an answer
// costs some processes.
const readyPoll = 100 * time.Millisecond

func (c *Cluster) awaitReady(ctx context.Context) error {
	var last error
	err := poll(ctx, readyPoll, func() (bool, error) {
		var ok bool
		ok, last = c.system.ready(ctx)
		return ok && last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for nodes: %w", errors.Join(err, last))
	}
	return nil
}

// logTails returns the ends of the daemons' logs.
func (c *Cluster) logTails() string {
	const most = 2048
	var b strings.Builder
	for _, h := range c.Hosts() {
		for _, name := range c.system.logs(h) {
			log, err := h.readFile(name)
			if err != nil {
				fmt.Fprintf(&b, "%s on %s: %v\n", name, h.Name, err)
				continue
			}
			fmt.Fprintf(&b, "%s on %s:\n%s\n", name, h.Name, log[max(0, len(log)-most):])
		}
	}
	return b.String()
}

// logSSHD writes the ends of sshd's and the daemons' logs to the log of a
// failed test.
func (g *Grid) logSSHD(t testing.TB) {
	g.Net.logSSHD(t)
	for _, c := range g.Clusters {
		t.Logf("daemons of %s:\n%s", c.Spec.Name, c.logTails())
	}
}

// Grid is what the cluster is part of.
func (c *Cluster) Grid() *Grid { return c.grid }
