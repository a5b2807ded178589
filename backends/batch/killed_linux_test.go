package batch_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
	f := batchtest.Slurm(t, slurm.Dialect(), local.Backend{})
	f.Write(t, "hold", "")
	l := f.Open(t)
	defer l.Close()
	script := carrying(t, f, l, "exec sleep 60")
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

// carrying returns the script of a job with files whose command is text.
func carrying(t *testing.T, f *batchtest.Fake, l gat.Login, text string) []byte {
	t.Helper()
	data := make([]byte, 2<<20)
	rand.Read(data)
	ids, err := l.Submit(t.Context(), gat.JobSpec{Argv: []string{"./tool"}, Files: []gat.JobFile{
		{Name: "data", Mode: 0o600, Data: data}, {Name: "tool", Mode: 0o700, Data: []byte("#!/bin/sh\n" + text + "\n")}}})
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
	return script
}

// What a job leaves that is killed, its script with it, the next one takes away; what
// a job that lives has made, or some process of one works in, it leaves alone.
func TestSweepsAfterKill(t *testing.T) {
	t.Parallel()
	f := batchtest.Slurm(t, slurm.Dialect(), local.Backend{})
	f.Write(t, "hold", "")
	l := f.Open(t)
	defer l.Close()
	script := carrying(t, f, l, "[ -z \"$STAY\" ] || exec sleep 1000")
	scratch := t.TempDir()
	start := func(env ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "/bin/sh")
		cmd.Stdin, cmd.Dir = bytes.NewReader(script), "/"
		cmd.Env = append(append(os.Environ(), "TMPDIR="+scratch), env...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		return cmd
	}
	dirs := func() []string {
		list, _ := filepath.Glob(filepath.Join(scratch, "gat-*"))
		return list
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
			if time.Now().After(deadline) {
				t.Fatalf("%s: there are %q", what, dirs())
			}
		}
	}
	live := start("STAY=1")
	wait("a job makes its directory", func() bool {
		list := dirs()
		if len(list) != 1 {
			return false
		}
		_, err := os.Stat(filepath.Join(list[0], "tool"))
		return err == nil
	})
	kept := dirs()[0]

	dead := start("STAY=1")
	wait("another makes its own", func() bool { return len(dirs()) == 2 })
	syscall.Kill(-dead.Process.Pid, syscall.SIGKILL)
	dead.Wait()
	if len(dirs()) != 2 {
		t.Fatalf("the killed one left %q", dirs())
	}
	run := func() {
		t.Helper()
		next := start()
		if err := next.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if got := dirs(); len(got) != 1 || got[0] != kept {
		t.Fatalf("after the next job there are %q, want %q", got, kept)
	}

	// The script is killed and its command lives on: the directory is in use.
	wait("its command works there", func() bool {
		list, _ := filepath.Glob("/proc/[0-9]*/cwd")
		for _, link := range list {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(link)))
			if dir, err := os.Readlink(link); err == nil && dir == kept && pid != live.Process.Pid {
				return true
			}
		}
		return false
	})
	live.Process.Kill()
	live.Wait()
	run()
	if got := dirs(); len(got) != 1 {
		t.Fatalf("a directory in use was taken away: there are %q", got)
	}
	syscall.Kill(-live.Process.Pid, syscall.SIGKILL)
	wait("it is removed when nobody works there", func() bool {
		run()
		return len(dirs()) == 0
	})
}
