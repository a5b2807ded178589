package testbed

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// shared is the farm and the clusters of this test process. A process-wide farm is
// process-wide state by its nature; keeping it here, behind one lock, spares every
// package that wants one a variable of its own.
var shared struct {
	sync.Mutex
	started bool
	farm    *Farm
	err     error
	grids   []*Grid             // with a cluster each
	idle    map[Spec][]*Cluster // that no test has
	failed  map[Spec]error      // why none could be started
}

// Shared returns the one farm that all tests of this process share, and starts
// it for the first that asks. It skips or fails the test as [Require] does.
//
// Tests that share a farm leave it as they found it: they restore what they
// cut, and kill no host. Leftovers cannot be told apart by test, so tests that
// look for them do not run in parallel with others on the same hosts.
//
// [Main] closes the farm. Without it the farm ends with the process, a moment
// later than go test reports.
func Shared(t testing.TB) *Farm {
	t.Helper()
	Require(t)
	shared.Lock()
	defer shared.Unlock()
	if !shared.started {
		shared.started = true
		// Not the test's context: the farm is to outlive the test.
		shared.farm, shared.err = start(context.Background())
	}
	if shared.err != nil {
		t.Fatalf("start shared testbed: %v", shared.err)
	}
	return shared.farm
}

// SharedCluster returns a cluster of that kind, with a [Grid] of its own, which the
// test has to itself until it ends. A test that ends well leaves the cluster to the
// next one that asks, so that few have to be started: one where tests run one after
// the other, and as many as run at once where they are parallel. It skips or fails the
// test as [Clusters] does.
//
// Tests leave the cluster as they found it; they may kill a host if they start it
// again. That of a test that has failed is closed.
func SharedCluster(t testing.TB, spec Spec) *Cluster {
	t.Helper()
	g, err := newGrid([]Spec{spec})
	if err != nil {
		t.Fatalf("start shared cluster: %v", err)
	}
	require(t, g.packages()...)
	c, err := takeCluster(spec, g)
	if err != nil {
		t.Fatalf("start shared cluster: %v", err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			shared.Lock()
			defer shared.Unlock()
			shared.idle[spec] = append(shared.idle[spec], c)
			return
		}
		c.grid.logSSHD(t)
		shared.Lock()
		shared.grids = slices.DeleteFunc(shared.grids, func(g *Grid) bool { return g == c.grid })
		shared.Unlock()
		if err := c.grid.Close(); err != nil {
			t.Errorf("close a cluster: %v", err)
		}
	})
	return c
}

// takeCluster returns a cluster that no test has, or starts the grid.
func takeCluster(spec Spec, g *Grid) (*Cluster, error) {
	if c, err := idleCluster(spec); c != nil || err != nil {
		return c, err
	}
	// Not the test's context: the cluster is to outlive the test.
	err := g.start(context.Background())
	shared.Lock()
	defer shared.Unlock()
	if err != nil {
		shared.failed[spec] = err
		return nil, err
	}
	shared.grids = append(shared.grids, g)
	return g.Clusters[0], nil
}

// idleCluster returns a cluster that no test has, nil if there is none, or why there
// will not be any.
func idleCluster(spec Spec) (*Cluster, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.idle == nil {
		shared.idle, shared.failed = make(map[Spec][]*Cluster), make(map[Spec]error)
	}
	idle := shared.idle[spec]
	if len(idle) == 0 {
		return nil, shared.failed[spec]
	}
	last := len(idle) - 1
	shared.idle[spec] = idle[:last]
	return idle[last], nil
}

// Main runs the tests of a package and closes what they shared, if anything.
// It returns the exit code, which is not 0 if something could not be closed:
//
//	func TestMain(m *testing.M) { os.Exit(testbed.Main(m)) }
//
// Where there are real daemons half as many parallel tests again run at once, unless the
// flag -parallel says how many: they wait for daemons, for deaths to be noticed and for
// leases to end more than they work.
func Main(m *testing.M) int {
	if os.Getenv(Env) != "" {
		n := runtime.GOMAXPROCS(0)
		flag.Set("test.parallel", strconv.Itoa(n+n/2)) //nolint:errcheck // flags that are given come later
	}
	code := m.Run()
	if err := Close(); err != nil {
		fmt.Fprintln(os.Stderr, "close shared testbed:", err)
		code = max(code, 1)
	}
	return code
}

// Close closes the shared farm and clusters, if there are any; [Main] calls it.
// The next call of [Shared] or [SharedCluster] starts others.
func Close() error {
	shared.Lock()
	defer shared.Unlock()
	farm, grids := shared.farm, shared.grids
	shared.started, shared.farm, shared.err = false, nil, nil
	shared.grids, shared.idle, shared.failed = nil, nil, nil
	var errs []error
	if farm != nil {
		errs = append(errs, farm.Close())
	}
	for _, g := range grids {
		errs = append(errs, g.Close())
	}
	return errors.Join(errs...)
}
