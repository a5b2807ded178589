package testbed

import (
	"context"
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

// Main runs the tests of a package and closes the farm they shared, if any.
// It returns the exit code, which is not 0 if the farm could not be closed:
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

// Close closes the shared farm, if there is one; [Main] calls it. The next
// call of [Shared] starts another.
func Close() error {
	shared.Lock()
	defer shared.Unlock()
	farm := shared.farm
	shared.started, shared.farm, shared.err = false, nil, nil
	if farm == nil {
		return nil
	}
	return farm.Close()
}
