package launcher_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// cluster is a sites file's table of a site of a WAN with so many inner hosts.
func (b *bench) cluster(s *testbed.Site, more string) string {
	return fmt.Sprintf("[site.%s]\nurl = %q\nhosts = [\"%s[1-%d]\"]\nslots = 1\n%s", s.Name, b.url(s.Head), s.Name, len(s.Inner), more)
}

// TestWANTwoClusters runs a job on two clusters far apart, whose inner hosts
// reach nothing but their own head: files get there, outputs come home.
func TestWANTwoClusters(t *testing.T) {
	w := testbed.WideArea(t, testbed.Place{Name: "east", Inner: 2}, testbed.Place{Name: "west", Inner: 2})
	east, west := w.Sites[0], w.Sites[1]
	w.SetRTT(w.Home, east, 20*time.Millisecond)
	w.SetRTT(w.Home, west, 60*time.Millisecond)
	w.SetRTT(east, west, 50*time.Millisecond)
	b := newBenchIn(t, w.Net)

	data := make([]byte, 3<<20)
	rand.Read(data)
	input := filepath.Join(b.dir, "data")
	if err := os.WriteFile(input, data, 0o600); err != nil {
		t.Fatal(err)
	}
	job := launcher.Job{
		App:     b.script("uname -n\nsha256sum <data\ncat data data >result-$ZORILLA_RANK\n"),
		Workers: 4,
		Inputs:  []launcher.Input{{Src: input}},
		Outputs: []string{"result-*"},
	}
	r, _ := b.run(job, b.cluster(east, "")+b.cluster(west, ""), nil)
	wantOK(t, r)
	hosts := make(map[string]bool)
	for rank := range 4 {
		lines := strings.Fields(b.stdout(r, rank))
		if len(lines) != 3 || lines[1] != fmt.Sprintf("%x", sha256.Sum256(data)) {
			t.Errorf("worker %d printed %q", rank, lines)
			continue
		}
		hosts[lines[0]] = true
		got, err := os.ReadFile(filepath.Join(r.Out, launcher.WorkerName(rank), fmt.Sprintf("result-%d", rank)))
		if err != nil || !bytes.Equal(got, append(data[:len(data):len(data)], data...)) {
			t.Errorf("worker %d left %d bytes that are not its input twice, %v", rank, len(got), err)
		}
	}
	if len(hosts) != 4 {
		t.Errorf("workers ran on %v, want the four inner hosts", hosts)
	}
	b.clean(r.Run)
}

// TestWANSiteAway cuts a site off for a moment, and then its lines are slow and
// drop packets: the run bears it.
func TestWANSiteAway(t *testing.T) {
	w := testbed.WideArea(t, testbed.Place{Name: "east"}, testbed.Place{Name: "west", Inner: 1})
	east, west := w.Sites[0], w.Sites[1]
	w.SetRTT(w.Home, west, 80*time.Millisecond)
	b := newBenchIn(t, w.Net)
	x := b.start(launcher.Job{App: b.script(counting), Workers: 2},
		fmt.Sprintf("[site.east]\nurl = %q\nslots = 1\n", b.url(east.Head))+b.cluster(west, ""), nil)
	x.running(2)
	before := b.logins(west.Head)
	west.Cut()
	<-time.After(3 * time.Second)
	bad := testbed.Line{Jitter: 5 * time.Millisecond, Rate: 10e6, Loss: 0.02}
	west.SetLines(bad, bad)
	west.Restore()
	x.beyond(2, time.Now(), 30*time.Second)
	b.openGates()
	r := x.end(30 * time.Second)
	wantOK(t, r)
	b.wantCounted(r, 2)
	if n := x.again(); n != 0 {
		t.Errorf("%d attempts beyond the first, want none", n)
	}
	if n := b.logins(west.Head); n != before {
		t.Errorf("%d logins, want the %d there were", n, before)
	}
	b.clean(x.name)
}
