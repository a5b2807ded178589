package launcher_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// queueURL is how to log in to a cluster's queue.
func queueURL(c *testbed.Cluster) string {
	return fmt.Sprintf("%s+ssh://%s@%s", c.Spec.System, c.Head.User, c.Head.Addr)
}

// TestOneJobEverywhere runs one job over this machine, a host, a Grid Engine
// cluster and a Slurm cluster that is full when the job begins. Its workers need
// each other: nothing is done before the last pilot is out of its queue.
func TestOneJobEverywhere(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	g := testbed.Clusters(t,
		testbed.Spec{Name: "tulip", System: testbed.Slurm, Nodes: 2},
		testbed.Spec{Name: "poppy", System: testbed.SGE, Nodes: 2})
	tulip, poppy := g.Clusters[0], g.Clusters[1]
	free := tulip.Fill(t, 5*time.Minute)
	b := newBenchIn(t, g.Net)
	x := b.start(launcher.Job{
		App:     b.script("hostname; echo $ZORILLA_SITE >site-$ZORILLA_RANK\n"),
		Workers: 6,
		Outputs: []string{"site-*"},
	}, fmt.Sprintf(`
[defaults]
slots = 1
[site.here]
url = "local:"
[site.plain]
url = %q
[site.poppy]
url = %q
pilots = 2
[site.tulip]
url = %q
pilots = 2
`, b.url(g.Plain), queueURL(poppy), queueURL(tulip)), nil)
	x.await("pilots are up everywhere else", time.Minute, func(e launcher.Event) bool {
		s, ok := e.Data.(launcher.SiteChanged)
		return ok && s.Site == "poppy" && s.Up == 2
	})
	x.await("pilots wait in the full cluster", time.Minute, func(e launcher.Event) bool {
		s, ok := e.Data.(launcher.SiteChanged)
		return ok && s.Site == "tulip" && s.Submitted == 2
	})
	waiting, err := tulip.Jobs(t.Context())
	if err != nil || !strings.Contains(strings.Join(waiting, "\n"), "of alice: PENDING") {
		t.Errorf("in the full cluster's queue: %q, %v", waiting, err)
	}
	free()
	r := x.end(2 * time.Minute)
	wantOK(t, r)
	var hosts []string
	for rank := range 6 {
		hosts = append(hosts, strings.TrimSpace(b.stdout(r, rank)))
	}
	for _, c := range g.Clusters {
		if !slices.ContainsFunc(hosts, func(h string) bool { return strings.HasPrefix(h, c.Spec.Name) && h != c.Spec.Name }) {
			t.Errorf("no worker ran on a node of %s: %q", c.Spec.Name, hosts)
		}
	}
	if !slices.Contains(hosts, g.Plain.Name) {
		t.Errorf("no worker ran on %s: %q", g.Plain.Name, hosts)
	}
	for _, c := range g.Clusters {
		c.NoLeftovers(t)
	}
	g.Plain.NoLeftovers(t)
	nothingHere(t, r.Run)
}

// TestOneJobOfManyNodes has the pilots of a site in one job of the scheduler's, on a
// node each.
func TestOneJobOfManyNodes(t *testing.T) {
	t.Parallel()
	for _, spec := range []testbed.Spec{tulip(), poppy()} {
		t.Run(string(spec.System), func(t *testing.T) {
			c, b := cluster(t, spec)
			r, _ := b.run(launcher.Job{App: b.script("hostname\n"), Workers: 3},
				fmt.Sprintf("[site.%s]\nurl = %q\nslots = 1\npilots = 3\nshape = \"multi\"\n", spec.Name, queueURL(c)), nil)
			wantOK(t, r)
			hosts := make(map[string]bool)
			for rank := range 3 {
				hosts[strings.TrimSpace(b.stdout(r, rank))] = true
			}
			for _, h := range c.Nodes {
				if !hosts[h.Name] {
					t.Errorf("no worker ran on %s: %v", h.Name, hosts)
				}
			}
			c.NoLeftovers(t)
		})
	}
}
