package local_test

import (
	"io"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

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
	h := gattest.Harness{Open: open, Dir: dir, NoSweep: runtime.GOOS != "linux"}
	if runtime.GOOS == "linux" {
		h.Find = gattest.Processes
	}
	gattest.Test(t, h)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"local:": true, "local:///": true, "local://host": false, "local:/tmp": false, "local:x": false, "local:?a=b": false,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := (local.Backend{}).Check(u); (err == nil) != ok {
			t.Errorf("check %q: %v, want ok %v", text, err, ok)
		}
	}
}

// A number that another process has by now is not the job.
func TestReusedPid(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs /bin/sh")
	}
	t.Parallel()
	l := open(t)
	defer l.Close()
	ids, err := l.Submit(t.Context(), gat.JobSpec{Argv: gattest.Shell(gattest.ToolSleep)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Cancel(t.Context(), ids...)
	part := strings.Split(string(ids[0]), "-")
	other := strings.Repeat("A", len(part[3]))
	for name, id := range map[string]string{
		"start time": part[0] + "-1-" + part[2] + "-" + other,
		"boot":       part[0] + "-" + part[1] + "-0-" + other,
		"spelling":   "+" + string(ids[0]),
	} {
		later := open(t)
		if err := later.Cancel(t.Context(), gat.JobID(id)); err != nil {
			t.Errorf("%s: cancel: %v", name, err)
		}
		all, err := later.Status(t.Context(), gat.JobID(id), ids[0])
		if err != nil || all[0].State != gat.Unknown || all[1].State != gat.Running {
			t.Errorf("job with another %s: %v, %v; want it unknown and the true one running", name, all, err)
		}
		later.Close()
	}
}

// Start to first output, as the launcher sees it.
func BenchmarkFirstOutput(b *testing.B) {
	for b.Loop() {
		l := open(b)
		p, err := l.(gat.Runner).Run(b.Context(), gat.Command{Argv: gattest.Shell(gattest.ToolArgs, "x")})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(p.Stdout(), make([]byte, 2)); err != nil {
			b.Fatal(err)
		}
		p.Close()
		l.Close()
	}
}

func BenchmarkSubmitCancel(b *testing.B) {
	l := open(b)
	defer l.Close()
	for b.Loop() {
		ids, err := l.Submit(b.Context(), gat.JobSpec{Argv: gattest.Shell(gattest.ToolSleep), Stdin: []byte("boot")})
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Cancel(b.Context(), ids...); err != nil {
			b.Fatal(err)
		}
	}
}
