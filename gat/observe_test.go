package gat_test

import (
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/gat/gatmem"
)

// notes takes down operations.
type notes struct {
	mu  sync.Mutex
	all []gat.Operation
}

func (n *notes) take(op gat.Operation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, op)
}

func TestObserve(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m, inner := gatmem.New(), gatmem.New()
		t.Cleanup(inner.Close)
		m.Behind = map[string]*gatmem.Machine{"node1": inner}
		var n notes
		s := site(t, gat.SiteConfig{Observe: n.take, Retries: 1}, gatmem.Backend{"a": m}, "mem://me:secret@a")

		p, err := s.Run(t.Context(), gat.Command{Argv: tool("cat", "it's"), Env: []string{"KEY=secret"}})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(p.Stdin(), "secret")
		p.Stdin().Close()
		io.ReadAll(p.Stdout())
		p.Wait()
		p.Close()
		ids, err := s.Submit(t.Context(), gat.JobSpec{Name: "zorilla", Argv: tool("exit", "3"), Stdin: []byte("secret"), Count: 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), "/home/file", 0o600, strings.NewReader("content")); err != nil {
			t.Fatal(err)
		}
		if err := s.Get(t.Context(), "/home/file", io.Discard, 3); err != nil {
			t.Fatal(err)
		}
		s.Get(t.Context(), "/home/none", io.Discard, -1)
		s.Remove(t.Context(), "/home/file")
		m.Fault("cancel", 1, gatmem.Fail(gat.Transient, "not now"))
		if err := s.Cancel(t.Context(), ids[0]); err != nil {
			t.Fatal(err)
		}
		in, err := s.Inner(t.Context(), "node1", nil)
		if err != nil {
			t.Fatal(err)
		}
		output(t.Context(), in, tool("exit", "4")...)
		in.Close()

		const das, node, at, there = "das", "das/node1", "mem://me@a", "mem://node1"
		want := []gat.Operation{
			{Site: das, URL: at, Op: "log in"},
			{Site: das, URL: at, Op: "run", Detail: `KEY=... /bin/cat 'it'\''s'`, Going: true},
			{Site: das, URL: at, Op: "run", Detail: `KEY=... /bin/cat 'it'\''s'`, Up: 6, Down: 6, Told: true},
			{Site: das, URL: at, Op: "submit", Detail: "zorilla: 2 x /bin/exit 3", Jobs: ids, Up: 6},
			{Site: das, URL: at, Op: "put", Detail: "/home/file", Up: 7},
			{Site: das, URL: at, Op: "get", Detail: "/home/file", Down: 3},
			{Site: das, URL: at, Op: "get", Detail: "/home/none", Err: cmpopts.AnyError},
			{Site: das, URL: at, Op: "remove", Detail: "/home/file"},
			{Site: das, URL: at, Op: "cancel", Jobs: ids[:1], Err: cmpopts.AnyError},
			{Site: das, URL: at, Op: "cancel", Jobs: ids[:1]},
			{Site: node, URL: there, Op: "log in"},
			{Site: node, URL: there, Op: "run", Detail: "/bin/exit 4", Going: true},
			{Site: node, URL: there, Op: "run", Detail: "/bin/exit 4", Told: true, Err: cmpopts.AnyError},
		}
		if diff := cmp.Diff(want, n.all, cmpopts.EquateErrors(), cmpopts.IgnoreFields(gat.Operation{}, "At", "Took")); diff != "" {
			t.Errorf("operations (-want +got):\n%s", diff)
		}
		for _, op := range n.all {
			if op.At.IsZero() || time.Since(op.At) < op.Took {
				t.Errorf("%s began %v and took %v", op.Op, op.At, op.Took)
			}
		}
	})
}

func TestCommandText(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 5000)
	for name, c := range map[string]struct {
		argv []string
		want string
	}{
		"plain":    {[]string{"/bin/ls", "-l", "/tmp"}, "/bin/ls -l /tmp"},
		"odd":      {[]string{"/bin/ls", "", "a b", "c\x1b[2Jd"}, "/bin/ls '' 'a b' 'c?[2Jd'"},
		"script":   {[]string{"sh", "-c", "# Looks around.\nls\n", "x"}, "sh -c '# Looks around.' [19 bytes, sha256 e469f24e42d2] x"},
		"bad text": {[]string{"/bin/echo", "\xff"}, "/bin/echo '?'"},
	} {
		if got := (gat.Command{Argv: c.argv}).Text(); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	var many []string
	for range 100 {
		many = append(many, long)
	}
	if got := (gat.Command{Argv: many, Dir: long}).Text(); len(got) > gat.MaxDetail || !strings.HasSuffix(got, "...") {
		t.Errorf("%d bytes that end in %q", len(got), got[len(got)-10:])
	}
}
