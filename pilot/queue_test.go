//go:build linux

package pilot

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
)

// queued is the boot record of a pilot that a scheduler starts on a host of
// which nobody knows anything, with the directory that it will find.
func (w *world) queued() (b Boot, scratch string) {
	w.t.Helper()
	b = w.boot(wire.RolePilot)
	scratch = w.t.TempDir()
	b.Base, b.Scratch, b.Slots = "", scratch, 0
	return b, scratch
}

// A submission is how a scheduler starts an agent: with a directory of its own
// that holds the program and the boot file, or with those that others use too.
type submission struct {
	dir string // that the job came with
	cmd *exec.Cmd
}

// carry puts this program and a boot record into a directory, as a job's script
// unpacks them.
func (w *world) carry(b Boot, env ...string) *submission {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "job")
	if err := os.Mkdir(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	data, err := b.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "boot"), data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	from, err := os.Open(os.Args[0])
	if err != nil {
		w.t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, "pilot"), os.O_CREATE|os.O_WRONLY, 0o700)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		w.t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		w.t.Fatal(err)
	}
	s := &submission{dir: dir, cmd: exec.Command("./pilot", "agent", string(b.Session), "boot")}
	s.cmd.Dir = dir
	s.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "HOME=") || strings.HasPrefix(kv, "TMPDIR=") || strings.HasPrefix(kv, "GAT_")
	}), env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return s
}

func (w *world) run(s *submission) *process {
	w.t.Helper()
	p := &process{t: w.t, ended: make(chan struct{}), cmd: s.cmd}
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = patience // whoever keeps the pipe open has not ended
	for try := 0; ; try++ {
		err := p.cmd.Start()
		if err == nil {
			break
		}
		if try == 100 { // others are forked while the program is written
			w.t.Fatal(err)
		}
		<-time.After(5 * time.Millisecond)
		p.cmd = &exec.Cmd{Path: s.cmd.Path, Args: s.cmd.Args, Dir: s.cmd.Dir, Env: s.cmd.Env, SysProcAttr: s.cmd.SysProcAttr, Stderr: &p.stderr, WaitDelay: patience}
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	w.t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

// until waits for something to be so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func isGone(path string) bool {
	_, err := os.Lstat(path)
	return os.IsNotExist(err)
}

// TestCarried has a pilot come with its job: what it came with is gone before it
// works, and when it has left nothing is there.
func TestCarried(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, scratch := w.queued()
	s := w.carry(b, "GAT_JOB=4711_3", "GAT_CORES=2", "GAT_NODE=1", "GAT_GPUS=GPU-a,GPU-b")
	p := w.run(s)
	up := wait(w, func(e core.PeerUp) bool { return e.Peer.Role == wire.RolePilot })
	if o := up.Peer.Offer; up.Peer.Job != "4711_3" || up.Peer.Part != 1 || o.Slots == 0 || o.Slots > 2 || o.Cores > 2 || o.GPUs != 2 {
		t.Errorf("the pilot says to be %+v", up.Peer)
	}
	if !isGone(s.dir) {
		left, _ := filepath.Glob(filepath.Join(s.dir, "*"))
		t.Errorf("of what came with the job there is left %q", left)
	}
	w.submit(1, "pwd; env | grep ^GAT_; exit 0")
	if e := wait(w, func(core.JobEnded) bool { return true }); e.Outcome != job.OK {
		t.Errorf("the job ended with %+v", e)
	}
	if got := w.read("worker-0/stdout"); strings.Contains(got, "GAT_") || !strings.HasPrefix(got, filepath.Join(scratch, BaseName(os.Getuid()))+"/") {
		t.Errorf("the worker ran in %q, want a directory in %s and nothing of what its pilot was told", got, scratch)
	}
	if said := p.end(patience); p.err != nil {
		t.Errorf("the pilot ended with %v: %s", p.err, said)
	}
	if left := names(t, scratch); len(left) > 0 {
		t.Errorf("there is left %q", left)
	}
}

// children returns the processes below one.
func children(t *testing.T, pid int) (list []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if len(f) > 1 && string(f[1]) == strconv.Itoa(pid) {
			id, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			list = append(list, id)
			list = append(list, children(t, id)...)
		}
	}
	return list
}

// TestGroupKilled kills the process group of a pilot that came with its job, as
// schedulers do, idle and at work: nothing of it stays.
func TestGroupKilled(t *testing.T) {
	t.Parallel()
	for _, busy := range []bool{false, true} {
		t.Run(map[bool]string{false: "idle", true: "busy"}[busy], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b, scratch := w.queued()
			s := w.carry(b, "GAT_JOB=1", "GAT_CORES=2")
			p := w.run(s)
			if busy {
				w.submit(1, "sleep 1000 & sleep 1000; echo $!")
				wait(w, func(e core.WorkerChanged) bool { return e.Change == job.Running })
			} else {
				wait(w, func(e core.PeerUp) bool { return e.Peer.Role == wire.RolePilot })
			}
			ran := children(t, p.cmd.Process.Pid)
			if len(ran) == 0 {
				t.Error("the pilot has no warden")
			}
			for _, pid := range ran {
				comm, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
				if name := strings.TrimSpace(string(comm)); err == nil && name != "pilot" && name != "sleep" && name != "sh" {
					t.Errorf("process %d is listed as %q", pid, name)
				}
			}
			if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			p.end(patience)
			until(t, "the scratch directory is empty", func() bool { return len(names(t, scratch)) == 0 })
			for _, pid := range ran {
				until(t, "a process ends", func() bool { return isGone("/proc/"+strconv.Itoa(pid)) || isZombie(pid) })
			}
			if !isGone(s.dir) {
				t.Error("what came with the job is still there")
			}
		})
	}
}

func isZombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && bytes.Contains(b, []byte(") Z "))
}

// TestShared has two pilots read one boot file, with the program where it is;
// one that is killed does not take what the other has.
func TestShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, scratch := w.queued()
	b.Keep, b.Slots, b.Idle = true, 1, Duration(core.Forever)
	b.Token, b.Secret = w.token(wire.RolePilot, 2)
	data, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	boot := filepath.Join(t.TempDir(), "boot-1")
	if err := os.WriteFile(boot, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var ps []*process
	for range 2 {
		cmd := exec.Command(os.Args[0], "agent", string(b.Session), boot)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		ps = append(ps, w.run(&submission{cmd: cmd}))
		wait(w, func(e core.PeerUp) bool { return e.Peer.Role == wire.RolePilot })
	}
	if isGone(boot) || isGone(os.Args[0]) {
		t.Fatal("what is shared was removed")
	}
	syscall.Kill(-ps[0].cmd.Process.Pid, syscall.SIGKILL)
	ps[0].end(patience)
	logs := func() int {
		list, _ := filepath.Glob(filepath.Join(scratch, "*", "s-*", "log-*"))
		return len(list)
	}
	until(t, "what the dead one had is gone", func() bool { return logs() == 1 })
	w.submit(1, "true")
	if e := wait(w, func(core.JobEnded) bool { return true }); e.Outcome != job.OK {
		t.Errorf("the job ended with %+v", e)
	}
	w.call(func(now time.Duration, n *core.Node) error { n.Retire(now, "", "all is done"); return nil })
	if said := ps[1].end(patience); ps[1].err != nil {
		t.Errorf("the pilot ended with %v: %s", ps[1].err, said)
	}
	until(t, "the scratch directory is empty", func() bool { return len(names(t, scratch)) == 0 })
}

// TestTimeLeft has a scheduler grant a pilot less than the boot record knows.
func TestTimeLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, scratch := w.queued()
	b.Walltime = Duration(time.Hour)
	p := w.run(w.carry(b, "GAT_JOB=1", "GAT_LEFT=12"))
	began := time.Now()
	w.submit(1, `trap '' TERM; while :; do sleep 1; done`)
	wait(w, func(e core.WorkerChanged) bool { return e.Change == job.Running })
	lost := wait(w, func(e core.WorkerChanged) bool { return e.Change == job.Lost })
	if lost.Reason != walltime {
		t.Errorf("the worker was lost for %q, want %q", lost.Reason, walltime)
	}
	p.end(patience)
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("a pilot with 12 s left took %v", took)
	}
	if left := names(t, scratch); len(left) > 0 {
		t.Errorf("there is left %q", left)
	}
}

// TestWarned sends the warnings of schedulers, more than one.
func TestWarned(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGXCPU} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b, scratch := w.queued()
			p := w.run(w.carry(b, "GAT_JOB=1"))
			w.submit(1, `sleep 1000`)
			wait(w, func(e core.WorkerChanged) bool { return e.Change == job.Running })
			syscall.Kill(-p.cmd.Process.Pid, s) // to all processes of the job
			if lost := wait(w, func(e core.WorkerChanged) bool { return e.Change == job.Lost }); lost.Reason != walltime {
				t.Errorf("the worker was lost for %q, want %q", lost.Reason, walltime)
			}
			syscall.Kill(-p.cmd.Process.Pid, s)
			if down := wait(w, func(core.PeersDown) bool { return true }); down.Reason != walltime {
				t.Errorf("the pilot left for %q, want %q", down.Reason, walltime)
			}
			if said := p.end(patience); p.err != nil {
				t.Errorf("the pilot ended with %v: %s", p.err, said)
			}
			if left := names(t, scratch); len(left) > 0 {
				t.Errorf("there is left %q", left)
			}
		})
	}
}

// TestTaken ends a pilot and its worker as schedulers do that signal all processes
// of a job: the worker is lost with its pilot, whichever of them is told first and
// however the worker takes it. One that fails without such a signal has failed.
func TestTaken(t *testing.T) {
	t.Parallel()
	const (
		dies  = `echo $$; exec sleep 1000`
		exits = `trap 'exit 143' TERM; echo $$; while :; do sleep 0.05; done`
	)
	for name, c := range map[string]struct {
		script string
		job    string
		tell   string // worker and pilot, in this order
		want   job.Change
	}{
		"worker first":          {dies, "1", "wp", job.Lost},
		"worker exits first":    {exits, "1", "wp", job.Lost},
		"pilot first":           {dies, "1", "pw", job.Lost},
		"pilot first, it exits": {exits, "1", "pw", job.Lost},
		"worker only":           {dies, "1", "w", job.Exited},
		"no scheduler":          {dies, "", "w", job.Exited},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b, scratch := w.queued()
			p := w.run(w.carry(b, "GAT_JOB="+c.job))
			w.submit(1, c.script)
			running := wait(w, func(e core.WorkerChanged) bool { return e.Change == job.Running })
			until(t, "the program has begun", func() bool {
				out, err := w.out.ReadFile("worker-0/stdout")
				return err == nil && len(out) > 0
			})
			for i, who := range c.tell {
				if i > 0 {
					<-time.After(noticeTime / 5)
				}
				pid := map[rune]int{'w': running.PID, 'p': p.cmd.Process.Pid}[who]
				if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
			e := wait(w, func(e core.WorkerChanged) bool { return e.Change >= job.Exited })
			if e.Change != c.want {
				t.Errorf("the worker is %s for %q, want it %s", e.Change, e.Reason, c.want)
			}
			if said := p.end(patience); p.err != nil {
				t.Errorf("the pilot ended with %v: %s", p.err, said)
			}
			if left := names(t, scratch); len(left) > 0 {
				t.Errorf("there is left %q", left)
			}
		})
	}
}

// TestOwnDevices runs three workers on a pilot with four GPUs: each that asks
// for two has two of its own, those that follow too, and one that asks for none
// has none.
func TestOwnDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, _ := w.queued()
	b.Slots, b.Idle = 4, Duration(core.Forever)
	w.run(w.carry(b, "GAT_JOB=1", "GAT_GPUS=GPU-a,GPU-b,GPU-c,GPU-d", "HIP_VISIBLE_DEVICES=0"))
	// The second attempts of both wait for each other: they run at the same time.
	met := t.TempDir()
	script := `echo $CUDA_VISIBLE_DEVICES; test "$CUDA_VISIBLE_DEVICES" = "$ROCR_VISIBLE_DEVICES" && test -z "$HIP_VISIBLE_DEVICES"; s=$?
[ $ZORILLA_ATTEMPT -gt 1 ] || exec kill -9 $$
: >"$1/$ZORILLA_RANK"
until [ -e "$1/0" ] && [ -e "$1/1" ]; do sleep 0.05; done
exit $s`
	w.submitSpec(job.Spec{Want: 2, Retries: 3, Needs: wire.Requirements{GPUs: 2},
		Program: wire.Program{Argv: []string{"/bin/sh", "-c", script, "sh", met}}})
	if e := wait(w, func(core.JobEnded) bool { return true }); e.Outcome != job.OK {
		t.Errorf("the job ended with %+v", e)
	}
	got := []string{w.read("worker-0/stdout"), w.read("worker-1/stdout")}
	slices.Sort(got)
	if got[0] != "GPU-a,GPU-b\n" || got[1] != "GPU-c,GPU-d\n" {
		t.Errorf("the workers had %q", got)
	}
	w.submit(1, `echo "<$CUDA_VISIBLE_DEVICES>"`)
	if e := wait(w, func(core.JobEnded) bool { return true }); e.Outcome != job.OK {
		t.Errorf("the job ended with %+v", e)
	}
	if got := w.read("worker-0/stdout"); got != "<>\n" {
		t.Errorf("a worker that asks for no GPU has %q", got)
	}
}

// TestCalledThere has two pilots of one boot file on a host called by who finds
// their processes, for nothing else of them is known, and their program is gone.
func TestCalledThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, scratch := w.queued()
	b.Hubs, b.Socket, b.Slots = nil, "pilot.sock", 1
	var ps []*process
	for i := range 2 {
		b.Token, b.Secret = w.token(wire.RolePilot, 1)
		p := w.run(w.carry(b, fmt.Sprintf("GAT_JOB=%d", i)))
		ps = append(ps, p)
		proc := "/proc/" + strconv.Itoa(p.cmd.Process.Pid)
		socket := proc + "/cwd/pilot.sock-" + strconv.Itoa(p.cmd.Process.Pid)
		until(t, "there is a socket", func() bool { _, err := os.Stat(socket); return err == nil })
		conn, err := newPipeConn(exec.Command(proc+"/exe", "attach", socket))
		if err != nil {
			t.Fatal(err)
		}
		peer, err := w.ep.Connect(t.Context(), conn, transport.Local, transport.Options{Admit: true})
		if err != nil {
			t.Fatal(err)
		}
		up := wait(w, func(e core.PeerUp) bool { return e.Peer.ID == peer.ID })
		if up.Peer.Job != strconv.Itoa(i) {
			t.Errorf("at the socket of pilot %d there is that of job %q", i, up.Peer.Job)
		}
	}
	w.submit(2, "true")
	if e := wait(w, func(core.JobEnded) bool { return true }); e.Outcome != job.OK {
		t.Errorf("the job ended with %+v", e)
	}
	for _, p := range ps {
		if said := p.end(patience); p.err != nil {
			t.Errorf("a pilot ended with %v: %s", p.err, said)
		}
	}
	if left := names(t, scratch); len(left) > 0 {
		t.Errorf("there is left %q", left)
	}
}
