package launcher_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// TestProgramFails runs programs that end in their own ways, one after the other, on a host.
func TestProgramFails(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	site := fmt.Sprintf("[site.plain]\nurl = %q\nslots = 3\nkeep = true\n", b.url(farm.Plain))
	for _, c := range []struct {
		name, body string
		exit       int
		signal     string
	}{
		{"exits 3", "[ $ZORILLA_RANK = 1 ] && exit 3\necho result $ZORILLA_RANK > r.txt\n", 3, ""},
		{"ended by a signal", "[ $ZORILLA_RANK = 1 ] && kill -SEGV $$\necho result $ZORILLA_RANK > r.txt\n", 139, "SIGSEGV"},
		{"failures that differ", "[ $ZORILLA_RANK = 1 ] && exit 3\n[ $ZORILLA_RANK = 2 ] && exit 4\necho result $ZORILLA_RANK > r.txt\n", 1, ""},
	} {
		r, events := b.run(launcher.Job{App: b.script(c.body), Workers: 3, Outputs: []string{"r.txt"}}, site, nil)
		if r.Outcome != launcher.OutcomeApp || r.Exit != c.exit {
			t.Errorf("%s: outcome %q, exit %d, error %v; want app, %d", c.name, r.Outcome, r.Exit, r.Err, c.exit)
		}
		if got, err := os.ReadFile(filepath.Join(r.Out, launcher.WorkerName(0), "r.txt")); err != nil || string(got) != "result 0\n" {
			t.Errorf("%s: the other worker's result is %q, error %v", c.name, got, err)
		}
		for _, e := range events {
			if w, ok := e.Data.(launcher.WorkerChanged); ok && w.State == "done" && w.Rank == 1 && w.Signal != c.signal {
				t.Errorf("%s: signal %q, want %q", c.name, w.Signal, c.signal)
			}
			if w, ok := e.Data.(launcher.WorkerChanged); ok && w.Attempt > 1 {
				t.Errorf("%s: started again: %+v", c.name, w)
			}
		}
	}
	b.exec(farm.Plain, "sh", "-c", "rm -r /tmp/zorilla-*") // keep = true keeps the pilot, and only that
	farm.NoLeftovers(t)
}

// TestDaemon is a worker that leaves a daemon: a grandchild in a session of its own, with
// its output elsewhere. It is gone before the worker counts as done.
func TestDaemon(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	body := "(setsid sh -c 'echo $$ > daemon.pid; exec sleep 1000' >/dev/null 2>&1 </dev/null &)\n" +
		"while [ ! -s daemon.pid ]; do sleep 0.02; done\necho pid $(cat daemon.pid)\n"
	x := b.start(launcher.Job{App: b.script(body + "[ $ZORILLA_RANK = 0 ] || {\n" + gateScript + "}\n"), Workers: 2},
		fmt.Sprintf("[site.plain]\nurl = %q\nslots = 2\n", b.url(farm.Plain)), nil)
	x.worker(0, 1, "done", 30*time.Second)
	x.running(2)
	pids := make(map[int]string)
	x.await("both daemons", 10*time.Second, func(e launcher.Event) bool {
		if o, ok := e.Data.(launcher.OutputWritten); ok {
			pids[o.Rank] = strings.TrimSpace(strings.TrimPrefix(string(o.Data), "pid "))
		}
		return len(pids) == 2
	})
	if got := b.exec(farm.Plain, "sh", "-c", "kill -0 "+pids[0]+" 2>/dev/null && echo alive || :"); got != "" {
		t.Errorf("the daemon of a worker that is done runs")
	}
	if got := b.exec(farm.Plain, "sh", "-c", "kill -0 "+pids[1]+" && echo alive"); got != "alive" {
		t.Errorf("the daemon of a worker that runs: %q", got)
	}
	b.openGates()
	wantOK(t, x.end(30*time.Second))
	b.clean(x.name)
}

// TestSpeaksAndGoes is many workers that write and end at once: nothing of it is lost.
func TestSpeaksAndGoes(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	const workers, size = 20, 100_000
	r, _ := b.run(launcher.Job{App: b.script(fmt.Sprintf("head -c %d /dev/zero | tr '\\0' y\nexec head -c %d /dev/zero >&2\n", size, size)), Workers: workers, Min: 4},
		b.pairOf(farm.Plain, farm.NoForward), func(o *launcher.Options) { o.Events = nil })
	wantOK(t, r)
	for rank := range workers {
		for _, name := range []string{"stdout", "stderr"} {
			info, err := os.Stat(filepath.Join(r.Out, launcher.WorkerName(rank), name))
			if err != nil || info.Size() != size {
				t.Errorf("rank %d: %s: %+v, error %v; want %d bytes", rank, name, info, err, size)
			}
		}
	}
	nothingHere(t, r.Run)
	farm.NoLeftovers(t)
}

// peak returns the most memory that a process has had resident, in bytes.
func peak(status string) int64 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// long reports whether tests may take long.
func long() bool { return os.Getenv("ZORILLA_LONG") != "" }

// TestFlood is a worker that prints as fast as it can: neither its pilot and hub nor the
// launcher, each in a process of its own, hold more than a bound of it.
func TestFlood(t *testing.T) {
	testbed.Require(t)
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	const size, bound = 300 << 20, 120 << 20
	body := fmt.Sprintf("head -c %d /dev/zero | tr '\\0' '\\n'\n", size) + "echo end >&2\n" + gateScript
	c := b.startChild(child{App: b.script(body), Workers: 1, Sites: fmt.Sprintf("[site.plain]\nurl = %q\nslots = 1\n", b.url(farm.Plain)), Quiet: true})
	stdout := filepath.Join(c.out, launcher.WorkerName(0), "stdout")
	eventually(t, "all of the output is home", 2*time.Minute, func() bool {
		info, err := os.Stat(stdout)
		return err == nil && info.Size() == size
	})
	t.Logf("%d MiB came home in %v", size>>20, time.Since(c.began))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	peaks := map[string]int64{"launcher": peak(string(status))}
	for _, role := range []string{"hub", "pilot"} {
		for _, pid := range b.agents(farm.Plain, c.session, role) {
			peaks[role] = peak(b.exec(farm.Plain, "cat", "/proc/"+pid+"/status"))
		}
	}
	for who, n := range peaks {
		t.Logf("%s: %d MiB at most", who, n>>20)
		if n == 0 || n > bound {
			t.Errorf("%s had %d MiB resident, want at most %d", who, n>>20, bound>>20)
		}
	}
	b.openGates()
	if err := c.wait(time.Minute); err != nil {
		t.Errorf("the launcher ended with %v", err)
	}
	b.clean(c.session)
}

// TestEndlessLine is a worker that writes a line without an end: it comes home byte by byte,
// in bounded memory.
func TestEndlessLine(t *testing.T) {
	testbed.Require(t)
	farm := testbed.Shared(t)
	b := newBench(t, farm)
	size, bound := int64(256<<20), int64(120<<20)
	if long() {
		size = 2 << 30
	}
	body := fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x\n", size) + "while [ ! -e " + filepath.Join(b.dir, "gate") + " ]; do sleep 0.05; done\n"
	c := b.startChild(child{App: b.script(body), Workers: 1, Sites: "[site.here]\nurl = \"local:\"\nslots = 1\n", Quiet: true})
	stdout := filepath.Join(c.out, launcher.WorkerName(0), "stdout")
	eventually(t, "all of the line is home", 5*time.Minute, func() bool {
		info, err := os.Stat(stdout)
		return err == nil && info.Size() == size
	})
	t.Logf("%d MiB came home in %v", size>>20, time.Since(c.began))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if n := peak(string(status)); n == 0 || n > bound {
		t.Errorf("the launcher had %d MiB resident, want at most %d", n>>20, bound>>20)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "gate"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.wait(time.Minute); err != nil {
		t.Errorf("the launcher ended with %v", err)
	}
	if err := onlyX(stdout, size); err != nil {
		t.Error(err)
	}
	nothingHere(t, c.session)
}

// onlyX checks that a file is a number of bytes x.
func onlyX(name string, size int64) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var n int64
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadSlice('\n')
		n += int64(len(line))
		if strings.Trim(string(line), "x") != "" {
			return fmt.Errorf("%s holds other bytes around %d", name, n)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if n != size {
			return fmt.Errorf("%s holds %d bytes, want %d: %v", name, n, size, err)
		}
		return nil
	}
}
