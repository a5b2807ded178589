package ssh

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

	gossh "golang.org/x/crypto/ssh"

	"github.com/zorilla-grid/zorilla/gat"
)

// killTime is how long the server has to say that it passed a signal on.
const killTime = 2 * time.Second

// Run starts a command at the host.
func (l *login) Run(ctx context.Context, c gat.Command) (gat.Process, error) {
	if err := c.Validate(); err != nil {
		return nil, l.fault("run", problem(gat.Invalid, "", err))
	}
	p, err := l.start(ctx, c.Dir, "exec "+words(c.Argv, c.Env))
	if err != nil {
		return nil, l.fault("run", err)
	}
	return p, nil
}

// start runs a shell script at the host, and returns when its first line of
// output is about to come: the frames have been seen on both streams.
func (l *login) start(ctx context.Context, dir, body string) (*process, error) {
	n := newNonce()
	script, err := n.render(dir, body)
	if err != nil {
		return nil, err
	}
	s, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	p := &process{l: l, s: s, ended: make(chan struct{}), status: -1}
	l.mu.Lock()
	l.procs[p] = struct{}{}
	l.mu.Unlock()
	p.unwatch = context.AfterFunc(ctx, func() { p.end(context.Cause(ctx)) })
	go p.follow() // ends with the session, which Close of the login waits for

	fail := func(err error) (*process, error) {
		p.end(err)
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
		return nil, err
	}
	// The first answer shows that the server executes commands at all. Later
	// ones are not waited for: that saves a round trip.
	sure := l.proven.Load()
	ok, err := s.SendRequest("exec", !sure, gossh.Marshal(struct{ Command string }{Exec(len(script))}))
	if err == nil && !ok && !sure {
		return fail(problem(gat.Denied, "the account may be limited to file transfers", errors.New("the server refuses to execute commands")))
	}
	if err == nil {
		_, err = io.WriteString(s, script)
	}
	if err != nil && err != io.EOF { // what was printed before tells more than EOF
		return fail(l.lost(err))
	}

	type frame struct {
		word  string
		noise []byte
		err   error
	}
	stderr := make(chan frame, 1)
	began := l.spawn(func() {
		var f frame
		_, p.stderr, f.noise, f.err = awaitFrame(s.Stderr(), n)
		if f.err != nil && f.err != errNoFrame {
			p.end(f.err) // else the other stream would wait for ever
		}
		stderr <- f
	})
	if !began {
		return fail(l.gone())
	}
	var out frame
	out.word, p.stdout, out.noise, out.err = awaitFrame(s, n)
	if out.err != nil {
		p.end(out.err)
	}
	errs := <-stderr
	if out.err != nil || errs.err != nil {
		return fail(l.unframed(ctx, out.err, errs.err, append(out.noise, errs.noise...)))
	}
	if out.word == "-" {
		text, _ := io.ReadAll(io.LimitReader(p.stderr, 4096))
		class := gat.NotFound
		if !bytes.Contains(text, []byte("such file")) && !bytes.Contains(text, []byte("can't cd")) {
			class = gat.Permanent
		}
		return fail(problem(class, "", fmt.Errorf("no working directory %s: %s", dir, lastLine(text))))
	}
	pid, _ := strconv.Atoi(out.word)
	p.pid.Store(int64(pid))
	l.proven.Store(true)
	return p, nil
}

// unframed says why a command did not begin.
func (l *login) unframed(ctx context.Context, out, errs error, noise []byte) error {
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
		return problem(gat.Permanent, "look at ~/.bashrc, ~/.profile or their like there", err)
	case err == errNoFrame:
		select {
		case <-l.done:
			return l.gone()
		default:
		}
		return problem(gat.Denied, "does the account have a login shell, and /bin/sh and dd?", fmt.Errorf("%w%s", err, said))
	}
	return l.lost(err)
}

// lost is err, or why the login ended when that is behind it.
func (l *login) lost(err error) error {
	select {
	case <-l.done:
		return l.gone()
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
	return printable(strings.TrimSpace(s))
}

// A process is a command that runs over a session.
type process struct {
	l       *login
	s       *session
	pid     atomic.Int64
	unwatch func() bool

	stdout, stderr io.Reader

	once  sync.Once
	ended chan struct{} // closed when the session is over

	mu     sync.Mutex
	status int
	cause  error // why we ended it
	exited bool  // the server reported how it ended
}

// follow takes the server's word on how the command ended.
func (p *process) follow() {
	for r := range p.s.requests {
		p.mu.Lock()
		switch r.Type {
		case "exit-status":
			var m struct{ Status uint32 }
			if gossh.Unmarshal(r.Payload, &m) == nil {
				p.status, p.exited = int(m.Status), true
			}
		case "exit-signal":
			var m struct {
				Signal     string
				CoreDumped bool
				Error      string
				Lang       string
			}
			if gossh.Unmarshal(r.Payload, &m) == nil {
				p.status, p.exited = 128+signalNumber(m.Signal), true
			}
		}
		p.mu.Unlock()
		if r.WantReply {
			r.Reply(false, nil)
		}
	}
	p.s.Close()
	p.unwatch()
	p.l.mu.Lock()
	delete(p.l.procs, p)
	p.l.mu.Unlock()
	p.l.release()
	close(p.ended)
}

// signalNumber is Linux's number of a signal named as in RFC 4254, or 0.
func signalNumber(name string) int {
	switch name {
	case "HUP":
		return 1
	case "INT":
		return 2
	case "QUIT":
		return 3
	case "ILL":
		return 4
	case "TRAP":
		return 5
	case "ABRT":
		return 6
	case "FPE":
		return 8
	case "KILL":
		return 9
	case "SEGV":
		return 11
	case "PIPE":
		return 13
	case "USR1":
		return 10
	case "USR2":
		return 12
	case "ALRM":
		return 14
	case "TERM":
		return 15
	case "XCPU":
		return 24
	}
	return 0
}

func (p *process) Stdin() io.WriteCloser { return stdin{p.s} }

func (p *process) Stdout() io.Reader { return p.stdout }

func (p *process) Stderr() io.Reader { return p.stderr }

// stdin is the write side of a session.
type stdin struct{ s *session }

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
	switch {
	case p.exited && p.cause == nil:
		return p.status, nil
	case p.cause != nil:
		return -1, p.l.fault("run", p.cause)
	}
	select {
	case <-p.l.done:
		return -1, p.l.fault("run", p.l.gone())
	default:
	}
	return -1, p.l.fault("run", problem(gat.Transient, "", errors.New("the server does not say how the command ended")))
}

// errClosed says that our own side closed a process.
var errClosed = errors.New("the process was closed")

// Close ends the conversation and has the server kill the command.
func (p *process) Close() error {
	p.end(errClosed)
	return nil
}

// end kills the command and closes the session, once, unless it is over.
func (p *process) end(cause error) {
	p.once.Do(func() {
		select {
		case <-p.ended:
			return
		default:
		}
		p.mu.Lock()
		if p.exited { // only its output is left
			p.mu.Unlock()
			p.s.Close()
			return
		}
		p.cause = cause
		p.mu.Unlock()
		// Servers kill the whole process group, but not all do it: then the
		// pid that came with the frame is used.
		if !p.l.spawn(func() {
			killed := make(chan bool, 1)
			p.l.spawn(func() {
				ok, err := p.s.SendRequest("signal", true, gossh.Marshal(struct{ Signal string }{"KILL"}))
				killed <- ok || err != nil
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
func (l *login) kill(pid int) {
	ctx, cancel := context.WithTimeout(l.ctx, killTime)
	defer cancel()
	p, err := l.start(ctx, "", fmt.Sprintf("kill -KILL -%d 2>/dev/null || kill -KILL %d", pid, pid))
	if err == nil {
		p.Wait()
	}
}
