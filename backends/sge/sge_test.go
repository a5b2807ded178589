package sge_test

import (
	"context"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/sge"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gattest"
)

func fake(t *testing.T) *batchtest.Fake {
	if runtime.GOOS != "linux" {
		t.Skip("the small queue needs setsid and /proc")
	}
	return batchtest.SGE(t, sge.Dialect(), local.Backend{})
}

func TestConformance(t *testing.T) {
	f := fake(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	gattest.Test(t, gattest.Harness{Open: f.Open, Dir: dir, Find: gattest.Processes, NoSweep: true})
}

// A command inside a job is data on the way, and has the job's own streams.
func TestInside(t *testing.T) {
	t.Parallel()
	l := fake(t).Open(t)
	defer l.Close()
	ids, err := l.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/sleep", "1000"}, Count: 2, Resources: gat.Resources{Inside: true}})
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
	large := make([]byte, 1<<20) // does not fit into pipes
	rand.Read(large)
	odd := "it's $(data)\n\n"
	inside := func(id gat.JobID, node int) (string, int) {
		t.Helper()
		p, err := l.(gat.Insider).Inside(t.Context(), id, node, gat.Command{Argv: []string{"/bin/sh", "-c", `printf '%s|' "$1" "$V" "$PWD" "$JOB_ID.$SGE_TASK_ID"; cat; exit 3`, "sh", odd}, Env: []string{"V=a b"}, Dir: "/usr"})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		go func() {
			p.Stdin().Write(large)
			p.Stdin().Close()
		}()
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
	if out, code := inside(ids[1], 0); out != odd+"|a b|/usr|"+string(ids[1])+"|"+string(large) || code != 3 {
		t.Errorf("inside: %d bytes that begin with %.60q, status %d", len(out), out, code)
	}
	if out, code := inside(ids[1], 1); out != "" || code == 0 {
		t.Errorf("inside on a second node: %q, status %d", out, code)
	}
	if out, code := inside("77.1", 0); out != "" || code == 0 {
		t.Errorf("inside a job that is not there: %q, status %d", out, code)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "gat-inside-*")); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// A job of several nodes runs its command, with files, once on each.
func TestMulti(t *testing.T) {
	t.Parallel()
	f := fake(t)
	l := f.Open(t)
	defer l.Close()
	out, large := filepath.Join(f.Dir, "out"), make([]byte, 3<<20)
	rand.Read(large)
	ids, err := l.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/sh", "./f"}, Stderr: out, Files: []gat.JobFile{{Name: "f", Mode: 0o600, Data: []byte("echo $GAT_JOB $GAT_NODE $GAT_CORES $GAT_LEFT; exit 4\n")}, {Name: "large", Mode: 0o700, Data: large}},
		Resources: gat.Resources{Shape: gat.Multi, Nodes: 3}})
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		all, err := l.Status(t.Context(), ids...)
		if err != nil {
			t.Fatal(err)
		}
		if all[0].State == gat.Failed && all[0].Exit == 4 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the job is %v", all)
		}
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(text)), "\n")
	slices.Sort(got)
	if want := []string{"1 0 1 60", "1 1 1 60", "1 2 1 60"}; !slices.Equal(got, want) {
		t.Errorf("the nodes say %q, want %q", got, want)
	}
}
