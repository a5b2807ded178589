package launcher_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/all"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// died leaves the ledger of a launcher that died while it made something at a site.
func (b *bench) died(run, url, scratch, host string, also ...launcher.Kind) {
	b.t.Helper()
	state, err := launcher.OpenState(filepath.Join(b.dir, "state"))
	if err != nil {
		b.t.Fatal(err)
	}
	d, err := state.Create(launcher.Begun{Run: run, PID: 1})
	if err != nil {
		b.t.Fatal(err)
	}
	defer d.Close()
	what := launcher.What{URLs: []string{url}, Path: scratch}
	made := []launcher.Made{{Site: "bad", Kind: launcher.KindLogin, What: what}, {Site: "bad", Host: host, Kind: launcher.KindDir, What: launcher.What{Path: scratch}}}
	for _, kind := range also {
		made = append(made, launcher.Made{Site: "bad", Host: host, Kind: kind, What: launcher.What{Path: scratch}})
	}
	for _, m := range made {
		if _, err := d.Ledger.Make(m); err != nil {
			b.t.Fatal(err)
		}
	}
}

// TestEndsWhileComingUp ends runs while another site is still coming up: what it has
// got by then goes too.
func TestEndsWhileComingUp(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	for _, state := range []string{"connecting", "probing", "uploading", "starting"} {
		for _, site := range []string{"", "keep = true\n", "hosts = [\"inner1\"]\n"} {
			b := newBench(t, farm)
			app, see := b.patient("slow", state)
			r, _ := b.run(launcher.Job{App: app, Workers: 1}, here+fmt.Sprintf("[site.slow]\nurl = %q\n", b.url(farm.Bastion))+site,
				func(o *launcher.Options) { also(o, see) })
			wantOK(t, r)
			b.nothingHere(r.Run)
			if r.Report.Wall > 10 {
				t.Errorf("%q at the state %s: the run took %.1f s", site, state, r.Report.Wall)
			}
			onHost(t, farm.Bastion, "rm -f /tmp/zorilla-*/pilot-* && rmdir /tmp/zorilla-* 2>/dev/null; true")
		}
		farm.NoLeftovers(t)
	}
}

// TestGCOfTheUnknown cleans up after launchers that died before they wrote down
// where their things are.
func TestGCOfTheUnknown(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	const run = "abcd2345"
	// session makes a session's directory below "$1" with a file that was
	// being uploaded, and an agent in it.
	const session = `umask 077; cd "$1" && mkdir -p zorilla-$(id -u)/s-` + run + ` && cd zorilla-$(id -u)/s-` + run + ` && echo half >.new.1 || exit 1
sleep 1000 </dev/null >/dev/null 2>&1 &
read -r stat </proc/$!/stat; set -- ${stat##*) }; echo ${20} >agent-$!`
	for name, c := range map[string]struct {
		host    *testbed.Host
		inner   string
		scratch string // as the sites file says
		in      string // where the session is; empty means that nothing was made
	}{
		"nothing was made":     {farm.Plain, "", "", ""},
		"in the first place":   {farm.Plain, "", "", "/tmp"},
		"not in the first":     {farm.Plain, "", "", "/var/tmp"},
		"at home":              {farm.Plain, "", "", "/home/alice"},
		"in scratch of a name": {farm.Plain, "", `/home/alice/my 'own' $x`, `/home/alice/my 'own' $x`},
		"behind a bastion":     {farm.Inner1, farm.Inner1.Addr, "", "/dev/shm"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, farm)
			url := b.url(farm.Plain)
			if c.inner != "" {
				url = b.url(farm.Bastion)
			}
			if c.scratch != "" {
				onHostAs(t, c.host, "alice", `mkdir "$1"`, c.scratch)
			}
			if c.in != "" {
				onHostAs(t, c.host, "alice", session, c.in)
				if left, err := c.host.Leftovers(t.Context()); err != nil || len(left) == 0 {
					t.Fatalf("the session cannot be seen: %v", err)
				}
			}
			b.died(run, url, c.scratch, c.inner, launcher.KindHub)
			report, err := launcher.GC(t.Context(), launcher.GCOptions{State: filepath.Join(b.dir, "state"), Backends: all.Registry(), Dial: farm.Dial, Home: b.home})
			if err != nil || len(report.Runs) != 1 || len(report.Runs[0].Left) > 0 || len(report.Runs[0].Removed) != 2 {
				t.Errorf("gc gives %+v, %v; want two things removed and none left", report, err)
			}
			if c.scratch != "" {
				onHostAs(t, c.host, "alice", `rmdir "$1"`, c.scratch)
			}
			farm.NoLeftovers(t)
		})
	}
}
