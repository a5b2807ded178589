package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Yard runs the workers of one pilot. Its methods may be called from any
// goroutine.
type Yard struct {
	cfg   Config
	path  string // absolute
	root  *os.Root
	pilot *os.File // the two locks
	use   *os.File
	keep  *keeper

	mu        sync.Mutex
	closed    bool
	sandboxes map[string]*Sandbox
	slots     []slot
}

// slot is what the yard knows of one slot, under Yard.mu.
type slot struct {
	dir   *os.Root // nil until it is made
	spare spare
	proc  *Process // that has not ended, or is being started
}

// Open makes a yard in cfg.Root. On Linux it makes the calling process a child
// subreaper, for good. It refuses a root that another pilot uses ([ErrInUse])
// or that cannot be trusted ([ErrHostile]); leftovers of a dead pilot in it are
// removed.
func Open(cfg Config) (*Yard, error) {
	cfg, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	path, err := filepath.Abs(cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("open yard: %w", err)
	}
	y := &Yard{
		cfg:       cfg,
		path:      path,
		sandboxes: make(map[string]*Sandbox),
		slots:     make([]slot, cfg.Slots),
	}
	// A sweep by another pilot may remove a root that is not locked yet.
	const tries = 5
	for range tries {
		if err = y.claim(); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if y.keep, err = newKeeper(y); err != nil {
		y.release()
		return nil, fmt.Errorf("open yard: %w", err)
	}
	return y, nil
}

// claim opens the root and takes both locks.
func (y *Yard) claim() (err error) {
	if y.root, err = openRoot(y.path); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open yard %s: %w", y.path, err)
			y.release()
		}
	}()
	if y.pilot, err = lockFile(y.root, pilotLock, true); err != nil {
		return err
	}
	y.use, err = lockFile(y.root, useLock, true)
	if errors.Is(err, ErrInUse) {
		y.use, err = endStrays(y.root)
	}
	if err != nil {
		return err
	}
	left, err := slotDirs(y.root)
	if err != nil {
		return err
	}
	for _, n := range left {
		if err := removeTree(y.root, n); err != nil {
			return err
		}
	}
	return nil
}

func (y *Yard) release() {
	for i := range y.slots {
		s := &y.slots[i]
		s.spare.close()
		if s.dir != nil {
			s.dir.Close()
		}
	}
	for _, f := range []*os.File{y.use, y.pilot} {
		if f != nil {
			f.Close()
		}
	}
	y.root.Close()
	y.use, y.pilot = nil, nil
}

// Sandbox makes the directory of a worker that will be started with this ID in
// this slot. An ID that exists is an error that wraps fs.ErrExist. The slot's
// guard is started first, so that the directory goes even if this process is
// killed.
func (y *Yard) Sandbox(slot int, id string) (*Sandbox, error) {
	if slot < 0 || slot >= len(y.slots) {
		return nil, fmt.Errorf("make sandbox %s: no slot %d, there are %d", id, slot, len(y.slots))
	}
	if err := validID(id); err != nil {
		return nil, fmt.Errorf("make sandbox: %w", err)
	}
	if err := y.keep.ready(slot); err != nil {
		return nil, fmt.Errorf("make sandbox %s: %w", id, err)
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	switch {
	case y.closed:
		return nil, fmt.Errorf("make sandbox %s: %w", id, ErrClosed)
	case y.sandboxes[id] != nil:
		return nil, fmt.Errorf("make sandbox %s: %w", id, fs.ErrExist)
	}
	sl := &y.slots[slot]
	if err := y.makeSlot(slot); err != nil {
		return nil, fmt.Errorf("make sandbox %s: %w", id, err)
	}
	s := &Sandbox{yard: y, id: id, slot: slot, parent: sl.dir, path: filepath.Join(y.path, slotDir(slot), id)}
	if s.list = sl.spare.take(id); s.list == nil {
		if err := sl.dir.Mkdir(id, 0o700); err != nil {
			return nil, fmt.Errorf("make sandbox %s: %w", id, err)
		}
	}
	var err error
	if s.dir, err = sl.dir.OpenRoot(id); err != nil {
		if s.list != nil {
			s.list.Close()
		}
		return nil, fmt.Errorf("make sandbox %s: %w", id, err)
	}
	y.sandboxes[id] = s
	return s, nil
}

// makeSlot makes and opens the directory of a slot, once. The caller holds mu.
func (y *Yard) makeSlot(slot int) (err error) {
	sl := &y.slots[slot]
	if sl.dir != nil {
		return nil
	}
	name := slotDir(slot)
	if err := y.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	sl.dir, err = y.root.OpenRoot(name)
	return err
}

func (y *Yard) forget(s *Sandbox) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.sandboxes[s.id] == s {
		delete(y.sandboxes, s.id)
	}
}

// Start starts a worker, in the sandbox that was made with its ID or, if there
// is none, in a new one. The context bounds the start only: a worker that has
// started runs until it ends or is killed. A program that cannot be run is an
// error that wraps fs.ErrNotExist, fs.ErrPermission or the errno of execve; the
// sandbox stays then if it was made before.
func (y *Yard) Start(ctx context.Context, spec Spec) (*Process, error) {
	p, err := y.start(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("start worker %s: %w", spec.ID, err)
	}
	return p, nil
}

func (y *Yard) start(ctx context.Context, spec Spec) (_ *Process, err error) {
	if len(spec.Argv) == 0 || spec.Argv[0] == "" {
		return nil, errors.New("no command given")
	}
	size := 0
	for _, list := range [][]string{spec.Argv, spec.Env} {
		for _, s := range list {
			if strings.IndexByte(s, 0) >= 0 {
				return nil, fmt.Errorf("argument or variable %.40q contains a zero byte", s)
			}
			size += len(s) + 8
		}
	}
	if size > maxFrame/2 {
		return nil, fmt.Errorf("arguments and environment of %d bytes, at most %d are possible", size, maxFrame/2)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}

	y.mu.Lock()
	sb := y.sandboxes[spec.ID]
	y.mu.Unlock()
	if sb == nil {
		if sb, err = y.Sandbox(spec.Slot, spec.ID); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				sb.Remove() //nolint:errcheck // the start's error counts
			}
		}()
	}
	if sb.slot != spec.Slot {
		return nil, fmt.Errorf("its sandbox is in slot %d, not %d", sb.slot, spec.Slot)
	}
	dir := sb.path
	if spec.Dir != "" && spec.Dir != "." {
		fi, err := sb.dir.Stat(filepath.FromSlash(spec.Dir))
		if err != nil {
			return nil, fmt.Errorf("working directory: %w", err)
		}
		if !fi.IsDir() {
			return nil, fmt.Errorf("working directory %s: not a directory", spec.Dir)
		}
		dir = filepath.Join(dir, filepath.FromSlash(spec.Dir))
	}
	program, err := lookup(spec.Argv[0], dir, spec.Env)
	if err != nil {
		return nil, err
	}

	p := &Process{Sandbox: sb, spec: spec, done: make(chan struct{})}
	p.free = func() { y.vacate(spec.Slot, p) }
	y.mu.Lock()
	switch s := &y.slots[spec.Slot]; {
	case y.closed:
		err = ErrClosed
	case s.proc != nil:
		err = fmt.Errorf("slot %d: %w", spec.Slot, ErrBusy)
	default:
		s.proc = p
	}
	y.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := y.keep.launch(ctx, p, program, dir); err != nil {
		p.closePipes()
		p.finish(Exit{Code: -1, Err: err})
		return nil, explain(err, program, dir)
	}
	return p, nil
}

func (y *Yard) vacate(slot int, p *Process) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.slots[slot].proc == p {
		y.slots[slot].proc = nil
	}
	if p.exit.Left > 0 || p.exit.Err != nil {
		p.Sandbox.tainted = true
	}
}

// Close kills the workers that still run, each with its KillGrace, ends the
// guards and removes all sandboxes and the root, unless there are files of
// others in it. It waits for all this, no longer than the longest grace and
// some 20 seconds. Calling it again does nothing.
func (y *Yard) Close() error {
	y.mu.Lock()
	if y.closed {
		y.mu.Unlock()
		return nil
	}
	y.closed = true
	var running []*Process
	var grace time.Duration
	for _, s := range y.slots {
		if s.proc != nil {
			running = append(running, s.proc)
			grace = max(grace, s.proc.spec.KillGrace)
		}
	}
	y.mu.Unlock()

	timer := time.NewTimer(grace + closeLimit)
	defer timer.Stop()
	for _, p := range running {
		p.Kill(-1)
	}
wait:
	for _, p := range running {
		select {
		case <-p.done:
		case <-timer.C:
			break wait
		}
	}
	err := y.keep.close()

	y.mu.Lock()
	left := make([]*Sandbox, 0, len(y.sandboxes))
	for _, s := range y.sandboxes {
		left = append(left, s)
	}
	y.mu.Unlock()
	for _, s := range left {
		err = errors.Join(err, s.Remove())
	}
	err = errors.Join(err, cleanRoot(y.root))
	y.release()
	if err != nil {
		return fmt.Errorf("close yard %s: %w", y.path, err)
	}
	return nil
}

// lookup finds a bare program name in the PATH of env, as a shell with that
// environment would; paths are returned as they are.
func lookup(name, dir string, env []string) (string, error) {
	if strings.ContainsRune(name, '/') || strings.ContainsRune(name, filepath.Separator) {
		return name, nil
	}
	path := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, d := range filepath.SplitList(path) {
		if d == "" {
			d = "."
		}
		full := filepath.Join(d, name)
		if !filepath.IsAbs(full) {
			full = filepath.Join(dir, full)
		}
		if fi, err := os.Stat(full); err == nil && fi.Mode().IsRegular() && (!hasModeBits || fi.Mode()&0o111 != 0) {
			return full, nil
		}
	}
	return "", fmt.Errorf("%s: %w in the PATH of the worker (%s); to run a file of the sandbox write ./%s", name, fs.ErrNotExist, path, name)
}

// explain adds to an error of execve what the errno alone does not say.
func explain(err error, program, dir string) error {
	full := program
	if !filepath.IsAbs(full) {
		full = filepath.Join(dir, full)
	}
	fi, statErr := os.Stat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist) && statErr == nil:
		return fmt.Errorf("%w: the file is there, so the interpreter or loader that it names is missing on this machine", err)
	case errors.Is(err, fs.ErrPermission) && statErr == nil && fi.IsDir():
		return fmt.Errorf("%w: it is a directory", err)
	case errors.Is(err, fs.ErrPermission) && statErr == nil && fi.Mode()&0o111 == 0:
		return fmt.Errorf("%w: it is not executable (chmod +x)", err)
	}
	return err
}
