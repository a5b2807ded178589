package gattest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

var loginTests = map[string]func(*site){
	"close": func(s *site) {
		select {
		case <-s.Done():
			s.Fatalf("a fresh login is done: %v", s.Err())
		default:
		}
		if err := s.Close(); err != nil {
			s.Fatalf("close: %v", err)
		}
		s.eventually("done after close", func() bool {
			select {
			case <-s.Done():
				return true
			default:
				return false
			}
		})
		if err := s.Err(); err != nil {
			s.Errorf("after close Err is %v, want nil", err)
		}
		if _, err := s.Submit(s.ctx, gat.JobSpec{Argv: s.Tool(ToolExit, "0")}); err == nil {
			s.Error("submit over a closed login: no error")
		}
		if _, err := s.Status(s.ctx, s.Foreign); err == nil {
			s.Error("status over a closed login: no error")
		}
		if err := s.Close(); err != nil {
			s.Errorf("second close: %v", err)
		}
	},

	"break": func(s *site) {
		if s.Break == nil {
			s.Skip("the harness cannot cut a connection")
		}
		env, mark := s.mark()
		ids, err := s.Submit(s.ctx, gat.JobSpec{Argv: s.Tool(ToolSleep), Env: env})
		if err != nil {
			s.Fatal(err)
		}
		s.Break(s.T, s.Login)
		select {
		case <-s.Done():
		case <-time.After(Patience):
			s.Fatal("the login does not notice that its connection broke")
		}
		if s.Err() == nil {
			s.Error("after a break Err is nil, want the reason")
		}
		if _, err := s.Status(s.ctx, ids...); err == nil {
			s.Error("status over a broken login: no error")
		}
		later := s.again()
		later.runs(ids)
		later.cancel(ids)
		later.gone(mark)
	},

	"ended context": func(s *site) {
		ctx, cancel := context.WithCancel(s.ctx)
		cancel()
		env, mark := s.mark()
		ids, err := s.Submit(ctx, gat.JobSpec{Argv: s.Tool(ToolExit, "0"), Env: env})
		if err == nil {
			s.Errorf("submit with an ended context: started %q, want an error", ids)
		}
		if r, ok := s.Login.(gat.Runner); ok {
			if p, err := r.Run(ctx, gat.Command{Argv: s.Tool(ToolSleep), Env: env}); err == nil {
				p.Close()
				s.Error("run with an ended context: no error")
			}
		}
		s.gone(mark)
		// The login itself must have survived.
		if _, err := s.Status(s.ctx, s.Foreign); err != nil {
			s.Errorf("status afterwards: %v", err)
		}
	},

	"concurrency": func(s *site) {
		env, mark := s.mark()
		var wg sync.WaitGroup
		errs := make(chan error, 64)
		for i := range 12 {
			wg.Go(func() { errs <- s.busy(i, env) })
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				s.Error(err)
			}
		}
		s.gone(mark)
	},
}

// busy does a bit of everything.
func (s *site) busy(i int, env []string) error {
	ids, err := s.Submit(s.ctx, gat.JobSpec{Argv: s.Tool(ToolSleep), Env: env})
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	all, err := s.Status(s.ctx, ids...)
	if err != nil || all[0].ID != ids[0] {
		return fmt.Errorf("status of %q is %v: %w", ids, all, err)
	}
	if _, ok := s.Login.(gat.Runner); ok {
		text := fmt.Sprint("worker ", i)
		r, err := s.run(gat.Command{Argv: s.Tool(ToolCat), Env: env}, []byte(text))
		if err != nil || string(r.out) != text || r.code != 0 {
			return fmt.Errorf("run: got %q, status %d, want %q: %w", r.out, r.code, text, err)
		}
	}
	if f, ok := s.Login.(gat.Files); ok {
		name, data := s.file(), bytes.Repeat([]byte{byte(i)}, 100_000)
		if err := f.Put(s.ctx, name, 0o600, bytes.NewReader(data)); err != nil {
			return fmt.Errorf("put: %w", err)
		}
		var got bytes.Buffer
		if err := f.Get(s.ctx, name, &got, -1); err != nil || !bytes.Equal(got.Bytes(), data) {
			return errors.Join(fmt.Errorf("get %d: another file's contents", i), err)
		}
		if err := f.Remove(s.ctx, name); err != nil {
			return fmt.Errorf("remove: %w", err)
		}
	}
	if err := s.Cancel(s.ctx, ids...); err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	return nil
}

var inwardTests = map[string]func(*site){
	"login": func(s *site) {
		inner := s.inner()
		if err := inner.Close(); err != nil {
			s.Errorf("close: %v", err)
		}
		if _, err := s.Status(s.ctx, s.Foreign); err != nil {
			s.Errorf("the outer login died with the inner one: %v", err)
		}
	},
	"run": func(s *site) {
		in := s.inner()
		if _, ok := in.Login.(gat.Runner); !ok {
			s.Skip("the inner login cannot run commands")
		}
		testArguments(in)
		testBulk(in)
	},
	"jobs": func(s *site) {
		testJobOutlivesLogin(s.inner(), func() *site { return s.again().inner() })
	},
	"outer closed": func(s *site) {
		in := s.inner()
		s.Close()
		select {
		case <-in.Done():
		case <-time.After(Patience):
			s.Error("the inner login does not notice that the outer one ended")
		}
	},
}

func (s *site) inner() *site {
	s.Helper()
	l, err := s.Login.(gat.Inward).Inner(s.ctx, s.Inner, nil)
	if err != nil {
		s.Fatalf("log in to %s: %v", s.Inner, err)
	}
	s.Cleanup(func() { l.Close() })
	return &site{s.T, s.Harness, l, s.ctx}
}
