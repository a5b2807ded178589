package launcher_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/zorilla-grid/zorilla/backends/all"
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
	Poll    time.Duration // of queueing systems; not 0 brings all backends
	Quiet   bool          // outputs are told without their data
}

// childMain runs a job, in the network of a farm's client, and prints its events.
func childMain(text string) int {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	sites, err := launcher.ParseSites("sites.toml", []byte(c.Sites), launcher.SitesRules{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	o := launcher.Options{Sites: sites.List, Home: c.Home, Out: c.Out, State: c.State}
	impatient(c.Lease)(&o)
	if o.Poll = c.Poll; c.Poll > 0 {
		o.Backends = all.Registry()
	}
	o.Events = func(e launcher.Event) {
		if o, ok := e.Data.(launcher.OutputWritten); ok && c.Quiet {
			o.Data = nil
			e.Data = o
		}
		line, err := launcher.EncodeEvent(e)
		if err == nil {
			os.Stdout.Write(line)
		}
	}
	r := launcher.Run(context.Background(), launcher.Job{App: c.App, Workers: c.Workers}, o, launcher.Stopper{})
	return r.Exit
}

// started is a launcher in a process of its own, under way.
type started struct {
	b       *bench
	cmd     *exec.Cmd
	session string
	out     string
	began   time.Time
	read    chan struct{} // closed when its standard output has ended
	said    strings.Builder
}

// startChild starts a launcher in a process of its own and waits until all workers have
// printed something.
func (b *bench) startChild(c child) *started {
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
	x := &started{b: b, out: c.Out, began: time.Now(), read: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	x.cmd = b.net.Command(ctx, self)
	x.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	x.cmd.Stderr = &x.said
	out, err := x.cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := x.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	events := make(chan launcher.Event)
	go func() {
		defer close(x.read)
		defer close(events)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if e, err := launcher.DecodeEvent(lines.Bytes()); err == nil {
				events <- e
			}
		}
	}()
	b.t.Cleanup(func() {
		cancel()
		<-x.read
	})
	talked := make(map[int]bool)
	late := time.After(time.Minute)
	for len(talked) < c.Workers {
		select {
		case e, ok := <-events:
			if !ok {
				b.t.Fatalf("the launcher ended after output of %d workers: %s", len(talked), x.said.String())
			}
			x.session = e.Run
			if o, ok := e.Data.(launcher.OutputWritten); ok {
				talked[o.Rank] = true
			}
		case <-late:
			b.t.Fatalf("output of %d workers within a minute, want %d", len(talked), c.Workers)
		}
	}
	go func() {
		for range events {
		}
	}()
	return x
}

// wait waits for the launcher's end.
func (x *started) wait(within time.Duration) error {
	x.b.t.Helper()
	select {
	case <-x.read:
		return x.cmd.Wait()
	case <-time.After(within):
		x.b.t.Fatalf("the launcher goes on after %v", within)
		return nil
	}
}
