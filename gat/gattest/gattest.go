package gattest

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"path"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// Patience is how long the suite waits for what must happen.
const Patience = 60 * time.Second

// Harness describes a site to the suite. Open and Dir are required.
type Harness struct {
	// Open makes a fresh login, of which there may be many at a time. It fails
	// the test by itself when it cannot. The suite closes the login.
	Open func(t testing.TB) gat.Login

	// Dir is an existing, empty directory at the site, absolute and without
	// symbolic links, that the caller removes afterwards.
	Dir string

	// Tool returns the argument list of a tool at the site. Nil means Shell.
	Tool func(tool string, args ...string) []string

	// Find describes the live processes at the site whose arguments or
	// environment contain text. Nil skips the checks for leftovers and secrets.
	Find func(text string) []string

	// Foreign is a well-formed identifier of a job that the site has no record
	// of. Empty means "no-such-job".
	Foreign gat.JobID

	// Break cuts the connection under a login. Nil skips that test.
	Break func(t testing.TB, l gat.Login)

	// Inner is a host to log in to from the site. Empty skips that test. The
	// tools must work there too.
	Inner string

	// NoKill says that closing a process cannot kill a command that neither
	// reads nor writes.
	NoKill bool

	// NoSweep says that cancelling a job misses processes that left its session.
	NoSweep bool
}

// Test checks that a backend keeps the contract. It returns when all is done.
func Test(t *testing.T, h Harness) {
	if h.Tool == nil {
		h.Tool = Shell
	}
	if h.Foreign == "" {
		h.Foreign = "no-such-job"
	}
	l := h.Open(t)
	_, runs := l.(gat.Runner)
	_, files := l.(gat.Files)
	_, inward := l.(gat.Inward)
	l.Close()

	group := func(name string, able bool, lack string, tests map[string]func(*site)) {
		t.Run(name, func(t *testing.T) {
			if !able {
				t.Skip(lack)
			}
			for name, test := range tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(h.site(t))
				})
			}
		})
	}
	group("login", true, "", loginTests)
	group("jobs", true, "", jobTests)
	group("run", runs, "the login cannot run commands", runTests)
	group("files", files, "the login cannot move files", fileTests)
	group("inward", inward && h.Inner != "", "the login cannot log in further, or the harness names no inner host", inwardTests)
}

// site is a login in the hands of one test.
type site struct {
	*testing.T
	Harness
	gat.Login
	ctx context.Context
}

func (h Harness) site(t *testing.T) *site {
	ctx, cancel := context.WithTimeout(t.Context(), 2*Patience)
	t.Cleanup(cancel)
	l := h.Open(t)
	t.Cleanup(func() { l.Close() })
	return &site{t, h, l, ctx}
}

// again makes another login to the same site.
func (s *site) again() *site { return s.Harness.site(s.T) }

// file returns a path at the site that no other test uses.
func (s *site) file() string { return path.Join(s.Dir, "f-"+rand.Text()) }

// mark returns an environment entry to find processes by, with its text.
func (s *site) mark() (env []string, text string) {
	text = "mark-" + rand.Text()
	return []string{"GATTEST_MARK=" + text}, text
}

// eventually waits until a condition holds.
func (s *site) eventually(what string, holds func() bool) {
	s.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(Patience); ; {
		if holds() {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("%s: not so after %v", what, Patience)
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.Fatalf("%s: %v", what, s.ctx.Err())
		}
	}
}

// found waits until n processes or more carry a mark.
func (s *site) found(text string, n int) {
	s.Helper()
	if s.Find == nil {
		return
	}
	s.eventually("the processes run", func() bool { return len(s.Find(text)) >= n })
}

// gone waits until no process carries a mark.
func (s *site) gone(text string) {
	s.Helper()
	if s.Find == nil {
		s.Log("leftovers not looked for: the harness cannot find processes")
		return
	}
	s.eventually("no process is left", func() bool { return len(s.Find(text)) == 0 })
}

// class fails the test unless err is of the class wanted.
func (s *site) class(err error, want gat.Class, of string) {
	s.Helper()
	if err == nil {
		s.Errorf("%s: no error, want one of class %v", of, want)
	} else if got := gat.ClassOf(err); got != want {
		s.Errorf("%s: error of class %v, want %v: %v", of, got, want, err)
	}
}

// result is what a command left.
type result struct {
	out, errs []byte
	code      int
}

// run runs a tool to its end, giving it input.
func (s *site) run(c gat.Command, input []byte) (result, error) {
	p, err := s.Login.(gat.Runner).Run(s.ctx, c)
	if err != nil {
		return result{}, err
	}
	defer p.Close()
	go func() { // ends with the process, which Close ends
		p.Stdin().Write(input)
		p.Stdin().Close()
	}()
	errs := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(p.Stderr())
		errs <- b
	}()
	out, err := io.ReadAll(p.Stdout())
	if err != nil {
		return result{}, err
	}
	code, err := p.Wait()
	return result{out, <-errs, code}, err
}

// mustRun is run where nothing can go wrong.
func (s *site) mustRun(tool string, args ...string) result {
	s.Helper()
	r, err := s.run(gat.Command{Argv: s.Tool(tool, args...)}, nil)
	if err != nil {
		s.Fatalf("run %s: %v", tool, err)
	}
	return r
}

// read returns a file of the site by whatever ability there is.
func (s *site) read(name string) ([]byte, error) {
	f, ok := s.Login.(gat.Files)
	if !ok {
		s.Skip("nothing can be read from the site: the login cannot move files")
	}
	var b bytes.Buffer
	err := f.Get(s.ctx, name, &b, -1)
	return b.Bytes(), err
}

// awkward are arguments that a shell somewhere would change.
var awkward = []string{
	"plain", "", " ", "two words", " lead and trail ", "tab\there", "new\nline", "\n", "trail\n", "cr\r\n",
	`'`, `''`, `"`, `it's "quoted"`, `\`, `\\`, `\n`, `a\ b`, "$HOME", "${HOME}", "$(echo no)", "`echo no`", "$$",
	"!", "!!", "!$", "*", "?", "[a-z]", "~", "~root", "#no comment", "-n", "--", "-e", "a;b", "a&b", "a|b", "<in", ">out",
	"(sub)", "{a,b}", "%s%n", "%PATH%", "^", "=", "A=B", "naïve", "日本語", "😀", "\xff\xfe", "\x01\x1b[31m\x7f",
}

func list(args []string) string {
	var b bytes.Buffer
	for _, a := range args {
		b.WriteString(a)
		b.WriteByte(0)
	}
	return b.String()
}
