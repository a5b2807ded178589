package launcher_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/all"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// look checks sites from the bench.
func (b *bench) look(sites string, probe bool) map[string]launcher.SiteCheck {
	b.t.Helper()
	o := launcher.CheckOptions{Backends: all.Registry(), Dial: b.net.Dial, Home: b.home}
	if probe {
		o.Probe = func(ctx context.Context, site *launcher.Site) launcher.ProbeCheck {
			return launcher.ProbeSite(ctx, site, 2*time.Minute, b.options("[site.none]\nurl = \"local:\"\n"))
		}
	}
	found := make(map[string]launcher.SiteCheck)
	for _, c := range launcher.CheckSites(b.t.Context(), b.sites(sites), o) {
		found[c.Site] = c
	}
	return found
}

// Every kind of host is looked at, and nothing is left there.
func TestCheckSSH(t *testing.T) {
	testbed.Require(t)
	farm := testbed.Shared(t)
	b := newBench(t, farm)
	found := b.look(b.everySite()+fmt.Sprintf("[site.gone]\nurl = \"ssh://nobody@%s\"\n", farm.Plain.Addr), false)
	for _, name := range []string{"here", "plain", "cluster", "closed"} {
		if c := found[name]; !c.Usable || c.Platform == "" || c.Free == 0 {
			t.Errorf("site %s: %+v", name, c)
		}
	}
	if c := found["cluster"]; len(c.Behind) != 2 || c.Behind[0].Error != "" || c.Behind[1].Scratch == "" {
		t.Errorf("hosts behind: %+v", c.Behind)
	}
	if c := found["closed"]; len(c.Behind) != 1 || c.Behind[0].Error != "" || !strings.Contains(strings.Join(c.Notes, "\n"), "does not forward") {
		t.Errorf("a server that does not forward: %+v", c)
	}
	for name, want := range map[string][4]string{
		"plain":  {"key ", "yes", "none", "tmpfs"}, // the farm leads nowhere
		"closed": {"key ", "no", "none", "tmpfs"},
		"here":   {"", "", found["here"].Outbound, found["here"].Kind},
	} {
		c := found[name]
		if !strings.Contains(c.By, want[0]) || c.Forwarding != want[1] || c.Outbound != want[2] || c.Kind != want[3] || c.ClockOffset > 5 || c.ClockOffset < -5 {
			t.Errorf("site %s: by %q, forwarding %q, outbound %q, file system %q, clock off by %v s; want %q", name, c.By, c.Forwarding, c.Outbound, c.Kind, c.ClockOffset, want)
		}
	}
	if c := found["gone"]; c.Usable || !strings.Contains(strings.Join(c.Wrong, "\n"), "log in") {
		t.Errorf("somebody unknown: %+v", c)
	}
	farm.NoLeftovers(t)
}

// Real queueing systems tell of their queues, and a probe of one of their nodes.
func TestCheckClusters(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		spec      testbed.Spec
		scheduler string
	}{
		{tulip(), "Slurm"},
		{poppy(), "Grid Engine"},
	} {
		t.Run(tt.scheduler, func(t *testing.T) {
			c, b := cluster(t, tt.spec)
			found := b.look(fmt.Sprintf(`
[site.good]
url = %[1]q
shared = "/shared"
cores = 1
[site.long]
url = %[1]q
walltime = "300d"
[site.typo]
url = %[1]q
queue = "nosuch"
[site.lost]
url = %[1]q
shared = "/nosuch"
`, queueURL(c)), true)
			good := found["good"]
			if !good.Usable || good.Queue == nil || good.Queue.Scheduler != tt.scheduler || good.Queue.Version == "" || len(good.Queue.Queues) == 0 || good.Queue.Shared != "/shared" {
				t.Fatalf("the cluster: %+v, %+v, %+v", good, good.Queue, good.Probe)
			}
			if p := good.Probe; p == nil || !strings.HasPrefix(p.Host, tt.spec.Name) || p.Host == c.Head.Name || p.Slots != 1 || p.Free == 0 || p.Link == "" || !p.Hub {
				t.Errorf("the probe saw %+v", p)
			}
			for name, want := range map[string]string{"typo": `there is no queue "nosuch"`, "lost": "/nosuch: no such directory"} {
				if c := found[name]; c.Usable || !strings.Contains(strings.Join(c.Wrong, "\n"), want) {
					t.Errorf("site %s: usable %v, wrong %q; want %q", name, c.Usable, c.Wrong, want)
				}
			}
			for _, q := range good.Queue.Queues {
				if q.Default && q.Walltime > 0 && found["long"].Usable {
					t.Errorf("a wall time of 300 days is accepted where %s ends jobs after %v s", q.Name, q.Walltime)
				}
			}
			c.NoLeftovers(t)
		})
	}
}

// What administrators write is told, and keeps a site from being usable when it denies;
// a server that allows one session at a time is looked at as well as others.
func TestCheckPolicies(t *testing.T) {
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	for h, text := range map[*testbed.Host]string{
		farm.Plain:     "max_cpu = \"150%\"\n",
		farm.Bastion:   "deny = true\nmessage = \"use the nodes of cluster2\"\n",
		farm.NoForward: "max_cpu = many\n",
	} {
		b.exec(h, "mkdir", "-p", "/etc/zorilla")
		if err := h.WriteFile("/etc/zorilla/policy.toml", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.exec(farm.Plain, "sed", "-i", "1i MaxSessions 1", "/etc/ssh/sshd_config")
	if err := farm.Plain.RestartSSHD(); err != nil {
		t.Fatal(err)
	}
	found := b.look(fmt.Sprintf("[site.some]\nurl = %q\n[site.none]\nurl = %q\n[site.odd]\nurl = %q\n", b.url(farm.Plain), b.url(farm.Bastion), b.url(farm.NoForward)), false)
	if c := found["some"]; !c.Usable || !strings.Contains(c.Policy, "150%") || c.Forwarding != "yes" || c.Free == 0 {
		t.Errorf("one session, a core and a half: %+v", c)
	}
	if n := b.logins(farm.Plain); n != 1 {
		t.Errorf("%d logins for a look, want 1", n)
	}
	for name, want := range map[string]string{"none": "use the nodes of cluster2", "odd": "policy.toml"} {
		if c := found[name]; c.Usable || c.Policy != "denied" || !strings.Contains(strings.Join(c.Wrong, "\n"), want) {
			t.Errorf("site %s: %+v", name, c)
		}
	}
}
