package launcher_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/all"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
	"github.com/zorilla-grid/zorilla/overlay/wire"
	"github.com/zorilla-grid/zorilla/pilot"
)

// A live run is one that a test watches, and disturbs, while it goes on.
type live struct {
	b    *bench
	name string // the session's, once the first event has come

	mu     sync.Mutex
	events []launcher.Event
	more   chan struct{} // closed and replaced with every event
	mute   bool          // outputs are not kept

	graceful, now chan struct{}
	result        chan launcher.Result
}

// start starts a run. It is waited for when the test ends.
func (b *bench) start(job launcher.Job, sites string, change func(*launcher.Options)) *live {
	b.t.Helper()
	x := &live{b: b, more: make(chan struct{}), graceful: make(chan struct{}), now: make(chan struct{}), result: make(chan launcher.Result, 1)}
	opts := b.options(sites)
	opts.Events = x.hear
	if change != nil {
		change(&opts)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		x.result <- launcher.Run(ctx, job, opts, launcher.Stopper{Graceful: x.graceful, Now: x.now})
	}()
	b.t.Cleanup(func() {
		cancel()
		<-over
		if b.t.Failed() {
			x.show()
		}
	})
	started := x.await("the run's start", 10*time.Second, func(e launcher.Event) bool { return true })
	x.name = started.Run
	return x
}

// options are those of a run at the bench.
func (b *bench) options(sites string) launcher.Options {
	b.t.Helper()
	return launcher.Options{
		Sites:    b.sites(sites),
		Backends: all.Registry(),
		Dial:     b.net.Dial,
		Home:     b.home,
		Out:      filepath.Join(b.dir, fmt.Sprintf("out-%d", time.Now().UnixNano())),
		State:    filepath.Join(b.dir, "state"),
	}
}

func (x *live) hear(e launcher.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if o, ok := e.Data.(launcher.OutputWritten); ok {
		if x.mute {
			return
		}
		o.Data = append([]byte(nil), o.Data...)
		e.Data = o
	}
	x.events = append(x.events, e)
	close(x.more)
	x.more = make(chan struct{})
}

// show logs all events.
func (x *live) show() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.events {
		if _, ok := e.Data.(launcher.OutputWritten); ok {
			continue
		}
		line, _ := launcher.EncodeEvent(e)
		x.b.t.Logf("%s", strings.TrimSpace(string(line)))
	}
}

// await waits for the first event, of those that came and those that come, that is ok.
func (x *live) await(what string, within time.Duration, ok func(launcher.Event) bool) launcher.Event {
	x.b.t.Helper()
	late := time.NewTimer(within)
	defer late.Stop()
	seen := 0
	for {
		x.mu.Lock()
		list, more := x.events[seen:], x.more
		seen = len(x.events)
		x.mu.Unlock()
		for _, e := range list {
			if ok(e) {
				return e
			}
		}
		select {
		case <-more:
		case <-late.C:
			x.b.t.Fatalf("%s: not seen within %v", what, within)
		}
	}
}

// worker waits until an attempt of a rank is in a state.
func (x *live) worker(rank, attempt int, state string, within time.Duration) (launcher.WorkerChanged, time.Time) {
	x.b.t.Helper()
	e := x.await(fmt.Sprintf("worker %d, attempt %d: %s", rank, attempt, state), within, func(e launcher.Event) bool {
		w, ok := e.Data.(launcher.WorkerChanged)
		return ok && w.Rank == rank && w.Attempt == attempt && w.State == state
	})
	return e.Data.(launcher.WorkerChanged), e.Time
}

// running waits until the first attempts of all of n workers have printed something.
func (x *live) running(n int) {
	x.b.t.Helper()
	talked := make(map[int]bool)
	x.await(fmt.Sprintf("output of %d workers", n), time.Minute, func(e launcher.Event) bool {
		if o, ok := e.Data.(launcher.OutputWritten); ok {
			talked[o.Rank] = true
		}
		return len(talked) >= n
	})
}

// site waits until a site is in a state.
func (x *live) site(name, state string, within time.Duration) launcher.SiteChanged {
	x.b.t.Helper()
	return x.await("site "+name+": "+state, within, func(e launcher.Event) bool {
		s, ok := e.Data.(launcher.SiteChanged)
		return ok && s.Site == name && s.State == state
	}).Data.(launcher.SiteChanged)
}

// count says how many of the events so far are ok.
func (x *live) count(ok func(launcher.Event) bool) (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.events {
		if ok(e) {
			n++
		}
	}
	return n
}

// again counts the attempts that were not a rank's first.
func (x *live) again() int {
	return x.count(func(e launcher.Event) bool {
		w, ok := e.Data.(launcher.WorkerChanged)
		return ok && w.State == "granted" && w.Attempt > 1
	})
}

// end waits for the end of the run.
func (x *live) end(within time.Duration) launcher.Result {
	x.b.t.Helper()
	select {
	case r := <-x.result:
		return r
	case <-time.After(within):
		x.b.t.Fatalf("run %s goes on after %v", x.name, within)
		panic("not reached")
	}
}

// gate is a file that workers on the hosts of a farm wait for.
const gate = "/run/zorilla-gate"

// gateScript waits, in a script, for the gate to open on its host.
const gateScript = "while [ ! -e " + gate + " ]; do sleep 0.05; done\n"

// openGates lets the workers on all hosts, or on those given, go on.
func (b *bench) openGates(hosts ...*testbed.Host) {
	b.t.Helper()
	if hosts == nil {
		hosts = b.net.Hosts()
	}
	for _, h := range hosts {
		b.exec(h, "touch", gate)
	}
}

// exec runs a command on a host as root.
func (b *bench) exec(h *testbed.Host, argv ...string) string {
	b.t.Helper()
	out, err := h.Exec(b.t.Context(), argv...)
	if err != nil {
		b.t.Fatalf("%s: %q: %v", h.Name, argv, err)
	}
	return strings.TrimSpace(string(out))
}

// host returns the host of a name.
func (b *bench) host(name string) *testbed.Host {
	b.t.Helper()
	for _, h := range b.net.Hosts() {
		if h.Name == name {
			return h
		}
	}
	b.t.Fatalf("no host is called %q", name)
	return nil
}

// agents returns the processes of a session's agents of a role on a host: each says in
// its log what it is.
func (b *bench) agents(h *testbed.Host, session, role string) []string {
	b.t.Helper()
	return strings.Fields(b.exec(h, "sh", "-c",
		`cd /tmp/zorilla-*/s-$1 && for f in $(grep -l "agent starts.*role=$2" log-*); do [ -d /proc/${f##*-} ] && echo ${f##*-}; done; :`,
		"agents", session, role))
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, within time.Duration, ok func() bool) {
	t.Helper()
	late := time.After(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not so within %v", what, within)
		}
	}
}

// nothingHere fails the test if anything of a session is left on this machine.
func nothingHere(t testing.TB, session string) {
	t.Helper()
	if session == "" {
		t.Error("no session to look for")
		return
	}
	var left []string
	for _, dir := range []string{os.TempDir(), "/var/tmp", "/dev/shm"} {
		path := filepath.Join(dir, pilot.BaseName(os.Getuid()), pilot.SessionDirName(wire.SessionID(session)))
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			left = append(left, path)
		}
	}
	for _, p := range processesHere(session) {
		left = append(left, p.args+"in "+p.dir)
	}
	if len(left) > 0 {
		t.Errorf("left of run %s on this machine: %q", session, left)
	}
}

// A process is one of this machine.
type process struct {
	pid       int
	args, dir string
}

// processesHere returns the processes of this machine, outside of hosts, that belong to a
// session: its name is in their arguments or their directory.
func processesHere(session string) (found []process) {
	self, _ := os.Readlink("/proc/self/ns/mnt")
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if ns, err := os.Readlink(filepath.Join(dir, "ns/mnt")); err != nil || ns != self || dir == "/proc/"+strconv.Itoa(os.Getpid()) {
			continue
		}
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		if strings.Contains(string(args), session) || strings.Contains(cwd, session) {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			found = append(found, process{pid, strings.ReplaceAll(string(args), "\x00", " "), cwd})
		}
	}
	return found
}

// clean fails the test if anything is left of a run anywhere.
func (b *bench) clean(session string) {
	b.t.Helper()
	for _, h := range b.net.Hosts() {
		b.exec(h, "rm", "-f", gate)
	}
	nothingHere(b.t, session)
	b.net.NoLeftovers(b.t)
}
