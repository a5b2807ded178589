package gat_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gatmem"
)

func cluster() *gatmem.Machine {
	m := gatmem.New()
	m.HoldJobs = true
	m.Queue = &gat.QueueInfo{Scheduler: "Mem", Queues: []gat.QueueState{{Name: "all", Default: true, Usable: true}}}
	return m
}

// The head is the same login, past the queue: one login for both, renewed through the
// first, open after the head was closed.
func TestHead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := cluster()
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"": m}, "mem:")
		head := s.Head()
		queued, err := s.Submit(t.Context(), gat.JobSpec{Argv: tool("sleep")})
		if err != nil {
			t.Fatal(err)
		}
		started, err := head.Submit(t.Context(), gat.JobSpec{Argv: tool("sleep")})
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			site *gat.Site
			id   gat.JobID
			want gat.State
		}{{s, queued[0], gat.Queued}, {head, started[0], gat.Running}} {
			if all, err := test.site.Status(t.Context(), test.id); err != nil || all[0].State != test.want {
				t.Errorf("%s: status is %v, %v, want %v", test.site.Name(), all, err, test.want)
			}
		}
		if n := m.Calls("log in"); n != 1 || m.Logins() != 1 || head.Name() != "das/head" {
			t.Errorf("%d logins made, %d open, the head is called %s", n, m.Logins(), head.Name())
		}
		m.Break(errors.New("cut"))
		synctest.Wait()
		if out, err := output(t.Context(), head, tool("args", "x")...); err != nil || out != "x\x00" {
			t.Errorf("the head after the connection broke: %q, %v", out, err)
		}
		if err := head.Close(); err != nil || m.Logins() != 1 {
			t.Errorf("after the head was closed %d logins are open, %v", m.Logins(), err)
		}
		if _, err := s.Describe(t.Context()); err != nil || m.Calls("log in") != 2 {
			t.Errorf("the site afterwards: %v, %d logins", err, m.Calls("log in"))
		}
	})
}

// A site without a queueing system says so.
func TestNoQueue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"": gatmem.New()}, "mem:")
		_, describe := s.Describe(t.Context())
		_, inside := s.Inside(t.Context(), "job.1.mem", 0, gat.Command{Argv: tool("args")})
		_, find := s.Find(t.Context(), "x", time.Time{})
		head := s.Head()
		defer head.Close()
		_, run := head.Run(t.Context(), gat.Command{Argv: tool("args")})
		for name, err := range map[string]error{"describe": describe, "inside": inside, "find": find, "head": run} {
			if !errors.Is(err, gat.ErrCannot) {
				t.Errorf("%s: %v, want it to match ErrCannot", name, err)
			}
		}
	})
}

func TestQueueAbilities(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := cluster()
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"": m}, "mem:")
		if info, err := s.Describe(t.Context()); err != nil || !cmp.Equal(info, *m.Queue) {
			t.Errorf("the description is %+v, %v", info, err)
		}
		ids, err := s.Submit(t.Context(), gat.JobSpec{Argv: tool("sleep"), Count: 2, Name: "mine"})
		if err != nil {
			t.Fatal(err)
		}
		if found, err := s.Find(t.Context(), "mine", time.Now()); err != nil || len(found) != 2 || found[0].ID != ids[0] {
			t.Errorf("found are %v, %v", found, err)
		}
		if found, err := s.Find(t.Context(), "others", time.Time{}); err != nil || len(found) != 0 {
			t.Errorf("found of others are %v, %v", found, err)
		}
		inside := func(id gat.JobID) error {
			p, err := s.Inside(t.Context(), id, 0, gat.Command{Argv: tool("args")})
			if err == nil {
				p.Close()
			}
			return err
		}
		if err := inside(ids[0]); gat.ClassOf(err) != gat.NotFound {
			t.Errorf("inside a job that waits: %v", err)
		}
		m.Start(ids[0])
		if err := inside(ids[0]); err != nil {
			t.Errorf("inside a job that runs: %v", err)
		}
		if err := inside("no job"); gat.ClassOf(err) != gat.Invalid {
			t.Errorf("inside what is no identifier: %v", err)
		}
	})
}

// A login says how often it is to be polled, unless the site does.
func TestPace(t *testing.T) {
	for name, test := range map[string]struct {
		login, site time.Duration
		want        int
	}{
		"nobody says": {0, 0, 24},
		"the login":   {time.Minute, 0, 2},
		"the site":    {time.Minute, 10 * time.Second, 12},
	} {
		bubbleCase(t, name, func(t *testing.T) {
			m := cluster()
			m.PollEvery = test.login
			s := site(t, gat.SiteConfig{PollEvery: test.site}, gatmem.Backend{"": m}, "mem:")
			ids, err := s.Submit(t.Context(), gat.JobSpec{Argv: tool("sleep")})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute-time.Second)
			defer cancel()
			for range s.Watch(ctx, ids...) {
			}
			if got := m.Calls("status"); got != test.want {
				t.Errorf("%d polls in two minutes, want %d", got, test.want)
			}
		})
	}
}

// What the site is configured with reaches the backend that logs in.
func TestTargetPolls(t *testing.T) {
	t.Parallel()
	seen := make(chan gat.Target, 1)
	polls := &sharedPolls{}
	s, err := gat.NewSite(gat.SiteConfig{Name: "x", URLs: []*url.URL{parse(t, "seen:")}, Backends: []gat.Backend{seer{seen}}, PollEvery: time.Minute, Polls: polls})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Login(t.Context())
	if got := <-seen; got.Polls != gat.Polls(polls) || got.PollEvery != time.Minute {
		t.Errorf("the target has %v, %v", got.Polls, got.PollEvery)
	}
}

type sharedPolls struct{ sync.Mutex }

func (*sharedPolls) Poll(ctx context.Context, key string, every time.Duration, ask func(context.Context) ([]byte, error)) ([]byte, time.Time, error) {
	answer, err := ask(ctx)
	return answer, time.Now(), err
}

type seer struct{ seen chan gat.Target }

func (seer) Schemes() []string    { return []string{"seen"} }
func (seer) Check(*url.URL) error { return nil }
func (b seer) Open(_ context.Context, t gat.Target) (gat.Login, error) {
	b.seen <- t
	return nil, &gat.Error{Class: gat.Denied, Err: errors.New("seen enough")}
}

// Watchers are told that a held job was released; nothing else moves back.
func TestHeldAndReleased(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := gatmem.New()
		s := site(t, gat.SiteConfig{}, gatmem.Backend{"": m}, "mem:")
		m.Report("j", gat.Queued, gat.Held, gat.Held, gat.Queued, gat.Running, gat.Held, gat.Queued, gat.Done)
		want := []gat.State{gat.Queued, gat.Held, gat.Queued, gat.Running, gat.Done}
		if got := follow(t, s, "j"); !slices.Equal(got, want) {
			t.Errorf("states are %v, want %v", got, want)
		}
	})
}

func TestJobSpecOfQueues(t *testing.T) {
	t.Parallel()
	file := gat.JobFile{Name: "pilot", Mode: 0o700, Data: []byte("x")}
	for want, spec := range map[string]gat.JobSpec{
		"":                         {Argv: []string{"./pilot", "boot"}, Files: []gat.JobFile{file, {Name: "boot"}}},
		"neither an absolute path": {Argv: []string{"pilot"}, Files: []gat.JobFile{file}},
		"a name of its own":        {Argv: []string{"./pilot"}, Files: []gat.JobFile{file, file}},
		"job file \"../x\"":        {Argv: []string{"./pilot"}, Files: []gat.JobFile{{Name: "../x"}}},
		"job file \".x\"":          {Argv: []string{"./pilot"}, Files: []gat.JobFile{{Name: ".x"}}},
		"working directory":        {Argv: []string{"./pilot"}, Files: []gat.JobFile{file}, Dir: "/x"},
		"more than permission":     {Argv: []string{"./pilot"}, Files: []gat.JobFile{{Name: "x", Mode: 0o4755}}},
		"at most 8":                {Argv: []string{"./pilot"}, Files: make([]gat.JobFile, 9)},
		"at most 16777216":         {Argv: []string{"./pilot"}, Files: []gat.JobFile{{Name: "x", Data: make([]byte, gat.MaxJobFileSize+1)}}},
		"only the shape multi":     {Argv: []string{"/x"}, Resources: gat.Resources{Nodes: 2}},
		"shape 7":                  {Argv: []string{"/x"}, Resources: gat.Resources{Shape: 7}},
		"cannot be negative":       {Argv: []string{"/x"}, Resources: gat.Resources{Memory: -1}},
		"control characters":       {Argv: []string{"/x"}, Resources: gat.Resources{Queue: "a\nb"}},
		"contains a NUL byte":      {Argv: []string{"/x"}, Setup: []string{"\x00"}},
	} {
		err := spec.Validate()
		if (want == "") != (err == nil) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%+.80v: %v, want %q", spec, err, want)
		}
	}
	for _, s := range []gat.Shape{gat.Array, gat.Single, gat.Multi} {
		if got, ok := gat.ParseShape(s.String()); !ok || got != s {
			t.Errorf("%v is read as %v, %v", s, got, ok)
		}
	}
	if _, ok := gat.ParseShape("round"); ok {
		t.Error("round is a shape")
	}
}

// Setup lines run before the command, which inherits what they set and keeps its
// input; the first that fails is the end.
func TestCommandWithSetup(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("/bin/sh")
	if err != nil {
		t.Skip("no /bin/sh here")
	}
	run := func(setup ...string) (string, error) {
		argv := gat.JobSpec{Argv: []string{sh, "-c", `echo "$X $1"; cat`, "sh", "it's $(data)"}, Setup: setup}.Command()
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdin = strings.NewReader("input")
		out, err := cmd.Output()
		return string(out), err
	}
	if out, err := run("X=5", "export X", "cat"); err != nil || out != "5 it's $(data)\ninput" {
		t.Errorf("the command prints %q, %v", out, err)
	}
	if out, err := run("false", "X=5"); err == nil || out != "" {
		t.Errorf("after a line that failed the command prints %q", out)
	}
	if out, err := run(); err != nil || out != " it's $(data)\ninput" {
		t.Errorf("without setup the command prints %q, %v", out, err)
	}
}
