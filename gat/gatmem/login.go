package gatmem

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/zorilla-grid/zorilla/gat"
)

// login is an open login with all abilities.
type login struct {
	m    *Machine
	done chan struct{}

	mu    sync.Mutex
	ended bool
	err   error
	below []*login // logins made through this one
	procs map[*process]struct{}
}

// login logs in; gat.Login hides the abilities of a machine that has none.
func (m *Machine) login() gat.Login {
	l := &login{m: m, done: make(chan struct{}), procs: make(map[*process]struct{})}
	m.mu.Lock()
	m.logins[l] = struct{}{}
	m.mu.Unlock()
	if m.JobsOnly {
		return struct{ gat.Login }{l}
	}
	if m.Queue != nil {
		return queued{l}
	}
	return l
}

func (l *login) Done() <-chan struct{} { return l.done }

func (l *login) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *login) Close() error {
	l.end(nil)
	return nil
}

// end ends the login with its processes and the logins below.
func (l *login) end(reason error) {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return
	}
	l.ended, l.err = true, reason
	close(l.done)
	procs, below := l.procs, l.below
	l.procs = nil
	l.mu.Unlock()

	l.m.mu.Lock()
	delete(l.m.logins, l)
	l.m.mu.Unlock()
	for p := range procs {
		p.Close()
	}
	for _, b := range below {
		b.end(errors.New("the login it was made through ended"))
	}
}

func (l *login) begin(ctx context.Context, op string) error {
	if err := l.usable(op); err != nil {
		return err
	}
	return l.m.begin(ctx, op)
}

// usable reports why no operation can begin any more.
func (l *login) usable(op string) error {
	select {
	case <-l.done:
		if err := l.Err(); err != nil {
			return &gat.Error{Class: gat.Transient, Op: op, Err: err}
		}
		return &gat.Error{Class: gat.Permanent, Op: op, Err: gat.ErrClosed}
	default:
		return nil
	}
}

// Inner logs in to a machine behind this one.
func (l *login) Inner(ctx context.Context, host string, dial gat.DialFunc) (gat.Login, error) {
	const op = "log in further"
	if err := l.begin(ctx, op); err != nil {
		return nil, err
	}
	inner := l.m.Behind[host]
	switch {
	case inner == nil:
		return nil, &gat.Error{Class: gat.NotFound, Op: op, Err: fmt.Errorf("no host %q", host)}
	case dial != nil:
		conn, err := dial(ctx, "tcp", host)
		if err != nil {
			return nil, &gat.Error{Class: gat.ClassOf(err), Op: op, Err: err}
		}
		conn.Close()
	case l.m.ForbidForwards:
		return nil, &gat.Error{Class: gat.Denied, Op: op, Err: gat.ErrForwarding}
	}
	if err := inner.begin(ctx, "log in"); err != nil {
		return nil, err
	}
	in := inner.login()
	if q, ok := in.(queued); ok {
		in = q.login // a plain host: the queue is the head's
	}
	if low, ok := in.(*login); ok {
		l.mu.Lock()
		ended := l.ended
		l.below = append(l.below, low)
		l.mu.Unlock()
		if ended {
			low.end(errors.New("the login it was made through ended"))
		}
	}
	return in, nil
}

// process is a command of Run.
type process struct {
	proc                  *Proc
	stdin, stdout, stderr *pipe
	done                  chan struct{}
	code                  int
}

// Run starts a program.
func (l *login) Run(ctx context.Context, c gat.Command) (gat.Process, error) {
	if err := c.Validate(); err != nil {
		return nil, &gat.Error{Class: gat.Invalid, Op: "run", Err: err}
	}
	if err := l.begin(ctx, "run"); err != nil {
		return nil, err
	}
	dir, err := l.m.chdir(c.Dir)
	if err != nil {
		return nil, classify("run", err)
	}
	p := &process{stdin: newPipe(), stdout: newPipe(), stderr: newPipe(), done: make(chan struct{})}
	p.proc = &Proc{Args: slices.Clone(c.Argv), Env: slices.Clone(c.Env), Dir: dir,
		Stdin: p.stdin, Stdout: p.stdout, Stderr: p.stderr, machine: l.m, tree: newTree()}

	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return nil, l.usable("run")
	}
	l.procs[p] = struct{}{}
	l.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { p.Close() })
	started := l.m.start(p.proc, func(code int) {
		stop()
		p.code = code
		p.stdin.destroy() // nobody reads any more
		p.stdout.Close()
		p.stderr.Close()
		close(p.done)
		l.mu.Lock()
		delete(l.procs, p)
		l.mu.Unlock()
	})
	if !started {
		stop()
		l.mu.Lock()
		delete(l.procs, p)
		l.mu.Unlock()
		if err := cmp.Or(l.usable("run"), ctx.Err()); err != nil { // ended meanwhile
			return nil, err
		}
		return nil, classify("run", &fs.PathError{Op: "run", Path: c.Argv[0], Err: fs.ErrNotExist})
	}
	return p, nil
}

func (p *process) Stdin() io.WriteCloser { return p.stdin }
func (p *process) Stdout() io.Reader     { return p.stdout }
func (p *process) Stderr() io.Reader     { return p.stderr }

func (p *process) Wait() (int, error) {
	<-p.done
	return p.code, nil
}

func (p *process) Close() error {
	p.proc.machine.mu.Lock()
	p.proc.tree.kill()
	p.proc.machine.mu.Unlock()
	p.stdin.destroy()
	p.stdout.destroy()
	p.stderr.destroy()
	return nil
}

func (m *Machine) chdir(dir string) (string, error) {
	if dir == "" {
		return "/home", nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dirs[dir] {
		return "", &fs.PathError{Op: "chdir", Path: dir, Err: fs.ErrNotExist}
	}
	return dir, nil
}

// classify makes an error one of the contract's.
func classify(op string, err error) error {
	if err == nil {
		return nil
	}
	class := gat.ClassOf(err)
	if errors.Is(err, fs.ErrNotExist) {
		class = gat.NotFound
	}
	return &gat.Error{Class: class, Op: op, Err: err}
}

// input returns what a job reads.
func input(data []byte) io.Reader { return bytes.NewReader(bytes.Clone(data)) }

var (
	_ gat.Backend = Backend(nil)
	_ gat.Runner  = (*login)(nil)
	_ gat.Files   = (*login)(nil)
	_ gat.Inward  = (*login)(nil)
)
