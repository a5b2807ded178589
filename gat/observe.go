package gat

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Operation is one thing that a [Site] did at its host, or tried to: one try over
// one URL. It holds no secrets: of what was given to a command's standard input,
// and of files, only the sizes.
type Operation struct {
	Site string // the site's name; "SITE/HOST" for a host behind it
	URL  string // without secrets

	// Op is what was done: "log in", "run", "run inside", "submit", "status",
	// "cancel", "find jobs", "describe", "render submissions", "put", "get",
	// "remove" or "forward"; "command" is a command that a backend ran for one of
	// these, such as one that asks a queueing system.
	Op string

	// Detail is the argument list, the path or the address, at most [MaxDetail]
	// bytes; of a login, by what right it was made (see [Described]). Arguments of
	// more than one line are shown as their first line, size and SHA-256.
	Detail string

	Jobs     []JobID       // that Op submitted, or is about
	Up, Down int64         // bytes of content to the site and from it, as far as they are known
	At       time.Time     // beginning
	Took     time.Duration // 0 while Going
	Going    bool          // it has begun, and will be told of again when it has ended
	Told     bool          // it has ended, and was told of before as Going
	Err      error
}

// MaxDetail is the longest Operation.Detail, in bytes.
const MaxDetail = 1 << 10

// Described is the ability of a [Login] to say by what right it was made, such as
// "key ~/.ssh/id_ed25519". It never tells a secret.
type Described interface {
	How() string
}

// How says by what right the login in use was made, in the words of its backend;
// empty before the first login, and where the backend does not say. See [Described].
func (s *Site) How() string {
	s.mu.Lock()
	var l Login
	if s.via != nil {
		l = s.via.login
	}
	s.mu.Unlock()
	return how(l)
}

func how(l Login) string {
	if d, ok := l.(Described); ok {
		return d.How()
	}
	return ""
}

// An observation is an operation under way. A nil one is of a site that nobody
// observes.
type observation struct {
	tell     func(Operation)
	op       Operation
	up, down atomic.Int64
	once     sync.Once
}

// observe begins an operation over a route.
func (s *Site) observe(r *route, op, detail string) *observation {
	if s.cfg.Observe == nil {
		return nil
	}
	return &observation{tell: s.cfg.Observe, op: Operation{Site: s.cfg.Name, URL: r.text, Op: op, Detail: shorten(detail, MaxDetail), At: time.Now()}}
}

// last tells that the operation has begun and takes a while.
func (o *observation) last() {
	if o != nil {
		begun := o.op
		begun.Going, o.op.Told = true, true
		o.tell(begun)
	}
}

// end tells the operation, once, and returns the error.
func (o *observation) end(err error) error {
	if o != nil {
		o.once.Do(func() {
			o.op.Up, o.op.Down = o.op.Up+o.up.Load(), o.op.Down+o.down.Load()
			o.op.Took, o.op.Err = time.Since(o.op.At), err
			o.tell(o.op)
		})
	}
	return err
}

// about notes which jobs the operation is about.
func (o *observation) about(ids []JobID) *observation {
	if o != nil {
		o.op.Jobs = append([]JobID(nil), ids...)
	}
	return o
}

// moved counts what moved besides streams.
func (o *observation) moved(up, down int64) {
	if o != nil {
		o.up.Add(up)
		o.down.Add(down)
	}
}

// Text returns the command as an operation's Detail shows it: its argument list,
// and before it the names of the variables it is given. Values of variables are not shown.
func (c Command) Text() string {
	var words []string
	for _, kv := range c.Env {
		name, _, _ := strings.Cut(kv, "=")
		words = append(words, name+"=...")
	}
	for _, arg := range c.Argv {
		words = append(words, word(arg))
	}
	if c.Dir != "" {
		words = append(words, "(in "+word(c.Dir)+")")
	}
	return shorten(strings.Join(words, " "), MaxDetail)
}

// maxWord is the longest argument that is shown whole, in bytes.
const maxWord = 160

// word is an argument for people: quoted where it has to be, and one that is long
// or a whole script as its beginning, size and digest.
func word(arg string) string {
	if strings.ContainsRune(arg, '\n') || len(arg) > maxWord {
		first, _, _ := strings.Cut(strings.TrimLeft(arg, "\n"), "\n")
		return fmt.Sprintf("%s [%d bytes, sha256 %.6x]", quoted(shorten(first, maxWord)), len(arg), sha256.Sum256([]byte(arg)))
	}
	if arg == "" || strings.ContainsAny(arg, " \t'\"\\$`;&|<>()*?[]#~!{}") || printing(arg) != arg {
		return quoted(arg)
	}
	return arg
}

func quoted(s string) string { return "'" + strings.ReplaceAll(printing(s), "'", `'\''`) + "'" }

// printing replaces what a terminal would obey.
func printing(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// shorten cuts a text at n bytes, marked.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-3], "") + "..."
}

// observed returns a process whose streams are counted.
func (o *observation) process(p Process) Process {
	if o == nil {
		return p
	}
	o.last()
	return &observedProcess{p, o,
		&countedWriter{p.Stdin(), &o.up}, &countedReader{p.Stdout(), &o.down}, &countedReader{p.Stderr(), &o.down}}
}

type observedProcess struct {
	Process
	o      *observation
	stdin  *countedWriter
	stdout *countedReader
	stderr *countedReader
}

func (p *observedProcess) Stdin() io.WriteCloser { return p.stdin }
func (p *observedProcess) Stdout() io.Reader     { return p.stdout }
func (p *observedProcess) Stderr() io.Reader     { return p.stderr }

func (p *observedProcess) Wait() (int, error) {
	code, err := p.Process.Wait()
	told := err
	if err == nil && code != 0 {
		told = fmt.Errorf("exit status %d", code)
	}
	p.o.end(told)
	return code, err
}

func (p *observedProcess) Close() error {
	err := p.Process.Close()
	p.o.end(nil)
	return err
}

// conn returns a connection that is counted.
func (o *observation) conn(c net.Conn) net.Conn {
	if o == nil || c == nil {
		return c
	}
	o.last()
	return &observedConn{c, o}
}

type observedConn struct {
	net.Conn
	o *observation
}

func (c *observedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.o.moved(0, int64(n))
	return n, err
}

func (c *observedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.o.moved(int64(n), 0)
	return n, err
}

func (c *observedConn) Close() error {
	defer c.o.end(nil)
	return c.Conn.Close()
}

type countedReader struct {
	io.Reader
	n *atomic.Int64
}

func (r *countedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n.Add(int64(n))
	return n, err
}

type countedWriter struct {
	io.WriteCloser
	n *atomic.Int64
}

func (w *countedWriter) Write(p []byte) (int, error) {
	n, err := w.WriteCloser.Write(p)
	w.n.Add(int64(n))
	return n, err
}

// backendObserver is what backends tell the commands to that they run by themselves.
func (s *Site) backendObserver(r *route) func(Operation) {
	if s.cfg.Observe == nil {
		return nil
	}
	return func(op Operation) {
		op.Site, op.URL, op.Detail = s.cfg.Name, r.text, shorten(printing(op.Detail), MaxDetail)
		s.cfg.Observe(op)
	}
}

// observeLogin tells of one login. Its time at the gate does not count.
func (s *Site) observeLogin(ctx context.Context, r *route, pass *passage, open func() (Login, error)) (Login, error) {
	if s.cfg.Observe == nil || r.borrowed {
		return open()
	}
	o := s.observe(r, "log in", "")
	login, err := open()
	if since := pass.entered(); !since.IsZero() {
		o.op.At = since
	}
	if err == nil {
		o.op.Detail = shorten(printing(how(login)), MaxDetail)
	} else if context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	return login, o.end(err)
}

// text is a job as an operation's Detail shows it.
func (s JobSpec) text() string {
	text := Command{Argv: s.Argv, Env: s.Env, Dir: s.Dir}.Text()
	if s.Count > 1 {
		text = fmt.Sprintf("%d x %s", s.Count, text)
	}
	if len(s.Setup) > 0 {
		text += fmt.Sprintf(" (after %d lines of setup)", len(s.Setup))
	}
	if s.Name != "" {
		text = s.Name + ": " + text
	}
	return shorten(text, MaxDetail)
}

// size is how many bytes go with a job, besides its script.
func (s JobSpec) size() int64 {
	n := int64(len(s.Stdin))
	for _, f := range s.Files {
		n += int64(len(f.Data))
	}
	return n
}
