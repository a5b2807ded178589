//go:build linux

package pilot

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/transport"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/job"
	"github.com/zorilla-grid/zorilla/staging"
)

// patience is more than anything in these tests takes on a busy machine.
const patience = 30 * time.Second

// A world is a session with its primary in this process; its pilots and hubs
// are processes of their own.
type world struct {
	t         *testing.T
	authority *transport.Authority
	signer    *transport.Signer
	ep        *transport.Endpoint
	agent     *Agent
	socket    string      // that the primary listens on
	base      string      // of the agents
	policy    string      // file that they obey; empty means the host's
	env       []string    // of agents that obey a policy, beside ours
	brief     func(*Boot) // what hubs are told beside the usual; may be nil
	out       *os.Root
	events    chan core.Event
	hangUp    func() // ends the primary without a word

	mu   sync.Mutex
	sink map[wire.JobID]*staging.Sink
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newLoggedWorld(t, nil)
}

// newLoggedWorld is newWorld with a log of the primary's, or nil.
func newLoggedWorld(t *testing.T, log *slog.Logger) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, socket: filepath.Join(dir, "sock"), base: filepath.Join(dir, "base"),
		events: make(chan core.Event, 1000), sink: make(map[wire.JobID]*staging.Sink)}
	var err error
	if w.out, err = os.OpenRoot(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if w.authority, err = transport.NewAuthority(session, 0); err != nil {
		t.Fatal(err)
	}
	identity, err := w.authority.Identity(wire.RoleLauncher, "home")
	if err != nil {
		t.Fatal(err)
	}
	w.signer = w.authority.Signer(identity, nil)
	w.agent = NewAgent(w, log)
	cfg := transport.Config{Identity: identity, Signer: w.signer, Handlers: w.agent.Handlers()}
	cfg.Handlers[wire.StreamOutput] = w.output
	if w.ep, err = transport.New(cfg); err != nil {
		t.Fatal(err)
	}
	l, err := ListenUnix(w.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { w.ep.Serve(ctx, l, transport.Local) })
	wg.Go(func() {
		node := Member(identity)
		node.Name = "here"
		w.agent.Run(ctx, w.ep, node)
	})
	w.hangUp = sync.OnceFunc(func() {
		cancel()
		w.ep.Close()
		wg.Wait()
	})
	t.Cleanup(func() {
		w.hangUp()
		for _, s := range w.sink {
			s.Close()
		}
		w.out.Close()
	})
	return w
}

// Event implements [Home].
func (w *world) Event(e core.Event) {
	if c, ok := e.(core.WorkerChanged); ok && c.Change == job.Granted {
		w.sinkOf(c.Key.Job).Advance(c.Key.Rank, c.Key.Attempt)
	}
	w.events <- e
}

// Collect implements [Home].
func (w *world) Collect(ctx context.Context, c core.Collect) error {
	key := wire.Output{Job: c.Key.Job, Rank: c.Key.Rank, Attempt: c.Key.Attempt}
	for fd, size := range map[uint8]int64{1: c.Result.Stdout, 2: c.Result.Stderr} {
		key.FD = fd
		if err := w.sinkOf(c.Key.Job).Wait(ctx, key, size); err != nil {
			return err
		}
	}
	if c.Result.Root.IsZero() {
		return nil
	}
	_, err := staging.FetchInto(ctx, staging.Request{Job: c.Key.Job, Root: c.Result.Root, Holders: []wire.NodeID{c.Node},
		Open: func(ctx context.Context, holder wire.NodeID) (staging.Stream, error) {
			return w.ep.OpenStream(ctx, holder, wire.StreamFetch)
		}}, w.out, c.Key.Rank)
	return err
}

func (w *world) output(ctx context.Context, s *transport.Stream) {
	out, err := staging.ReadOutput(ctx, s)
	if err != nil {
		s.Reset()
		return
	}
	w.sinkOf(out.Job).Accept(ctx, s, out)
}

func (w *world) sinkOf(id wire.JobID) *staging.Sink {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sink[id] == nil {
		w.sink[id] = staging.NewSink(id, w.out, staging.SinkOptions{})
	}
	return w.sink[id]
}

// wait takes events until one is of a kind and satisfies ok.
func wait[E core.Event](w *world, ok func(E) bool) E {
	w.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var seen []string
	for {
		select {
		case e := <-w.events:
			if e, is := e.(E); is && ok(e) {
				return e
			}
			seen = append(seen, fmt.Sprintf("%T", e))
			if c, is := e.(core.WorkerChanged); is {
				seen = append(seen, c.Change.String()+" "+c.Reason)
			}
		case <-timer.C:
			var none E
			w.t.Fatalf("no %T came; there were %q", none, seen)
		}
	}
}

func (w *world) call(f func(now time.Duration, n *core.Node) error) {
	w.t.Helper()
	var err error
	if e := w.agent.Call(w.t.Context(), func(now time.Duration, n *core.Node) { err = f(now, n) }); e != nil || err != nil {
		w.t.Fatal(errors.Join(e, err))
	}
}

// submit starts a job of a shell script with so many workers.
func (w *world) submit(workers int, script string, outputs ...string) wire.JobID {
	w.t.Helper()
	return w.submitSpec(job.Spec{Want: workers,
		Program: wire.Program{Argv: []string{"/bin/sh", "-c", script}, Outputs: outputs, KillGrace: time.Second}})
}

// submitSpec starts any job; one without identity is given one.
func (w *world) submitSpec(spec job.Spec) wire.JobID {
	w.t.Helper()
	if spec.ID == (wire.JobID{}) {
		rand.Read(spec.ID[:])
	}
	w.call(func(now time.Duration, n *core.Node) error { return n.Submit(now, spec) })
	return spec.ID
}

func (w *world) read(name string) string {
	w.t.Helper()
	b, err := w.out.ReadFile(name)
	if err != nil {
		w.t.Error(err)
	}
	return string(b)
}

// token makes a token of the session's own signer.
func (w *world) token(role wire.Role, joins int) (name, secret string) {
	w.t.Helper()
	random := make([]byte, 32)
	rand.Read(random)
	name = rand.Text()
	if err := w.signer.AddToken(transport.Token{Name: name, Secret: random, Role: role, Site: "site", Joins: joins}); err != nil {
		w.t.Fatal(err)
	}
	return name, hex.EncodeToString(random)
}

// boot makes the boot record of an agent with a token of its own.
func (w *world) boot(role wire.Role) Boot {
	w.t.Helper()
	b := Boot{Session: session, Site: "site", Role: role.String(), Pin: w.authority.Pin().String(),
		Base: w.base, Name: "there", Lease: Duration(patience)}
	b.Token, b.Secret = w.token(role, 1)
	if role == wire.RolePilot {
		b.Hubs, b.Slots = []string{"unix:" + w.socket}, 2
	}
	return b
}

// A process is an agent that was started.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	ended  chan struct{}
	err    error
	stderr bytes.Buffer
}

func (w *world) start(b Boot) *process {
	w.t.Helper()
	data, err := b.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	p := &process{t: w.t, ended: make(chan struct{}), cmd: exec.Command(os.Args[0], "agent", string(b.Session), "-")}
	p.cmd.Stdin, p.cmd.Stderr = bytes.NewReader(data), &p.stderr
	if w.policy != "" || b.Nice != 0 {
		p.cmd.Env = append(append(os.Environ(), testPolicy+"="+w.policy), w.env...)
		p.cmd.SysProcAttr = alone() // its session's priority is not to be ours
	}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
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

// end waits for the end of an agent, within a time, and for what it says.
func (p *process) end(within time.Duration) string {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		p.t.Fatalf("an agent did not end within %v", within)
	}
	return p.stderr.String()
}

// clean checks that an agent ended well and that nothing is left of it.
func (w *world) clean(p *process) {
	w.t.Helper()
	said := p.end(patience)
	if p.err != nil {
		w.t.Errorf("the agent ended with %v: %s", p.err, said)
	}
	w.empty()
}

func (w *world) empty() {
	w.t.Helper()
	if _, err := os.Lstat(w.base); !errors.Is(err, fs.ErrNotExist) {
		var left []string
		filepath.WalkDir(w.base, func(path string, _ fs.DirEntry, _ error) error { left = append(left, path); return nil })
		w.t.Errorf("there is left %q, %v", left, err)
	}
}

func TestJobOnAPilot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(w.boot(wire.RolePilot))
	w.submit(2, `echo out $ZORILLA_RANK of $ZORILLA_SIZE; echo err >&2; mkdir d; echo data $ZORILLA_RANK > d/result; pwd > no`, "d/*", "absent*")
	exited := wait(w, func(e core.WorkerChanged) bool { return e.Change == job.Exited })
	if len(exited.Result.Warnings) != 1 || !strings.Contains(exited.Result.Warnings[0], "absent*") {
		t.Errorf("warnings %q, want one about absent*", exited.Result.Warnings)
	}
	if e := wait(w, func(core.JobEnded) bool { return true }); e.Outcome != job.OK || e.Exit != 0 {
		t.Errorf("the job ended with %+v", e)
	}
	for name, want := range map[string]string{
		"worker-0/stdout": "out 0 of 2\n", "worker-0/stderr": "err\n", "worker-0/d/result": "data 0\n",
		"worker-1/stdout": "out 1 of 2\n", "worker-1/stderr": "err\n", "worker-1/d/result": "data 1\n",
	} {
		if got := w.read(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if _, err := w.out.Stat("worker-0/no"); err == nil {
		t.Error("a file that nobody asked for was brought home")
	}
	w.clean(p) // it leaves with its last job
}

func TestExitStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.boot(wire.RolePilot)
	b.Idle = Duration(core.Forever)
	p := w.start(b)
	for script, want := range map[string]int{"exit 3": 3, "kill -TERM $$": 128 + 15, "exec /no/such/program": 127} {
		w.submit(1, script)
		if e := wait(w, func(core.JobEnded) bool { return true }); e.Outcome != job.App || e.Exit != want {
			t.Errorf("%q ended the job with %+v, want exit %d", script, e, want)
		}
	}
	w.call(func(now time.Duration, n *core.Node) error { n.Retire(now, "", "all is done"); return nil })
	w.clean(p)
}

// sandboxes lists what the pilots have of a job.
func (w *world) sandboxes(id wire.JobID) []string {
	list, err := filepath.Glob(filepath.Join(w.base, "s-*", "workers-*", "*", id.Short()+"-*"))
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// TestKill ends a job whose worker would never end, and one that ignores all
// polite wishes; their sandboxes go while the pilot stays.
func TestKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.boot(wire.RolePilot)
	b.Idle = Duration(core.Forever)
	p := w.start(b)
	for _, script := range []string{"echo ready; exec sleep 1000", "trap '' TERM; echo ready; while :; do sleep 1; done"} {
		id := w.submit(1, script)
		wait(w, func(e core.WorkerChanged) bool { return e.Change == job.Running })
		if got := w.sandboxes(id); len(got) != 1 {
			t.Errorf("a worker has the sandboxes %q", got)
		}
		w.call(func(now time.Duration, n *core.Node) error { n.Cancel(now, id, job.Interrupted, true); return nil })
		if e := wait(w, func(core.JobEnded) bool { return true }); e.Outcome != job.Interrupted {
			t.Errorf("the job ended with %+v", e)
		}
		for deadline := time.Now().Add(patience); len(w.sandboxes(id)) > 0; {
			if time.Now().After(deadline) {
				t.Fatalf("sandboxes %q stay", w.sandboxes(id))
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	p.cmd.Process.Signal(os.Interrupt)
	w.clean(p)
}

// TestLauncherGone has the program that a pilot belongs to die: the pilot goes at
// once, whether it had joined or not.
func TestLauncherGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.boot(wire.RolePilot)
	b.HangUp = true
	p := w.start(b)
	w.submit(1, "sleep 1000")
	wait(w, func(e core.WorkerChanged) bool { return e.Change == job.Running })
	w.hangUp()
	p.end(20 * time.Second)
	w.empty()

	b.Lease = Duration(time.Hour)
	said := w.start(b).end(20 * time.Second) // its socket refuses
	if !strings.Contains(said, "the launcher is gone") {
		t.Errorf("a pilot that was never admitted said %q", said)
	}
	os.Remove(w.socket)
	if said := w.start(b).end(20 * time.Second); !strings.Contains(said, "the launcher is gone") {
		t.Errorf("a pilot without a socket to call said %q", said)
	}
	w.empty()
}

// TestToldToEnd sends signals before the join, after it, and twice.
func TestToldToEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.boot(wire.RoleHub)
	b.Socket = "hub.sock"
	early := w.start(b)
	for deadline := time.Now().Add(patience); ; {
		if _, err := os.Stat(filepath.Join(w.base, SessionDirName(session), b.Socket)); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(5 * time.Millisecond)
	}
	early.cmd.Process.Signal(os.Interrupt)
	if said := early.end(20 * time.Second); !strings.Contains(said, "told to end by interrupt") {
		t.Errorf("a hub that was ended before it joined said %q", said)
	}
	w.empty()

	p := w.start(w.boot(wire.RolePilot))
	w.submit(1, `echo $$ > stays; trap '' TERM; while :; do sleep 1; done`)
	wait(w, func(e core.WorkerChanged) bool { return e.Change == job.Running })
	p.cmd.Process.Signal(os.Interrupt)
	wait(w, func(e core.WorkerChanged) bool { return e.Change == job.Lost || e.Change == job.Exited })
	p.cmd.Process.Signal(os.Interrupt)
	w.clean(p)
}

func TestWalltime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.boot(wire.RolePilot)
	b.Walltime = Duration(8 * time.Second)
	began := time.Now()
	p := w.start(b)
	w.submit(1, `trap '' TERM; while :; do sleep 1; done`)
	wait(w, func(e core.WorkerChanged) bool { return e.Change == job.Running })
	w.clean(p)
	if took := time.Since(began); took > time.Duration(b.Walltime) {
		t.Errorf("a pilot with a wall time of %v took %v", time.Duration(b.Walltime), took)
	}

	b = w.boot(wire.RolePilot)
	b.Hubs, b.Walltime = []string{"unix:" + filepath.Join(t.TempDir(), "nobody")}, Duration(time.Second)
	if said := w.start(b).end(20 * time.Second); !strings.Contains(said, "the wall time ended") {
		t.Errorf("a pilot whose wall time ended before it joined said %q", said)
	}
	w.empty()
}

// TestLease has nobody ever come to admit a pilot, and none answer its call.
func TestLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.boot(wire.RolePilot)
	b.Lease = Duration(time.Second)
	b.Hubs, b.Socket = nil, "p.sock"
	called := w.start(b)
	b = w.boot(wire.RolePilot)
	b.Lease = Duration(time.Second)
	b.Hubs = []string{"tcp:127.0.0.1:1"}
	calling := w.start(b)
	for p, want := range map[*process]string{called: "no launcher came", calling: "connection refused"} {
		if said := p.end(20 * time.Second); !strings.Contains(said, want) || !strings.Contains(said, "the lease ended") {
			t.Errorf("got %q, want %q", said, want)
		}
	}
	w.empty()
}
