package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Kill ends one of the cluster's hosts; it is [Host.Kill].
func (c *Cluster) Kill(h *Host) error { return h.Kill() }

// Start starts a host of the cluster that was killed, with its home and the
// queueing system's spool as they were and everything else as new, and returns
// when all nodes take jobs. Where there is no controller it cannot wait for
// that, and returns when the daemons have started.
func (c *Cluster) Start(ctx context.Context, h *Host) error {
	if h.up() {
		return fmt.Errorf("start %s: it runs", h.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := h.boot(ctx, c.reader, c.grid.machine); err != nil {
		return fmt.Errorf("start %s: %w", h.Name, err)
	}
	if err := h.Restore(); err != nil {
		return err
	}
	if err := h.daemons(ctx); err != nil {
		return fmt.Errorf("start the daemons of %s: %w\n%s", h.Name, err, c.logTails())
	}
	if err := c.awaitReady(ctx); err != nil {
		return fmt.Errorf("start %s: %w\n%s", h.Name, err, c.logTails())
	}
	return h.renewBaseline()
}

// Reboot ends a host as an administrator does, the controller in good order if
// it is there, and starts it again. Killed without warning, Slurm's controller
// forgets the jobs of the last few seconds.
func (c *Cluster) Reboot(ctx context.Context, h *Host) error {
	if h == c.Head {
		if err := c.StopController(ctx); err != nil {
			return err
		}
	}
	if err := c.Kill(h); err != nil {
		return err
	}
	return c.Start(ctx, h)
}

// StopController ends the daemon on the head that holds the queue: commands
// fail, and what runs goes on.
func (c *Cluster) StopController(ctx context.Context) error {
	if err := c.system.controller(ctx, false); err != nil {
		return fmt.Errorf("stop the controller of %s: %w", c.Spec.Name, err)
	}
	return nil
}

// StartController undoes [Cluster.StopController] and returns when all nodes
// take jobs.
func (c *Cluster) StartController(ctx context.Context) error {
	if err := c.system.controller(ctx, true); err != nil {
		return fmt.Errorf("start the controller of %s: %w", c.Spec.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	return c.awaitReady(ctx)
}

// endDaemon ends the process whose number is in a file of the host.
func (h *Host) endDaemon(ctx context.Context, pidFile string) error {
	ctx, cancel := context.WithTimeout(ctx, linkTime)
	defer cancel()
	b, err := h.readFile(pidFile)
	if err != nil {
		return err
	}
	pid := string(bytes.TrimSpace(b))
	if _, err := strconv.Atoi(pid); err != nil {
		return fmt.Errorf("%s on %s: %w", pidFile, h.Name, err)
	}
	if _, err := h.Exec(ctx, "kill", "-TERM", pid); err != nil {
		return err
	}
	return poll(ctx, 20*time.Millisecond, func() (bool, error) {
		gone := false
		err := h.inside(func() error {
			_, err := os.Stat(filepath.Join("/proc", pid))
			gone = errors.Is(err, fs.ErrNotExist)
			return nil
		})
		return gone, err
	})
}

// Fill occupies everything there is in the cluster, as bob, for so long or
// until the test ends or free is called. It returns when all of it is occupied.
func (c *Cluster) Fill(t testing.TB, d time.Duration) (free func()) {
	t.Helper()
	until := fmt.Sprintf("until=%d", time.Now().Add(d).Unix())
	each, err := c.system.fill(t.Context(), until+"; while [ $(date +%s) -lt $until ]; do sleep 1; done")
	if err != nil {
		t.Fatalf("fill %s: %v", c.Spec.Name, err)
	}
	free = func() {
		ctx, cancel := context.WithTimeout(context.Background(), linkTime)
		defer cancel()
		if err := c.system.remove(ctx, "bob"); err != nil {
			t.Errorf("free %s: %v", c.Spec.Name, err)
		}
	}
	t.Cleanup(free)
	ctx, cancel := context.WithTimeout(t.Context(), startTime)
	defer cancel()
	err = poll(ctx, readyPoll, func() (bool, error) {
		for _, h := range c.Nodes {
			procs, err := h.Processes(ctx, until)
			if err != nil || len(procs) < each {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		t.Fatalf("fill %s: %v", c.Spec.Name, err)
	}
	return free
}

// Wrap puts a script for sh before a program of a host, until the test ends or
// undo is called: whoever runs the program by its name, as root or a user, gets
// the script. In it, "$real" is the program's own path.
func (c *Cluster) Wrap(t testing.TB, h *Host, program, script string) (undo func()) {
	t.Helper()
	out, err := h.Exec(t.Context(), "sh", "-c", `PATH=/usr/bin:/bin:/usr/sbin:/sbin command -v -- "$0"`, program)
	if err != nil {
		t.Fatalf("wrap %s: %v", program, err)
	}
	wrapper := "/usr/local/bin/" + program
	text := fmt.Sprintf("#!/bin/sh\nreal=%s\n%s\n", strings.TrimSpace(string(out)), script)
	if err := h.WriteFile(wrapper+".new", []byte(text), 0o755); err != nil {
		t.Fatalf("wrap %s: %v", program, err)
	}
	// Never half a script, and never one that is open for writing.
	if _, err := h.Exec(t.Context(), "mv", wrapper+".new", wrapper); err != nil {
		t.Fatalf("wrap %s: %v", program, err)
	}
	undo = func() {
		if !h.up() {
			return
		}
		if _, err := h.Exec(context.Background(), "rm", "-f", wrapper); err != nil {
			t.Errorf("unwrap %s: %v", program, err)
		}
	}
	t.Cleanup(undo)
	return undo
}

// Configure has the daemons of a Slurm cluster, of which all hosts run, work with
// a line of slurm.conf that they do not have otherwise, until the test ends.
func (c *Cluster) Configure(t testing.TB, line string) {
	t.Helper()
	s, ok := c.system.(*slurm)
	if !ok {
		t.Fatalf("configure %s: it runs %s", c.Spec.Name, c.Spec.System)
	}
	t.Cleanup(func() {
		if err := s.set(context.Background()); err != nil {
			t.Errorf("configure %s as it was: %v", c.Spec.Name, err)
		}
	})
	if err := s.set(t.Context(), line); err != nil {
		t.Fatalf("configure %s: %v", c.Spec.Name, err)
	}
}

// QuotaFull makes the home directory of alice on a host one that takes not a
// byte more, until the test ends. What was in it but its .ssh is not seen meanwhile.
func (c *Cluster) QuotaFull(t testing.TB, h *Host) {
	t.Helper()
	a, _ := accountOf("alice")
	script := `set -e
keep=$(mktemp -d)
cp -a .ssh "$keep"
mount -t tmpfs -o size=64k,mode=700,uid="$1",gid="$1" tmpfs "$2"
cp -a "$keep/.ssh" "$2"
rm -r "$keep"
cat /dev/zero >"$2/data" 2>&- || true`
	if _, err := h.Exec(t.Context(), "sh", "-c", "cd \"$2\"\n"+script, "sh", strconv.Itoa(int(a.uid)), a.home); err != nil {
		t.Fatalf("fill %s: %v", a.home, err)
	}
	before, err := h.expectAll(a.home)
	t.Cleanup(func() {
		if _, err := h.Exec(context.Background(), "umount", "-l", a.home); err != nil {
			t.Errorf("empty %s: %v", a.home, err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.baseline = before
	})
	if err != nil {
		t.Fatalf("fill %s: %v", a.home, err)
	}
}

// Jobs describes the jobs that are in the queue, of all users, one line each.
func (c *Cluster) Jobs(ctx context.Context) ([]string, error) { return c.system.jobs(ctx) }

// NoLeftovers fails the test if there are jobs in the queue, or leftovers on
// any running host of the cluster, for longer than 10 s; see [Host.Leftovers].
// What does not belong to alice or bob is the daemons'.
func (c *Cluster) NoLeftovers(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), leftoverTime)
	defer cancel()
	var left []string
	err := poll(ctx, readyPoll, func() (bool, error) {
		now, err := c.system.jobs(ctx)
		if err != nil {
			return false, err
		}
		left = now
		return len(left) == 0, nil
	})
	switch {
	case len(left) > 0:
		t.Errorf("left in the queue of %s after %v:\n\t%s", c.Spec.Name, leftoverTime, strings.Join(left, "\n\t"))
	case err != nil:
		t.Errorf("left in the queue of %s: %v", c.Spec.Name, err)
	}
	for _, h := range c.Hosts() {
		if h.up() {
			h.NoLeftovers(t)
		}
	}
}

func nonEmptyLines(b []byte) []string {
	var lines []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
