package launcher_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// childEnv makes this test program a launcher: it holds a [child] as JSON.
const childEnv = "ZORILLA_TEST_CHILD"

// A child is what a launcher in a process of its own is to do.
type child struct {
	App     string
	Workers int
	Sites   string
	Home    string
	Out     string
	State   string
	Lease   time.Duration
}

// childMain runs a job, in the network of a farm's client, and prints its events.
func childMain(text string) int {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	sites, err := launcher.ParseSites("sites.toml", []byte(c.Sites), nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	o := launcher.Options{Sites: sites, Home: c.Home, Out: c.Out, State: c.State}
	impatient(c.Lease)(&o)
	o.Events = func(e launcher.Event) {
		line, err := launcher.EncodeEvent(e)
		if err == nil {
			os.Stdout.Write(line)
		}
	}
	r := launcher.Run(context.Background(), launcher.Job{App: c.App, Workers: c.Workers}, o, launcher.Stopper{})
	return r.Exit
}

// orphan runs a launcher until all workers have printed something and kills it. It
// returns the session's name and the time of the kill.
func (b *bench) orphan(c child) (session string, at time.Time) {
	b.t.Helper()
	c.Home, c.Out, c.State = b.home, filepath.Join(b.dir, "out"), filepath.Join(b.dir, "state")
	text, err := json.Marshal(c)
	if err != nil {
		b.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	cmd := b.farm.Command(ctx, self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	talked := make(map[int]bool)
	lines := bufio.NewScanner(out)
	for len(talked) < c.Workers && lines.Scan() {
		var e struct {
			Run, Type string
			Rank      int
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			b.t.Errorf("event %q: %v", lines.Text(), err)
		}
		session = e.Run
		if e.Type == "output" {
			talked[e.Rank] = true
		}
		b.t.Logf("%s", lines.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		b.t.Fatal(err)
	}
	at = time.Now()

	if err := cmd.Wait(); err == nil || len(talked) < c.Workers {
		b.t.Fatalf("the launcher ended with %v after output of %d workers: %s", err, len(talked), complaints.String())
	}
	return session, at
}

// here and three kinds of hosts.
func (b *bench) orphanSites() string {
	return fmt.Sprintf("[defaults]\nslots = 1\n[site.here]\nurl = \"local:\"\n[site.plain]\nurl = %q\n[site.cluster]\nurl = %q\nhosts = [\"inner1\"]\n[site.closed]\nurl = %q\nhosts = [\"inner3\"]\n",
		b.url(b.farm.Plain), b.url(b.farm.Bastion), b.url(b.farm.NoForward))
}

// talking is a worker that never ends.
const talking = "while :; do echo here; sleep 0.2; done\n"

func TestLauncherKilled(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	const lease = 6 * time.Second
	session, at := b.orphan(child{App: b.script(talking), Workers: 4, Sites: b.orphanSites(), Lease: lease})
	eventually(t, "the pilots on this machine are gone", 5*time.Second, func() bool { return len(processesHere(session)) == 0 })
	t.Logf("nothing runs here any more %v after the launcher's end", time.Since(at))
	for _, h := range farm.Hosts() {
		b.leftAlone(h, 3*lease)
	}
	t.Logf("all hosts are clean %v after the launcher's end", time.Since(at))
	b.gcFinishes(session)
	b.clean(session)
}

func TestLauncherKilledThenGC(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	session, _ := b.orphan(child{App: b.script(talking), Workers: 4, Sites: b.orphanSites(), Lease: 10 * time.Minute})
	if err := farm.Plain.Cut(); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	b.gcFinds(session, "plain")
	t.Logf("gc took %v with one host cut off", time.Since(at))
	for _, h := range farm.Hosts() {
		if h != farm.Plain {
			h.NoLeftovers(t)
		}
	}
	nothingHere(t, session)
	b.restore(farm.Plain)
	b.gcFinishes(session)
	b.clean(session)
}
