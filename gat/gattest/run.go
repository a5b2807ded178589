package gattest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// bulk is how much data goes through a process, each way.
const bulk = 10 << 20

var runTests = map[string]func(*site){
	"arguments": testArguments,
	"bulk":      testBulk,

	"environment and directory": func(s *site) {
		for _, value := range awkward {
			r, err := s.run(gat.Command{
				Argv: s.Tool(ToolEnv, "GATTEST_V"), Env: []string{"GATTEST_V=" + value}, Dir: s.Dir,
			}, nil)
			if err != nil || string(r.out) != value {
				s.Errorf("environment value %q arrives as %q (%v)", value, r.out, err)
			}
		}
		r, err := s.run(gat.Command{Argv: s.Tool(ToolPwd), Dir: s.Dir}, nil)
		if err != nil || string(r.out) != s.Dir+"\n" {
			s.Errorf("directory is %q (%v), want %q", r.out, err, s.Dir)
		}
		if r, err := s.run(gat.Command{Argv: s.Tool(ToolPwd), Dir: s.Dir + "/missing"}, nil); err == nil && r.code == 0 {
			s.Error("a missing directory goes unnoticed")
		}
	},

	"streams apart": func(s *site) {
		r := s.mustRun(ToolSplit, "to out", "to err")
		if string(r.out) != "to out" || string(r.errs) != "to err" {
			s.Errorf("output %q, error output %q", r.out, r.errs)
		}
	},

	"exit status": func(s *site) {
		for _, code := range []int{0, 1, 3, 127, 255} {
			if r := s.mustRun(ToolExit, fmt.Sprint(code)); r.code != code {
				s.Errorf("exit status %d arrives as %d", code, r.code)
			}
		}
		for _, sig := range []int{9, 15} {
			if r := s.mustRun(ToolSignal, fmt.Sprint(sig)); r.code != 128+sig {
				s.Errorf("end by signal %d arrives as %d, want %d", sig, r.code, 128+sig)
			}
		}
	},

	"missing program": func(s *site) {
		r, err := s.run(gat.Command{Argv: []string{"/no/such/program"}}, nil)
		if err == nil && r.code != 127 && r.code != 126 {
			s.Errorf("a missing program ends with status %d and no error", r.code)
		}
	},

	"bad commands": func(s *site) {
		for name, c := range map[string]gat.Command{
			"no program":      {},
			"NUL argument":    {Argv: append(s.Tool(ToolArgs), "a\x00b")},
			"NUL environment": {Argv: s.Tool(ToolCat), Env: []string{"A=\x00"}},
			"no name":         {Argv: s.Tool(ToolCat), Env: []string{"=x"}},
			"NUL directory":   {Argv: s.Tool(ToolCat), Dir: "/\x00"},
		} {
			_, err := s.run(c, nil)
			s.class(err, gat.Invalid, "run with "+name)
		}
	},

	"conversation": func(s *site) {
		p := s.start(s.ctx, gat.Command{Argv: s.Tool(ToolCat)})
		for i := range 20 { // each answer must come before the next question
			text := fmt.Sprintf("question %d\n", i)
			if _, err := io.WriteString(p.Stdin(), text); err != nil {
				s.Fatal(err)
			}
			got := make([]byte, len(text))
			if _, err := io.ReadFull(p.Stdout(), got); err != nil || string(got) != text {
				s.Fatalf("got %q (%v), want %q", got, err, text)
			}
		}
		p.Stdin().Close()
		if rest, err := io.ReadAll(p.Stdout()); err != nil || len(rest) > 0 {
			s.Errorf("after the end of input: %q, %v", rest, err)
		}
		if code, err := p.Wait(); code != 0 || err != nil {
			s.Errorf("ended with %d, %v", code, err)
		}
	},

	"close": func(s *site) {
		env, mark := s.mark()
		p := s.start(s.ctx, gat.Command{Argv: s.Tool(ToolCat), Env: env})
		s.found(mark, 1)
		p.Close()
		s.over(p)
		s.gone(mark)
	},

	"close kills":   testKill(func(_ context.CancelFunc, _ gat.Login, p gat.Process) { p.Close() }),
	"context ends":  testKill(func(end context.CancelFunc, _ gat.Login, _ gat.Process) { end() }),
	"login closed":  testKill(func(_ context.CancelFunc, l gat.Login, _ gat.Process) { l.Close() }),
	"unread output": func(s *site) { testUnread(s) },
}

func testArguments(s *site) {
	got := s.mustRun(ToolArgs, awkward...)
	if string(got.out) != list(awkward) || len(got.errs) > 0 {
		s.Errorf("arguments arrive as\n%q, error output %q, want\n%q", got.out, got.errs, list(awkward))
	}
}

func testBulk(s *site) {
	data := make([]byte, bulk)
	rand.Read(data)
	r, err := s.run(gat.Command{Argv: s.Tool(ToolCat)}, data)
	if err != nil || r.code != 0 {
		s.Fatalf("cat: status %d, %v", r.code, err)
	}
	if !bytes.Equal(r.out, data) {
		s.Errorf("%d bytes come back as %d others", len(data), len(r.out))
	}
}

// testKill checks that a running command ends by what is done to it.
func testKill(do func(context.CancelFunc, gat.Login, gat.Process)) func(*site) {
	return func(s *site) {
		ctx, end := context.WithCancel(s.ctx)
		defer end()
		tool := ToolTree
		if s.NoKill {
			s.Log("the middleware cannot kill: tested with a command that reads")
			tool = ToolCat
		}
		env, mark := s.mark()
		p := s.start(ctx, gat.Command{Argv: s.Tool(tool), Env: env})
		s.found(mark, 1)
		do(end, s.Login, p)
		s.over(p)
		s.gone(mark)
	}
}

// testUnread checks that a command whose output nobody reads can be closed,
// and does not hold up others.
func testUnread(s *site) {
	env, mark := s.mark()
	p := s.start(s.ctx, gat.Command{Argv: s.Tool(ToolCat), Env: env})
	written := make(chan struct{})
	go func() { // ends with the process
		defer close(written)
		p.Stdin().Write(make([]byte, bulk))
	}()
	if r := s.mustRun(ToolSplit, "meanwhile", ""); string(r.out) != "meanwhile" {
		s.Errorf("a second command prints %q", r.out)
	}
	p.Close()
	s.over(p)
	s.gone(mark)
	select {
	case <-written:
	case <-time.After(Patience):
		s.Error("writing to a closed process does not end")
	}
}

func (s *site) start(ctx context.Context, c gat.Command) gat.Process {
	s.Helper()
	p, err := s.Login.(gat.Runner).Run(ctx, c)
	if err != nil {
		s.Fatalf("run %q: %v", c.Argv, err)
	}
	s.Cleanup(func() { p.Close() })
	return p
}

// over checks that a process that was ended from outside is over, and does not
// look like one that ended well.
func (s *site) over(p gat.Process) {
	s.Helper()
	type end struct {
		code int
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		code, err := p.Wait()
		ended <- end{code, err}
	}()
	select {
	case e := <-ended:
		s.Logf("wait returns %d, %v", e.code, e.err)
	case <-time.After(Patience):
		s.Error("wait does not return")
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(io.Discard, p.Stdout())
		io.Copy(io.Discard, p.Stderr())
	}()
	select {
	case <-read:
	case <-time.After(Patience):
		s.Error("the output does not end")
	}
}
