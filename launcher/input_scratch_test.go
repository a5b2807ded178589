package launcher_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zorilla-grid/zorilla/backends/testbed"
	"github.com/zorilla-grid/zorilla/launcher"
)

// badScratch is a site whose pilots would live in a directory.
func badScratch(b *bench, h *testbed.Host, dir string) string {
	return badURL(b.url(h)) + fmt.Sprintf("scratch = %q\n", dir)
}

// usualPlaces are where scratch is looked for when the sites file names none.
var usualPlaces = []string{"/tmp", "/var/tmp", "/dev/shm", "/home/alice"}

const alice = "zorilla-$(id -u alice)" // the directory of hers in scratch

func TestScratchUnusable(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	for _, c := range []struct {
		name   string
		size   int64 // of the file system at /bad; 0 means that there is none
		noexec bool
		make   string // run there as root
		says   []string
	}{
		{"missing", 0, false, "", []string{"/bad: no such directory", `scratch = "/path"`}},
		{"full", 16 << 20, false, "dd if=/dev/zero of=/bad/fill bs=1M 2>/dev/null; true", []string{"disk full", `scratch = "/path"`}},
		{"too small", 16 << 20, false, "", []string{"KiB free", `scratch = "/path"`}},
		{"no programs", 64 << 20, true, "", []string{"noexec", `scratch = "/path"`}},
		{"read only", 64 << 20, false, "chmod 755 /bad", []string{"/bad: not writable"}},
		{"made by another user", 64 << 20, false, "install -d -m 700 -o bob /bad/" + alice, []string{"another user"}},
		{"open to others", 64 << 20, false, "install -d -m 777 -o alice /bad/" + alice, []string{"not a private directory"}},
		{"a link to her home", 64 << 20, false, "ln -s /home/alice /bad/" + alice + " && chown -h bob /bad/" + alice, []string{"another user"}},
		{"a file", 64 << 20, false, "touch /bad/" + alice + " && chown alice /bad/*", []string{"not a private directory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, farm)
			if c.size > 0 {
				farm.Plain.Scratch(t, "/bad", c.size, c.noexec)
			}
			if c.make != "" {
				onHost(t, farm.Plain, c.make)
			}
			before := onHost(t, farm.Plain, "ls -lanR --time-style=+ /bad /home/alice 2>/dev/null; true")
			b.failsAlone(bad{site: badScratch(b, farm.Plain, "/bad"), says: c.says})
			b.othersSuffice(bad{site: badScratch(b, farm.Plain, "/bad"), says: c.says})
			if after := onHost(t, farm.Plain, "ls -lanR --time-style=+ /bad /home/alice 2>/dev/null; true"); after != before {
				t.Errorf("the host changed from\n%s\nto\n%s", before, after)
			}
		})
	}
}

// TestScratchNext finds the first of the usual places that will do.
func TestScratchNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		make func(t *testing.T, h *testbed.Host)
		want string
	}{
		{"no programs in the first", func(t *testing.T, h *testbed.Host) { h.Scratch(t, "/tmp", 64<<20, true) }, "/var/tmp"},
		{"the first two full", func(t *testing.T, h *testbed.Host) {
			h.Scratch(t, "/tmp", 1<<20, false)
			h.Scratch(t, "/var/tmp", 1<<20, false)
		}, "/dev/shm"},
		{"only home", func(t *testing.T, h *testbed.Host) {
			for _, dir := range usualPlaces[:3] {
				h.Scratch(t, dir, 1<<20, false)
			}
		}, "/home/alice"},
		{"made by another user", func(t *testing.T, h *testbed.Host) {
			h.Scratch(t, "/tmp", 64<<20, false)
			onHost(t, h, "install -d -m 700 -o bob /tmp/"+alice)
		}, "/var/tmp"},
		{"a link to her home", func(t *testing.T, h *testbed.Host) {
			h.Scratch(t, "/tmp", 64<<20, false)
			onHost(t, h, "ln -s /home/alice /tmp/"+alice+" && chown -h bob /tmp/"+alice)
		}, "/var/tmp"},
		{"open to others", func(t *testing.T, h *testbed.Host) {
			h.Scratch(t, "/tmp", 64<<20, false)
			onHost(t, h, "install -d -m 777 -o alice /tmp/"+alice)
		}, "/var/tmp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			farm := testbed.SSH(t)
			b := newBench(t, farm)
			c.make(t, farm.Plain)
			before := onHost(t, farm.Plain, "ls -lanR /tmp /home/alice")
			r, _ := b.run(launcher.Job{App: b.script("pwd\n"), Workers: 1}, badURL(b.url(farm.Plain)), nil)
			wantOK(t, r)
			if got := b.stdout(r, 0); !strings.HasPrefix(got, c.want+"/zorilla-") {
				t.Errorf("ran in %q, want a directory in %s", got, c.want)
			}
			if after := onHost(t, farm.Plain, "ls -lanR /tmp /home/alice"); c.want != "/home/alice" && after != before {
				t.Errorf("the host changed from\n%s\nto\n%s", before, after)
			}
		})
	}
}

// TestScratchNowhere has no place at all, and the error tells of all.
func TestScratchNowhere(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	keys := onHost(t, farm.Plain, "cat /home/alice/.ssh/authorized_keys")
	for _, dir := range usualPlaces {
		farm.Plain.Scratch(t, dir, 1<<20, dir == "/dev/shm")
	}
	onHost(t, farm.Plain, `mkdir -m 700 /home/alice/.ssh && echo "$1" >/home/alice/.ssh/authorized_keys && chown -R alice /home/alice && chmod 755 /home/alice`, keys)
	before := onHost(t, farm.Plain, "ls -lanR /tmp /home/alice")
	b.fails(bad{site: badURL(b.url(farm.Plain)),
		says: []string{"/tmp/zorilla-", "/var/tmp/zorilla-", "/dev/shm/zorilla-", "/home/alice/zorilla-", "KiB free", "noexec", `scratch = "/path"`}})
	if after := onHost(t, farm.Plain, "ls -lanR /tmp /home/alice"); after != before {
		t.Errorf("the host changed from\n%s\nto\n%s", before, after)
	}
}

// TestScratchFills has scratch fill up after it was found good.
func TestScratchFills(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	b := newBench(t, farm)
	for _, run := range []func(bad){b.fails, b.othersSuffice} {
		farm.Plain.Scratch(t, "/fills", 48<<20, false)
		run(bad{site: badScratch(b, farm.Plain, "/fills"),
			says: []string{"upload the pilot: cannot write to /fills/zorilla-", "No space left", `scratch = "/path"`},
			change: func(o *launcher.Options) {
				also(o, func(e launcher.Event) {
					if c, ok := e.Data.(launcher.SiteChanged); ok && c.Site == "bad" && c.State == "uploading" {
						onHost(t, farm.Plain, "dd if=/dev/zero of=/fills/fill bs=1M 2>/dev/null; true")
					}
				})
			}})
		if got := onHost(t, farm.Plain, "ls -A /fills; rm -f /fills/fill"); got != "fill\n" {
			t.Errorf("the run left %q", got)
		}
	}
	farm.NoLeftovers(t)
}

// TestScratchFilledByInputs has no room for the job's own files.
func TestScratchFilledByInputs(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	farm.Plain.Scratch(t, "/small", 48<<20, false)
	b := newBench(t, farm)
	input := filepath.Join(b.dir, "big.dat")
	if err := os.WriteFile(input, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(input, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{1}), 64<<20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	job := launcher.Job{App: b.script("uname -n\n"), Workers: 1, Inputs: []launcher.Input{{Src: input}}}
	r, _ := b.attempt(job, badScratch(b, farm.Plain, "/small"), nil)
	if r.Outcome != launcher.OutcomeSites || r.Exit != launcher.ExitSites {
		t.Errorf("outcome %q, exit %d; want sites, 3", r.Outcome, r.Exit)
	}
	wantError(t, r.Err, "plain", "no space left on device")

	// One of two workers is lost there, and starts again where the other ran.
	job.Workers = 2
	r, events := b.attempt(job, badScratch(b, farm.Plain, "/small")+here, nil)
	wantOK(t, r)
	if text := siteError(events, "bad"); !strings.Contains(text, "no space left on device") {
		t.Errorf("the site's events say %q; want the reason", text)
	}
}

// TestScratchFilledByWorker has a program fill the disk. That is its own affair:
// it sees the error, and what it prints and leaves still comes home.
func TestScratchFilledByWorker(t *testing.T) {
	t.Parallel()
	farm := testbed.SSH(t)
	farm.Plain.Scratch(t, "/small", 48<<20, false)
	b := newBench(t, farm)
	r, _ := b.attempt(launcher.Job{
		App:     b.script("echo kept >kept.txt\ndd if=/dev/zero of=fill bs=1M 2>&1 | grep -c 'No space'\nseq 100000\n"),
		Workers: 1,
		Outputs: []string{"*.txt"},
	}, badScratch(b, farm.Plain, "/small"), nil)
	wantOK(t, r)
	var want strings.Builder
	want.WriteString("1\n")
	for i := range 100000 {
		fmt.Fprintln(&want, i+1)
	}
	if got := b.stdout(r, 0); got != want.String() {
		t.Errorf("printed %d bytes that begin with %.20q, want %d", len(got), got, want.Len())
	}
	if got, err := os.ReadFile(filepath.Join(r.Out, "worker-0", "kept.txt")); string(got) != "kept\n" {
		t.Errorf("kept.txt holds %q, %v", got, err)
	}
}
