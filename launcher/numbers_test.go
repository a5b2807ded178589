package launcher_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher/bundle"
	"github.com/zorilla-grid/zorilla/pilot/worker"
)

// BenchmarkNumbers prints the figures that the programs are held to, each
// beside its yardstick, which takes turns with it in the same run.
func BenchmarkNumbers(b *testing.B) {
	testbed.Require(b)
	p := buildPrograms(b)
	b.Setenv("ZORILLA_PILOT", p.pilot)
	b.Run("local-first-output", p.localFirstOutput)
	b.Run("ssh-first-output-kept", p.sshKept)
	b.Run("ssh-first-output-cold", p.sshCold)
	b.Run("worker-launches", p.launches)
	b.Run("local-output", BenchmarkLocalOutput)
	b.Run("ssh-output", BenchmarkSSHOutput)
	b.Run("pilot-size", p.size)
	b.Run("pilot-idle", p.idle)
	b.Run("memory-while-printing-5GB", p.flat)
}

// programs are the two programs as a release would build them.
type programs struct {
	dir, zorilla, pilot string
}

func buildPrograms(b *testing.B) *programs {
	b.Helper()
	dir := b.TempDir()
	p := &programs{dir: dir, zorilla: filepath.Join(dir, "zorilla"), pilot: filepath.Join(dir, "zorilla-pilot")}
	for path, pkg := range map[string]string{p.zorilla: "zorilla", p.pilot: "zorilla-pilot"} {
		flags := []string{"-trimpath", "-ldflags=-s -w"}
		if path == p.pilot {
			flags = bundle.Flags()
		}
		cmd := exec.Command("go", slices.Concat([]string{"build"}, flags, []string{"-o", path, "github.com/zorilla-grid/zorilla/cmd/" + pkg})...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	return p
}

// zorillaRun is a command that runs a job as a user would, from the client of a farm
// if there is one.
func (p *programs) run(b *testing.B, h *bench, args ...string) *exec.Cmd {
	b.Helper()
	args = append([]string{p.zorilla, "run", "--quiet", "--out", filepath.Join(b.TempDir(), "out")}, args...)
	cmd := exec.CommandContext(b.Context(), args[0], args[1:]...)
	if h.farm != nil {
		cmd = h.farm.Command(b.Context(), args...)
	}
	cmd.Env = append(os.Environ(), "HOME="+h.home, "XDG_STATE_HOME="+filepath.Join(h.dir, "xdg"), "ZORILLA_PILOT="+p.pilot, "SSH_AUTH_SOCK=")
	cmd.Dir = h.dir
	return cmd
}

// firstByte starts a command and returns the time to its first byte of output, once
// it has ended.
func firstByte(b *testing.B, cmd *exec.Cmd) time.Duration {
	b.Helper()
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	_, err = out.Read(make([]byte, 1))
	took := time.Since(start)
	io.Copy(io.Discard, out)
	if werr := cmd.Wait(); werr != nil || err != nil {
		b.Fatalf("%v: %v, %v: %s", cmd.Args, err, werr, complaints.String())
	}
	return took
}

func median(list []time.Duration) time.Duration {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }

// The rounds that each figure of latency is the median of.
const rounds = 9

func (p *programs) localFirstOutput(b *testing.B) {
	h := newBench(b, nil)
	app := h.script("echo here\n")
	for b.Loop() {
		var took []time.Duration
		for range rounds {
			took = append(took, firstByte(b, p.run(b, h, app)))
		}
		b.ReportMetric(ms(median(took)), "ms")
		b.ReportMetric(ms(slices.Min(took)), "ms-at-best")
	}
}

// sshTrue is how long a command over ssh takes.
func sshTrue(b *testing.B, farm *testbed.Farm) time.Duration {
	b.Helper()
	cmd := farm.Command(b.Context(), "ssh", "-F", farm.SSHConfig, "bastion", "true")
	start := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

func (p *programs) siteFile(b *testing.B, h *bench, extra string) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "sites.toml")
	text := "[site.bastion]\nurl = \"" + h.url(h.farm.Bastion) + "\"\nslots = 1\n" + extra
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// sshKept compares with 1.5 times ssh and 200 ms.
func (p *programs) sshKept(b *testing.B) {
	farm := testbed.SSH(b)
	h := newBench(b, farm)
	app, sites := h.script("echo here\n"), p.siteFile(b, h, "keep = true\n")
	firstByte(b, p.run(b, h, "--sites", sites, app))
	for b.Loop() {
		var ours, ssh []time.Duration
		for range rounds {
			ssh = append(ssh, sshTrue(b, farm))
			ours = append(ours, firstByte(b, p.run(b, h, "--sites", sites, app)))
		}
		reach := median(ssh)*3/2 + 200*time.Millisecond
		b.ReportMetric(ms(median(ours)), "ms")
		b.ReportMetric(ms(median(ssh)), "ms-ssh-true")
		b.ReportMetric(median(ours).Seconds()/reach.Seconds(), "x-reach")
	}
}

// sshCold compares with the same and 1.3 times a copy of the pilot by scp.
func (p *programs) sshCold(b *testing.B) {
	farm := testbed.SSH(b)
	h := newBench(b, farm)
	app, sites := h.script("echo here\n"), p.siteFile(b, h, "")
	for b.Loop() {
		var ours, ssh, scp []time.Duration
		for range rounds {
			ssh = append(ssh, sshTrue(b, farm))
			cmd := farm.Command(b.Context(), "scp", "-q", "-F", farm.SSHConfig, p.pilot, "bastion:/var/tmp/copy")
			start := time.Now()
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
			scp = append(scp, time.Since(start))
			ours = append(ours, firstByte(b, p.run(b, h, "--sites", sites, app)))
		}
		reach := median(ssh)*3/2 + 200*time.Millisecond + median(scp)*13/10
		b.ReportMetric(ms(median(ours)), "ms")
		b.ReportMetric(ms(median(ssh)), "ms-ssh-true")
		b.ReportMetric(ms(median(scp)), "ms-scp")
		b.ReportMetric(median(ours).Seconds()/reach.Seconds(), "x-reach")
	}
}

func (p *programs) launches(b *testing.B) {
	for b.Loop() {
		dir, err := os.MkdirTemp("", "zorilla-launches-")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { os.RemoveAll(dir) })
		rate, err := worker.LaunchRate(b.Context(), worker.Config{Root: filepath.Join(dir, "w"), Guard: []string{p.pilot, "guard"}, Slots: 2}, 2000)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(rate.Yard, "launches/s")
		b.ReportMetric(rate.Bare, "launches/s-bare")
		b.ReportMetric(rate.Ratio(), "x-bare")
	}
}

func (p *programs) size(b *testing.B) {
	for b.Loop() {
		info, err := os.Stat(p.pilot)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/(1<<20), "MiB")
	}
}

// idle measures a pilot and a hub that have nothing to do: one slot's worker sleeps.
func (p *programs) idle(b *testing.B) {
	farm := testbed.SSH(b)
	h := newBench(b, farm)
	app := h.script("echo here; sleep 8\n")
	for b.Loop() {
		cmd := p.run(b, h, "--sites", p.siteFile(b, h, ""), app)
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		bufio.NewReader(out).ReadString('\n')
		var most int64
		for range 5 {
			<-time.After(time.Second)
			agents, err := farm.Bastion.Processes(b.Context(), "zorilla-pilot agent")
			if err != nil || len(agents) != 2 {
				b.Fatal(agents, err)
			}
			most = 0
			for _, a := range agents {
				status, err := farm.Bastion.Exec(b.Context(), "cat", fmt.Sprintf("/proc/%d/status", a.PID))
				if err != nil {
					b.Fatal(err)
				}
				most = max(most, field(string(status), "VmRSS:"))
			}
		}
		b.ReportMetric(float64(most)/1024, "MiB-resident")
		io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}

// field reads a figure of proc(5)'s status, in KiB.
func field(status, name string) int64 {
	_, rest, _ := strings.Cut(status, name)
	n, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
	return n
}

// flat measures how much more memory the launcher and the pilot have used at
// most after 5 GB of output than after the first 0.5 GB.
func (p *programs) flat(b *testing.B) {
	h := newBench(b, nil)
	app := h.script("exec head -c 5000000000 /dev/zero\n")
	for b.Loop() {
		cmd := p.run(b, h, app)
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		ctx, done := context.WithCancel(b.Context())
		var wg sync.WaitGroup
		var growth []int64
		wg.Go(func() { growth = peaks(ctx, cmd.Process.Pid) })
		n, err := io.Copy(io.Discard, out)
		done()
		wg.Wait()
		if werr := cmd.Wait(); werr != nil || err != nil || n < 5e9 {
			b.Fatal(n, err, werr)
		}
		b.ReportMetric(float64(growth[0])/1024, "MiB-launcher-growth")
		b.ReportMetric(float64(growth[1])/1024, "MiB-pilot-growth")
	}
}

// peaks follows a launcher and its pilot, and returns by how many KiB the most
// memory each has used grew after the first two seconds.
func peaks(ctx context.Context, launcher int) []int64 {
	first, last := make([]int64, 2), make([]int64, 2)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return []int64{last[0] - first[0], last[1] - first[1]}
		case <-tick.C:
		}
		pids := []int{launcher, childAgent(launcher)}
		for i, pid := range pids {
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if peak := field(string(status), "VmHWM:"); peak > 0 {
				last[i] = peak
				if n <= 8 {
					first[i] = peak
				}
			}
		}
	}
}

// childAgent finds the agent that a launcher started.
func childAgent(launcher int) int {
	dirs, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range dirs {
		stat, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(stat), "(zorilla-pilot)") {
			continue
		}
		f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(f) > 1 && f[1] == strconv.Itoa(launcher) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid
		}
	}
	return 0
}
