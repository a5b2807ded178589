package launcher_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// outputSize is what a worker prints in one operation of the benchmarks.
const outputSize = 512 << 20

// printer is a job with one worker that prints outputSize bytes at full speed.
func (b *bench) printer() launcher.Job {
	return launcher.Job{App: b.script("exec head -c 536870912 /dev/zero\n"), Workers: 1}
}

// outputTime is the time from the first byte of output to its end.
func outputTime(t testing.TB, r launcher.Result, events []launcher.Event) time.Duration {
	t.Helper()
	if r.Exit != 0 {
		t.Fatal(r.Err)
	}
	var first, last time.Time
	for _, e := range events {
		if o, ok := e.Data.(launcher.OutputWritten); ok && o.Stream == "stdout" {
			if first.IsZero() {
				first = e.Time
			}
			last = e.Time
		}
	}
	return last.Sub(first)
}

// BenchmarkLocalOutput measures one worker's output from a pilot on this
// machine to a file.
func BenchmarkLocalOutput(b *testing.B) {
	h := newBench(b, nil)
	var total time.Duration
	for b.Loop() {
		r, events := h.run(h.printer(), "[site.here]\nurl = \"local:\"\nslots = 1\n", func(o *launcher.Options) { o.Events = forget(o.Events) })
		total += outputTime(b, r, events)
		os.RemoveAll(r.Out)
	}
	b.ReportMetric(float64(outputSize)*float64(b.N)/total.Seconds()/1e6, "MB/s")
}

// BenchmarkSSHOutput measures one worker's output over SSH beside ssh with cat.
func BenchmarkSSHOutput(b *testing.B) {
	testbed.Require(b)
	farm := testbed.Shared(b)
	h := newBench(b, farm)
	if _, err := farm.Plain.ExecAs(b.Context(), "alice", "sh", "-c", "head -c 536870912 /dev/zero > /var/tmp/big"); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { farm.Plain.ExecAs(b.Context(), "alice", "rm", "-f", "/var/tmp/big") })
	// The two take turns: one round says little on a machine that others use.
	const turns = 3
	var ours, theirs time.Duration
	for b.Loop() {
		for range turns {
			theirs += catTime(b, farm)
			r, events := h.run(h.printer(), "[site.plain]\nurl = \""+h.url(farm.Plain)+"\"\nslots = 1\n", func(o *launcher.Options) { o.Events = forget(o.Events) })
			ours += outputTime(b, r, events)
			os.RemoveAll(r.Out)
		}
	}
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "x-ssh-cat")
	b.ReportMetric(turns*float64(outputSize)*float64(b.N)/ours.Seconds()/1e6, "MB/s")
}

// catTime is how long ssh takes to bring as many bytes to a file.
func catTime(b *testing.B, farm *testbed.Farm) time.Duration {
	b.Helper()
	out, err := os.Create(filepath.Join(b.TempDir(), "cat"))
	if err != nil {
		b.Fatal(err)
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := farm.Command(b.Context(), "ssh", "-F", farm.SSHConfig, "plain", "cat", "/var/tmp/big")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	// From the first byte on, as for a worker; the host's start files print some.
	first := make([]byte, 1<<16)
	if _, err := io.ReadFull(pipe, first); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	n, err := io.Copy(struct{ io.Writer }{out}, struct{ io.Reader }{pipe})
	took := time.Since(start)
	if werr := cmd.Wait(); werr != nil || err != nil || n < outputSize-1<<17 {
		b.Fatal(n, err, werr, strings.Join(cmd.Args, " "))
	}
	return took
}

// forget drops the bytes of output events: only their times are wanted.
func forget(f func(launcher.Event)) func(launcher.Event) {
	return func(e launcher.Event) {
		if o, ok := e.Data.(launcher.OutputWritten); ok {
			o.Data = nil
			e.Data = o
		}
		f(e)
	}
}
