package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/zorilla-grid/zorilla/backends/batch/batchtest"
	"github.com/zorilla-grid/zorilla/launcher"
	"github.com/zorilla-grid/zorilla/launcher/bundle"
)

// TestMain lets the test binary play the program: as zorilla in the scripts,
// as zorilla-pilot on the machines of their sites.
func TestMain(m *testing.M) {
	switch name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe"); name {
	case "zorilla", bundle.LocalName:
		os.Exit(Main(os.Args, os.Stdout, os.Stderr))
	}
	testscript.Main(m, map[string]func(){"zorilla": func() {}})
}

// patience bounds each wait of a script.
const patience = 30 * time.Second

// params are those of all scripts. Each runs in directories of its own.
func params(t *testing.T, dir string) testscript.Params {
	return testscript.Params{
		Dir: dir,
		Setup: func(env *testscript.Env) error {
			tmp := filepath.Join(env.WorkDir, ".tmp")
			for k, v := range map[string]string{
				"HOME": env.WorkDir, "XDG_STATE_HOME": filepath.Join(env.WorkDir, ".state"), "XDG_CACHE_HOME": filepath.Join(env.WorkDir, ".cache"),
				"XDG_CONFIG_HOME": filepath.Join(env.WorkDir, ".config"), "TMPDIR": tmp, "ZORILLA_PILOT": "", "NO_COLOR": "1",
			} {
				env.Setenv(k, v)
			}
			return os.MkdirAll(tmp, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": cmdStatus,
			"await":  cmdAwait,
			"clean":  cmdClean,
			"queue":  cmdQueue,
			"pilot":  cmdPilot(t),
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		RequireUniqueNames: true,
	}
}

func TestScripts(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the scripts run programs for sh")
	}
	testscript.Run(t, params(t, "testdata"))
}

// cmdStatus is "status N PROGRAM [ARG...]": the program must end with status N.
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s ended with status %d, want %d", args[1], got, want)
	}
}

// cmdAwait is "await FILE [PATTERN]": it waits until the file, which may be a
// glob, is there and has a line that matches.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: await FILE [PATTERN]")
	}
	pattern := regexp.MustCompile("")
	if len(args) == 2 {
		pattern = regexp.MustCompile(`(?m)` + args[1])
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		files, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		for _, f := range files {
			if data, err := os.ReadFile(f); err == nil && pattern.Match(data) {
				return
			}
		}
		if time.Now().After(deadline) {
			ts.Fatalf("waited %v for %s", patience, strings.Join(args, " to have "))
		}
	}
}

// cmdQueue is "queue SYSTEM": this machine gets the commands of a queueing system, such as
// slurm, with a queue in the directory .queue.
func cmdQueue(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: queue SYSTEM")
	}
	bin, queue := ts.MkAbs(".bin"), ts.MkAbs(".queue")
	ts.Check(batchtest.Install(args[0], bin, queue))
	ts.Defer(func() { os.RemoveAll(queue) }) // jobs that are held end
	ts.Setenv("PATH", bin+string(os.PathListSeparator)+ts.Getenv("PATH"))
	ts.Setenv("GAT_QUEUE", queue)
}

// cmdPilot returns "pilot": a pilot binary for other machines is at hand. It is built
// once, in a directory of the test's.
func cmdPilot(t *testing.T) func(*testscript.TestScript, bool, []string) {
	path := sync.OnceValues(func() (string, error) {
		f := bundle.New(bundle.Options{Cache: t.TempDir()})
		defer f.Close()
		b, err := f.Find(context.Background(), "linux/amd64")
		if err != nil {
			return "", err
		}
		return b.Path, nil
	})
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 0 {
			ts.Fatalf("usage: pilot")
		}
		p, err := path()
		ts.Check(err)
		ts.Setenv("ZORILLA_PILOT", p)
	}
}

// cmdClean checks that nothing of ours is left: nothing in the directory for
// temporary files, and no process that has the script's environment.
func cmdClean(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: clean")
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		left := leftFiles(ts.Getenv("TMPDIR"))
		left = append(left, leftProcesses(ts.Getenv("WORK"))...)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("left behind:\n%s", strings.Join(left, "\n"))
		}
	}
}

// leftFiles lists all that is below a directory.
func leftFiles(tmp string) (left []string) {
	filepath.WalkDir(tmp, func(path string, d os.DirEntry, err error) error {
		if err == nil && path != tmp {
			left = append(left, path)
		}
		return nil
	})
	return left
}

// leftProcesses lists the processes that have the environment of the script.
func leftProcesses(work string) (left []string) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	for _, dir := range dirs {
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || !strings.Contains(string(env), "XDG_STATE_HOME="+filepath.Join(work, ".state")+"\x00") {
			continue
		}
		cmd, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if len(cmd) == 0 {
			continue // a zombie
		}
		left = append(left, filepath.Base(dir)+" "+strings.ReplaceAll(string(cmd), "\x00", " "))
	}
	return left
}

// The dialects of the examples are ones, and show what they make of a job.
func TestExampleDialects(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "examples", "dialects", "*.toml"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			file, backends, err := readSites(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(file.Dialects) != 1 || len(file.List) != 1 {
				t.Fatalf("%d dialects and %d sites, want one of each", len(file.Dialects), len(file.List))
			}
			app := filepath.Join("..", "..", "examples", "hello", "hello.sh")
			p, err := launcher.PlanRun(t.Context(), launcher.Job{App: app, Workers: 1}, launcher.Options{Sites: file.List, Backends: backends})
			if err != nil {
				t.Fatal(err)
			}
			q := p.Sites[0].Queue
			if len(q.Submit) == 0 || len(q.Status) == 0 || len(q.Cancel) == 0 || !strings.HasPrefix(q.Script, "#!/bin/sh\n") {
				t.Fatalf("nothing is rendered: %+v", q)
			}
			if testing.Verbose() {
				printPlan(os.Stdout, p)
			}
			for _, text := range append([]string{q.Script}, slices.Concat(q.Submit, q.Status, q.Cancel)...) {
				if strings.Contains(text, "{native}") || strings.Contains(text, "{name}") || strings.Contains(text, "%s}") {
					t.Errorf("a place was not filled: %s", text)
				}
			}
			sh := exec.CommandContext(t.Context(), "/bin/sh", "-n")
			sh.Stdin = strings.NewReader(q.Submit[len(q.Submit)-1] + "\n" + q.Status[len(q.Status)-1] + "\n" + q.Cancel[len(q.Cancel)-1])
			if out, err := sh.CombinedOutput(); err != nil && runtime.GOOS != "windows" {
				t.Errorf("the commands are not for sh: %v: %s", err, out)
			}
		})
	}
}

// The examples do what their README says.
func TestExamples(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the scripts run programs for sh")
	}
	for _, name := range []string{"dialects", "hello", "montecarlo", "sites"} {
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.Abs(filepath.Join("..", "..", "examples", name))
			if err != nil {
				t.Fatal(err)
			}
			p := params(t, dir)
			setup := p.Setup
			p.Setup = func(env *testscript.Env) error {
				env.Setenv("EXAMPLE", dir)
				sites := "[site.here]\nurl = \"local:\"\nslots = 2\n"
				return errors.Join(setup(env), os.WriteFile(filepath.Join(env.WorkDir, "sites.toml"), []byte(sites), 0o600))
			}
			testscript.Run(t, p)
		})
	}
}
