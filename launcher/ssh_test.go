package launcher_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/all"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
	"github.com/zorilla-grid/zorilla/launcher/bundle"
	"github.com/zorilla-grid/zorilla/pilot"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == bundle.LocalName {
		os.Exit(pilot.Main(os.Args)) // the local site's pilot, where no binary is at hand
	}
	if status, played := all.Role(); played {
		os.Exit(status)
	}
	if text := os.Getenv(childEnv); text != "" {
		os.Exit(childMain(text))
	}
	os.Unsetenv("SSH_AUTH_SOCK") // keys are those that a test has
	os.Exit(testbed.Main(m))
}

// bench is a user at the client of a network: a home with keys, a place for
// results, and the events of a run.
type bench struct {
	t    testing.TB
	net  *testbed.Net  // nil for runs on this machine alone
	farm *testbed.Farm // if it is one
	home string
	dir  string
}

func newBench(t testing.TB, farm *testbed.Farm) *bench {
	t.Helper()
	if farm == nil {
		return newBenchIn(t, nil)
	}
	b := newBenchIn(t, farm.Net)
	b.farm = farm
	return b
}

func newBenchIn(t testing.TB, net *testbed.Net) *bench {
	t.Helper()
	b := &bench{t: t, net: net, home: t.TempDir(), dir: t.TempDir()}
	ssh := filepath.Join(b.home, ".ssh")
	if err := os.Mkdir(ssh, 0o700); err != nil {
		t.Fatal(err)
	}
	if net == nil {
		return b
	}
	for name, src := range map[string]string{"id_ed25519": net.Key, "known_hosts": net.KnownHosts} {
		data, err := os.ReadFile(src)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(ssh, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// script writes an executable sh script and returns its path.
func (b *bench) script(body string) string {
	b.t.Helper()
	path := filepath.Join(b.dir, fmt.Sprintf("app-%d.sh", time.Now().UnixNano()))
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// sites reads a sites file.
func (b *bench) sites(text string) []*launcher.Site {
	b.t.Helper()
	sites, err := launcher.ParseSites("sites.toml", []byte(text), launcher.SitesRules{})
	if err != nil {
		b.t.Fatal(err)
	}
	return sites.List
}

// url is how to log in to a host.
func (b *bench) url(h *testbed.Host) string { return "ssh://" + h.User + "@" + h.Addr }

// run runs a job and returns the result and its events.
func (b *bench) run(job launcher.Job, sites string, change func(*launcher.Options)) (launcher.Result, []launcher.Event) {
	b.t.Helper()
	var events []launcher.Event
	opts := launcher.Options{
		Sites:    b.sites(sites),
		Backends: all.Registry(),
		Home:     b.home,
		Out:      filepath.Join(b.dir, fmt.Sprintf("out-%d", time.Now().UnixNano())),
		State:    filepath.Join(b.dir, "state"),
		Events: func(e launcher.Event) {
			if o, ok := e.Data.(launcher.OutputWritten); ok {
				o.Data = append([]byte(nil), o.Data...)
				e.Data = o
			}
			events = append(events, e)
		},
	}
	if b.net != nil {
		opts.Dial = b.net.Dial
	}
	if change != nil {
		change(&opts)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer cancel()
	r := launcher.Run(ctx, job, opts, launcher.Stopper{})
	if b.t.Failed() || testing.Verbose() {
		for _, e := range events {
			line, _ := launcher.EncodeEvent(e)
			b.t.Logf("%s", strings.TrimSpace(string(line)))
		}
	}
	return r, events
}

// stdout returns what a worker printed.
func (b *bench) stdout(r launcher.Result, rank int) string {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.Out, launcher.WorkerName(rank), "stdout"))
	if err != nil {
		b.t.Error(err)
	}
	return string(data)
}

func wantOK(t testing.TB, r launcher.Result) {
	t.Helper()
	if r.Err != nil || r.Outcome != launcher.OutcomeOK || r.Exit != 0 {
		t.Errorf("run %s: outcome %q, exit %d, error %v; want ok", r.Run, r.Outcome, r.Exit, r.Err)
	}
	if len(r.Report.Leftovers) > 0 {
		t.Errorf("run %s: leftovers %v", r.Run, r.Report.Leftovers)
	}
}

func TestOneSSHHost(t *testing.T) {
	testbed.Require(t)
	farm := testbed.Shared(t)
	b := newBench(t, farm)
	r, _ := b.run(launcher.Job{App: b.script("echo rank $ZORILLA_RANK of $ZORILLA_SIZE; id -un; echo oops >&2\n"), Workers: 2},
		"[site.plain]\nurl = \""+b.url(farm.Plain)+"\"\nslots = 2\n", nil)
	wantOK(t, r)
	for rank := range 2 {
		if got, want := b.stdout(r, rank), fmt.Sprintf("rank %d of 2\nalice\n", rank); got != want {
			t.Errorf("rank %d printed %q, want %q", rank, got, want)
		}
	}
	farm.NoLeftovers(t)
}

// everySite is a sites file with this machine and every kind of host of the farm.
func (b *bench) everySite() string {
	return fmt.Sprintf(`
[defaults]
slots = 1
[site.here]
url = "local:"
[site.plain]
url = %q
[site.cluster]
url = %q
hosts = ["inner[1-2]"]
[site.closed]
url = %q
hosts = ["inner3"]
`, b.url(b.farm.Plain), b.url(b.farm.Bastion), b.url(b.farm.NoForward))
}

func TestManySites(t *testing.T) {
	testbed.Require(t)
	farm := testbed.Shared(t)
	b := newBench(t, farm)
	input := filepath.Join(b.dir, "data.txt")
	if err := os.WriteFile(input, []byte(strings.Repeat("zorilla\n", 1000)), 0o644); err != nil {
		t.Fatal(err)
	}
	job := launcher.Job{
		App:     b.script("wc -l < data.txt\nuname -n\necho $ZORILLA_RANK > result-$ZORILLA_RANK.txt\n"),
		Workers: 5,
		Inputs:  []launcher.Input{{Src: input}},
		Outputs: []string{"result-*"},
	}
	r, _ := b.run(job, b.everySite(), nil)
	wantOK(t, r)
	hosts := make(map[string]bool)
	for rank := range 5 {
		lines := strings.Fields(b.stdout(r, rank))
		if len(lines) != 2 || lines[0] != "1000" {
			t.Errorf("rank %d printed %q", rank, lines)
			continue
		}
		hosts[lines[1]] = true
		got, err := os.ReadFile(filepath.Join(r.Out, launcher.WorkerName(rank), fmt.Sprintf("result-%d.txt", rank)))
		if err != nil || string(got) != fmt.Sprintf("%d\n", rank) {
			t.Errorf("rank %d left %q, error %v", rank, got, err)
		}
	}
	if len(hosts) != 5 {
		t.Errorf("workers ran on %v, want five hosts", hosts)
	}
	farm.NoLeftovers(t)
}

// TestInnerWithoutHub reaches a host behind one that runs no hub and forbids
// forwarding: what is left is a command there that passes bytes on.
func TestInnerWithoutHub(t *testing.T) {
	testbed.Require(t)
	farm := testbed.Shared(t)
	b := newBench(t, farm)
	r, _ := b.run(launcher.Job{App: b.script("uname -n\n"), Workers: 1},
		fmt.Sprintf("[site.closed]\nurl = %q\nhosts = [\"inner3\"]\nslots = 1\nhub = \"none\"\n", b.url(farm.NoForward)), nil)
	wantOK(t, r)
	if got := b.stdout(r, 0); got != "inner3\n" {
		t.Errorf("the worker printed %q", got)
	}
	farm.NoLeftovers(t)
}
