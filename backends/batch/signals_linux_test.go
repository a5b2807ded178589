package batch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/gat"
)

// A scheduler's warning reaches the command, whether the script became it or waits
// for it.
func TestSignals(t *testing.T) {
	t.Parallel()
	q := open(t, 0)
	for name, files := range map[string][]gat.JobFile{"plain": nil, "with files": {{Name: "f", Mode: 0o600}}} {
		out := filepath.Join(q.dir, "out-"+strings.ReplaceAll(name, " ", "-"))
		id := q.submit(gat.JobSpec{
			Argv:   []string{"/bin/sh", "-c", `trap 'echo warned; exit 3' USR1; echo ready; while :; do sleep 0.05; done`},
			Stderr: out, Files: files,
		})[0]
		read := func(want string) {
			t.Helper()
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
				got, _ := os.ReadFile(out)
				if string(got) == want {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s: the command wrote %q, want %q", name, got, want)
				}
			}
		}
		read("ready\n")
		// The batch shell is the child of the process that the queue started.
		text, err := os.ReadFile(filepath.Join(q.Fake.Dir, "jobs", string(id), "0", "pid"))
		if err != nil {
			t.Fatal(err)
		}
		leader := strings.TrimSpace(string(text))
		kids, err := os.ReadFile("/proc/" + leader + "/task/" + leader + "/children")
		if err != nil {
			t.Skipf("the system does not tell children: %v", err)
		}
		var pid int
		if _, err := fmt.Sscan(string(kids), &pid); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		read("ready\nwarned\n")
		if st := q.until(id, gat.Failed, gat.Done); st.Exit != 3 {
			t.Errorf("%s: the job is %v, want exit status 3", name, st)
		}
	}
}
