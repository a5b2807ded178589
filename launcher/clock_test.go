//go:build unix

package launcher_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
	"github.com/zorilla-grid/zorilla/launcher/bundle"
)

// skewFile says, on a host, by how many seconds its clock is wrong, to those who look.
// Linux has one clock for the time of day, whatever the namespace: hosts of a testbed
// cannot have clocks of their own.
const skewFile = "/run/clock-skew"

// skewSource is a file of Go's package time that reads skewFile.
const skewSource = `package time

import "syscall"

var skew = readSkew()

func readSkew() (sec int64) {
	fd, err := syscall.Open("` + skewFile + `", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer syscall.Close(fd)
	var b [32]byte
	n, _ := syscall.Read(fd, b[:])
	sign := int64(1)
	for _, c := range b[:max(n, 0)] {
		switch {
		case c == '-':
			sign = -1
		case '0' <= c && c <= '9':
			sec = sec*10 + int64(c-'0')
		}
	}
	return sign * sec
}
`

// skewedPilot builds a pilot whose time.Now is wrong by what its host says.
func skewedPilot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	library, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(strings.TrimSpace(string(library)), "src", "time")
	source, err := os.ReadFile(filepath.Join(original, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const read = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(source), read) != 1 {
		t.Fatalf("time.Now of %s does not read the clock as it did", runtime.Version())
	}
	replace := make(map[string]string)
	for name, text := range map[string]string{
		"time.go": strings.Replace(string(source), read, read+"\tsec += skew\n", 1),
		"skew.go": skewSource,
	} {
		replace[filepath.Join(original, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	pilot := filepath.Join(dir, bundle.LocalName)
	args := slices.Concat([]string{"build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", pilot},
		bundle.Flags(), []string{"../cmd/zorilla-pilot"})
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build a pilot: %v\n%s", err, out)
	}
	return pilot
}

// TestWrongClocks runs a job on hosts whose clocks are wrong by minutes and by more than
// certificates hold: a head and its hub, nodes behind it and a host by itself, ahead and
// behind. All join, serve each other the input, outlive their leases and bring their
// output home.
func TestWrongClocks(t *testing.T) {
	c, b := cluster(t, tulip())
	const lease = 15 * time.Second
	plain := c.Grid().Plain
	pilot := skewedPilot(t)
	wrong := map[*testbed.Host]time.Duration{
		c.Head:     10 * time.Minute,
		c.Nodes[0]: -10 * time.Minute,
		c.Nodes[1]: 5 * 24 * time.Hour,
		c.Nodes[2]: -5 * 24 * time.Hour,
		plain:      -10 * time.Minute,
	}
	for h, by := range wrong {
		if err := h.WriteFile(skewFile, fmt.Appendf(nil, "%d\n", int(by/time.Second)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	x := b.start(launcher.Job{
		App:     b.script(waiting + "cksum <data.bin >sum\n"),
		Workers: 4,
		Inputs:  []launcher.Input{{Src: b.file("data.bin", 8<<20)}},
		Outputs: []string{"sum"},
	}, fmt.Sprintf("[defaults]\nslots = 1\n[site.%s]\nurl = %q\npilots = 3\nexclusive = true\n[site.plain]\nurl = %q\n",
		c.Spec.Name, queueURL(c), b.url(plain)), func(o *launcher.Options) { o.Pilot, o.Lease = pilot, lease })
	x.running(4)
	up := time.Now()
	for h, by := range wrong {
		first := b.exec(h, "sh", "-c", "grep -h 'agent starts' /tmp/zorilla-*/s-"+x.name+"/log-* | tail -n 1")
		stamp, _, _ := strings.Cut(strings.TrimPrefix(first, "time="), " ")
		at, err := time.Parse(time.RFC3339, stamp)
		if off := time.Until(at); err != nil || (off-by).Abs() > time.Minute {
			t.Errorf("%s: the log begins with %q: its clock is wrong by %v, want %v", h.Name, first, off, by)
		}
	}
	<-time.After(lease*3/2 - time.Since(up))
	b.openGates()
	r := x.end(time.Minute)
	b.closeGates()
	b.wantFinished(r, 4)
	want, err := exec.Command("sh", "-c", `cksum <"$0"`, filepath.Join(b.dir, "data.bin")).Output()
	if err != nil {
		t.Fatal(err)
	}
	hosts := make(map[string]bool)
	for rank := range 4 {
		got, err := os.ReadFile(filepath.Join(r.Out, fmt.Sprintf("worker-%d", rank), "sum"))
		if err != nil || string(got) != string(want) {
			t.Errorf("rank %d has a sum %q, want %q: %v", rank, got, want, err)
		}
		_, host, _ := strings.Cut(b.stdout(r, rank), " on ")
		hosts[strings.Fields(host)[0]] = true
	}
	if len(hosts) != 4 {
		t.Errorf("the workers ran on %v, want 4 hosts", hosts)
	}
	for h := range wrong {
		b.exec(h, "rm", skewFile)
	}
	c.NoLeftovers(t)
	plain.NoLeftovers(t)
	nothingHere(t, r.Run)
}
