package pilot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot/core"
	"github.com/zorilla-grid/zorilla/pilot/worker"
	"github.com/zorilla-grid/zorilla/pilot/worker/runtimes"
	"github.com/zorilla-grid/zorilla/staging"
)

// An attempt is one start of one worker, from its sandbox to what is collected
// of it.
type attempt struct {
	crew  *crew
	start core.Start
	log   *slog.Logger

	ctx         context.Context // of everything done for it
	cancel      context.CancelFunc
	starting    context.Context // of what is done before it has a process
	cancelStart context.CancelFunc

	mu      sync.Mutex
	process *worker.Process
	killed  bool

	gpus    []int // its devices, by number
	sandbox *worker.Sandbox
	outputs *staging.Set
	over    chan struct{} // closed when run has returned
}

func newAttempt(ctx context.Context, c *crew, s core.Start) *attempt {
	t := &attempt{
		crew:  c,
		start: s,
		log:   c.log.With("job", s.Key.Job.Short(), "rank", s.Key.Rank, "attempt", s.Key.Attempt),
		over:  make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(ctx)
	t.starting, t.cancelStart = context.WithCancel(t.ctx)
	return t
}

// run takes the attempt through its life and tells the core of each step.
func (t *attempt) run() {
	defer close(t.over)
	defer t.cancelStart()
	gpus, err := t.crew.rack.take(int(t.start.Program.GPUs))
	var result wire.Result
	if err == nil {
		t.gpus = gpus
		result, err = t.live()
		t.crew.rack.put(gpus) // before the slots are free
	}
	if err != nil {
		reason := wire.ExitStartFailed
		if t.wasKilled() {
			reason = wire.ExitKilled
			err = errors.New("stopped before it was started")
		}
		t.log.Warn("worker not started", "error", err)
		result = wire.Result{Exit: wire.Exit{Reason: reason, Text: short(err.Error())}}
	}
	t.crew.agent.Do(func(now time.Duration, n *core.Node) { n.Exited(now, t.start.Key, result) })
}

// live returns an error when the worker could not be started.
func (t *attempt) live() (wire.Result, error) {
	var none wire.Result
	p := t.start.Program
	key := t.start.Key
	id := fmt.Sprintf("%s-%d-%d", key.Job.Short(), key.Rank, key.Attempt)
	slot := t.start.Slots[0]

	sandbox, err := t.crew.yard.Sandbox(slot, id)
	if err != nil {
		return none, err
	}
	t.sandbox = sandbox
	if p.Root != (wire.Digest{}) {
		m := t.crew.files.manifest(key.Job, p.Root)
		if m == nil {
			return none, errors.New("the job's files are not here")
		}
		if err := staging.Materialize(t.starting, m, t.crew.files.store, sandbox.Root()); err != nil {
			return none, err
		}
	}
	var before *staging.Snapshot
	if len(p.Outputs) > 0 {
		if before, err = staging.TakeSnapshot(t.starting, sandbox.Root()); err != nil {
			return none, err
		}
	}
	process, err := t.launch(slot, id)
	if err != nil {
		return none, err
	}
	t.crew.agent.Do(func(now time.Duration, n *core.Node) { n.Started(now, key, process.PID()) })

	stdout := t.output(1, process.Stdout)
	stderr := t.output(2, process.Stderr)
	exit := process.Exit()
	ended := time.Now()
	result := wire.Result{Exit: exitOf(exit)}
	for _, o := range []*output{stdout, stderr} {
		if !o.rest(t.ctx, holdProbe) {
			t.log.Warn("output held open by a process that outlives the worker", "fd", o.fd)
		}
	}
	result.Stdout, _ = stdout.spool.Size()
	result.Stderr, _ = stderr.spool.Size()
	t.gather(before, &result)
	if t.crew.notice != nil {
		result.Exit = t.crew.notice.explain(t.ctx, result.Exit, ended)
	}
	return result, nil
}

// launch starts the process in its sandbox.
func (t *attempt) launch(slot int, id string) (*worker.Process, error) {
	p := t.start.Program
	env := append(environ(), p.Env...)
	env = append(env, t.variables()...)
	launch, err := t.prepare()
	if err != nil {
		return nil, err
	}
	var stdin *os.File
	if p.Stdin != "" {
		if stdin, err = t.sandbox.Root().Open(p.Stdin); err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		defer stdin.Close()
	}
	process, err := t.crew.yard.Start(t.starting, worker.Spec{
		Slot:      slot,
		ID:        id,
		Argv:      launch.Argv,
		Env:       t.crew.rack.environ(append(env, launch.Env...), t.gpus),
		Stdin:     stdin,
		KillGrace: p.KillGrace,
	})
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.process = process
	if t.killed {
		process.Kill(0)
	}
	return process, nil
}

// prepare finds out how to run the program. An absolute path is one of the
// host's own programs and run as it is.
func (t *attempt) prepare() (runtimes.Launch, error) {
	p := t.start.Program
	kind := kindOf(p.Runtime)
	if kind == runtimes.Native && filepath.IsAbs(p.Argv[0]) {
		return runtimes.Launch{Argv: p.Argv}, nil
	}
	memory := p.Memory
	if memory == 0 {
		memory = t.crew.memory * int64(len(t.start.Slots))
	}
	return t.crew.finder.Prepare(t.starting, runtimes.App{Kind: kind, Path: p.Argv[0], Java: int(p.Java)}, runtimes.Options{
		Dir:     t.sandbox.Path(),
		App:     p.Argv[0],
		Args:    p.Argv[1:],
		Memory:  memory,
		Cores:   len(t.start.Slots),
		JVMOpts: p.JVM,
	})
}

// variables is what every program is told of itself.
func (t *attempt) variables() []string {
	key := t.start.Key
	return []string{
		"ZORILLA_JOB=" + key.Job.String(),
		"ZORILLA_RANK=" + strconv.FormatUint(uint64(key.Rank), 10),
		"ZORILLA_SIZE=" + strconv.Itoa(t.start.Size),
		"ZORILLA_ATTEMPT=" + strconv.FormatUint(uint64(key.Attempt), 10),
		"ZORILLA_SCRATCH=" + t.sandbox.Path(),
		"PWD=" + t.sandbox.Path(),
	}
}

// gather finds the files to bring home and offers them to the primary.
func (t *attempt) gather(before *staging.Snapshot, result *wire.Result) {
	p := t.start.Program
	if len(p.Outputs) == 0 || t.ctx.Err() != nil {
		return
	}
	found, err := staging.Collect(t.ctx, t.sandbox.Root(), p.Outputs, before)
	if err != nil {
		t.log.Warn("outputs not collected", "error", err)
		result.Warnings = append(result.Warnings, "outputs not collected: "+err.Error())
		return
	}
	for _, glob := range found.Unmatched {
		result.Warnings = append(result.Warnings, fmt.Sprintf("--output %s matches no file", glob))
	}
	for _, text := range found.Skipped {
		result.Warnings = append(result.Warnings, "output skipped: "+text)
	}
	if len(found.Set.Manifest().Files) > 0 {
		t.outputs = found.Set
		t.crew.agent.library.Add(t.start.Key.Job, found.Set)
		result.Root = found.Set.Root()
	}
}

// kill ends the worker; one that has no process yet is not started any more.
// It does not wait.
func (t *attempt) kill(grace time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.killed = true
	if t.process != nil {
		t.process.Kill(grace)
		return
	}
	t.cancelStart()
}

func (t *attempt) wasKilled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.killed
}

// discard removes everything the attempt left.
func (t *attempt) discard() {
	t.kill(0)
	t.cancel()
	<-t.over
	if t.outputs != nil {
		t.crew.agent.library.Remove(t.start.Key.Job, t.outputs)
	}
	if t.sandbox != nil {
		if err := t.sandbox.Remove(); err != nil {
			t.log.Warn("sandbox not removed", "error", err)
		}
	}
}

// exitOf puts the end of a process in the wire's words.
func exitOf(e worker.Exit) wire.Exit {
	switch {
	case e.Err != nil:
		return wire.Exit{Reason: wire.ExitLost, Text: short(e.Err.Error())}
	case e.Killed:
		return wire.Exit{Reason: wire.ExitKilled, Code: int32(e.Code), Signal: signalNumber(e.Signal)}
	case e.Signal != 0:
		return wire.Exit{Reason: wire.ExitProgram, Signal: signalNumber(e.Signal)}
	}
	return wire.Exit{Reason: wire.ExitProgram, Code: int32(e.Code)}
}

// kindOf reads the wire's word for a runtime; an unknown one runs as it is.
func kindOf(s string) runtimes.Kind {
	for _, k := range []runtimes.Kind{runtimes.Native, runtimes.Script, runtimes.JVM} {
		if k.String() == s {
			return k
		}
	}
	return runtimes.Native
}

func signalNumber(s syscall.Signal) uint8 {
	if s < 0 || s > 64 {
		return 0
	}
	return uint8(s)
}
