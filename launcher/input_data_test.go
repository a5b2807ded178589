package launcher_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// odd is text that a shell would make something else of.
const odd = `it's "odd" $HOME $(id) \\ ` + "`id` !! * ~ {a,b} ; & | < > # é 漢字\ttab\nsecond line "

// TestOddValues passes odd text through everything that takes text.
func TestOddValues(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	const scratch = `/my "odd" $HOME's dir; é !`
	for _, h := range []*testbed.Host{farm.Plain, farm.Bastion, farm.Inner1} {
		h.Scratch(t, scratch, 64<<20, false)
	}
	dir := filepath.Join(b.dir, `in put's "$dir" é !`)
	if err := os.MkdirAll(filepath.Join(dir, "sub dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sub dir", `f $(id) "x".txt`), []byte("content\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	app := filepath.Join(b.dir, `my app's "name" $HOME é !.sh`)
	if err := os.WriteFile(app, []byte(`#!/bin/sh
printf '%s\0' "$@" "$ODD" "$(cat "$1"/*/*)"
echo made >"out put \$x.txt"
cat
`), 0o700); err != nil {
		t.Fatal(err)
	}
	stdin := filepath.Join(b.dir, `std in's`)
	if err := os.WriteFile(stdin, []byte(odd), 0o600); err != nil {
		t.Fatal(err)
	}
	job := launcher.Job{
		App:     app,
		Args:    []string{filepath.Base(dir), odd, "", "-n", "--", "$ZORILLA_RANK", "\x01\x7f"},
		Workers: 3,
		Inputs:  []launcher.Input{{Src: dir}},
		Stdin:   stdin,
		Env:     []string{"ODD=" + odd},
		Outputs: []string{"out put *"},
	}
	sites := here + fmt.Sprintf("[site.plain]\nurl = %[1]q\nscratch = %[2]q\nslots = 1\n[site.cluster]\nurl = %[3]q\nhosts = [\"inner1\"]\nscratch = %[2]q\nslots = 1\n",
		b.url(farm.Plain), scratch, b.url(farm.Bastion))
	r, _ := b.run(job, sites, nil)
	wantOK(t, r)
	want := strings.Join(append(job.Args, odd, "content", odd), "\x00")
	for rank := range job.Workers {
		if diff := cmp.Diff(want, b.stdout(r, rank)); diff != "" {
			t.Errorf("rank %d (want -, got +):\n%s", rank, diff)
		}
		if got, err := os.ReadFile(filepath.Join(r.Out, launcher.WorkerName(rank), "out put $x.txt")); string(got) != "made\n" {
			t.Errorf("rank %d left %q, %v", rank, got, err)
		}
	}
	if got := onHost(t, farm.Plain, `ls -A "$1"`, scratch); got != "" {
		t.Errorf("%s still has %q", scratch, got)
	}
	b.nothingHere(r.Run)
	farm.NoLeftovers(t)
}

func TestSetup(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	site := badURL(b.url(farm.Plain))
	setup := `setup = ["export GREETING='hi there'", "module load x || true", "cd /", "greet() { echo no; }"]` + "\n"
	r, _ := b.attempt(launcher.Job{App: b.script("echo $GREETING\n"), Workers: 1}, site+setup, nil)
	wantOK(t, r)
	if got := b.stdout(r, 0); got != "hi there\n" {
		t.Errorf("printed %q, want hi there", got)
	}
	// What the lines read is not the boot record, and what they print is nobody's output.
	r, _ = b.attempt(launcher.Job{App: b.script("echo ${STOLEN:-nothing}\n"), Workers: 1},
		site+`setup = ["read STOLEN && export STOLEN; cat", "echo noise", "echo more noise >&2"]`+"\n", nil)
	wantOK(t, r)
	if got := b.stdout(r, 0); got != "nothing\n" {
		t.Errorf("printed %q, want nothing", got)
	}
	for name, c := range map[string]struct{ setup, says string }{
		"a line ends the shell": {`setup = ["echo no licence today >&2; exit 7"]`, "no licence today"},
		"a line is not sh":      {`setup = ["if then"]`, "yntax error"},
		"a line fails":          {`setup = ["export A=1; if false; then B=2; fi", "module-that-is-not-there load java"]`, "module-that-is-not-there"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, farm)
			c := bad{site: site + c.setup + "\n", says: []string{c.says, "setup"}}
			b.failsAlone(c)
			b.othersSuffice(c)
		})
	}
}
