package prun_test

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/prun"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

func fake(t *testing.T) *batchtest.Fake {
	if runtime.GOOS != "linux" {
		t.Skip("the small queue needs setsid and /proc")
	}
	return batchtest.PRun(t, prun.Dialect(), local.Backend{})
}

func TestConformance(t *testing.T) {
	f := fake(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	gattest.Test(t, gattest.Harness{Open: f.Open, Dir: dir, Find: gattest.Processes, NoSweep: true})
}
