package local_test

import (
	"path/filepath"
	"runtime"
	"testing"

	"net/url"

	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

func open(t testing.TB) gat.Login {
	l, err := local.Backend{}.Open(t.Context(), gat.Target{Site: "here", URL: &url.URL{Scheme: "local"}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestConformance(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the suite's tools need /bin/sh")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := gattest.Harness{Open: open, Dir: dir}
	if runtime.GOOS == "linux" {
		h.Find = gattest.Processes
	}
	gattest.Test(t, h)
}
