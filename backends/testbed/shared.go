package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared is the farm of this test process. A process-wide farm is process-wide
// state by its nature; keeping it here, behind one lock, spares every package
// that wants one a variable of its own.
var shared struct {
	sync.Mutex
	started bool
	farm    *Farm
	err     error
	grids   map[Spec]*sharedGrid
}

type sharedGrid struct {
	grid *Grid
	err  error
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

// SharedCluster returns the one cluster of that kind that all tests of this
// process share, and starts it for the first that asks, with a [Grid] of its
// own. It skips or fails the test as [Clusters] does. Tests that share a cluster
// leave it as they found it, as with [Shared]; they may kill a host if they
// start it again.
func SharedCluster(t testing.TB, spec Spec) *Cluster {
	t.Helper()
	g, err := newGrid([]Spec{spec})
	if err != nil {
		t.Fatalf("start shared cluster: %v", err)
	}
	require(t, g.packages()...)
	shared.Lock()
	defer shared.Unlock()
	s := shared.grids[spec]
	if s == nil {
		s = &sharedGrid{grid: g, err: g.start(context.Background())}
		if shared.grids == nil {
			shared.grids = make(map[Spec]*sharedGrid)
		}
		shared.grids[spec] = s
	}
	if s.err != nil {
		t.Fatalf("start shared cluster: %v", s.err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.grid.logSSHD(t)
		}
	})
	return s.grid.Clusters[0]
}

// Main runs the tests of a package and closes what they shared, if anything.
// It returns the exit code, which is not 0 if something could not be closed:
//
//	func TestMain(m *testing.M) { os.Exit(testbed.Main(m)) }
func Main(m *testing.M) int {
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
	shared.started, shared.farm, shared.err, shared.grids = false, nil, nil, nil
	var errs []error
	if farm != nil {
		errs = append(errs, farm.Close())
	}
	for _, s := range grids {
		errs = append(errs, s.grid.Close())
	}
	return errors.Join(errs...)
}
