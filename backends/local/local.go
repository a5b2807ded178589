// Package local is the backend for the machine the program runs on, with the
// URL "local:". Its middleware is the operating system: a job is a process in a
// session of its own.
//
// The one rule to know: a job is more than its process. Its identifier carries
// the process's number together with its start time and the machine's boot, so
// that a number used again is never mistaken for it, and a random mark that all
// its descendants find in their environment (GAT_MARK), so that on Linux
// cancelling a job finds those that left its session, too. On other systems
// cancelling reaches the process group only.
//
// The operating system keeps no record of a process that ended. Exit statuses
// are known to the login that submitted the job; for any other login a job that
// ended is unknown.
package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"sync"
	"syscall"

	"github.com/zorilla-grid/zorilla/gat"
)

// Backend is the backend for "local:".
type Backend struct{}

// Schemes returns "local".
func (Backend) Schemes() []string { return []string{"local"} }

// Check accepts "local:" and nothing more: there is nothing to choose.
func (Backend) Check(u *url.URL) error {
	v := *u
	v.Scheme = ""
	if rest := v.String(); rest != "" && rest != "/" && rest != "//" && rest != "///" {
		return fmt.Errorf("local: takes no host, path or option (%q): write local:", rest)
	}
	return nil
}

// Open returns a login, which costs nothing here.
func (Backend) Open(ctx context.Context, _ gat.Target) (gat.Login, error) {
	if err := ctx.Err(); err != nil {
		return nil, &gat.Error{Class: gat.Transient, Op: "log in", Err: err}
	}
	return &login{
		done:  make(chan struct{}),
		jobs:  make(map[gat.JobID]*job),
		procs: make(map[*process]struct{}),
	}, nil
}

// login is an open login. It remembers the jobs it started, for their exit
// statuses, and ends the processes it runs.
type login struct {
	done chan struct{}
	wg   sync.WaitGroup // processes of Run

	mu     sync.Mutex
	closed bool
	jobs   map[gat.JobID]*job
	procs  map[*process]struct{}
}

func (l *login) Done() <-chan struct{} { return l.done }
func (l *login) Err() error            { return nil }

// Close kills the processes of Run and waits for their end.
func (l *login) Close() error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.done)
	}
	var procs []*process
	for p := range l.procs {
		procs = append(procs, p)
	}
	l.mu.Unlock()
	for _, p := range procs {
		p.Close()
	}
	l.wg.Wait()
	return nil
}

// usable reports why an operation cannot begin.
func (l *login) usable(ctx context.Context, op string) error {
	select {
	case <-l.done:
		return &gat.Error{Class: gat.Permanent, Op: op, Err: gat.ErrClosed}
	default:
	}
	if err := ctx.Err(); err != nil {
		return classify(op, err)
	}
	return nil
}

// classify makes an error of the operating system one of the contract's.
func classify(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*gat.Error](err); ok {
		return err
	}
	e := &gat.Error{Class: gat.Permanent, Op: op, Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		e.Class = gat.NotFound
	case errors.Is(err, fs.ErrPermission):
		e.Class = gat.Denied
	case errors.Is(err, syscall.ENOEXEC):
		e.Hint = "is it made for this kind of machine?"
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EMFILE),
		errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ETXTBSY), errors.Is(err, context.DeadlineExceeded):
		e.Class = gat.Transient
	}
	return e
}

var (
	_ gat.Backend = Backend{}
	_ gat.Login   = (*login)(nil)
	_ gat.Runner  = (*login)(nil)
	_ gat.Files   = (*login)(nil)
)
