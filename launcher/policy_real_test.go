package launcher_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/gat"
	"github.com/zorilla-grid/zorilla/launcher"
)

// written is a setup that puts a policy on a host.
func written(text string) string {
	return fmt.Sprintf("mkdir -p /etc/zorilla\ncat >/etc/zorilla/policy.toml <<'E'\n%s\nE\n", text)
}

// TestPolicies runs jobs on hosts whose administrators have put down what they
// allow.
func TestPolicies(t *testing.T) {
	t.Parallel()
	const closed = "deny = true\nmessage = \"maintenance until Monday\""
	hosts := []testbed.Oddity{
		{Name: "denies", Setup: written(closed)},
		{Name: "mute", Setup: "rm -f /usr/bin/awk /usr/bin/mawk /usr/bin/gawk\n" + written(closed)}, // only the agents see it
		{Name: "wrong", Setup: written("# ours\nmax_cpus = 4")},
		{Name: "secret", Setup: written(closed) + "chmod 600 /etc/zorilla/policy.toml"},
		{Name: "few", Setup: written("max_pilots = 1")},
		{Name: "small", Setup: written("max_cpu = \"100%\"\nmax_bandwidth = \"2MB/s\"\nmax_lifetime = \"1h\"")},
		{Name: "free"},
	}
	net := testbed.OddHosts(t, hosts...)
	for _, c := range []struct{ host, says string }{
		{"denies", "site bad: the administrator of denies denies: maintenance until Monday"},
		{"mute", "site bad: the administrator of mute denies: maintenance until Monday"},
		{"wrong", "site bad: the administrator of wrong denies: /etc/zorilla/policy.toml: line 2: unknown key \"max_cpus\"; known are deny,"},
		{"secret", "site bad: the administrator of secret denies: "},
	} {
		t.Run(c.host, func(t *testing.T) {
			t.Parallel()
			b := newBenchIn(t, net.Net)
			h := net.Host(c.host)
			r, events := b.run(launcher.Job{App: b.script("echo never\n"), Workers: 1}, fmt.Sprintf("[site.bad]\nurl = %q\nslots = 1\npilots = 2\n", b.url(h)), nil)
			wantError(t, r.Err, c.says)
			if gat.ClassOf(r.Err) != gat.Denied && c.host != "mute" {
				t.Errorf("the error is %v, want one of a denial", gat.ClassOf(r.Err))
			}
			if r.Outcome != launcher.OutcomeSites || r.Report.Wall > 20 {
				t.Errorf("outcome %q after %v s, want %q at once", r.Outcome, r.Report.Wall, launcher.OutcomeSites)
			}
			for _, e := range events {
				if w, ok := e.Data.(launcher.Warned); ok && strings.Contains(w.Text, "starting another") {
					t.Errorf("it was tried again: %s", w.Text)
				}
			}
			h.NoLeftovers(t)

			// Others do the job.
			r, _ = b.run(launcher.Job{App: b.script("uname -n\n"), Workers: 1}, fmt.Sprintf("[site.bad]\nurl = %q\n[site.good]\nurl = %q\nslots = 1\n", b.url(h), b.url(net.Host("free"))), nil)
			wantOK(t, r)
			if got := b.stdout(r, 0); got != "free\n" {
				t.Errorf("the worker ran on %q", got)
			}
			h.NoLeftovers(t)
		})
	}
	t.Run("few", func(t *testing.T) {
		t.Parallel()
		b := newBenchIn(t, net.Net)
		r, events := b.run(launcher.Job{App: b.script("uname -n\n"), Workers: 1}, fmt.Sprintf("[site.few]\nurl = %q\nslots = 1\npilots = 2\n", b.url(net.Host("few"))), nil)
		wantOK(t, r)
		up := 0
		for _, e := range events {
			if c, ok := e.Data.(launcher.SiteChanged); ok {
				up = max(up, c.Up)
			}
		}
		if up != 1 {
			t.Errorf("%d pilots were up, want 1", up)
		}
		net.Host("few").NoLeftovers(t)
	})
	t.Run("small", func(t *testing.T) {
		t.Parallel()
		b := newBenchIn(t, net.Net)
		began := time.Now()
		r, _ := b.run(launcher.Job{App: b.script("nproc\nwc -c <data\n"), Workers: 1, Inputs: []launcher.Input{{Src: b.file("data", 6e6)}}},
			fmt.Sprintf("[site.small]\nurl = %q\n", b.url(net.Host("small"))), nil)
		wantOK(t, r)
		if got := b.stdout(r, 0); got != "1\n6000000\n" {
			t.Errorf("the worker printed %q", got)
		}
		if took := time.Since(began); took < 2*time.Second {
			t.Errorf("6 MB at 2 MB/s took %v", took)
		}
		net.Host("small").NoLeftovers(t)
	})
}

// TestPolicyOfNodes has the nodes of a cluster deny what its head node allows: the site
// is given up at the first word of it.
func TestPolicyOfNodes(t *testing.T) {
	c, b := cluster(t, tulip())
	for _, h := range c.Nodes {
		if _, err := h.Exec(t.Context(), "mkdir", "-p", "/etc/zorilla"); err != nil {
			t.Fatal(err)
		}
		if err := h.WriteFile("/etc/zorilla/policy.toml", []byte("deny = true\nmessage = \"nodes are for MPI\"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		defer b.exec(h, "rm", "-r", "/etc/zorilla") // others use the cluster after us
	}
	r, _ := b.run(launcher.Job{App: b.script("echo never\n"), Workers: 1}, fmt.Sprintf("[site.tulip]\nurl = %q\nslots = 1\npilots = 2\n", queueURL(c)), nil)
	if r.Outcome != launcher.OutcomeSites {
		t.Errorf("outcome %q, want %q", r.Outcome, launcher.OutcomeSites)
	}
	wantError(t, r.Err, "site tulip: the administrator of tulip", " denies: nodes are for MPI")
	if r.Report.Wall > 90 { // the queue is asked again after a minute, and would be for each job
		t.Errorf("it took %v s to know", r.Report.Wall)
	}
	c.NoLeftovers(t)
}

// TestHubOnHead has a hub on a head node bring files to two hosts behind it and their
// output home, within what the site lets it take; control goes on beside that. With
// ZORILLA_LONG it is 1 GB.
func TestHubOnHead(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	size, most := int64(8e6), int64(4e6)
	if long() {
		size, most = 500e6, 25e6
	}
	began := time.Now()
	r, events := b.run(launcher.Job{App: b.script("wc -c <data\n"), Workers: 2, Inputs: []launcher.Input{{Src: b.file("data", size)}}},
		fmt.Sprintf("[site.das]\nurl = %q\nhosts = [\"inner1\", \"inner2\"]\nslots = 1\nlease = \"20s\"\nhub_cpu = \"50%%\"\nhub_bandwidth = \"%dkB/s\"\n", b.url(farm.Bastion), most/1000), nil)
	wantOK(t, r)
	for rank := range 2 {
		if got, want := b.stdout(r, rank), fmt.Sprintf("%d\n", size); got != want {
			t.Errorf("rank %d printed %q, want %q", rank, got, want)
		}
	}
	// Each host gets the files by the hub, and each of them once.
	rate := 2 * float64(size) / time.Since(began).Seconds()
	t.Logf("%.1f MB/s in all, %.1f are allowed", rate/1e6, float64(most)/1e6)
	if rate > 1.1*float64(most) {
		t.Errorf("%.0f bytes a second went over a hub that may pass on %d", rate, most)
	}
	for _, e := range events {
		if p, ok := e.Data.(launcher.PilotChanged); ok && p.Role == "pilot" && p.State == "gone" && p.Reason != "the run is over" && p.Reason != "there is no work" {
			t.Errorf("a pilot was lost beside the bulk: %s", p.Reason)
		}
	}
	farm.NoLeftovers(t)
}
