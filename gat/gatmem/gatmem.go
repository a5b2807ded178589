// Package gatmem is a backend in memory, for tests of whatever uses package
// gat. A [Machine] is a little computer: its programs are Go functions, its
// files a map, its processes goroutines; it is reached by the URL "mem:", or
// "mem://NAME" where there are several.
//
// The one rule: it passes the same conformance suite as the real backends, so
// that what works with it works with them. Beyond the contract it can be told
// what to do: to hold jobs in the queue, to report odd states, to refuse,
// fail, hang or break off, and how often it was asked. It is fit for
// testing/synctest: it never sleeps and its goroutines end with
// [Machine.Close].
package gatmem

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// Backend reaches machines by the host of the URL; the empty name is that of
// "mem:".
type Backend map[string]*Machine

// Schemes returns "mem".
func (Backend) Schemes() []string { return []string{"mem"} }

// Check accepts the names of machines that exist.
func (b Backend) Check(u *url.URL) error {
	if b[u.Hostname()] == nil {
		return fmt.Errorf("no machine %q in memory", u.Hostname())
	}
	return nil
}

// Open logs in to a machine.
func (b Backend) Open(ctx context.Context, t gat.Target) (gat.Login, error) {
	m := b[t.URL.Hostname()]
	if m == nil {
		return nil, &gat.Error{Class: gat.NotFound, Op: "log in", Err: errors.New("no such machine")}
	}
	if err := m.begin(ctx, "log in"); err != nil {
		return nil, err
	}
	if m.Password != "" {
		if t.Ask == nil {
			return nil, &gat.Error{Class: gat.Denied, Op: "log in", Err: errors.New("a password is needed and nobody can be asked")}
		}
		if t.Prompted != nil {
			t.Prompted(ctx)
		}
		answer, err := t.Ask(ctx, t.Site, "password", true)
		if refused, ok := errors.AsType[*gat.Error](err); ok {
			return nil, refused
		}
		if err != nil || answer != m.Password {
			return nil, &gat.Error{Class: gat.Denied, Op: "log in", Err: errors.New("wrong password"), Hint: "try again"}
		}
	}
	return m.login(), nil
}

// Machine is a computer in memory. The exported fields are set before its
// first login. Its methods are safe for concurrent use.
type Machine struct {
	Password        string              // asked for at login when not empty
	JobsOnly        bool                // logins lack all optional abilities
	ForbidForwards  bool                // logging in further needs a dial function
	Behind          map[string]*Machine // the machines that can be reached from it
	HoldJobs        bool                // jobs stay queued until Start
	ForgetEndedJobs bool                // jobs that ended are unknown
	Queue           *gat.QueueInfo      // what its queueing system says of itself; nil: it has none
	PollEvery       time.Duration       // the pace its queueing system asks for

	mu       sync.Mutex
	closed   bool
	programs map[string]Program
	files    map[string]file
	dirs     map[string]bool
	procs    map[int]*Proc
	lastPid  int
	jobs     map[gat.JobID]*job
	logins   map[*login]struct{}
	faults   map[string]*fault
	calls    map[string]int
	wg       sync.WaitGroup
}

// New returns a machine with the programs of the conformance suite in /bin and
// an empty directory /home.
func New() *Machine {
	m := &Machine{
		programs: make(map[string]Program),
		files:    make(map[string]file),
		dirs:     map[string]bool{"/": true, "/home": true},
		procs:    make(map[int]*Proc),
		jobs:     make(map[gat.JobID]*job),
		logins:   make(map[*login]struct{}),
		faults:   make(map[string]*fault),
		calls:    make(map[string]int),
	}
	for name, program := range tools() {
		m.Install(path.Join("/bin", name), program)
	}
	return m
}

// Install gives the machine a program under an absolute path.
func (m *Machine) Install(path string, p Program) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.programs[path] = p
}

// Close switches the machine off: logins break, and all processes are killed
// and waited for.
func (m *Machine) Close() {
	m.Break(errors.New("switched off"))
	m.mu.Lock()
	m.closed = true
	for _, p := range m.procs {
		p.kill()
	}
	m.mu.Unlock()
	m.wg.Wait()
}

// Break breaks the connections of all logins, with the given reason.
func (m *Machine) Break(reason error) {
	m.mu.Lock()
	var all []*login
	for l := range m.logins {
		all = append(all, l)
	}
	m.mu.Unlock()
	for _, l := range all {
		l.end(reason)
	}
}

// fault is what goes wrong with an operation.
type fault struct {
	times int
	do    func(context.Context) error
}

// Fault makes the next n operations of a kind fail the way do says; n < 0
// means all from now on. The kinds are "log in", "submit", "status", "cancel",
// "run", "put", "get", "remove", "log in further", "describe", "run inside" and
// "find jobs". do may wait for the
// context; when it returns nil the operation goes on.
func (m *Machine) Fault(op string, n int, do func(ctx context.Context) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults[op] = &fault{n, do}
}

// Fail is a fault that is an error of the given class.
func Fail(class gat.Class, text string) func(context.Context) error {
	return func(context.Context) error { return &gat.Error{Class: class, Err: errors.New(text)} }
}

// Hang is a fault that never answers.
func Hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// Calls returns how many operations of a kind were begun, failed ones included.
func (m *Machine) Calls(op string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[op]
}

// Logins returns how many logins are open.
func (m *Machine) Logins() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.logins)
}

// begin counts an operation and lets it go wrong.
func (m *Machine) begin(ctx context.Context, op string) error {
	m.mu.Lock()
	m.calls[op]++
	var do func(context.Context) error
	if f := m.faults[op]; f != nil && f.times != 0 {
		f.times--
		do = f.do
	}
	closed := m.closed
	m.mu.Unlock()
	if closed {
		return &gat.Error{Class: gat.Transient, Op: op, Err: errors.New("switched off")}
	}
	if do != nil {
		if err := do(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Find describes the processes whose arguments or environment contain text.
func (m *Machine) Find(text string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []string
	for pid, p := range m.procs {
		if slices.ContainsFunc(slices.Concat(p.Args, p.Env), func(s string) bool { return strings.Contains(s, text) }) {
			found = append(found, fmt.Sprintf("%d: %q", pid, p.Args))
		}
	}
	slices.SortFunc(found, cmp.Compare[string])
	return found
}
