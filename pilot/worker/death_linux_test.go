package worker_test

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/pilot/worker"
)

// victim is a pilot in a process of its own.
type victim struct {
	*exec.Cmd
	root           string
	workers, guard []int
}

func newVictim(t *testing.T, parent string) *victim {
	t.Helper()
	v := &victim{root: filepath.Join(parent, "victim")}
	v.Cmd = exec.Command(self(), "pilot", v.root)
	v.Stderr = os.Stderr
	stdin, err := v.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := v.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		v.Process.Kill()
		v.Wait()
	})
	for r := bufio.NewScanner(out); r.Scan() && r.Text() != "ready"; {
		kind, num, _ := strings.Cut(r.Text(), " ")
		pid, err := strconv.Atoi(num)
		if err != nil {
			t.Fatalf("pilot says %q", r.Text())
		}
		if kind == "guard" {
			v.guard = append(v.guard, pid)
		} else {
			v.workers = append(v.workers, pid)
		}
	}
	if len(v.workers) != 6 || len(v.guard) != 3 {
		t.Fatalf("pilot has workers %v and guards %v, want 6 and 3", v.workers, v.guard)
	}
	return v
}

func noneAlive(pids ...int) func() bool {
	return func() bool {
		for _, p := range pids {
			if alive(p) {
				return false
			}
		}
		return true
	}
}

func gone(path string) func() bool {
	return func() bool {
		_, err := os.Lstat(path)
		return errors.Is(err, fs.ErrNotExist)
	}
}

func TestPilotKilled(t *testing.T) {
	v := newVictim(t, t.TempDir())
	if cleaned, err := worker.Sweep(v.root); len(cleaned) > 0 || err != nil {
		t.Errorf("sweep beside a live pilot: %v, %v", cleaned, err)
	}
	if !gone(v.root)() != true || !alive(v.workers[0]) {
		t.Error("the sweep harmed a live pilot")
	}
	v.Process.Kill()
	v.Wait()
	eventually(t, "all processes gone", noneAlive(append(v.workers, v.guard...)...))
	eventually(t, "root removed", gone(v.root))
}

// When pilot and guards die at once, the next pilot's sweep does the rest.
func TestAllKilled(t *testing.T) {
	v := newVictim(t, t.TempDir())
	v.Process.Signal(syscall.SIGSTOP) // or it would start to clean up
	for _, g := range v.guard {
		syscall.Kill(g, syscall.SIGKILL)
	}
	v.Process.Kill()
	v.Wait()
	eventually(t, "guards gone", noneAlive(v.guard...))
	if gone(v.root)() {
		t.Fatal("there is nothing to sweep: the test tests nothing")
	}
	cleaned, err := worker.Sweep(filepath.Join(filepath.Dir(v.root), "mine"))
	if err != nil || len(cleaned) != 1 || cleaned[0] != v.root {
		t.Errorf("Sweep = %v, %v; want %s", cleaned, err, v.root)
	}
	eventually(t, "last threads of the workers gone", noneAlive(v.workers...))
	if !gone(v.root)() {
		t.Errorf("%s is there", v.root)
	}
}

// A pilot may open the root of a dead one, which is then empty.
func TestOpenDeadRoot(t *testing.T) {
	v := newVictim(t, t.TempDir())
	if _, err := worker.Open(worker.Config{Root: v.root, Guard: guardCommand(), Slots: 1}); !errors.Is(err, worker.ErrInUse) {
		t.Errorf("root of a live pilot: %v", err)
	}
	v.Process.Signal(syscall.SIGSTOP)
	for _, g := range v.guard {
		syscall.Kill(g, syscall.SIGKILL)
	}
	v.Process.Kill()
	v.Wait()
	eventually(t, "guards gone", noneAlive(v.guard...))
	openWith(t, worker.Config{Root: v.root, Slots: 1})
	eventually(t, "last threads of the workers gone", noneAlive(v.workers...))
	if left, _ := filepath.Glob(filepath.Join(v.root, "slot-*")); len(left) > 0 {
		t.Errorf("left in the root: %v", left)
	}
}

// A guard dies: its worker is lost, its daemons die, the other slot does not
// notice, and the next worker gets a new guard.
func TestGuardKilled(t *testing.T) {
	y := open(t, 2)
	bystander := start(t, y, worker.Spec{Slot: 1, ID: "by", Argv: []string{"/bin/sh", "-c", "setsid sleep 1000 & exec sleep 1000"}, Env: path})
	other := y.GuardPIDs()[0]
	child := exec.Command("sleep", "1000") // of this process, not of a guard
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		child.Process.Kill()
		child.Wait()
	}()
	for i := range 3 {
		p := start(t, y, worker.Spec{ID: "w" + strconv.Itoa(i), Argv: []string{"/bin/sh", "-c", `"$0" daemon; sleep 1000`, self()}, Env: path})
		line, err := bufio.NewReader(p.Stdout).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		daemon, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range y.GuardPIDs() {
			if g != other {
				syscall.Kill(g, syscall.SIGKILL)
			}
		}
		e := exit(t, p)
		if !errors.Is(e.Err, worker.ErrLost) || e.Code != -1 || e.Killed {
			t.Errorf("exit %#v, want it lost", e)
		}
		eventually(t, "last threads of worker and daemon gone", noneAlive(daemon, p.PID()))
		drain(p)
	}
	p := start(t, y, sh("next", "exit 0"))
	drain(p)
	if e := exit(t, p); !e.Success() {
		t.Errorf("next worker: %v", e)
	}
	for _, g := range y.GuardPIDs() { // idle ones die unnoticed
		if g != other {
			syscall.Kill(g, syscall.SIGKILL)
			eventually(t, "guard's death noticed", func() bool { return !slices.Contains(y.GuardPIDs(), g) })
		}
	}
	p = start(t, y, sh("after", "exit 0"))
	drain(p)
	if e := exit(t, p); !e.Success() {
		t.Errorf("worker after an idle guard's death: %v", e)
	}
	if !alive(bystander.PID()) || !alive(other) {
		t.Error("the other slot was harmed")
	}
	if !alive(child.Process.Pid) {
		t.Error("a child of the pilot was harmed")
	}
	bystander.Kill(0)
	if e := exit(t, bystander); e.Signal != syscall.SIGKILL {
		t.Errorf("bystander: %+v", e)
	}
}

func TestHostileRoot(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		prep func(path string) error
		say  string
	}{
		{"group", func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o750)) }, "mode is 0750"},
		{"world", func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o701)) }, "mode is 0701"},
		{"link", func(p string) error { return errors.Join(os.Mkdir(p+".d", 0o700), os.Symlink(p+".d", p)) }, "symbolic link"},
		{"file", func(p string) error { return os.WriteFile(p, nil, 0o600) }, "not a directory"},
		{"foreign", func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chown(p, 65534, 65534)) }, "belongs to user id 65534"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "foreign" && os.Geteuid() != 0 {
				t.Skip("only root can give a directory away")
			}
			root := filepath.Join(dir, tt.name)
			if err := tt.prep(root); err != nil {
				t.Fatal(err)
			}
			_, err := worker.Open(worker.Config{Root: root, Guard: guardCommand(), Slots: 1})
			if !errors.Is(err, worker.ErrHostile) || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("Open = %v, want %v with %q", err, worker.ErrHostile, tt.say)
			}
			if cleaned, err := worker.Sweep(root); len(cleaned) > 0 || err != nil {
				t.Errorf("Sweep = %v, %v", cleaned, err)
			}
		})
	}
	if _, err := worker.Open(worker.Config{Root: filepath.Join(dir, "no", "parent"), Guard: guardCommand(), Slots: 1}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open without a parent: %v", err)
	}
	for _, cfg := range []worker.Config{{}, {Root: "x"}, {Root: "x", Slots: -1}, {Root: "x", Slots: 1 << 20}, {Root: "x", Slots: 1}} {
		if _, err := worker.Open(cfg); err == nil {
			t.Errorf("Open(%+v) succeeded", cfg)
		}
	}
}

// What is not a yard's stays: unmarked directories beside it, and files of
// others in a root.
func TestSweepLeavesOthers(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	os.Mkdir(precious, 0o700)
	os.MkdirAll(filepath.Join(precious, "slot-0"), 0o700)
	v := newVictim(t, dir)
	mine := filepath.Join(v.root, "mine")
	os.WriteFile(mine, []byte("x"), 0o600)
	v.Process.Kill()
	v.Wait()
	eventually(t, "guards gone", noneAlive(v.guard...))
	if cleaned, err := worker.Sweep(v.root); err != nil || len(cleaned) > 0 {
		t.Errorf("Sweep = %v, %v", cleaned, err)
	}
	left, _ := filepath.Glob(filepath.Join(v.root, "*"))
	if len(left) != 1 || left[0] != mine {
		t.Errorf("in the root: %v, want %s only", left, mine)
	}
	if gone(filepath.Join(precious, "slot-0"))() {
		t.Error("the sweep removed what no yard has made")
	}
}

// A guard that does not answer is given up within the time for a start, or
// when the caller gives up; one that takes no order is replaced.
func TestGuardStopped(t *testing.T) {
	const limit = time.Second
	y := openWith(t, worker.Config{Slots: 1, StartTimeout: limit})
	run := func(args ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			p, err := y.Start(ctx, worker.Spec{ID: "w", Argv: append([]string{"/bin/true"}, args...)})
			if err != nil {
				return err
			}
			drain(p)
			return p.Exit().Err
		}
	}
	long := slices.Repeat([]string{strings.Repeat("x", 100<<10)}, 15) // more than a socket holds
	for _, tt := range []struct {
		name  string
		start func(context.Context) error
		give  time.Duration
		want  string
	}{
		{name: "no answer", start: run(), give: time.Hour, want: "did not answer within 1s"},
		{name: "caller gives up", start: run(), give: 10 * time.Millisecond, want: context.DeadlineExceeded.Error()},
		{name: "no place for the order", start: run(long...), give: time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sb, err := y.Sandbox(0, "w")
			if err != nil {
				t.Fatal(err)
			}
			defer sb.Remove()
			stopped := y.GuardPIDs()[0]
			syscall.Kill(stopped, syscall.SIGSTOP)
			ctx, cancel := context.WithTimeout(t.Context(), tt.give)
			defer cancel()
			err = tt.start(ctx)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("start = %.300v, want %q", err, tt.want)
			}
			if alive(stopped) {
				t.Errorf("guard %d lives", stopped)
			}
		})
	}
	if err := run()(t.Context()); err != nil {
		t.Errorf("next worker: %v", err)
	}
}
