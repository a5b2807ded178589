package gat_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gatmem"
)

// site returns a site over machines named by its URLs, and switches all off at
// the end of the test.
func site(t *testing.T, cfg gat.SiteConfig, machines gatmem.Backend, urls ...string) *gat.Site {
	t.Helper()
	for _, u := range urls {
		cfg.URLs = append(cfg.URLs, parse(t, u))
	}
	if cfg.Name == "" {
		cfg.Name = "das"
	}
	cfg.Backends = append(cfg.Backends, machines)
	s, err := gat.NewSite(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		for _, m := range machines {
			m.Close()
		}
	})
	return s
}

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func tool(name string, args ...string) []string { return append([]string{"/bin/" + name}, args...) }

// bubble runs a test with a clock of its own.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

// output runs a command to its end.
func output(ctx context.Context, s *gat.Site, argv ...string) (string, error) {
	p, err := s.Run(ctx, gat.Command{Argv: argv})
	if err != nil {
		return "", err
	}
	defer p.Close()
	out, err := io.ReadAll(p.Stdout())
	if err != nil {
		return "", err
	}
	_, err = p.Wait()
	return string(out), err
}

func TestNewSiteRefuses(t *testing.T) {
	t.Parallel()
	mem := gatmem.Backend{"": gatmem.New()}
	for name, c := range map[string]struct {
		cfg  gat.SiteConfig
		want string
	}{
		"no name":        {gat.SiteConfig{URLs: []*url.URL{parse(t, "mem:")}}, "check: a site needs a name"},
		"no URL":         {gat.SiteConfig{Name: "das"}, "site das: check: a site needs at least one URL"},
		"no such scheme": {gat.SiteConfig{Name: "das", URLs: []*url.URL{parse(t, "mem:"), parse(t, "sssh://me:pw@fs0")}}, `site das: check sssh://me@fs0: unknown scheme "sssh": known are mem, other`},
		"bad URL":        {gat.SiteConfig{Name: "das", URLs: []*url.URL{parse(t, "mem://nowhere")}}, `site das: check mem://nowhere: no machine "nowhere" in memory`},
		"negative":       {gat.SiteConfig{Name: "das", URLs: []*url.URL{parse(t, "mem:")}, PollEvery: -1}, "site das: check: times and limits cannot be negative"},
	} {
		c.cfg.Backends = []gat.Backend{renamed{"other", mem}, mem}
		_, err := gat.NewSite(c.cfg)
		if err == nil || gat.ClassOf(err) != gat.Invalid || err.Error() != c.want {
			t.Errorf("%s: got %v (%v), want %s", name, err, gat.ClassOf(err), c.want)
		}
	}
}

// renamed serves another scheme.
type renamed struct {
	scheme string
	gat.Backend
}

func (r renamed) Schemes() []string { return []string{r.scheme} }

func TestFallBackInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b, c := gatmem.New(), gatmem.New(), gatmem.New()
		a.JobsOnly = true
		b.Fault("run", -1, gatmem.Fail(gat.Denied, "no shell for you"))
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"a": a, "b": b, "c": c}, "mem://a", "mem://b", "mem://me:secret@c")

		if got, err := output(t.Context(), s, tool("args", "hello")...); err != nil || got != "hello\x00" {
			t.Errorf("got %q, %v", got, err)
		}
		if got, want := s.Via(), "mem://me@c"; got != want {
			t.Errorf("via %s, want %s", got, want)
		}
		// Each operation begins with the first URL again.
		if _, err := s.Submit(t.Context(), gat.JobSpec{Argv: tool("exit", "0")}); err != nil {
			t.Error(err)
		}
		if got, want := s.Via(), "mem://a"; got != want {
			t.Errorf("via %s, want %s", got, want)
		}
		for name, m := range map[string]*gatmem.Machine{"a": a, "b": b, "c": c} {
			if n := m.Calls("log in"); n != 1 {
				t.Errorf("%d logins to %s, want 1", n, name)
			}
		}
	})
}

func TestNestedError(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b, c := gatmem.New(), gatmem.New(), gatmem.New()
		a.JobsOnly = true
		b.Password = "x"
		c.Fault("run", -1, gatmem.Fail(gat.Transient, "too many processes\n(the limit is 5)"))
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"a": a, "b": b, "c": c}, "mem://a", "mem://me:secret@b", "mem://c")
		_, err := s.Run(t.Context(), gat.Command{Argv: tool("cat")})
		want := `site das: run: none of 3 ways worked
  run mem://a: cannot run commands
  log in mem://me@b: a password is needed and nobody can be asked
  run mem://c: too many processes
  (the limit is 5)`
		if err == nil {
			t.Fatal("no error")
		}
		if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
		if got := gat.ClassOf(err); got != gat.Transient {
			t.Errorf("class %v, want transient: one of the URLs may work later", got)
		}
		if !errors.Is(err, gat.ErrCannot) {
			t.Error("the missing ability cannot be recognised")
		}
		if got, want := c.Calls("run"), 1+gat.DefaultRetries; got != want {
			t.Errorf("%d tries, want %d", got, want)
		}
	})
}

func TestInvalidStops(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := gatmem.New(), gatmem.New()
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"a": a, "b": b}, "mem://a", "mem://b")
		err := s.Get(t.Context(), "relative", io.Discard, -1)
		if want := `site das: get mem://a: path "relative" is not absolute`; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if n := b.Calls("log in"); n != 0 {
			t.Errorf("our own mistake was tried over %d other URLs", n)
		}
		if _, err := s.Submit(t.Context(), gat.JobSpec{}); gat.ClassOf(err) != gat.Invalid || a.Calls("submit") != 0 {
			t.Errorf("submit of nothing: %v after %d tries", err, a.Calls("submit"))
		}
	})
}

func TestRetriesWithBackoff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := gatmem.New()
		s := site(t, gat.SiteConfig{Retries: 5, Backoff: 4 * time.Second}, gatmem.Backend{"": m}, "mem:")
		m.Fault("log in", 2, gatmem.Fail(gat.Transient, "busy"))
		m.Fault("get", 2, gatmem.Fail(gat.Transient, "busy"))
		m.WriteFile("/home/f", []byte("text"), 0o600)
		start := time.Now()
		var b bytes.Buffer
		if err := s.Get(t.Context(), "/home/f", &b, -1); err != nil || b.String() != "text" {
			t.Errorf("got %q, %v", b.String(), err)
		}
		if got, want := time.Since(start), (4+8+10+10)*time.Second; got != want {
			t.Errorf("four retries after %v, want %v", got, want)
		}
		// A permanent error is not tried again.
		m.Fault("get", -1, gatmem.Fail(gat.Permanent, "no"))
		before := m.Calls("get")
		if err := s.Get(t.Context(), "/home/f", &b, -1); err == nil || m.Calls("get") != before+1 {
			t.Errorf("%v after %d tries, want an error after one", err, m.Calls("get")-before)
		}
		// Nor is anything when the context ends.
		m.Fault("get", -1, gatmem.Fail(gat.Transient, "busy"))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start = time.Now()
		if err := s.Get(ctx, "/home/f", &b, -1); err == nil || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %v, want an error after 5s", err, time.Since(start))
		}
	})
}

func TestSubmitAcrossURLs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := gatmem.New(), gatmem.New()
		// a starts two jobs and then is full.
		n := 0
		a.Fault("submit", -1, func(context.Context) error {
			if n++; n > 2 {
				return &gat.Error{Class: gat.Denied, Err: errors.New("full")}
			}
			return nil
		})
		// Job numbers of b differ from those of a.
		b.Report("job.1.mem", gat.Unknown)
		b.Report("job.2.mem", gat.Unknown)
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"a": a, "b": b}, "mem://a", "mem://b")
		ids, err := s.Submit(t.Context(), gat.JobSpec{Argv: tool("sleep"), Count: 4})
		if err != nil || len(ids) != 4 {
			t.Fatalf("submitted %q, %v", ids, err)
		}
		all, err := s.Status(t.Context(), ids...)
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range all {
			if st.State != gat.Running {
				t.Errorf("%v, want running", st)
			}
		}
		if err := s.Cancel(t.Context(), ids...); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for name, m := range map[string]*gatmem.Machine{"a": a, "b": b} {
			if left := m.Find("sleep"); len(left) > 0 {
				t.Errorf("left on %s: %q", name, left)
			}
		}
	})
}

func TestSubmitNotRepeatedWhenConnectionBreaks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := gatmem.New(), gatmem.New()
		a.Fault("submit", 1, func(context.Context) error {
			a.Break(errors.New("cable cut"))
			return errors.New("connection reset")
		})
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"a": a, "b": b}, "mem://a", "mem://b")
		_, err := s.Submit(t.Context(), gat.JobSpec{Argv: tool("sleep")})
		want := "site das: submit mem://a: jobs may have been submitted nevertheless: connection reset (the connection broke)"
		if err == nil || err.Error() != want || gat.ClassOf(err) != gat.Transient {
			t.Errorf("got %v, want %s", err, want)
		}
		if a.Calls("submit")+b.Calls("submit") != 1 {
			t.Error("submitted again")
		}
	})
}

func TestPutRewinds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := gatmem.New(), gatmem.New()
		s := site(t, gat.SiteConfig{Retries: -1}, gatmem.Backend{"a": a, "b": b}, "mem://a", "mem://b")
		// a has no such directory: it reads everything and then cannot write.
		b.Mkdir("/data")
		if err := s.Put(t.Context(), "/data/f", 0o600, strings.NewReader("all of it")); err != nil {
			t.Error(err)
		}
		if got, _ := b.ReadFile("/data/f"); string(got) != "all of it" {
			t.Errorf("the second URL got %q", got)
		}
		err := s.Put(t.Context(), "/data/g", 0o600, io.MultiReader(strings.NewReader("once only")))
		if err == nil || b.Calls("put") != 1 {
			t.Errorf("a source that cannot seek back: %v, second URL tried %d times", err, b.Calls("put")-1)
		}
	})
}

func TestOneLoginForAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := gatmem.New()
		open := make(chan struct{})
		m.Fault("log in", -1, func(ctx context.Context) error {
			select {
			case <-open:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"": m}, "mem:")
		var wg sync.WaitGroup
		first, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			if err := s.Login(first); !errors.Is(err, context.Canceled) {
				t.Errorf("login whose context was cancelled: %v", err)
			}
		})
		for range 20 {
			wg.Go(func() {
				if _, err := output(t.Context(), s, tool("args", "x")...); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel() // who leaves does not end it for the others
		synctest.Wait()
		close(open)
		wg.Wait()
		if n := m.Calls("log in"); n != 1 {
			t.Errorf("%d logins, want 1", n)
		}
	})
}

func TestAbandonedLogin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := gatmem.New()
		m.Fault("log in", 1, gatmem.Hang)
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"": m}, "mem:")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Login(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if err := s.Login(t.Context()); err != nil {
			t.Errorf("the next login: %v", err)
		}
	})
}

func TestLoginTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := gatmem.New(), gatmem.New()
		a.Fault("log in", -1, gatmem.Hang)
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"a": a, "b": b}, "mem://a", "mem://b")
		start := time.Now()
		for range 3 { // a dead host costs its time once, not per operation
			if _, err := output(t.Context(), s, tool("args")...); err != nil {
				t.Fatal(err)
			}
		}
		if got := time.Since(start); got != gat.DefaultLoginTimeout {
			t.Errorf("three operations took %v, want %v", got, gat.DefaultLoginTimeout)
		}
		take(t.Context(), time.Minute) // then it gets another chance
		if _, err := output(t.Context(), s, tool("args")...); err != nil || a.Calls("log in") != 2 {
			t.Errorf("%v after %d logins, want the second", err, a.Calls("log in"))
		}
	})
}

// TestSlowLoginsAreFewer gives up sooner where each try of a login takes long.
func TestSlowLoginsAreFewer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := gatmem.New()
		m.Fault("log in", -1, func(ctx context.Context) error {
			take(ctx, 10*time.Second)
			return &gat.Error{Class: gat.Transient, Err: errors.New("timed out")}
		})
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"": m}, "mem:")
		began := time.Now()
		if err := s.Login(t.Context()); gat.ClassOf(err) != gat.Transient {
			t.Errorf("login gives %v, want a transient error", err)
		}
		if got, want := time.Since(began), 30*time.Second+3*gat.DefaultBackoff; got != want || m.Calls("log in") != 3 {
			t.Errorf("gave up after %v and %d tries, want %v and 3", got, m.Calls("log in"), want)
		}
	})
}

func TestUserTakesTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := gatmem.New()
		m.Password = "sesame"
		answer, asked := "sesame", 0
		s := site(t, gat.SiteConfig{AskTimeout: time.Hour, Ask: func(ctx context.Context, site, question string, secret bool) (string, error) {
			asked++
			if site != "das" || question == "" || !secret {
				t.Errorf("asked %q %q %v", site, question, secret)
			}
			return answer, take(ctx, 10*time.Minute)
		}}, gatmem.Backend{"": m}, "mem:")
		if err := s.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		// A login that needed a question is not renewed silently.
		m.Break(errors.New("cable cut"))
		synctest.Wait()
		_, err := s.Status(t.Context(), "j")
		if !errors.Is(err, gat.ErrDetached) || gat.ClassOf(err) != gat.Denied || asked != 1 {
			t.Errorf("after a break: %v, asked %d times", err, asked)
		}
		// A wrong answer is not tried again by itself.
		answer = "wrong"
		if err := s.Login(t.Context()); gat.ClassOf(err) != gat.Denied || asked != 2 {
			t.Errorf("wrong answer: %v, asked %d times", err, asked)
		}
		if _, err := s.Status(t.Context(), "j"); gat.ClassOf(err) != gat.Denied || asked != 2 {
			t.Errorf("after a wrong answer: %v, asked %d times", err, asked)
		}
		answer = "sesame"
		if err := s.Login(t.Context()); err != nil || asked != 3 {
			t.Errorf("right answer: %v, asked %d times", err, asked)
		}
	})
}

// take takes its time, in the bubble's clock.
func take(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestRelogin(t *testing.T) {
	for _, never := range []bool{false, true} {
		bubbleCase(t, map[bool]string{false: "by itself", true: "never redial"}[never], func(t *testing.T) {
			m := gatmem.New()
			s := site(t, gat.SiteConfig{NeverRedial: never}, gatmem.Backend{"": m}, "mem:")
			if s.Via() != "" {
				t.Errorf("via %q before the first login", s.Via())
			}
			broken := s.Broken()
			if err := s.Login(t.Context()); err != nil {
				t.Fatal(err)
			}
			select {
			case <-broken:
				t.Fatal("broken at once")
			default:
			}
			m.Break(errors.New("cable cut"))
			<-broken
			_, err := output(t.Context(), s, tool("args")...)
			if never {
				if !errors.Is(err, gat.ErrDetached) {
					t.Errorf("got %v, want detached", err)
				}
				if err := s.Login(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if n := m.Calls("log in"); n != 2 {
				t.Errorf("%d logins, want 2", n)
			}
			again := s.Broken()
			select {
			case <-again:
				t.Error("the new login counts as broken")
			default:
			}
			s.Close()
			<-again
			if err := s.Login(t.Context()); !errors.Is(err, gat.ErrClosed) {
				t.Errorf("after close: %v", err)
			}
			if n := m.Logins(); n != 0 {
				t.Errorf("%d logins left", n)
			}
		})
	}
}

func bubbleCase(t *testing.T, name string, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { bubble(t, test) })
}

func TestInner(t *testing.T) {
	bubble(t, func(t *testing.T) {
		head, node := gatmem.New(), gatmem.New()
		head.Behind = map[string]*gatmem.Machine{"node1": node}
		node.WriteFile("/home/where", []byte("node1"), 0o600)
		t.Cleanup(node.Close)
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"head": head}, "mem://head")
		in, err := s.Inner(t.Context(), "node1", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		var b bytes.Buffer
		if err := in.Get(t.Context(), "/home/where", &b, -1); err != nil || b.String() != "node1" {
			t.Errorf("got %q, %v", b.String(), err)
		}
		if in.Name() != "das/node1" || in.Via() != "mem://node1" {
			t.Errorf("named %s, via %s", in.Name(), in.Via())
		}
		// A break of the outer login breaks the inner one; both are renewed.
		head.Break(errors.New("cable cut"))
		<-in.Broken()
		if _, err := output(t.Context(), in, tool("args")...); err != nil {
			t.Error(err)
		}
		if head.Calls("log in") != 2 || node.Calls("log in") != 2 {
			t.Errorf("%d logins to the head, %d to the node, want 2 each", head.Calls("log in"), node.Calls("log in"))
		}
		_, err = s.Inner(t.Context(), "node2", nil)
		if want := `site das: log in further mem://head: no host "node2"`; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		for _, bad := range []string{"", "a/b", "a b", "a?b", "mem://x"} {
			if _, err := s.Inner(t.Context(), bad, nil); gat.ClassOf(err) != gat.Invalid {
				t.Errorf("host %q: %v", bad, err)
			}
		}
	})
}

func TestInnerForbidden(t *testing.T) {
	bubble(t, func(t *testing.T) {
		head, node := gatmem.New(), gatmem.New()
		head.ForbidForwards = true
		head.Behind = map[string]*gatmem.Machine{"node1": node}
		t.Cleanup(node.Close)
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"": head}, "mem:")
		if _, err := s.Inner(t.Context(), "node1", nil); !errors.Is(err, gat.ErrForwarding) {
			t.Errorf("got %v, want that forwarding is forbidden", err)
		}
		in, err := s.Inner(t.Context(), "node1", func(_ context.Context, network, address string) (net.Conn, error) {
			if network != "tcp" || address != "node1" {
				t.Errorf("dial %s %s", network, address)
			}
			near, far := net.Pipe()
			far.Close()
			return near, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		in.Close()
	})
}
