package worker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/pilot/worker"
)

var path = []string{"PATH=/usr/bin:/bin"}

// drain reads both streams to their end.
func drain(p *worker.Process) (stdout, stderr string) {
	var wg sync.WaitGroup
	wg.Go(func() {
		b, _ := io.ReadAll(p.Stderr)
		stderr = string(b)
		p.Stderr.Close()
	})
	b, _ := io.ReadAll(p.Stdout)
	p.Stdout.Close()
	wg.Wait()
	return string(b), stderr
}

func start(t *testing.T, y *worker.Yard, s worker.Spec) *worker.Process {
	t.Helper()
	p, err := y.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func sh(id, script string) worker.Spec {
	return worker.Spec{ID: id, Argv: []string{"/bin/sh", "-c", script}, Env: path}
}

// exit waits for the end, not for ever.
func exit(t *testing.T, p *worker.Process) worker.Exit {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(20 * time.Second):
		t.Fatalf("worker %d has not ended within 20 s", p.PID())
	}
	return p.Exit()
}

func TestExit(t *testing.T) {
	for _, tt := range []struct {
		script string
		want   string
		code   int
		signal syscall.Signal
	}{
		{"exit 0", "exit status 0", 0, 0},
		{"exit 3", "exit status 3", 3, 0},
		{"exit 255", "exit status 255", 255, 0},
		{"kill -KILL $$", "killed by SIGKILL", -1, syscall.SIGKILL},
		{"kill -SEGV $$", "killed by SIGSEGV", -1, syscall.SIGSEGV},
		{"kill -TERM $$", "killed by SIGTERM", -1, syscall.SIGTERM},
	} {
		for _, guard := range []string{"guard", "guard-old"} {
			t.Run(guard+"/"+tt.script, func(t *testing.T) {
				y := openWith(t, worker.Config{Slots: 1, Guard: []string{self(), guard}})
				p := start(t, y, sh("w", "echo out; echo err >&2; "+tt.script))
				out, serr := drain(p)
				e := exit(t, p)
				if e.String() != tt.want || e.Code != tt.code || e.Signal != tt.signal || e.Killed || e.Err != nil || e.Swept != 0 {
					t.Errorf("exit of %q = %+v, want %s", tt.script, e, tt.want)
				}
				if out != "out\n" || serr != "err\n" {
					t.Errorf("output %q and %q", out, serr)
				}
				if e.MaxRSS == 0 {
					t.Errorf("no resource use in %+v", e)
				}
			})
		}
	}
}

// A worker sees its arguments, its environment and nothing else, its
// directory, and no descriptor but the standard ones and the lock.
func TestWorld(t *testing.T) {
	y := open(t, 1)
	sb, err := y.Sandbox(0, "w")
	if err != nil {
		t.Fatal(err)
	}
	if err := sb.Root().Mkdir("sub", 0o755); err != nil {
		t.Fatal(err)
	}
	s := sh("w", `pwd; echo "$1|$A"; env | sort | grep -v -e ^PWD -e ^_ -e ^SHLVL -e ^OLDPWD; cd /proc/self/fd; echo *; cat; grep SigIgn /proc/self/status`)
	s.Argv = append(s.Argv, "x", "an argument")
	s.Env = []string{"A=b c", "PATH=/usr/bin:/bin"}
	s.Dir = "sub"
	p := start(t, y, s)
	out, serr := drain(p)
	want := fmt.Sprintf("%s\nan argument|b c\nA=b c\nPATH=/usr/bin:/bin\n0 1 100 2 3\nSigIgn:\t0000000000000000\n", filepath.Join(sb.Path(), "sub"))
	out = strings.Replace(out, "0 1 10 100 2 3", "0 1 100 2 3", 1) // dash keeps 10 for itself while it reads the directory
	out = strings.Replace(out, "0 1 100 2\n", "0 1 100 2 3\n", 1)
	if out != want || serr != "" {
		t.Errorf("worker saw\n%s%s\nwant\n%s", out, serr, want)
	}
	if e := exit(t, p); !e.Success() {
		t.Errorf("exit %v", e)
	}
}

func TestStdin(t *testing.T) {
	y := open(t, 1)
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("from a file\n")
	f.Seek(0, io.SeekStart)
	s := sh("w", "cat")
	s.Stdin = f
	p := start(t, y, s)
	f.Close()
	if out, _ := drain(p); out != "from a file\n" {
		t.Errorf("got %q", out)
	}
	exit(t, p)

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s = sh("v", "cat")
	s.Stdin = r
	p = start(t, y, s)
	r.Close()
	w.WriteString("from a pipe\n")
	w.Close()
	if out, _ := drain(p); out != "from a pipe\n" {
		t.Errorf("got %q", out)
	}
	exit(t, p)
}

// A daemon that leaves its session and keeps the output open is killed with
// its worker, and the output ends.
func TestDaemonSwept(t *testing.T) {
	for _, guard := range []string{"guard", "guard-old"} {
		t.Run(guard, func(t *testing.T) {
			y := openWith(t, worker.Config{Slots: 1, Guard: []string{self(), guard}})
			p := start(t, y, worker.Spec{ID: "w", Argv: []string{"/bin/sh", "-c", `"$0" daemon >pids; (sleep 1000 &); until [ -s pids ]; do sleep 0.01; done; cat pids; exit 4`, self()}, Env: path})
			out, serr := drain(p)
			e := exit(t, p)
			if e.Code != 4 || e.Swept < 2 || e.Left != 0 {
				t.Errorf("exit %#v, want status 4 and two swept at least; %s", e, serr)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(out))
			if err != nil {
				t.Fatal(err)
			}
			if alive(pid) {
				t.Errorf("daemon %d lives", pid)
			}
			p = start(t, y, sh("next", "exit 0"))
			drain(p)
			if e := exit(t, p); !e.Success() || e.Swept != 0 {
				t.Errorf("next worker: %+v", e)
			}
		})
	}
}

// A tree that forks as fast as it can ends too.
func TestForkerSwept(t *testing.T) {
	y := open(t, 1)
	p := start(t, y, sh("w", `f() { while :; do (sleep 0.01 &); done; }; f & f & sleep 0.3; exit 0`))
	drain(p)
	if e := exit(t, p); e.Code != 0 || e.Swept < 2 || e.Left != 0 {
		t.Errorf("exit %#v", e)
	}
}

func TestKill(t *testing.T) {
	y := open(t, 1)
	begin := func(id, script string, grace time.Duration) *worker.Process {
		s := sh(id, script)
		s.KillGrace = grace
		p := start(t, y, s)
		if line, err := bufio.NewReader(p.Stdout).ReadString('\n'); line != "up\n" {
			t.Fatalf("%q, %v", line, err)
		}
		return p
	}
	p := begin("polite", `trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done`, 0)
	p.Kill(time.Minute)
	if e := exit(t, p); e.Code != 7 || !e.Killed {
		t.Errorf("polite worker: %+v", e)
	}
	p = begin("stubborn", `trap '' TERM; echo up; while :; do sleep 0.01; done`, 50*time.Millisecond)
	p.Kill(-1)
	if e := exit(t, p); e.Signal != syscall.SIGKILL || !e.Killed {
		t.Errorf("stubborn worker: %+v", e)
	}
	p = begin("shortened", `trap '' TERM; echo up; while :; do sleep 0.01; done`, 0)
	p.Kill(time.Hour)
	p.Kill(0)
	if e := exit(t, p); e.Signal != syscall.SIGKILL || !e.Killed {
		t.Errorf("shortened grace: %+v", e)
	}
	p = begin("stopped", `echo up; kill -STOP $$`, 0)
	p.Kill(time.Minute)
	if e := exit(t, p); e.Signal != syscall.SIGTERM || !e.Killed {
		t.Errorf("stopped worker: %+v", e)
	}
	p.Kill(0) // does nothing

	p = begin("whole-tree", `trap '' TERM; (trap '' TERM; while :; do sleep 0.01; done) & echo up; wait; wait`, 0)
	p.Kill(20 * time.Millisecond)
	if e := exit(t, p); !e.Killed {
		t.Errorf("whole tree: %+v", e)
	}
	drain(p) // ends only if the child is dead
}

func TestCannotStart(t *testing.T) {
	y := open(t, 1)
	for _, tt := range []struct {
		name string
		prep func(*os.Root) error
		spec worker.Spec
		is   error
		say  string
	}{
		{"missing", nil, worker.Spec{Argv: []string{"/no/such/program"}}, fs.ErrNotExist, "no such file"},
		{"missing here", nil, worker.Spec{Argv: []string{"./app"}}, fs.ErrNotExist, "./app"},
		{"not in path", nil, worker.Spec{Argv: []string{"no-such-program"}, Env: path}, fs.ErrNotExist, "PATH of the worker"},
		{"not executable", func(r *os.Root) error { return r.WriteFile("app", []byte("#!/bin/sh\n"), 0o644) },
			worker.Spec{Argv: []string{"./app"}}, fs.ErrPermission, "chmod +x"},
		{"directory", func(r *os.Root) error { return r.Mkdir("app", 0o755) },
			worker.Spec{Argv: []string{"./app"}}, fs.ErrPermission, "it is a directory"},
		{"no interpreter", func(r *os.Root) error { return r.WriteFile("app", []byte("#!/no/such/sh\n"), 0o755) },
			worker.Spec{Argv: []string{"./app"}}, fs.ErrNotExist, "interpreter"},
		{"no format", func(r *os.Root) error { return r.WriteFile("app", []byte("hello\n"), 0o755) },
			worker.Spec{Argv: []string{"./app"}}, syscall.ENOEXEC, "exec format error"},
		{"empty argv", nil, worker.Spec{}, nil, "no command"},
		{"zero byte", nil, worker.Spec{Argv: []string{"/bin/true", "a\x00b"}}, nil, "zero byte"},
		{"too long", nil, worker.Spec{Argv: []string{"/bin/true", strings.Repeat("x", 1<<20)}}, syscall.E2BIG, "argument list too long"},
		{"far too long", nil, worker.Spec{Argv: []string{"/bin/true", strings.Repeat("x", 16<<20)}}, nil, "at most"},
		{"dir outside", nil, worker.Spec{Argv: []string{"/bin/true"}, Dir: "../.."}, nil, "escapes"},
		{"dir missing", nil, worker.Spec{Argv: []string{"/bin/true"}, Dir: "d"}, fs.ErrNotExist, "working directory"},
		{"dir is a link out", func(r *os.Root) error { return r.Symlink("/etc", "d") },
			worker.Spec{Argv: []string{"/bin/true"}, Dir: "d"}, nil, "escapes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.spec.ID = "w"
			sb, err := y.Sandbox(0, "w")
			if err != nil {
				t.Fatal(err)
			}
			defer sb.Remove()
			if tt.prep != nil {
				if err := tt.prep(sb.Root()); err != nil {
					t.Fatal(err)
				}
			}
			_, err = y.Start(t.Context(), tt.spec)
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("Start(%.60q) = %.300v, want %v and %q", tt.spec.Argv, err, tt.is, tt.say)
			}
		})
	}
	p := start(t, y, sh("after", "exit 0"))
	drain(p)
	if e := exit(t, p); !e.Success() {
		t.Errorf("worker after the refused ones: %v", e)
	}
}

func TestBadUse(t *testing.T) {
	y := open(t, 2)
	for _, id := range []string{"", ".", "..", "a/b", "../x", ".hidden", "-rf", "a b", "ä", strings.Repeat("x", 200)} {
		if _, err := y.Sandbox(0, id); err == nil {
			t.Errorf("sandbox %q was made", id)
		}
	}
	for _, slot := range []int{-1, 2} {
		if _, err := y.Sandbox(slot, "x"); err == nil {
			t.Errorf("sandbox in slot %d was made", slot)
		}
	}
	if _, err := y.Sandbox(0, "w"); err != nil {
		t.Fatal(err)
	}
	if _, err := y.Sandbox(1, "w"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second sandbox of one ID: %v", err)
	}
	p := start(t, y, sh("w", "sleep 1000"))
	if _, err := y.Start(t.Context(), sh("v", "exit 0")); !errors.Is(err, worker.ErrBusy) {
		t.Errorf("start in a busy slot: %v", err)
	}
	p.Kill(0)
	exit(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := y.Start(ctx, sh("v", "exit 0")); !errors.Is(err, context.Canceled) {
		t.Errorf("start with a dead context: %v", err)
	}
}

// Long arguments do not fit into one buffer of anything.
func TestLongArguments(t *testing.T) {
	y := open(t, 1)
	s := sh("w", `echo "$#" "$20" | wc -c; printf %s "$@" | wc -c`)
	s.Argv = append(s.Argv, "x")
	for range 12 {
		s.Argv = append(s.Argv, strings.Repeat("y", 100_000))
	}
	p := start(t, y, s)
	out, serr := drain(p)
	if f := strings.Fields(out); len(f) != 2 || f[1] != "1200000" {
		t.Errorf("got %q, %q", out, serr)
	}
	exit(t, p)
}

// The output is read at full speed and arrives whole.
func TestOutput(t *testing.T) {
	y := open(t, 1)
	const size = 256 << 20
	p := start(t, y, sh("w", fmt.Sprintf("head -c %d /dev/zero", size)))
	begin := time.Now()
	n, err := io.Copy(io.Discard, p.Stdout)
	if n != size || err != nil {
		t.Errorf("read %d bytes, %v; want %d", n, err, size)
	}
	t.Logf("%.0f MB/s", size/1e6/time.Since(begin).Seconds())
	exit(t, p)

	p = start(t, y, sh("v", "sleep 1000"))
	if err := p.Stdout.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Stdout.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read past the deadline: %v", err)
	}
	p.Kill(0)
	exit(t, p)
}

// The sandbox can be removed whatever the worker has done to it.
func TestRemove(t *testing.T) {
	y := open(t, 1)
	p := start(t, y, sh("w", `mkdir -p a/b/c; echo x >a/b/c/f; ln -s / a/link; mkfifo a/fifo; chmod 0 a/b/c a/b; chmod 500 a`))
	drain(p)
	exit(t, p)
	if err := p.Sandbox.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(p.Sandbox.Path()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("sandbox is there: %v", err)
	}
	if _, err := y.Sandbox(0, "w"); err != nil {
		t.Errorf("same ID again: %v", err)
	}
}

// Many launches leave no descriptor and no process.
func TestNoLeak(t *testing.T) {
	y := open(t, 1)
	count := func() int {
		e, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(e)
	}
	guardFDs := func() int {
		e, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", y.GuardPIDs()[0]))
		if err != nil {
			t.Fatal(err)
		}
		return len(e)
	}
	once := func(id string) {
		s := sh(id, "sleep 1000 & exit 0")
		s.Stdin, _ = os.Open("/dev/zero")
		defer s.Stdin.Close()
		p := start(t, y, s)
		drain(p)
		if e := exit(t, p); e.Swept != 1 {
			t.Fatalf("%+v", e)
		}
		if err := p.Sandbox.Remove(); err != nil {
			t.Fatal(err)
		}
		y.Start(t.Context(), worker.Spec{ID: id, Argv: []string{"/no/such/program"}}) // leaks neither
	}
	once("first")
	fds, gfds := count(), guardFDs()
	for i := range 200 {
		once("w" + strconv.Itoa(i))
	}
	if n := count(); n > fds+2 {
		t.Errorf("%d descriptors after 200 launches, %d before", n, fds)
	}
	if n := guardFDs(); n != gfds {
		t.Errorf("%d descriptors in the guard after 200 launches, %d before", n, gfds)
	}
	guard := y.GuardPIDs()[0]
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", guard, guard)); err == nil && len(b) > 0 {
		t.Errorf("guard has children: %s", b)
	}
}

func TestClose(t *testing.T) {
	root := filepath.Join(t.TempDir(), "pilot")
	y, err := worker.Open(worker.Config{Root: root, Guard: guardCommand(), Slots: 2})
	if err != nil {
		t.Fatal(err)
	}
	s := sh("w", `trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.01; done`)
	s.KillGrace = time.Minute
	p := start(t, y, s)
	r := bufio.NewReader(p.Stdout)
	r.ReadString('\n')
	guards := y.GuardPIDs()
	if err := y.Close(); err != nil {
		t.Error(err)
	}
	if e := exit(t, p); e.Code != 5 || !e.Killed {
		t.Errorf("exit %#v", e)
	}
	if line, _ := r.ReadString('\n'); line != "bye\n" {
		t.Errorf("last words %q", line)
	}
	for _, g := range guards {
		if alive(g) {
			t.Errorf("guard %d lives", g)
		}
	}
	if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("root is there: %v", err)
	}
	if _, err := y.Start(t.Context(), sh("x", "exit 0")); !errors.Is(err, worker.ErrClosed) {
		t.Errorf("start after close: %v", err)
	}
	if err := y.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}
