package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

const (
	// markEnv is the variable by which a job's processes are found.
	markEnv = "GAT_MARK"

	// inputPatience is how long Submit waits for a job to read the part of its
	// input that does not fit into a pipe.
	inputPatience = 100 * time.Millisecond

	// termPatience is how long cancelled processes have to end by themselves
	// before they are killed.
	termPatience = time.Second

	// killPatience bounds the hunt for processes that go on making others.
	killPatience = 5 * time.Second
)

// key is what a job identifier says: PID-START-BOOT-MARK.
type key struct {
	pid   int
	start uint64 // when the process started, in the system's own measure
	boot  string // which boot of the machine that was
	mark  string // random
}

func (k key) id() gat.JobID {
	return gat.JobID(fmt.Sprintf("%d-%d-%s-%s", k.pid, k.start, k.boot, k.mark))
}

// parse reads an identifier. Only what id prints is one.
func parse(id gat.JobID) (key, bool) {
	parts := strings.Split(string(id), "-")
	if len(parts) != 4 || len(parts[3]) != len(rand.Text()) {
		return key{}, false
	}
	pid, err := strconv.Atoi(parts[0])
	if err != nil || pid <= 1 {
		return key{}, false
	}
	start, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return key{}, false
	}
	k := key{pid, start, parts[2], parts[3]}
	return k, k.id() == id
}

// alive reports whether the job's own process is there.
func (k key) alive() bool {
	start, ok := startTime(k.pid)
	return ok && start == k.start && bootID() == k.boot
}

// job is a process that this login started.
type job struct {
	done      chan struct{}
	cancelled atomic.Bool
	exit      int // valid when done is closed
}

// Submit starts spec.Count processes, each in a session of its own.
func (l *login) Submit(ctx context.Context, spec gat.JobSpec) ([]gat.JobID, error) {
	if err := spec.Validate(); err != nil {
		return nil, &gat.Error{Class: gat.Invalid, Op: "submit", Err: err}
	}
	if len(spec.Files) > 0 {
		return nil, &gat.Error{Class: gat.Invalid, Op: "submit", Err: errors.New("files do not travel with a job of this machine: put them there first")}
	}
	var ids []gat.JobID
	for range max(spec.Count, 1) {
		if err := l.usable(ctx, "submit"); err != nil {
			return ids, err
		}
		id, err := l.submit(spec)
		if err != nil {
			return ids, classify("submit", err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (l *login) submit(spec gat.JobSpec) (gat.JobID, error) {
	k := key{mark: rand.Text(), boot: bootID()}
	argv := spec.Command()
	cmd := &exec.Cmd{
		Path:        argv[0],
		Args:        argv,
		Env:         slices.Concat(os.Environ(), spec.Env, []string{markEnv + "=" + k.mark}),
		Dir:         spec.Dir,
		SysProcAttr: detached(),
	}
	if spec.Stderr != "" {
		out, err := os.OpenFile(spec.Stderr, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return "", err
		}
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out
	}
	var input *os.File
	if len(spec.Stdin) > 0 {
		r, w, err := os.Pipe()
		if err != nil {
			return "", err
		}
		defer r.Close()
		cmd.Stdin, input = r, w
	}
	if err := cmd.Start(); err != nil {
		if input != nil {
			input.Close()
		}
		return "", err
	}
	k.pid = cmd.Process.Pid
	k.start, _ = startTime(k.pid) // there until it is waited for, below

	j := &job{done: make(chan struct{})}
	id := k.id()
	l.mu.Lock()
	l.jobs[id] = j
	l.mu.Unlock()
	rest := feed(input, spec.Stdin)
	// The job outlives the login, and so does the wait for it: it ends with
	// the job or with this program.
	go func() {
		cmd.Wait()
		if input != nil {
			input.Close() // ends the feeding, should it go on
		}
		j.exit = exitCode(cmd.ProcessState)
		close(j.done)
	}()
	if len(rest) > 0 {
		go func() { // ends with the job at the latest
			input.SetWriteDeadline(time.Time{})
			input.Write(rest)
			input.Close()
		}()
	}
	return id, nil
}

// feed writes data to w and closes it, and returns what could not be written
// at once, with w open.
func feed(w *os.File, data []byte) []byte {
	if w == nil {
		return nil
	}
	// Data of the permitted size fits into a pipe, except where the system is
	// short of memory for pipes.
	w.SetWriteDeadline(time.Now().Add(inputPatience))
	n, err := w.Write(data)
	if err != nil && os.IsTimeout(err) {
		return data[n:]
	}
	w.Close() // done, or nobody reads
	return nil
}

// Status asks the operating system for the processes. It tells exit statuses
// of jobs that this login submitted.
func (l *login) Status(ctx context.Context, ids ...gat.JobID) ([]gat.JobStatus, error) {
	if err := l.usable(ctx, "status"); err != nil {
		return nil, err
	}
	all := make([]gat.JobStatus, len(ids))
	for i, id := range ids {
		all[i] = l.status(id)
	}
	return all, nil
}

func (l *login) status(id gat.JobID) gat.JobStatus {
	st := gat.JobStatus{ID: id, Exit: -1}
	l.mu.Lock()
	j := l.jobs[id]
	l.mu.Unlock()
	if j == nil {
		if k, ok := parse(id); ok && k.alive() {
			st.State = gat.Running
		}
		return st
	}
	select {
	case <-j.done:
		st.Exit = j.exit
		switch {
		case j.cancelled.Load() && j.exit != 0:
			st.State = gat.Cancelled
		case j.exit == 0:
			st.State = gat.Done
		default:
			st.State = gat.Failed
			st.Reason = exitText(j.exit)
		}
	default:
		st.State = gat.Running
	}
	return st
}

func exitText(code int) string {
	if code > 128 {
		return fmt.Sprintf("ended by signal %d", code-128)
	}
	return fmt.Sprintf("ended with status %d", code)
}

// Cancel asks the jobs' processes to end, and kills those that have not after
// a second, or at once when ctx ends.
func (l *login) Cancel(ctx context.Context, ids ...gat.JobID) error {
	if err := l.usable(ctx, "cancel"); err != nil {
		return err
	}
	var keys []key
	for _, id := range ids {
		k, ok := parse(id)
		if !ok || k.boot != bootID() {
			continue // none of ours
		}
		l.mu.Lock()
		if j := l.jobs[id]; j != nil {
			j.cancelled.Store(true)
		}
		l.mu.Unlock()
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil
	}
	if end(ctx, keys, false, termPatience) == 0 {
		return nil
	}
	if n := end(context.WithoutCancel(ctx), keys, true, killPatience); n > 0 {
		return &gat.Error{Class: gat.Transient, Op: "cancel", Err: fmt.Errorf("%d processes do not end", n)}
	}
	return nil
}

// end signals the processes of jobs until there are none left or the patience
// is at its end, and returns how many there are still. Asking is done once a
// process, killing again and again.
func end(ctx context.Context, keys []key, kill bool, patience time.Duration) int {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	asked := make(map[int]bool)
	for {
		pids := members(keys)
		if len(pids) == 0 {
			return 0
		}
		for _, pid := range pids {
			if kill || !asked[pid] {
				asked[pid] = true
				signal(pid, kill)
			}
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return len(members(keys))
		case <-ctx.Done():
			return len(pids)
		}
	}
}
