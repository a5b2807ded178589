package launcher_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
)

// orphan runs a launcher until all workers have printed something and kills it. It
// returns the session's name and the time of the kill.
func (b *bench) orphan(c child) (session string, at time.Time) {
	b.t.Helper()
	x := b.startChild(c)
	if err := x.cmd.Process.Kill(); err != nil {
		b.t.Fatal(err)
	}
	at = time.Now()
	if err := x.wait(10 * time.Second); err == nil {
		b.t.Fatal("the launcher ended well though it was killed")
	}
	return x.session, at
}

// here and three kinds of hosts.
func (b *bench) orphanSites() string {
	return fmt.Sprintf("[defaults]\nslots = 1\n[site.here]\nurl = \"local:\"\n[site.plain]\nurl = %q\n[site.cluster]\nurl = %q\nhosts = [\"inner1\"]\n[site.closed]\nurl = %q\nhosts = [\"inner3\"]\n",
		b.url(b.farm.Plain), b.url(b.farm.Bastion), b.url(b.farm.NoForward))
}

// talking is a worker that never ends.
const talking = "while :; do echo here; sleep 0.2; done\n"

func TestLauncherKilled(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	const lease = 6 * time.Second
	session, at := b.orphan(child{App: b.script(talking), Workers: 4, Sites: b.orphanSites(), Lease: lease})
	eventually(t, "the pilots on this machine are gone", 5*time.Second, func() bool { return len(processesHere(session)) == 0 })
	t.Logf("nothing runs here any more %v after the launcher's end", time.Since(at))
	for _, h := range farm.Hosts() {
		b.leftAlone(h, 3*lease)
	}
	t.Logf("all hosts are clean %v after the launcher's end", time.Since(at))
	b.gcFinishes(session)
	b.clean(session)
}

func TestLauncherKilledThenGC(t *testing.T) {
	testbed.Require(t)
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	session, _ := b.orphan(child{App: b.script(talking), Workers: 4, Sites: b.orphanSites(), Lease: 10 * time.Minute})
	if err := farm.Plain.Cut(); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	b.gcFinds(session, "plain")
	t.Logf("gc took %v with one host cut off", time.Since(at))
	for _, h := range farm.Hosts() {
		if h != farm.Plain {
			h.NoLeftovers(t)
		}
	}
	nothingHere(t, session)
	b.restore(farm.Plain)
	b.gcFinishes(session)
	b.clean(session)
}
