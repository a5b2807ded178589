// Package batchtest has small queueing systems for tests of dialects: a few
// hundred lines of sh that behave as the real commands were seen to, on a PATH of
// their own, with a directory for a queue. Jobs are processes of this machine.
//
// The one rule: they are no proof. They cover the engine and the texts it runs
// without daemons; that the texts are right only the real systems can tell.
package batchtest

import (
	"context"
	_ "embed"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/batch"
	"github.com/zorilla-grid/zorilla/gat"
)

// The queues' texts: what they share, and the commands of each.
var (
	//go:embed core.sh
	core string
	//go:embed slurm.sh
	slurm string
	//go:embed sge.sh
	sge string
	//go:embed pbs.sh
	pbs string
	//go:embed prun.sh
	prun string
)

// Fake is a queueing system in a directory.
type Fake struct {
	Dir     string        // the queue
	Backend gat.Backend   // the dialect over the shell, with the fake's commands in its PATH
	Every   time.Duration // between two listings; set before the first login
	dialect string
}

// Slurm returns a fake Slurm. The shell runs commands on this machine.
func Slurm(t testing.TB, d *batch.Dialect, shell gat.Backend) *Fake {
	return fake(t, d, shell, "slurm")
}

// SGE returns a fake Grid Engine.
func SGE(t testing.TB, d *batch.Dialect, shell gat.Backend) *Fake {
	return fake(t, d, shell, "sge")
}

// PBS returns a fake PBS.
func PBS(t testing.TB, d *batch.Dialect, shell gat.Backend) *Fake {
	return fake(t, d, shell, "pbs")
}

// PRun returns a fake prun. Its home directory is a new one.
func PRun(t testing.TB, d *batch.Dialect, shell gat.Backend) *Fake {
	return fake(t, d, shell, "prun")
}

// Install puts the commands of a fake queueing system ("slurm", "sge", "pbs" or
// "prun") into the directory bin, which is to come first in PATH. The directory queue,
// which is made, is to be GAT_QUEUE in their environment.
func Install(system, bin, queue string) error {
	systems := map[string]struct{ text, commands string }{
		"slurm": {slurm, "sbatch squeue scancel scontrol sinfo sacct srun"},
		"sge":   {sge, "qsub qstat qacct qdel qconf qrsh"},
		"pbs":   {pbs, "qsub qselect qstat qdel pbsnodes pbsdsh ssh"},
		"prun":  {prun, "prun"},
	}
	s, ok := systems[system]
	if !ok {
		return fmt.Errorf("there is no fake %q", system)
	}
	for _, d := range []string{bin, filepath.Join(queue, "jobs")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	for c := range strings.FieldsSeq(s.commands) {
		if err := os.WriteFile(filepath.Join(bin, c), []byte("#!/bin/sh\n"+core+s.text), 0o700); err != nil {
			return err
		}
	}
	return nil
}

func fake(t testing.TB, d *batch.Dialect, shell gat.Backend, system string) *Fake {
	t.Helper()
	dir := t.TempDir()
	f := &Fake{Dir: filepath.Join(dir, "queue"), Every: 20 * time.Millisecond, dialect: d.Name}
	bin := filepath.Join(dir, "bin")
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Install(system, bin, f.Dir); err != nil {
		t.Fatal(err)
	}
	f.Backend = batch.New(d, pathed{shell, []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "GAT_QUEUE=" + f.Dir, "HOME=" + home}})
	return f
}

// Open logs in.
func (f *Fake) Open(t testing.TB) gat.Login {
	t.Helper()
	l, err := f.Backend.Open(t.Context(), gat.Target{Site: "fake", URL: f.URL(), PollEvery: f.Every})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// URL is the fake's URL.
func (f *Fake) URL() *url.URL { return &url.URL{Scheme: f.dialect + "+local"} }

// Write puts a file into the queue's directory: "hold" keeps jobs from starting,
// "banner" is printed around identifiers, "fault-COMMAND" makes a command fail: a
// line with the status, then what it prints.
func (f *Fake) Write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.Dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Remove takes it out again.
func (f *Fake) Remove(t testing.TB, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(f.Dir, name)); err != nil {
		t.Fatal(err)
	}
}

// Commands returns the command lines run so far.
func (f *Fake) Commands(t testing.TB) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.Dir, "commands"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// pathed is a shell with more in its environment.
type pathed struct {
	gat.Backend
	env []string
}

func (b pathed) Open(ctx context.Context, t gat.Target) (gat.Login, error) {
	l, err := b.Backend.Open(ctx, t)
	if err != nil {
		return nil, err
	}
	return login{l, l.(gat.Runner), l.(gat.Files), b.env}, nil
}

type login struct {
	gat.Login
	gat.Runner
	gat.Files
	env []string
}

func (l login) Run(ctx context.Context, c gat.Command) (gat.Process, error) {
	c.Env = append(l.env[:len(l.env):len(l.env)], c.Env...)
	return l.Runner.Run(ctx, c)
}
