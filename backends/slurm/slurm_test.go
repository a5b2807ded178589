package slurm_test

import (
	"context"
	"io"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

func fake(t *testing.T) *batchtest.Fake {
	if runtime.GOOS != "linux" {
		t.Skip("the small queue needs setsid and /proc")
	}
	return batchtest.Slurm(t, slurm.Dialect(), local.Backend{})
}

func TestConformance(t *testing.T) {
	f := fake(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	gattest.Test(t, gattest.Harness{Open: f.Open, Dir: dir, Find: gattest.Processes, NoSweep: true})
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	l := fake(t).Open(t)
	defer l.Close()
	got, err := l.(gat.Describer).Describe(t.Context())
	want := gat.QueueInfo{Scheduler: "Slurm", Version: "22.05.8", Accounts: []string{}, Nodes: []string{"n1", "n2"}, Queues: []gat.QueueState{
		{Name: "debug", Default: true, MaxWalltime: time.Hour, Nodes: 4, FreeSlots: 6, Slots: 8, State: "up", Usable: true},
		{Name: "short", MaxWalltime: time.Minute, Nodes: 2, FreeSlots: 4, Slots: 4, State: "up", Usable: true},
	}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

// A command inside a job is data on the way, and has the job's own streams.
func TestInside(t *testing.T) {
	t.Parallel()
	l := fake(t).Open(t)
	defer l.Close()
	ids, err := l.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/sleep", "1000"}, Count: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Cancel(context.WithoutCancel(t.Context()), ids...)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		all, err := l.Status(t.Context(), ids[1])
		if err != nil {
			t.Fatal(err)
		}
		if all[0].State == gat.Running {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the job is %v", all)
		}
	}
	inside := func(id gat.JobID) (string, int) {
		t.Helper()
		p, err := l.(gat.Insider).Inside(t.Context(), id, 0, gat.Command{Argv: []string{"/bin/sh", "-c", `printf '%s|' "$1" "$V" "$PWD"; cat`, "sh", "it's $(data)"}, Env: []string{"V=a b"}, Dir: "/usr"})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		io.WriteString(p.Stdin(), "in\x00put")
		p.Stdin().Close()
		out, err := io.ReadAll(p.Stdout())
		if err != nil {
			t.Fatal(err)
		}
		code, err := p.Wait()
		if err != nil {
			t.Fatal(err)
		}
		return string(out), code
	}
	if out, code := inside(ids[1]); out != "it's $(data)|a b|/usr|in\x00put" || code != 0 {
		t.Errorf("inside: %q, status %d", out, code)
	}
	if out, code := inside("77_1"); out != "" || code == 0 {
		t.Errorf("inside a job that is not there: %q, status %d", out, code)
	}
	if _, err := l.(gat.Insider).Inside(t.Context(), "no-job", 0, gat.Command{Argv: []string{"/bin/true"}}); gat.ClassOf(err) != gat.NotFound {
		t.Errorf("inside what is no job of Slurm: %v", err)
	}
}
