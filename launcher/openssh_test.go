package launcher_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// A whole run over a queue, every command and file of which goes through one
// connection of the system's ssh.
func TestQueueOverOpenSSH(t *testing.T) {
	testbed.Require(t)
	needOpenSSH(t)
	t.Parallel()
	// Its own, for logins are counted.
	c := testbed.Clusters(t, testbed.Spec{Name: "aster", System: testbed.Slurm, Nodes: 2}).Clusters[0]
	b := newBenchIn(t, c.Net)
	before, err := c.Head.LoginCount(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, _ := b.run(launcher.Job{App: b.script("hostname; echo done >result-$ZORILLA_RANK\n"), Workers: 2, Outputs: []string{"result-*"}},
		fmt.Sprintf("[site.aster]\nurl = %q\nslots = 1\npilots = 2\n", strings.Replace(queueURL(c), "+ssh:", "+openssh:", 1)), nil)
	wantOK(t, r)
	for rank := range 2 {
		if host := strings.TrimSpace(b.stdout(r, rank)); host == c.Head.Name || !strings.HasPrefix(host, c.Spec.Name) {
			t.Errorf("worker %d ran on %q, no node of the queue", rank, host)
		}
	}
	if after, err := c.Head.LoginCount(t.Context()); err != nil || after-before != 1 {
		t.Errorf("the run made %d logins, want 1 (%v)", after-before, err)
	}
	c.NoLeftovers(t)
	nothingHere(t, r.Run)
}

// Hosts that only a head node reaches are logged in to by the system's ssh too.
func TestInnerHostsOverOpenSSH(t *testing.T) {
	f := testbed.SSH(t)
	needOpenSSH(t)
	b := newBench(t, f)
	r, _ := b.run(launcher.Job{App: b.script("hostname\n"), Workers: 2},
		fmt.Sprintf("[site.cluster]\nurl = %q\nhosts = [%q, %q]\nslots = 1\n", "open"+b.url(f.Bastion), f.Inner1.Addr, f.Inner2.Addr), nil)
	wantOK(t, r)
	hosts := b.stdout(r, 0) + b.stdout(r, 1)
	for _, h := range []*testbed.Host{f.Inner1, f.Inner2} {
		if !strings.Contains(hosts, h.Name+"\n") {
			t.Errorf("no worker ran on %s: %q", h.Name, hosts)
		}
	}
	f.NoLeftovers(t)
	nothingHere(t, r.Run)
}

func needOpenSSH(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("there is no ssh program")
	}
}
