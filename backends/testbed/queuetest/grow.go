package queuetest

import (
	"bytes"
	"io"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// Grow has somebody else at the head submit, follow and cancel jobs by the texts
// that a login leaves for it.
func Grow(t *testing.T, h Harness) {
	s := h.site(t)
	spec, out := s.script("echo $GAT_JOB; exec sleep 1000")
	file := path.Join(s.Cluster.SharedDir(), "a script of "+path.Base(out))
	grower, ok := s.login.(gat.Grower)
	if !ok {
		t.Fatal("the login renders nothing for others")
	}
	g, err := grower.Grow(s.ctx, spec, file)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.login.(gat.Files).Put(s.ctx, file, 0o600, bytes.NewReader(g.Script)); err != nil {
		t.Fatal(err)
	}
	run := func(text string, args ...string) string {
		t.Helper()
		p, err := s.login.(gat.Runner).Run(s.ctx, gat.Command{Argv: append([]string{"/bin/sh", "-s", "--"}, args...)})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		go func() {
			io.WriteString(p.Stdin(), text)
			p.Stdin().Close()
		}()
		said := make(chan string, 1)
		go func() {
			b, _ := io.ReadAll(p.Stderr())
			said <- string(b)
		}()
		printed, err := io.ReadAll(p.Stdout())
		if err != nil {
			t.Fatal(err)
		}
		if status, err := p.Wait(); err != nil || status != 0 {
			t.Fatalf("%q: status %d, %v: %s", args, status, err, <-said)
		}
		return string(printed)
	}
	ids := strings.Fields(run(g.Submit, "2"))
	if len(ids) != 2 || ids[0] == ids[1] {
		t.Fatalf("two jobs were submitted as %q", ids)
	}
	states := func() map[string]string {
		all := make(map[string]string)
		for line := range strings.Lines(run(g.Status, ids...)) {
			if f := strings.Fields(line); len(f) == 2 {
				all[f[0]] = f[1]
			}
		}
		return all
	}
	wait := func(what string, first, second func(state string) bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; {
			got := states()
			if first(got[ids[0]]) && second(got[ids[1]]) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: the jobs are %v", what, got)
			}
			s.wait(every)
		}
	}
	running := func(state string) bool { return state == "running" }
	over := func(state string) bool { return state == "" || state == "done" }
	wait("both run", running, running)
	for deadline := time.Now().Add(patience); ; {
		var names bytes.Buffer
		err := s.login.(gat.Files).Get(s.ctx, out, &names, 1<<10)
		if strings.Contains(names.String(), ids[0]+"\n") && strings.Contains(names.String(), ids[1]+"\n") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the jobs call themselves %q, %v; want %q", names.String(), err, ids)
		}
		s.wait(every)
	}
	run(g.Cancel, ids[0])
	wait("one is over", over, running)
	run(g.Cancel, ids...) // the one that is over does no harm
	wait("both are over", over, over)
	run(g.Cancel, string(h.Foreign))
	s.login.(gat.Files).Remove(s.ctx, file, out)
	s.login.Close()
	h.Cluster.NoLeftovers(t)
}
