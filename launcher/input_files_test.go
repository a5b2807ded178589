package launcher_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// file writes a file of the user's, of n bytes that do not compress.
func (b *bench) file(name string, n int64) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = io.CopyN(f, rand.NewChaCha8([32]byte{1}), n)
		f.Close()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return path
}

// TestInputChanges has an input change after its content was promised, and
// before a worker could have it.
func TestInputChanges(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	for name, change := range map[string]func(path string) error{
		"cut off":   func(path string) error { return os.Truncate(path, 1000) },
		"removed":   os.Remove,
		"rewritten": func(path string) error { return os.WriteFile(path, make([]byte, 8<<20), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, farm)
			input := b.file("data.bin", 8<<20)
			job := launcher.Job{App: b.script("wc -c <data.bin\n"), Workers: 2, Inputs: []launcher.Input{{Src: input}}}
			sites := fmt.Sprintf("[site.plain]\nurl = %q\nslots = 1\n[site.closed]\nurl = %q\nslots = 1\n", b.url(farm.Plain), b.url(farm.NoForward))
			began := time.Now()
			r, _ := b.attempt(job, sites, func(o *launcher.Options) {
				also(o, func(e launcher.Event) {
					// The pilots are up: the inputs were read long ago.
					if w, ok := e.Data.(launcher.WorkerChanged); ok && w.State == "granted" && w.Attempt == 1 && w.Rank == 0 {
						if err := change(input); err != nil {
							t.Error(err)
						}
					}
				})
			})
			if r.Outcome != launcher.OutcomeUsage || r.Exit != launcher.ExitUsage {
				t.Errorf("outcome %q, exit %d; want usage, 2", r.Outcome, r.Exit)
			}
			wantError(t, r.Err, input, "changed")
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("the run took %v to fail", took)
			}
		})
	}
}

// TestInputRefused has inputs that are wrong before anything is made anywhere.
func TestInputRefused(t *testing.T) {
	t.Parallel()
	farm := testbed.Shared(t)
	b := newBench(t, farm)
	dir := filepath.Join(b.dir, "tree")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../etc/passwd", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	app := b.script("true\n")
	secret := b.file("secret", 10)
	for name, c := range map[string]struct {
		job  launcher.Job
		says []string
	}{
		"a link that leads out":      {launcher.Job{Inputs: []launcher.Input{{Src: dir}}}, []string{filepath.Join(dir, "out"), "etc/passwd"}},
		"no such file":               {launcher.Job{Inputs: []launcher.Input{{Src: filepath.Join(b.dir, "none")}}}, []string{filepath.Join(b.dir, "none")}},
		"a place outside":            {launcher.Job{Inputs: []launcher.Input{{Src: secret, Dst: "../x"}}}, []string{"../x"}},
		"an absolute place":          {launcher.Job{Inputs: []launcher.Input{{Src: secret, Dst: "/tmp/x"}}}, []string{"/tmp/x"}},
		"two for one place":          {launcher.Job{Inputs: []launcher.Input{{Src: secret, Dst: "x"}, {Src: app, Dst: "x"}}}, []string{"x"}},
		"the place of the program":   {launcher.Job{Inputs: []launcher.Input{{Src: secret, Dst: filepath.Base(app)}}}, []string{filepath.Base(app)}},
		"no standard input":          {launcher.Job{Stdin: filepath.Join(b.dir, "none")}, []string{filepath.Join(b.dir, "none")}},
		"a device":                   {launcher.Job{Inputs: []launcher.Input{{Src: "/dev/zero"}}}, []string{"/dev/zero"}},
		"an output outside":          {launcher.Job{Outputs: []string{"../*"}}, []string{"../*"}},
		"an absolute output":         {launcher.Job{Outputs: []string{"/etc/*"}}, []string{"/etc/*"}},
		"an output that is no glob":  {launcher.Job{Outputs: []string{"[a"}}, []string{"[a"}},
		"an environment without a =": {launcher.Job{Env: []string{"A"}}, []string{`"A"`}},
		"a NUL in an argument":       {launcher.Job{Args: []string{"a\x00b"}}, []string{"NUL"}},
		"a NUL in the environment":   {launcher.Job{Env: []string{"A=a\x00b"}}, []string{"NUL"}},
	} {
		t.Run(name, func(t *testing.T) {
			before, err := farm.Plain.LoginCount(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.job.App, c.job.Workers = app, 1
			r, _ := b.run(c.job, here+badURL(b.url(farm.Plain)), nil)
			if r.Outcome != launcher.OutcomeUsage || r.Exit != launcher.ExitUsage {
				t.Errorf("outcome %q, exit %d; want usage, 2", r.Outcome, r.Exit)
			}
			wantError(t, r.Err, c.says...)
			b.nothingHere(r.Run)
			if after, err := farm.Plain.LoginCount(t.Context()); err != nil || after != before {
				t.Errorf("%d logins were made, %v; want none", after-before, err)
			}
		})
	}
}

// TestInputTree stages modes and links, and brings home what matches.
func TestInputTree(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	dir := filepath.Join(b.dir, "tree")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "empty"), 0o700),
		os.WriteFile(filepath.Join(dir, "run"), []byte("#!/bin/sh\necho ran\n"), 0o755),
		os.WriteFile(filepath.Join(dir, "plain"), []byte("text\n"), 0o644),
		os.Symlink("plain", filepath.Join(dir, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	job := launcher.Job{
		App:     b.script("cd tree\n./run\n[ -d empty ] && [ -L link ] && cat link\n[ -x plain ] || echo no program\nln -s /etc/passwd ../out.link\n"),
		Workers: 1,
		Inputs:  []launcher.Input{{Src: dir}},
		Outputs: []string{"nothing-*", "out.*"},
	}
	r, events := b.attempt(job, badURL(b.url(farm.Plain)), nil)
	wantOK(t, r)
	if got, want := b.stdout(r, 0), "ran\ntext\nno program\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	text := siteError(events, "bad")
	for _, want := range []string{"worker 0: --output nothing-* matches no file", "out.link"} {
		if !strings.Contains(text, want) {
			t.Errorf("warned of %q; want %q", text, want)
		}
	}
	if _, err := os.Lstat(filepath.Join(r.Out, "worker-0", "out.link")); err == nil {
		t.Error("a link that leads out of the worker's directory was brought home")
	}
}

// TestTooManyWorkers asks for more than there is: known before anything is
// done, or only when the sites have answered.
func TestTooManyWorkers(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	url := b.url(farm.Plain)
	r, events := b.attempt(launcher.Job{App: b.script("true\n"), Workers: 100}, here+fmt.Sprintf("[site.plain]\nurl = %q\nslots = 3\n", url), nil)
	if r.Outcome != launcher.OutcomeSites || r.Exit != launcher.ExitSites || len(events) > 0 {
		t.Errorf("outcome %q, exit %d after %d events; want sites, 3 at once", r.Outcome, r.Exit, len(events))
	}
	wantError(t, r.Err, "the sites have room for 4 workers, the job needs 100", "SITE", "plain")
	if n, err := farm.Plain.LoginCount(t.Context()); err != nil || n > 0 {
		t.Errorf("%d logins, %v; want none", n, err)
	}
	r, _ = b.attempt(launcher.Job{App: b.script("true\n"), Workers: 1000}, here+fmt.Sprintf("[site.plain]\nurl = %q\n", url), nil)
	if r.Outcome != launcher.OutcomeSites || r.Exit != launcher.ExitSites || r.Report.Wall > 20 {
		t.Errorf("outcome %q, exit %d after %.1f s; want sites, 3 soon", r.Outcome, r.Exit, r.Report.Wall)
	}
	wantError(t, r.Err, "of the 1000 workers needed")
}
