//go:build darwin || windows

package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const hasGuards = false

// keeper runs workers as plain children.
type keeper struct {
	y  *Yard
	wg sync.WaitGroup
}

// link is what the keeper knows of a process.
type link struct {
	mu     sync.Mutex
	cmd    *exec.Cmd // nil until it runs
	tree   tree
	killed bool
	timer  *time.Timer
}

func newKeeper(y *Yard) (*keeper, error) { return &keeper{y: y}, nil }

func (k *keeper) ready(int) error { return nil }

func (k *keeper) launch(_ context.Context, p *Process, program, dir string) error {
	outR, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer outW.Close()
	p.Stdout = outR
	errR, errW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer errW.Close()
	p.Stderr = errR
	cmd := &exec.Cmd{Path: program, Args: p.spec.Argv, Env: p.spec.Env, Dir: dir, Stdout: outW, Stderr: errW}
	if p.spec.Stdin != nil {
		cmd.Stdin = p.spec.Stdin
	}
	l := &p.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.tree.start(cmd); err != nil {
		return err
	}
	l.cmd, p.pid = cmd, cmd.Process.Pid
	k.wg.Go(func() { k.wait(p) })
	return nil
}

func (k *keeper) wait(p *Process) {
	err := p.link.cmd.Wait()
	l := &p.link
	l.mu.Lock()
	l.tree.kill()
	l.tree.close()
	l.cmd = nil
	if l.timer != nil {
		l.timer.Stop()
	}
	e := Exit{Killed: l.killed}
	l.mu.Unlock()
	var ee *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &ee):
		e.Code = ee.ExitCode()
		if ws, ok := ee.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			e.Signal = ws.Signal()
			e.SignalName = signalName(e.Signal)
		}
		e.User, e.System = ee.UserTime(), ee.SystemTime()
	default:
		e.Code, e.Err = -1, fmt.Errorf("%w: %w", ErrLost, err)
	}
	p.finish(e)
}

func (k *keeper) kill(p *Process, grace time.Duration) {
	l := &p.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cmd == nil {
		return
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	if !l.killed && grace > 0 {
		l.tree.terminate()
	}
	l.killed = true
	l.timer = time.AfterFunc(grace, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.cmd != nil {
			l.tree.kill()
		}
	})
}

func (k *keeper) close() error {
	k.wg.Wait()
	return nil
}

// endStrays cannot tell the processes of a dead pilot on this system.
func endStrays(*os.Root) (*os.File, error) { return nil, ErrInUse }

// GuardMain is the main function of a guard, which this system does not have.
func GuardMain([]string) int {
	fmt.Fprintln(os.Stderr, "guard: not available on this system")
	return 1
}
