package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// Run starts a command at the host.
func (l *Login) Run(ctx context.Context, c gat.Command) (gat.Process, error) {
	if err := c.Validate(); err != nil {
		return nil, l.Fault("run", Problem(gat.Invalid, "", err))
	}
	body := "exec " + words(c.Argv, c.Env)
	if !l.cfg.Signals {
		// The shell stays to tell how the command ended, and keeps to itself what
		// it has to say about signals.
		body = "exec 3>&2 2>/dev/null; (exec " + words(c.Argv, c.Env) + " 2>&3 3>&-); exit $?"
	}
	p, err := l.start(ctx, c.Dir, body)
	if err != nil {
		return nil, l.Fault("run", err)
	}
	return p, nil
}

// start runs a shell script at the host, and returns when its first line of
// output is about to come: the frames have been seen on both streams.
func (l *Login) start(ctx context.Context, dir, body string) (p *process, err error) {
	n := newNonce()
	script, err := n.render(dir, body)
	if err != nil {
		return nil, err
	}
	err = l.patiently(ctx, func() error {
		s, err := l.open(ctx)
		if err == nil {
			p, err = l.begin(ctx, s, l.release, n, dir, script)
		}
		return err
	})
	return p, err
}

// begin runs a script in a fresh session, and calls release when the session is over.
func (l *Login) begin(ctx context.Context, s Session, release func(), n nonce, dir, script string) (*process, error) {
	p := &process{l: l, s: s, release: release, ended: make(chan struct{})}
	l.mu.Lock()
	l.procs[p] = struct{}{}
	l.mu.Unlock()
	p.unwatch = context.AfterFunc(ctx, func() { p.end(context.Cause(ctx)) })
	go p.follow() // ends with the session, which Close of the login waits for

	fail := func(err error) (*process, error) {
		p.end(err)
		if errors.Is(err, ErrRefused) {
			<-p.ended // its slot is free
		}
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
		return nil, err
	}
	// The first answer shows that the server executes commands at all. Later
	// ones are not waited for: that saves a round trip.
	sure := l.proven.Load()
	err := s.Exec(Exec(len(script)), sure)
	if errors.Is(err, ErrNoExec) {
		return fail(Problem(gat.Denied, "the account may be limited to file transfers", err))
	}
	if err == nil {
		_, err = io.WriteString(s, script)
	}
	if err != nil && err != io.EOF { // what was printed before tells more than EOF
		return fail(l.Lost(err))
	}

	type frame struct {
		word  string
		noise []byte
		err   error
	}
	stderr := make(chan frame, 1)
	began := l.Spawn(func() {
		var f frame
		_, p.stderr, f.noise, f.err = awaitFrame(s.Stderr(), n)
		if f.err != nil && f.err != errNoFrame {
			p.end(f.err) // else the other stream would wait for ever
		}
		stderr <- f
	})
	if !began {
		return fail(l.Gone())
	}
	var out frame
	out.word, p.stdout, out.noise, out.err = awaitFrame(s, n)
	if out.err != nil {
		p.end(out.err)
	}
	errs := <-stderr
	if out.err != nil || errs.err != nil {
		return fail(l.unframed(ctx, s.Why(), out.err, errs.err, append(out.noise, errs.noise...)))
	}
	if out.word == "-" {
		text, _ := io.ReadAll(io.LimitReader(p.stderr, 4096))
		class := gat.NotFound
		if !bytes.Contains(text, []byte("such file")) && !bytes.Contains(text, []byte("can't cd")) {
			class = gat.Permanent
		}
		return fail(Problem(class, "", fmt.Errorf("no working directory %s: %s", dir, lastLine(text))))
	}
	pid, _ := strconv.Atoi(out.word)
	p.pid.Store(int64(pid))
	l.proven.Store(true)
	return p, nil
}

// unframed says why a command did not begin.
func (l *Login) unframed(ctx context.Context, why, out, errs error, noise []byte) error {
	err := out
	if err == nil || err == errNoFrame && errs != nil {
		err = errs
	}
	said := ""
	if line := lastLine(noise); line != "" {
		said = fmt.Sprintf(" (the last it said: %q)", line)
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("the command has not begun%s: %w", said, context.Cause(ctx))
	case err == errNoise:
		return Problem(gat.Permanent, "look at ~/.bashrc, ~/.profile or their like there", err)
	case err == errNoFrame:
		if lost := l.Lost(why); lost != nil {
			return lost
		}
		if bytes.Contains(noise, []byte("sftp connections only")) { // OpenSSH's internal-sftp
			return Problem(gat.Denied, "its administrator limits it: ask for one that may run commands",
				errors.New("the account may only transfer files, and runs no commands"))
		}
		if Expired(string(noise)) { // a login by key comes this far
			return Problem(gat.Denied, "log in with ssh in a terminal and choose a new one",
				errors.New("the account runs no commands until its password, which has expired, is changed"))
		}
		return Problem(gat.Denied, "does the account have a login shell, and /bin/sh and dd?", fmt.Errorf("%w%s", err, said))
	}
	return l.Lost(err)
}

// lost is err, or why the login ended when that is behind it.
func (l *Login) lost(err error) error {
	select {
	case <-l.done:
		return l.Gone()
	default:
		return err
	}
}

// lastLine is the last line of text that says something, fit to show.
func lastLine(text []byte) string {
	s := strings.TrimSpace(string(text))
	if i := strings.LastIndexByte(s, '\n'); i >= 0 {
		s = s[i+1:]
	}
	return Printable(strings.TrimSpace(s))
}

// A process is a command that runs over a session.
type process struct {
	l       *Login
	s       Session
	release func() // gives back what the session took
	pid     atomic.Int64
	unwatch func() bool

	stdout, stderr io.Reader

	once  sync.Once
	ended chan struct{} // closed when the session is over

	mu    sync.Mutex
	cause error // why we ended it
}

// follow waits for the end of the session.
func (p *process) follow() {
	p.s.Wait()
	p.unwatch()
	p.l.mu.Lock()
	delete(p.l.procs, p)
	p.l.mu.Unlock()
	p.release()
	close(p.ended)
}

func (p *process) Stdin() io.WriteCloser { return stdin{p.s} }

func (p *process) Stdout() io.Reader { return p.stdout }

func (p *process) Stderr() io.Reader { return p.stderr }

// stdin is the write side of a session.
type stdin struct{ s Session }

func (w stdin) Write(b []byte) (int, error) {
	n, err := w.s.Write(b)
	if err == io.EOF {
		err = io.ErrClosedPipe
	}
	return n, err
}

func (w stdin) Close() error {
	if err := w.s.CloseWrite(); err != nil && err != io.EOF {
		return err
	}
	return nil
}

// Wait returns how the command ended. What was not read stays readable, but a
// command that has more than 2 MiB unread does not go on.
func (p *process) Wait() (int, error) {
	<-p.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause != nil {
		return -1, p.l.Fault("run", p.cause)
	}
	if status, ok := p.s.Status(); ok {
		return status, nil
	}
	if lost := p.l.Lost(p.s.Why()); lost != nil {
		return -1, p.l.Fault("run", lost)
	}
	return -1, p.l.Fault("run", Problem(gat.Transient, "", errors.New("the server does not say how the command ended")))
}

// Close ends the conversation and has the server kill the command.
func (p *process) Close() error {
	p.end(ErrClosed)
	return nil
}

// end kills the command and closes the session, once, unless it is over.
func (p *process) end(cause error) {
	p.once.Do(func() {
		select {
		case <-p.ended:
			p.s.Close()
			return
		default:
		}
		if _, ok := p.s.Status(); ok { // only its output is left
			p.s.Close()
			return
		}
		p.mu.Lock()
		p.cause = cause
		p.mu.Unlock()
		// Servers kill the whole process group, but not all do it: then the
		// pid that came with the frame is used.
		if !p.l.Spawn(func() {
			killed := make(chan bool, 1)
			p.l.Spawn(func() {
				killed <- p.s.Kill()
			})
			timer := time.NewTimer(killTime)
			defer timer.Stop()
			select {
			case ok := <-killed:
				if pid := int(p.pid.Load()); !ok && pid > 1 {
					p.l.kill(pid)
				}
			case <-timer.C:
			case <-p.l.done:
			}
			p.s.Close()
		}) {
			p.s.Close()
		}
	})
}

// kill ends the process group of pid, or pid alone when it leads none.
func (l *Login) kill(pid int) {
	ctx, cancel := context.WithTimeout(l.ctx, killTime)
	defer cancel()
	n := newNonce()
	script, err := n.render("", fmt.Sprintf("kill -KILL -%d 2>/dev/null || kill -KILL %d", pid, pid))
	if err != nil {
		return
	}
	// It takes no slot: what it ends has one and waits for it.
	s, err := l.line.Open(ctx)
	if err != nil {
		return
	}
	if p, err := l.begin(ctx, s, func() {}, n, "", script); err == nil {
		p.Wait()
	}
}
