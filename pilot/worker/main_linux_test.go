package worker_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/pilot/worker"
)

// The test binary plays all parts: the guard, a pilot that is to be killed,
// and worker programs.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "guard":
			syscall.Exit(worker.GuardMain(os.Args[2:])) // not os.Exit: the race detector would wait a second
		case "guard-old":
			syscall.Exit(worker.GuardMainOld(os.Args[2:]))
		case "pilot":
			syscall.Exit(pilotMain(os.Args[2]))
		case "daemon":
			syscall.Exit(daemonMain(os.Args[2:]))
		case "sleep":
			fmt.Println(os.Getpid())
			time.Sleep(time.Hour)
		}
	}
	os.Exit(m.Run())
}

func self() string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return exe
}

func guardCommand() []string { return []string{self(), "guard"} }

// daemonMain makes a daemon twice removed, each in a session of its own and
// with all standard descriptors kept, prints its pid and ends.
func daemonMain(args []string) int {
	depth := 0
	if len(args) > 0 {
		depth, _ = strconv.Atoi(args[0])
	}
	next := []string{"daemon", strconv.Itoa(depth + 1)}
	if depth == 2 {
		next = []string{"sleep"}
	}
	cmd := exec.Command(self(), next...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 1
	}
	if depth > 0 || len(args) == 0 {
		return 0
	}
	cmd.Wait()
	return 0
}

// pilotMain is a pilot with two slots: in each a worker with a daemon; and
// staged files in a third. It prints the pids of guards and workers, then
// "ready", and waits to be killed.
func pilotMain(root string) int {
	y, err := worker.Open(worker.Config{Root: root, Guard: guardCommand(), Slots: 3})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for slot := range 2 {
		sb, err := y.Sandbox(slot, "w"+strconv.Itoa(slot))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		p, err := y.Start(context.Background(), worker.Spec{
			Slot: slot, ID: "w" + strconv.Itoa(slot),
			Argv: []string{"/bin/sh", "-c", `"$0" daemon; nohup sleep 1000 >nohup.out 2>&1 & echo $!; mkdir -p a/b; chmod 0 a/b; echo done; sleep 1000`, self()},
			Env:  []string{"PATH=/usr/bin:/bin", "ZORILLA_SCRATCH=" + sb.Path()},
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println("pid", p.PID())
		r := bufio.NewScanner(p.Stdout)
		for seen := 0; seen < 3 && r.Scan(); seen++ { // daemon, nohup and done, in whatever order
			if r.Text() != "done" {
				fmt.Println("pid", r.Text())
			}
		}
	}
	sb, err := y.Sandbox(2, "staged")
	if err == nil {
		err = sb.Root().WriteFile("input", []byte("x"), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, g := range y.GuardPIDs() {
		fmt.Println("guard", g)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// eventually waits for a condition that has no channel to wait on: the state
// of other processes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// alive tells whether a process runs or still holds files; a zombie does not,
// once all its threads are gone.
func alive(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	if threads, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task")); err == nil && len(threads) > 1 {
		return true
	}
	rest := string(b[strings.LastIndexByte(string(b), ')')+1:])
	return !strings.HasPrefix(strings.TrimSpace(rest), "Z")
}

func open(t *testing.T, slots int) *worker.Yard {
	t.Helper()
	return openWith(t, worker.Config{Slots: slots})
}

func openWith(t *testing.T, cfg worker.Config) *worker.Yard {
	t.Helper()
	if cfg.Root == "" {
		cfg.Root = filepath.Join(t.TempDir(), "pilot")
	}
	if cfg.Guard == nil {
		cfg.Guard = guardCommand()
	}
	y, err := worker.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := y.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(cfg.Root); err == nil {
			t.Errorf("%s is still there after Close", cfg.Root)
		}
	})
	return y
}
