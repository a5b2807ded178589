//go:build unix

package ssh_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/ssh"
	"github.com/zorilla-grid/zorilla/gat"
)

// A job is its process and not its number: another start time or another boot
// is another job, which neither runs nor is killed.
func TestReusedNumber(t *testing.T) {
	t.Parallel()
	_, tg := setup(t, "h")
	l := login(t, ssh.Backend{}, tg)
	ids, err := l.Submit(t.Context(), gat.JobSpec{Argv: []string{"/bin/sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Cancel(context.Background(), ids...)
	part := strings.Split(string(ids[0]), ".")
	if len(part) != 3 {
		t.Fatalf("identifier %q", ids[0])
	}
	others := []gat.JobID{
		gat.JobID(part[0] + ".1." + part[2]),
		gat.JobID(part[0] + "." + part[1] + "0." + part[2]),
		gat.JobID(part[0] + "." + part[1] + ".00000000"),
	}
	if err := l.Cancel(t.Context(), others...); err != nil {
		t.Fatal(err)
	}
	all, err := l.Status(t.Context(), append(others, ids...)...)
	if err != nil {
		t.Fatal(err)
	}
	for i, st := range all {
		if want := gat.Unknown; i < len(others) && st.State != want {
			t.Errorf("%s is %v, want %v", st.ID, st.State, want)
		}
	}
	if st := all[len(others)]; st.State != gat.Running {
		t.Errorf("the job itself is %v", st.State)
	}
}

// A job that ignores the polite signal is killed, with what it started.
func TestCancelStubborn(t *testing.T) {
	t.Parallel()
	_, tg := setup(t, "h")
	l := login(t, ssh.Backend{}, tg)
	fifo := filepath.Join(t.TempDir(), "alive")
	if _, errs, code := run(t, l, "mkfifo", fifo); code != 0 {
		t.Fatal(errs)
	}
	ids, err := l.Submit(t.Context(), gat.JobSpec{
		Argv: []string{"/bin/sh", "-c", `trap '' TERM; exec 9>"$1"; sleep 1000 & sleep 1000; sleep 1000`, "x", fifo},
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(fifo) // when the job opens it too
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := l.Cancel(t.Context(), ids...); err != nil {
		t.Fatal(err)
	}
	f.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := f.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after cancel something of the job lives on: %v", err)
	}
}

func TestSubmitRefused(t *testing.T) {
	t.Parallel()
	_, tg := setup(t, "h")
	l := login(t, ssh.Backend{}, tg)
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spec  gat.JobSpec
		class gat.Class
		says  string
	}{
		"no program":     {gat.JobSpec{Argv: []string{dir + "/none"}}, gat.NotFound, dir + "/none"},
		"not executable": {gat.JobSpec{Argv: []string{plain}}, gat.Permanent, "not executable"},
		"a directory":    {gat.JobSpec{Argv: []string{dir}}, gat.Permanent, "not executable"},
		"no directory":   {gat.JobSpec{Argv: []string{"/bin/sh"}, Dir: dir + "/none"}, gat.NotFound, dir + "/none"},
		"no output":      {gat.JobSpec{Argv: []string{"/bin/sh"}, Stderr: dir + "/none/out"}, gat.Permanent, "output"},
	} {
		ids, err := l.Submit(t.Context(), c.spec)
		if gat.ClassOf(err) != c.class || err == nil || !strings.Contains(err.Error(), c.says) || len(ids) > 0 {
			t.Errorf("%s: %q, %v (class %v)", name, ids, err, gat.ClassOf(err))
		}
	}
}
