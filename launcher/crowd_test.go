package launcher_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/all"
	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
	"github.com/zorilla-grid/zorilla/launcher/bundle"
)

// defaultStartups gives a host's sshd the bound on connections that have not said who
// they are that OpenSSH has where nobody changed it: from ten on, it refuses some.
func defaultStartups(t *testing.T, h *testbed.Host) {
	t.Helper()
	if _, err := h.Exec(t.Context(), "sed", "-i", "s/^MaxStartups .*/MaxStartups 10:30:100/", "/etc/ssh/sshd_config"); err != nil {
		t.Fatal(err)
	}
	if err := h.RestartSSHD(); err != nil {
		t.Fatal(err)
	}
}

// wantNoneRefused checks that a host's sshd let in as many as that, and dropped nobody.
func wantNoneRefused(t *testing.T, h *testbed.Host, logins int) {
	t.Helper()
	if n, err := h.LoginCount(t.Context()); err != nil || n != logins {
		t.Errorf("%d logins on %s, %v; want %d", n, h.Name, err, logins)
	}
	log, err := h.Exec(t.Context(), "cat", "/var/log/sshd.log")
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "MaxStartups") || strings.Contains(line, "drop connection") {
			t.Errorf("sshd on %s: %s", h.Name, strings.TrimSpace(line))
		}
	}
}

// placePilots puts a pilot binary on each host as an earlier run leaves it that keeps
// it: bringing it to fifty hosts of this machine is no small matter. Remove takes them away.
func placePilots(t *testing.T, hosts []*testbed.Host) (remove func()) {
	t.Helper()
	finder := bundle.New(bundle.Options{})
	t.Cleanup(func() { finder.Close() })
	binary, err := finder.Find(t.Context(), "linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(binary.Path)
	if err != nil {
		t.Fatal(err)
	}
	shell := func(h *testbed.Host, text string) string {
		out, err := h.ExecAs(t.Context(), h.User, "sh", "-c", text)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	for _, h := range hosts {
		dir := shell(h, `d=/tmp/zorilla-$(id -u); mkdir -m 700 "$d" && echo "$d"`)
		if err := h.WriteFile(dir+"/incoming", data, 0o755); err != nil {
			t.Fatal(err)
		}
		shell(h, fmt.Sprintf("cd %s && cp incoming pilot-%s && chmod 700 pilot-* && rm -f incoming", dir, binary.Digest))
	}
	return func() {
		for _, h := range hosts {
			shell(h, "rm -f /tmp/zorilla-$(id -u)/pilot-*; rmdir /tmp/zorilla-$(id -u)")
		}
	}
}

// receiptOf reads what a run left in its output directory.
func receiptOf(t *testing.T, r launcher.Result) launcher.Receipt {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.Out, "receipt.json"))
	if err != nil {
		t.Fatal(err)
	}
	var receipt launcher.Receipt
	if err := json.Unmarshal(data, &receipt); err != nil {
		t.Fatal(err)
	}
	return receipt
}

// loginsAtOnce returns how many logins a run made, and how many at most at a time.
func loginsAtOnce(r launcher.Receipt) (all, most int) {
	type change struct {
		at time.Time
		by int
	}
	var changes []change
	for _, s := range r.Sites {
		for _, op := range s.Operations {
			if op.Op == "log in" {
				all += op.Count
				changes = append(changes, change{op.First, 1}, change{op.Last.Add(time.Duration(op.Took * float64(time.Second))), -1})
			}
		}
	}
	slices.SortFunc(changes, func(a, b change) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return a.by - b.by
	})
	now := 0
	for _, c := range changes {
		now += c.by
		most = max(most, now)
	}
	return all, most
}

// Fifty sites are logged in to at one server, which would refuse more than ten
// connections at a time: none is, and each site takes one login.
func TestFiftySitesOfOneServer(t *testing.T) {
	farm := testbed.SSH(t)
	defaultStartups(t, farm.Plain)
	b := newBench(t, farm)
	const n = 50
	var sites strings.Builder
	for i := range n {
		fmt.Fprintf(&sites, "[site.s%d]\nurl = %q\nslots = 1\nhub = \"none\"\nkeep = true\n", i, b.url(farm.Plain))
	}
	checked := 0
	for _, c := range launcher.CheckSites(t.Context(), b.sites(sites.String()), launcher.CheckOptions{Backends: all.Registry(), Dial: b.net.Dial, Home: b.home}) {
		if c.Usable {
			checked++
		} else {
			t.Errorf("site %s: %q", c.Site, c.Wrong)
		}
	}
	wantNoneRefused(t, farm.Plain, checked)
	r, _ := b.run(launcher.Job{App: b.script("echo here\n"), Workers: n, Min: n}, sites.String(), nil)
	wantOK(t, r)
	wantNoneRefused(t, farm.Plain, checked+n)
	receipt := receiptOf(t, r)
	if logins, most := loginsAtOnce(receipt); logins != n || most > 10 {
		t.Errorf("%d logins, at most %d at a time; want %d and 10", logins, most, n)
	} else {
		t.Logf("%d logins, at most %d at a time", logins, most)
	}
	if receipt.Total.Logins != n || receipt.Total.Refused != 0 || len(receipt.Unread) > 0 {
		t.Errorf("in all: %+v; unread: %q", receipt.Total, receipt.Unread)
	}
	for _, s := range receipt.Sites {
		if s.Check != "clean" {
			t.Errorf("site %s: %s", s.Site, s.Check)
		}
	}
}

// Fifty hosts behind one head, which is logged in to once, as is each of them.
func TestFiftyHostsBehindOne(t *testing.T) {
	const n = 50
	w := testbed.WideArea(t, testbed.Place{Name: "big", Inner: n})
	big := w.Sites[0]
	w.SetRTT(w.Home, big, 20*time.Millisecond)
	for _, h := range append(slices.Clone(big.Inner), big.Head) {
		defaultStartups(t, h)
	}
	b := newBenchIn(t, w.Net)
	remove := placePilots(t, append(slices.Clone(big.Inner), big.Head))
	r, _ := b.run(launcher.Job{App: b.script("uname -n\n"), Workers: n, Min: n}, b.cluster(big, ""), nil)
	if wantOK(t, r); t.Failed() {
		t.FailNow() // the hosts go with the test
	}
	for _, h := range append(slices.Clone(big.Inner), big.Head) {
		wantNoneRefused(t, h, 1)
	}
	hosts := make(map[string]bool)
	for rank := range n {
		hosts[strings.TrimSpace(b.stdout(r, rank))] = true
	}
	if len(hosts) != n {
		t.Errorf("workers ran on %d hosts, want %d", len(hosts), n)
	}
	receipt := receiptOf(t, r)
	logins, most := loginsAtOnce(receipt)
	if logins != n+1 || most > 10 {
		t.Errorf("%d logins, at most %d at a time; want %d and 10", logins, most, n+1)
	}
	t.Logf("%d logins, at most %d at a time", logins, most)
	ports := 0
	for _, op := range receipt.Sites[0].Operations {
		if op.Op == "listen" {
			ports += op.Count
		}
	}
	if ports == 0 {
		t.Error("the receipt knows of no port of the hub")
	}
	remove()
	b.clean(r.Run)
}

// BenchmarkCheckSites looks at twenty hosts that are 50 ms away, beside the system's own
// ssh that runs true on one of them, and at one of them at another distance: the
// difference tells how many round trips a look takes.
func BenchmarkCheckSites(b *testing.B) {
	const n, rtt = 20, 50 * time.Millisecond
	var places []testbed.Place
	for i := range n {
		places = append(places, testbed.Place{Name: "site" + string(rune('a'+i)), Inbound: testbed.Anything})
	}
	w := testbed.WideArea(b, places...)
	x := newBenchIn(b, w.Net)
	var sites strings.Builder
	for _, s := range w.Sites {
		w.SetRTT(w.Home, s, rtt)
		fmt.Fprintf(&sites, "[site.%s]\nurl = %q\n", s.Name, x.url(s.Head))
	}
	list := x.sites(sites.String())
	look := func(sites []*launcher.Site) time.Duration {
		began := time.Now()
		for _, c := range launcher.CheckSites(b.Context(), sites, launcher.CheckOptions{Backends: all.Registry(), Dial: x.net.Dial, Home: x.home}) {
			if !c.Usable || c.Platform == "" || c.Forwarding == "" {
				b.Fatalf("%+v", c)
			}
		}
		return time.Since(began)
	}
	ssh := func() time.Duration {
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if out, err := w.Command(ctx, "ssh", "-F", w.SSHConfig, w.Sites[0].Head.Name, "true").CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		return time.Since(began)
	}
	for b.Loop() {
		all, one, yard := time.Hour, time.Hour, time.Hour
		for range 5 {
			all, one, yard = min(all, look(list)), min(one, look(list[:1])), min(yard, ssh())
		}
		w.SetRTT(w.Home, w.Sites[0], rtt+200*time.Millisecond)
		far, farYard := time.Hour, time.Hour
		for range 3 {
			far, farYard = min(far, look(list[:1])), min(farYard, ssh())
		}
		w.SetRTT(w.Home, w.Sites[0], rtt)
		b.ReportMetric(all.Seconds(), "s/20-sites")
		b.ReportMetric(one.Seconds(), "s/1-site")
		b.ReportMetric(yard.Seconds(), "s/ssh-true")
		b.ReportMetric(all.Seconds()/yard.Seconds(), "x-ssh-true")
		b.ReportMetric((far-one).Seconds()/0.2, "round-trips")
		b.ReportMetric((farYard-yard).Seconds()/0.2, "round-trips-ssh")
		b.ReportMetric(0, "ns/op")
	}
}
