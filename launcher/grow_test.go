//go:build unix

package launcher_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHubLeftAlone stops the launcher for a while, as a laptop that sleeps: meanwhile a pilot
// is lost, and the hub gets another one through the queue. The launcher takes it over, also
// when that hub is killed before it can tell.
func TestHubLeftAlone(t *testing.T) {
	t.Run("lives", func(t *testing.T) { leaveHubAlone(t, false) })
	t.Run("is killed", func(t *testing.T) { leaveHubAlone(t, true) })
}

func leaveHubAlone(t *testing.T, killed bool) {
	c, b := cluster(t, tulip())
	const gate = "/shared/gate"
	x := b.startChild(child{
		App:     b.script("while [ ! -e " + gate + " ]; do echo here; sleep 0.2; done\n"),
		Workers: 2,
		Sites:   fmt.Sprintf("[site.tulip]\nurl = %q\npilots = 2\nslots = 1\nshared = \"/shared\"\n", queueURL(c)),
		Poll:    time.Second,
	})
	t.Cleanup(func() { x.cmd.Process.Signal(syscall.SIGCONT) })
	events := filepath.Join(b.dir, "state", "runs", x.session, "events.jsonl")
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(events)
			t.Logf("events:\n%s", text)
		}
	})
	hub := func(what string) bool {
		text, err := c.Head.Exec(t.Context(), "sh", "-c", "cat /tmp/zorilla-*/s-"+x.session+"/log-*")
		return err == nil && strings.Contains(string(text), what)
	}
	eventually(t, "the hub has an order for both jobs", time.Minute, func() bool { return hub("pilots=2 most=6 jobs=2") })
	jobs := func() (ids []string) {
		list, err := c.Jobs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range list {
			ids = append(ids, strings.Fields(line)[0])
		}
		return ids
	}
	before := jobs()
	if len(before) != 2 {
		t.Fatalf("jobs %q in the queue, want two", before)
	}
	if err := x.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b.exec(c.Head, "scancel", before[0])
	eventually(t, "another job is in the queue", 2*time.Minute, func() bool {
		now := jobs()
		return len(now) == 2 && now[0] != before[0] && now[1] != before[0]
	})
	if killed {
		eventually(t, "the hub knows what it did", time.Minute, func() bool { return hub("submit=1") })
		b.exec(c.Head, "sh", "-c", "kill -9 $(pgrep -f '[a]gent "+x.session+" -')")
	}
	if err := x.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the launcher has taken over what the hub did", 2*time.Minute, func() bool {
		text, err := os.ReadFile(events)
		return err == nil && strings.Contains(string(text), "the hub submitted 1 pilot and cancelled 0")
	})
	b.exec(c.Head, "touch", gate)
	if err := x.wait(2 * time.Minute); err != nil {
		t.Errorf("the launcher ended with %v: %s", err, x.said.String())
	}
	b.exec(c.Head, "rm", gate)
	nothingHere(t, x.session)
	c.NoLeftovers(t)
}
