package testbed_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
)

// traces are what must be gone when a farm is.
type traces struct {
	Dir  string
	Nets []string // of the client and the hosts, as /proc names them

	held map[string]bool // links to this process's own hold on them
}

// hold keeps the names of the namespaces from being given to new ones, of
// other tests, before the search for them has ended.
func (tr *traces) hold(t *testing.T) {
	t.Helper()
	tr.held = make(map[string]bool)
	wanted := make(map[string]bool)
	for _, net := range tr.Nets {
		wanted[net] = true
	}
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || !wanted[target] {
			continue
		}
		f, err := os.Open(link)
		if err != nil {
			continue // it ended meanwhile
		}
		t.Cleanup(func() { f.Close() })
		own := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())
		if target, err := os.Readlink(own); err == nil {
			delete(wanted, target)
			tr.held[own] = true
		}
	}
	if len(wanted) > 0 {
		t.Errorf("no process is in %v", wanted)
	}
}

func tracesOf(t *testing.T, f *testbed.Net) traces {
	t.Helper()
	tr := traces{Dir: filepath.Dir(f.Key)}
	out, err := f.Command(t.Context(), "readlink", "/proc/self/ns/net").Output()
	if err != nil {
		t.Fatal(err)
	}
	tr.Nets = append(tr.Nets, strings.TrimSpace(string(out)))
	for _, h := range f.Hosts() {
		out, err := h.Exec(t.Context(), "readlink", "/proc/1/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		tr.Nets = append(tr.Nets, strings.TrimSpace(string(out)))
	}
	return tr
}

// find lists what there still is, by looking at every thread, open file and
// mount table of the machine.
func (tr traces) find(t *testing.T) []string {
	t.Helper()
	var found []string
	if _, err := os.Lstat(tr.Dir); err == nil {
		found = append(found, tr.Dir)
	}
	for _, pattern := range []string{"/proc/[0-9]*/task/*/ns/net", "/proc/[0-9]*/fd/*"} {
		links, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			target, err := os.Readlink(link)
			if err != nil {
				continue // it ended meanwhile
			}
			for _, net := range tr.Nets {
				if target == net && !tr.held[link] {
					found = append(found, link+" -> "+net)
				}
			}
		}
	}
	tables, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if b, err := os.ReadFile(table); err == nil && strings.Contains(string(b), tr.Dir) {
			found = append(found, table)
		}
	}
	return found
}

func (tr traces) gone(t *testing.T) {
	t.Helper()
	var found []string
	deadline := time.Now().Add(15 * time.Second)
	eventually(t, "network is gone", func() bool {
		found = tr.find(t)
		if len(found) > 0 && time.Now().After(deadline.Add(-time.Second)) {
			t.Fatalf("still there:\n%s", strings.Join(found, "\n"))
		}
		return len(found) == 0
	})
}

// interfaces is what farms must not touch.
func interfaces(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", "ip -o link; ip -o addr; ip route; ip netns").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestTwoFarmsAndClose(t *testing.T) {
	testbed.Require(t)
	before := interfaces(t)
	started := time.Now()
	a := testbed.SSH(t)
	t.Logf("a farm is up after %v", time.Since(started))
	b := testbed.SSH(t)
	if after := interfaces(t); after != before {
		t.Errorf("the machine's network was\n%s\nand is\n%s", before, after)
	}
	for i, f := range []*testbed.Farm{a, b} {
		mark := fmt.Sprintf("farm-%d", i)
		if _, err := f.Plain.Exec(t.Context(), "sh", "-c", "echo $0 >/home/alice/mark", mark); err != nil {
			t.Fatal(err)
		}
	}
	for i, f := range []*testbed.Farm{a, b} {
		got := output(t, client(t, f, f.Plain, "alice"), "cat mark")
		if want := fmt.Sprintf("farm-%d\n", i); !strings.HasSuffix(got, want) {
			t.Errorf("farm %d: mark is %q, want %q", i, got, want)
		}
	}
	ofA, ofB := tracesOf(t, a.Net), tracesOf(t, b.Net)
	ofA.hold(t)
	ofB.hold(t)
	if len(ofA.find(t)) == 0 {
		t.Fatal("the search does not find a network that runs")
	}
	// The last of them have hardly begun when the farm ends.
	var stragglers []*exec.Cmd
	for range 8 {
		cmd := a.Command(within(t, time.Minute), "sleep", "1004")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stragglers = append(stragglers, cmd)
	}
	started = time.Now()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("and gone after %v", time.Since(started))
	closed := time.Now()
	for _, cmd := range stragglers {
		cmd.Wait()
	}
	if took := time.Since(closed); took > 10*time.Second {
		t.Errorf("a command outlived the farm by %v", took)
	}
	ofA.gone(t)
	output(t, client(t, b, b.Plain, "alice"), "true")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	ofB.gone(t)
}

const childEnv = "ZORILLA_TESTBED_TEST_CHILD"

// TestChild is not a test but the process that TestKilledProcess kills.
func TestChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("runs in a process of TestKilledProcess only")
	}
	var f *testbed.Net
	switch os.Getenv(childEnv) {
	case "wan":
		f = testbed.WideArea(t, testbed.Place{Name: "east", Inner: 1, Way: testbed.Masquerade}, testbed.Place{Name: "west"}).Net
	case "clusters":
		g := testbed.Clusters(t, testbed.Spec{Name: "tulip", System: testbed.Slurm, Nodes: 1, Shared: "/home"})
		must(t, g.Clusters[0].Head, `sbatch -o /dev/null --wrap "trap '' TERM HUP; sleep 1005"`)
		f = g.Net
	default:
		f = testbed.SSH(t).Net
	}
	host := f.Hosts()[0]
	for _, argv := range [][]string{{"sleep", "1005"}, {"sh", "-c", "trap '' TERM HUP; sleep 1006; sleep 1"}} {
		if err := f.Command(t.Context(), argv...).Start(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := host.ExecAs(t.Context(), "alice", "sh", "-c", "trap '' TERM HUP; setsid sleep 1007 </dev/null >/dev/null 2>&1 &"); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(tracesOf(t, f))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\ntraces %s\n", b)
	<-t.Context().Done() // the time limit of the test process ends this
}

func TestKilledProcess(t *testing.T) {
	testbed.Require(t)
	for _, of := range []string{"farm", "wan", "clusters"} {
		t.Run(of, func(t *testing.T) { killProcess(t, of) })
	}
}

// killProcess kills a test process that has a network.
func killProcess(t *testing.T, of string) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self, "-test.run=^TestChild$", "-test.timeout=2m")
	child.Env = append(os.Environ(), childEnv+"="+of, testbed.Env+"=use")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var tr traces
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if b, ok := strings.CutPrefix(lines.Text(), "traces "); ok {
			if err := json.Unmarshal([]byte(b), &tr); err != nil {
				t.Fatal(err)
			}
			break
		}
		t.Log("child: ", lines.Text())
	}
	if tr.Dir != "" {
		tr.hold(t)
		if len(tr.find(t)) == 0 {
			t.Error("the search does not find a network that runs")
		}
	}
	child.Process.Kill()
	child.Wait()
	if tr.Dir == "" {
		t.Fatal("the child started no network")
	}
	killed := time.Now()
	tr.gone(t)
	t.Logf("gone %v after the kill", time.Since(killed))
}

// A start that is cut off, at whatever moment, leaves nothing.
func TestStartCutOff(t *testing.T) {
	testbed.Require(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	failed := 0
	for d := time.Duration(0); d < 160*time.Millisecond; d += 20 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		f, err := testbed.Start(ctx)
		cancel()
		if err != nil {
			failed++
		} else if err := f.Close(); err != nil {
			t.Errorf("close after a start within %v: %v", d, err)
		}
		if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
			t.Errorf("start cut off after %v left %v, %v", d, left, err)
		}
	}
	if failed == 0 {
		t.Error("no start was cut off, not even after no time at all")
	}
	tables, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if b, err := os.ReadFile(table); err == nil && strings.Contains(string(b), tmp) {
			t.Errorf("%s has mounts in %s", table, tmp)
		}
	}
}
