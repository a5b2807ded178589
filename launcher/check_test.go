package launcher_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zorilla-grid/zorilla/backends/local"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/launcher"
)

// queued is this machine with a queueing system that only describes itself.
type queued struct {
	gat.Backend
	info gat.QueueInfo
	err  error
}

func (q queued) Schemes() []string    { return []string{"q+local"} }
func (q queued) Check(*url.URL) error { return nil }

func (q queued) Open(ctx context.Context, t gat.Target) (gat.Login, error) {
	t.URL = &url.URL{Scheme: "local"}
	l, err := q.Backend.Open(ctx, t)
	if err != nil {
		return nil, err
	}
	return queuedLogin{l, l.(gat.Runner), q}, nil
}

type queuedLogin struct {
	gat.Login
	gat.Runner
	q queued
}

func (l queuedLogin) Describe(context.Context) (gat.QueueInfo, error) { return l.q.info, l.q.err }

// alone gives a test a home and a directory for temporary files of its own, and
// sees to it that nothing is left in them.
func alone(t *testing.T) (home string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there is no shell to look with")
	}
	home, tmp := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("TMPDIR", tmp)
	t.Cleanup(func() {
		for _, dir := range []string{home, tmp} {
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) > 0 {
				t.Errorf("left in %s: %v, %v", dir, entries, err)
			}
		}
	})
	return home
}

func TestCheckSites(t *testing.T) {
	alone(t)
	jdk := t.TempDir()
	writeFile(t, filepath.Join(jdk, "release"), "JAVA_VERSION=\"21.0.4\"\n", 0o600)
	if err := os.Mkdir(filepath.Join(jdk, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(jdk, "bin", "java"), "#!/bin/sh\n", 0o700)
	here := []*url.URL{{Scheme: "local"}}
	shut := t.TempDir()
	writeFile(t, filepath.Join(shut, "zorilla-"+ownID()), "not a directory", 0o600)
	got := launcher.CheckSites(t.Context(), []*launcher.Site{
		{Name: "good", URLs: here, Setup: []string{"export JAVA_HOME=" + jdk}},
		{Name: "full", URLs: here, Scratch: shut},
		{Name: "setup", URLs: here, Setup: []string{"echo one", "echo no such module >&2; false", "echo three"}},
		{Name: "nowhere", URLs: []*url.URL{{Scheme: "nothing"}}},
	}, launcher.CheckOptions{Backends: []gat.Backend{local.Backend{}}})
	var names []string
	for _, c := range got {
		names = append(names, c.Site)
	}
	if want := []string{"good", "full", "setup", "nowhere"}; !slices.Equal(names, want) {
		t.Fatalf("sites %v, want %v", names, want)
	}
	good := got[0]
	if !good.Usable || len(good.Wrong) > 0 {
		t.Errorf("the site that does is refused: %q", good.Wrong)
	}
	if good.URL != "local:" || good.Platform == "" || good.Cores < 1 || good.Free < 1 || good.Scratch != filepath.Join(os.Getenv("TMPDIR"), "zorilla-"+ownID()) {
		t.Errorf("the site that does: %+v", good)
	}
	if len(good.Java) == 0 || good.Java[0].Version != "21.0.4" {
		t.Errorf("java %v, want the one of setup first", good.Java)
	}
	for i, want := range []string{1: "no usable directory: ", 2: "a line of setup failed: no such module", 3: `unknown scheme "nothing"`} {
		if want != "" && (got[i].Usable || !strings.Contains(strings.Join(got[i].Wrong, "\n"), want)) {
			t.Errorf("site %s: usable %v, wrong %q; want %q", got[i].Site, got[i].Usable, got[i].Wrong, want)
		}
	}
}

// Modules that bring Java are told.
func TestCheckSitesModules(t *testing.T) {
	alone(t)
	modules := t.TempDir()
	if err := os.Mkdir(filepath.Join(modules, "init"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(modules, "init", "sh"), "module() { printf '/opt/modules:\\ngcc/13\\njava/17(default)\\nopenjdk/21\\n' >&2; }\n", 0o600)
	t.Setenv("MODULESHOME", modules)
	t.Setenv("LMOD_PKG", "")
	got := launcher.CheckSites(t.Context(), []*launcher.Site{{Name: "a", URLs: []*url.URL{{Scheme: "local"}}}},
		launcher.CheckOptions{Backends: []gat.Backend{local.Backend{}}})[0]
	if want := []string{"java/17", "openjdk/21"}; !slices.Equal(got.JavaModules, want) || !got.Usable {
		t.Errorf("modules %q, usable %v; want %q", got.JavaModules, got.Usable, want)
	}
}

func TestCheckSitesQueue(t *testing.T) {
	home := alone(t)
	info := gat.QueueInfo{Scheduler: "Slurm", Version: "22.05.8", Accounts: []string{"physics", "chem"}, Queues: []gat.QueueState{
		{Name: "short", Default: true, MaxWalltime: time.Hour, Nodes: 4, FreeSlots: 12, Slots: 64, State: "up", Usable: true},
		{Name: "long", Nodes: 2, Slots: 32, State: "up", Why: "group staff only"},
	}, Notes: []string{"It has only been held to recordings."}}
	shut := info
	shut.Queues = []gat.QueueState{{Name: "long", State: "down"}}
	strict := info
	strict.AccountNeeded = true
	for _, tt := range []struct {
		name  string
		site  launcher.Site
		info  gat.QueueInfo
		err   error
		wrong string // empty: usable
		note  string
	}{
		{"default queue", launcher.Site{}, info, nil, "", "walltime is not set: the queue's default counts; short ends jobs after 1h"},
		{"what the scheduler's part says", launcher.Site{}, info, nil, "", "It has only been held to recordings."},
		{"carried", launcher.Site{Walltime: time.Hour}, info, nil, "", "pilot and token travel in the script body"},
		{"shared", launcher.Site{Shared: home}, info, nil, "", "pilots are started from " + home + ", which the sites file says is shared"},
		{"not there", launcher.Site{Shared: "/nonexistent"}, info, nil, "shared: /nonexistent: no such directory", ""},
		{"typo", launcher.Site{Queue: "shrot"}, info, nil, `there is no queue "shrot"; did you mean "short"?; there is short, long`, ""},
		{"several queues", launcher.Site{Queue: "short,long"}, info, nil, "", ""},
		{"closed to us", launcher.Site{Queue: "long"}, info, nil, "the queue long cannot be used: group staff only", ""},
		{"no queue at all", launcher.Site{}, shut, nil, "none of the queues takes jobs of yours", ""},
		{"too long", launcher.Site{Walltime: 2 * time.Hour}, info, nil, "walltime is 2h, the queue short ends jobs after 1h", ""},
		{"too wide", launcher.Site{Shape: launcher.ShapeMulti, Pilots: 5}, info, nil, "a job of 5 nodes is asked for, the queue short has 4", ""},
		{"no account", launcher.Site{}, strict, nil, `jobs need an account; write account = "physics"`, ""},
		{"account", launcher.Site{Account: "chem"}, strict, nil, "", ""},
		{"another's account", launcher.Site{Account: "math"}, strict, nil, `the account "math" is not one of yours: physics, chem`, ""},
		{"scheduler down", launcher.Site{}, info, errors.New("slurm_load_partitions: Unable to contact slurm controller"), "Unable to contact slurm controller", ""},
		{"cannot be asked", launcher.Site{}, info, gat.ErrCannot, "", "the queueing system cannot be asked about itself; a job tells"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			site := tt.site
			site.Name, site.URLs = "big", []*url.URL{{Scheme: "q+local"}}
			got := launcher.CheckSites(t.Context(), []*launcher.Site{&site}, launcher.CheckOptions{
				Backends: []gat.Backend{queued{local.Backend{}, tt.info, tt.err}}})[0]
			if got.Usable != (tt.wrong == "") || !strings.Contains(strings.Join(got.Wrong, "\n"), tt.wrong) {
				t.Errorf("usable %v, wrong %q; want %q", got.Usable, got.Wrong, tt.wrong)
			}
			if !strings.Contains(strings.Join(got.Notes, "\n"), tt.note) {
				t.Errorf("notes %q, want %q", got.Notes, tt.note)
			}
			if tt.err != nil {
				return
			}
			var names []string
			for _, q := range got.Queue.Queues {
				names = append(names, q.Name)
			}
			if diff := cmp.Diff(queueNames(tt.info), names); diff != "" || got.Queue.Scheduler != "Slurm" {
				t.Errorf("queue %+v", got.Queue)
			}
		})
	}
}

func queueNames(info gat.QueueInfo) (names []string) {
	for _, q := range info.Queues {
		names = append(names, q.Name)
	}
	return names
}

func writeFile(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func ownID() string { return strconv.Itoa(os.Getuid()) }
