package batch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// login is a login to a queueing system's host. Its life is the shell's.
type login struct {
	gat.Login // the shell's
	d         *Dialect
	key       string // names the site in queries that are shared
	polls     gat.Polls
	every     time.Duration // between two status commands
	paced     time.Duration
	observe   func(gat.Operation) // told of each command; may be nil

	mu      sync.Mutex
	facts   *Facts
	factsAt time.Time
	probing chan struct{} // closed when the probe in progress ended
	jobs    map[gat.JobID]*memo

	submittedAt time.Time // the last submission
	listedAt    time.Time // when the newest listing was asked for, or one failed
	askedAt     time.Time // the last call of Status

	files *squeezer
}

// memo is what a login remembers of a job.
type memo struct {
	submitted time.Time     // zero when another login did it
	cancelled bool          // by us
	looked    time.Time     // when the listing was asked that made us look it up
	found     gat.JobStatus // by the last look-up
}

// maxMemos bounds the memory of jobs.
const maxMemos = 4 * gat.MaxCount

// memo returns what is remembered of a job. l.mu is held.
func (l *login) memo(id gat.JobID) *memo {
	m := l.jobs[id]
	if m == nil {
		if l.jobs == nil || len(l.jobs) >= maxMemos {
			l.jobs = make(map[gat.JobID]*memo)
		}
		m = &memo{}
		l.jobs[id] = m
	}
	return m
}

// Head returns the shell's login.
func (l *login) Head() gat.Login { return l.Login }

// settle is how long after a submission the jobs' first listing is worth its while:
// a free node has started them by then.
func (l *login) settle() time.Duration { return min(5*time.Second, l.every/12) }

// PollEvery is a little longer than answers are shared, so that whoever keeps to it
// gets a new one each time. After a submission it is shorter where a listing is due:
// the one that tells that the jobs started.
func (l *login) PollEvery() time.Duration {
	if l.paced > 0 {
		return l.paced
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.submittedAt.After(l.listedAt) {
		due := l.submittedAt.Add(l.settle())
		if next := l.listedAt.Add(l.every); next.After(due) {
			due = next
		}
		return min(max(due.Sub(l.askedAt)+time.Millisecond, l.settle()), l.every+time.Second)
	}
	return l.every + time.Second
}

// usable reports why no operation can begin any more.
func (l *login) usable(ctx context.Context, op string) error {
	select {
	case <-l.Done():
		if err := l.Err(); err != nil {
			return &gat.Error{Class: gat.Transient, Op: op, Err: err}
		}
		return &gat.Error{Class: gat.Permanent, Op: op, Err: gat.ErrClosed}
	default:
		return ctx.Err()
	}
}

// lacks is the error of an ability that the shell does not have.
func lacks(op string) error {
	return &gat.Error{Class: gat.Permanent, Op: op, Err: fmt.Errorf("%w: to %s", gat.ErrCannot, op)}
}

// Run runs a command at the host logged in to.
func (l *login) Run(ctx context.Context, c gat.Command) (gat.Process, error) {
	return l.Login.(gat.Runner).Run(ctx, c)
}

// Put writes a file at the host logged in to.
func (l *login) Put(ctx context.Context, path string, mode fs.FileMode, r io.Reader) error {
	if a, ok := l.Login.(gat.Files); ok {
		return a.Put(ctx, path, mode, r)
	}
	return lacks("put files")
}

// Get reads a file of the host logged in to.
func (l *login) Get(ctx context.Context, path string, w io.Writer, limit int64) error {
	if a, ok := l.Login.(gat.Files); ok {
		return a.Get(ctx, path, w, limit)
	}
	return lacks("get files")
}

// Remove removes files of the host logged in to.
func (l *login) Remove(ctx context.Context, paths ...string) error {
	if a, ok := l.Login.(gat.Files); ok {
		return a.Remove(ctx, paths...)
	}
	return lacks("remove files")
}

// Forward connects to a socket of the host logged in to.
func (l *login) Forward(ctx context.Context, network, address string) (net.Conn, error) {
	if a, ok := l.Login.(gat.Forwarder); ok {
		return a.Forward(ctx, network, address)
	}
	return nil, lacks("forward connections")
}

// Inner logs in further, to a plain host.
func (l *login) Inner(ctx context.Context, host string, dial gat.DialFunc) (gat.Login, error) {
	if a, ok := l.Login.(gat.Inward); ok {
		return a.Inner(ctx, host, dial)
	}
	return nil, lacks("log in further")
}

// Inside runs a command on a node of a job.
func (l *login) Inside(ctx context.Context, id gat.JobID, node int, c gat.Command) (gat.Process, error) {
	const op = "run inside"
	if err := c.Validate(); err != nil {
		return nil, invalid(op, err)
	}
	if l.d.Inside == nil {
		return nil, &gat.Error{Class: gat.Permanent, Op: op, Err: fmt.Errorf("%s has no means to run a command inside a job: %w", l.d.Title, gat.ErrCannot)}
	}
	if !l.d.ID(id) || node < 0 || node >= gat.MaxCount {
		return nil, &gat.Error{Class: gat.NotFound, Op: op, Err: fmt.Errorf("%s has no job %q with a node %d", l.d.Title, id, node)}
	}
	argv := c.Argv
	if len(c.Env) > 0 {
		argv = append(append([]string{"env", "--"}, c.Env...), argv...)
	}
	if c.Dir != "" {
		argv = append([]string{"/bin/sh", "-c", `cd "$1" && shift && exec "$@"`, "sh", c.Dir}, argv...)
	}
	return l.Run(ctx, gat.Command{Argv: append([]string{"/bin/sh", "-c", l.d.tools() + l.d.Inside(id, node), "sh"}, argv...)})
}

// tools is sh that finds the system's commands: on many hosts only the start files
// of a login with a terminal set the PATH, and variables without which they fail.
func (d *Dialect) tools() string {
	return fmt.Sprintf(`set +e +u
gat_find() { command -v %[1]s >/dev/null 2>&1; }
gat_find || for gat_f in /etc/profile "${HOME:-/}/.profile" "${HOME:-/}/.bash_profile"; do
[ -r "$gat_f" ] && (. "$gat_f"; gat_find) </dev/null >/dev/null 2>&1 && { . "$gat_f" </dev/null >/dev/null 2>&1; break; }
done
gat_find || PATH=$PATH:%[2]s
gat_find || { echo "%[1]s: not found" >&2; exit 127; }
`, d.Tool, strings.Join(append([]string{"/usr/local/bin", "/usr/bin"}, d.Paths...), ":"))
}

// plain is sh for commands whose output is read: words of no other language.
const plain = "LC_ALL=C; export LC_ALL; unset GREP_OPTIONS\n"

// Limits of what commands print, in bytes.
const (
	maxOut       = 32 << 20
	maxComplaint = 64 << 10
)

// notRun is the error of a command that did not begin.
type notRun struct{ error }

func (e notRun) Unwrap() error { return e.error }

// answer is what a command of ours printed.
type answer struct {
	out, complaint string
	status         int
}

// sh runs sh at the host, with the system's commands in its PATH.
func (l *login) sh(ctx context.Context, text, in string, args ...string) (answer, error) {
	return l.observed(text, in, args, func() (answer, error) { return l.run(ctx, text, in, args...) })
}

func (l *login) run(ctx context.Context, text, in string, args ...string) (answer, error) {
	p, err := l.Run(ctx, gat.Command{Argv: append([]string{"/bin/sh", "-c", l.d.tools() + text, "sh"}, args...)})
	if err != nil {
		return answer{}, notRun{err}
	}
	defer p.Close()
	var side sync.WaitGroup
	var complaint []byte
	side.Go(func() {
		io.WriteString(p.Stdin(), in) // a command that does not want all of it says so by its status
		p.Stdin().Close()
	})
	side.Go(func() {
		complaint, _ = io.ReadAll(io.LimitReader(p.Stderr(), maxComplaint))
		io.Copy(io.Discard, p.Stderr())
	})
	out, err := io.ReadAll(io.LimitReader(p.Stdout(), maxOut))
	if len(out) == maxOut {
		p.Close()
		err = &gat.Error{Class: gat.Transient, Err: fmt.Errorf("more than %d MiB of output", maxOut>>20)}
	}
	var status int
	if err == nil {
		status, err = p.Wait()
	}
	if err != nil {
		p.Close()
	}
	side.Wait()
	if err == nil {
		err = ctx.Err() // which ends the command
	}
	return answer{string(out), string(complaint), status}, err
}

// newSeal returns what is printed behind the output of a command that is to be whole;
// nothing in the output is taken for it.
func newSeal() string { return "end-" + rand.Text() + " " }

// ask runs sh whose whole output is an answer, and returns that.
func (l *login) ask(ctx context.Context, op, text string, args ...string) (string, error) {
	seal := newSeal()
	a, err := l.observed(text, "", args, func() (answer, error) {
		return l.run(ctx, plain+"(\n"+text+"\n)\nprintf '\\n%s%s\\n' '"+seal+"' \"$?\"\n", "", args...)
	})
	if err != nil {
		return "", err
	}
	body, status, ok := unseal(a.out, seal)
	switch {
	case a.status != 0:
		return "", l.d.fault(op, gat.JobSpec{}, a.out, a.complaint, a.status)
	case !ok:
		return "", &gat.Error{Class: gat.Transient, Op: op, Err: fmt.Errorf("the answer of %s was cut off after %d bytes", l.d.Title, len(a.out))}
	case status != 0:
		return "", l.d.fault(op, gat.JobSpec{}, body, a.complaint, status)
	}
	return body, nil
}

// unseal takes the seal off an answer.
func unseal(out, seal string) (body string, status int, ok bool) {
	i := strings.LastIndex(out, "\n"+seal)
	if i < 0 {
		return "", 0, false
	}
	text, rest, ended := strings.Cut(out[i+1+len(seal):], "\n")
	if !ended || strings.TrimSpace(rest) != "" {
		return "", 0, false
	}
	status, ok = Number(text)
	return out[:i], status, ok
}

// transient makes an error of a parser one of class Transient: the answer may be
// good the next time.
func (d *Dialect) transient(op string, err error) error {
	if _, ok := errors.AsType[*gat.Error](err); ok {
		return err
	}
	return &gat.Error{Class: gat.Transient, Op: op, Err: fmt.Errorf("the answer of %s is not understood: %w", d.Title, err)}
}

var (
	_ gat.Login     = (*login)(nil)
	_ gat.Runner    = (*login)(nil)
	_ gat.Files     = (*login)(nil)
	_ gat.Forwarder = (*login)(nil)
	_ gat.Inward    = (*login)(nil)
	_ gat.Headed    = (*login)(nil)
	_ gat.Describer = (*login)(nil)
	_ gat.Finder    = (*login)(nil)
	_ gat.Insider   = (*login)(nil)
	_ gat.Paced     = (*login)(nil)
	_ gat.Described = (*login)(nil)
)
