package batch_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/backends/slurm"
	"github.com/zorilla-grid/zorilla/gat"
)

// A job that is ended while it still unpacks its files leaves nothing of them.
func TestEndedWhileUnpacking(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the small queue needs setsid and /proc")
	}
	f := batchtest.Slurm(t, slurm.Dialect(), local.Backend{})
	f.Write(t, "hold", "")
	l := f.Open(t)
	defer l.Close()
	data := make([]byte, 2<<20)
	rand.Read(data)
	ids, err := l.Submit(t.Context(), gat.JobSpec{Argv: []string{"./tool"}, Files: []gat.JobFile{
		{Name: "data", Mode: 0o600, Data: data}, {Name: "tool", Mode: 0o700, Data: []byte("#!/bin/sh\nexec sleep 60\n")}}})
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(f.Dir, "jobs", string(ids[0]), "script"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Cancel(t.Context(), ids...); err != nil {
		t.Fatal(err)
	}
	f.Remove(t, "hold")
	begun := 0
	for n := range 12 {
		scratch := t.TempDir()
		cmd := exec.CommandContext(t.Context(), "/bin/sh")
		cmd.Stdin, cmd.Dir = bytes.NewReader(script), "/"
		cmd.Env = append(os.Environ(), "TMPDIR="+scratch)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The directory is made at once and filled for a while.
		tick := time.NewTicker(time.Millisecond)
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
			if list, _ := os.ReadDir(scratch); len(list) > 0 {
				begun++
				break
			}
		}
		tick.Stop()
		time.AfterFunc(time.Duration(n*4)*time.Millisecond, func() { cmd.Process.Signal(syscall.SIGTERM) })
		cmd.Wait()
		if left, _ := filepath.Glob(filepath.Join(scratch, "*")); len(left) > 0 {
			t.Errorf("ended after %d ms it left %q", n*4, left)
		}
	}
	if begun == 0 {
		t.Error("no script made its directory")
	}
}
