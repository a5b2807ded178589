package local

import (
	"context"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"

	"github.com/zorilla-grid/zorilla/gat"
)

// process is a command of Run. It is the leader of a session, which is killed
// as far as it is one process group.
type process struct {
	cmd                   *exec.Cmd
	stdin, stdout, stderr *os.File
	done                  chan struct{}
	exit                  int // valid when done is closed

	mu    sync.Mutex
	ended bool // the process was waited for: its number may be another's
}

// Run starts a process that is killed when it is closed, ctx ends, or the
// login is closed.
func (l *login) Run(ctx context.Context, c gat.Command) (gat.Process, error) {
	if err := c.Validate(); err != nil {
		return nil, &gat.Error{Class: gat.Invalid, Op: "run", Err: err}
	}
	if err := l.usable(ctx, "run"); err != nil {
		return nil, err
	}
	name, err := exec.LookPath(c.Argv[0])
	if err != nil {
		return nil, classify("run", err)
	}
	cmd := &exec.Cmd{
		Path:        name,
		Args:        c.Argv,
		Env:         slices.Concat(os.Environ(), c.Env),
		Dir:         c.Dir,
		SysProcAttr: detached(),
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	if err := p.start(); err != nil {
		return nil, classify("run", err)
	}

	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.procs[p] = struct{}{}
		l.wg.Add(1)
	}
	l.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { p.Close() })
	go func() { // the login waits for it in Close
		cmd.Wait()
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		p.exit = exitCode(cmd.ProcessState)
		close(p.done)
		stop()
		if !closed {
			l.mu.Lock()
			delete(l.procs, p)
			l.mu.Unlock()
			l.wg.Done()
		}
	}()
	if closed {
		p.Close()
		return nil, &gat.Error{Class: gat.Permanent, Op: "run", Err: gat.ErrClosed}
	}
	return p, nil
}

// start starts the command with a pipe for each of its three streams.
func (p *process) start() error {
	var theirs, ours [3]*os.File
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(slices.Concat(theirs[:i], ours[:i]))
			return err
		}
		theirs[i], ours[i] = w, r
		if i == 0 {
			theirs[i], ours[i] = r, w
		}
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirs[0], theirs[1], theirs[2]
	p.stdin, p.stdout, p.stderr = ours[0], ours[1], ours[2]
	err := p.cmd.Start()
	closeAll(theirs[:])
	if err != nil {
		closeAll(ours[:])
	}
	return err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

func (p *process) Stdin() io.WriteCloser { return p.stdin }
func (p *process) Stdout() io.Reader     { return p.stdout }
func (p *process) Stderr() io.Reader     { return p.stderr }

// Wait waits for the end of the process itself, not of what it left running.
func (p *process) Wait() (int, error) {
	<-p.done
	return p.exit, nil
}

// Close kills the process with its group and ends its streams.
func (p *process) Close() error {
	p.mu.Lock()
	if !p.ended {
		killGroup(p.cmd.Process)
	}
	p.mu.Unlock()
	closeAll([]*os.File{p.stdin, p.stdout, p.stderr})
	<-p.done
	return nil
}
