package testbed

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// searchPath is PATH for programs on a host.
	searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// linkTime bounds a change to a host's network or life.
	linkTime = 20 * time.Second
)

// Host is one machine of a [Net], with an sshd on port 22 that serves sftp.
// Its users are alice, bob and root; sshd lets in alice and bob. Its methods
// may be called by several goroutines at once.
type Host struct {
	// Name is the host's name: lower case, one word.
	Name string
	// Addr is the IPv4 address: the one that the client reaches, or for an
	// inner host the one in the network behind the head.
	Addr string
	// InnerAddr is the address in the network behind this host, or empty.
	InnerAddr string
	// User is who logs in: alice.
	User string

	jump     *Host // through which one logs in, or nil
	noise    bool  // its .bashrc is noisy
	forbids  bool  // its sshd forbids all forwarding
	odd      Oddity
	ports    []port
	gateway  netip.Addr // to all other networks; zero without one
	net      *os.File   // network namespace
	switches *os.File   // network namespace with the bridges it is plugged into

	disks   []disk                      // what outlives a [Cluster.Reboot]
	files   func() []hostFile           // what populate writes besides its own, or nil
	daemons func(context.Context) error // starts what the host runs besides sshd, or nil

	life atomic.Pointer[life] // since the last start; nil before the first

	mu       sync.Mutex
	baseline map[string]fileState // what is no leftover, by path
}

// life is a host between a start and an end.
type life struct {
	init  *exec.Cmd     // process 1
	pidfd *os.File      // of process 1
	ended chan struct{} // closed when process 1 and all others are gone
}

// disk is a directory of the machine that is mounted on a host: it is there
// again when the host comes back, and several hosts may have the same one.
type disk struct {
	dir, at string
	shared  bool
}

// hostFile is a file that a host has from the start.
type hostFile struct {
	path    string
	content []byte
	mode    os.FileMode
	owner   string // root if empty
}

// boot starts the host and its sshd, and notes what is there.
func (h *Host) boot(ctx context.Context, lifeline *os.File, m *machine) error {
	stdout, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdout.Close()
	var stderr bytes.Buffer
	init := &exec.Cmd{Stdout: w, Stderr: &stderr, ExtraFiles: []*os.File{lifeline}, Env: environment("root", "/root")}
	err = startInit(h.net, m.mountpoint, h.Name, h.disks, init, func() error { return m.populate(h) })
	w.Close()
	if err != nil {
		return err
	}
	l := &life{init: init, ended: make(chan struct{})}
	go func() {
		init.Wait()
		close(l.ended)
	}()
	if l.pidfd, err = openPidfd(init.Process.Pid); err != nil {
		init.Process.Kill()
		<-l.ended
		return err
	}
	if last := h.life.Swap(l); last != nil {
		last.pidfd.Close()
	}
	if deadline, ok := ctx.Deadline(); ok {
		stdout.SetReadDeadline(deadline)
	}
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "up\n" {
		init.Process.Kill()
		<-l.ended
		return fmt.Errorf("process 1 ended: %s", strings.TrimSpace(stderr.String()))
	}
	if err := h.makeOdd(ctx); err != nil {
		return err
	}
	if err := h.startSSHD(ctx); err != nil {
		return err
	}
	if h.daemons == nil { // otherwise they have yet to start
		return h.takeBaseline()
	}
	return nil
}

// up tells whether the host has been started and not ended.
func (h *Host) up() bool {
	l := h.life.Load()
	if l == nil {
		return false
	}
	select {
	case <-l.ended:
		return false
	default:
		return true
	}
}

// release waits until the host is gone and gives back what it used.
func (h *Host) release() error {
	if l := h.life.Load(); l != nil {
		select {
		case <-l.ended:
			l.pidfd.Close()
		case <-time.After(closeTime):
			return fmt.Errorf("host %s is still there after %v", h.Name, closeTime)
		}
	}
	if h.net != nil {
		h.net.Close()
	}
	return nil
}

// environment is what a program of a host finds.
func environment(user, home string) []string {
	return []string{"PATH=" + searchPath, "HOME=" + home, "USER=" + user, "LOGNAME=" + user, "LC_ALL=C.UTF-8"}
}

// Exec runs a program on the host as root and returns its standard output.
// An error has what it wrote to standard error. When ctx ends, the program is
// killed; what it started is not.
func (h *Host) Exec(ctx context.Context, argv ...string) ([]byte, error) {
	return h.ExecAs(ctx, "root", argv...)
}

// ExecAs is [Host.Exec] as another user, in that user's home directory. It is
// no login: sshd has no part in it.
func (h *Host) ExecAs(ctx context.Context, user string, argv ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "/usr/bin/env", append([]string{"--"}, argv...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	if err := h.Start(user, cmd); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return stdout.Bytes(), fmt.Errorf("exec %s on %s as %s: %w: %s",
			strings.Join(argv, " "), h.Name, user, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// Start starts a command on the host as a user, in that user's home directory
// and environment. Path is the host's. The caller waits for it; what still runs
// when the host ends is killed.
func (h *Host) Start(user string, cmd *exec.Cmd) error {
	a, ok := accountOf(user)
	if !ok {
		return fmt.Errorf("start %s on %s: no user %q", cmd.Path, h.Name, user)
	}
	cmd.Env = environment(a.name, a.home)
	cmd.Dir = a.home
	ownSession(cmd)
	asUser(cmd, a.uid)
	return h.inside(cmd.Start)
}

// WriteFile writes a file of the host as root.
func (h *Host) WriteFile(name string, data []byte, mode os.FileMode) error {
	return h.inside(func() error { return os.WriteFile(name, data, mode) })
}

// InNetwork runs fn on a thread that is in the host's network, and returns what
// fn returns. Sockets that fn makes in its own goroutine are the host's, and may
// be used anywhere afterwards; its files stay the machine's.
func (h *Host) InNetwork(fn func() error) error {
	if !h.up() {
		return fmt.Errorf("host %s is down", h.Name)
	}
	return inNetwork(h.net, fn)
}

// inside runs fn on a thread that is in the host.
func (h *Host) inside(fn func() error) error {
	if !h.up() {
		return fmt.Errorf("host %s is down", h.Name)
	}
	return inHost(h.life.Load().pidfd, fn)
}

// readFile reads a file of the host.
func (h *Host) readFile(name string) ([]byte, error) {
	var b []byte
	err := h.inside(func() error {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		b, err = io.ReadAll(file)
		return err
	})
	return b, err
}

// Cut makes all networks of the host lose what it sends and what is sent to
// it, silently: no connection is reset, no link goes down.
func (h *Host) Cut() error { return h.setPorts("disabled", 0) }

// Restore undoes [Host.Cut]. Connections that have not timed out go on.
func (h *Host) Restore() error { return h.setPorts("forwarding", 3) }

// setPorts sets the spanning-tree state of the bridge ports the host is at.
func (h *Host) setPorts(name string, state int) error {
	if !h.up() {
		return fmt.Errorf("set network of %s: host is down", h.Name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), linkTime)
	defer cancel()
	var lines strings.Builder
	for _, p := range h.ports {
		fmt.Fprintf(&lines, "link set dev %s state %d\n", p.peer, state)
	}
	if err := bridge(ctx, h.switches, lines.String()); err != nil {
		return fmt.Errorf("set network of %s to %s: %w", h.Name, name, err)
	}
	return nil
}

// Kill ends the host as a power cut does: its network goes first, so nobody is
// told, and then all its processes at once. It does not come back by itself;
// a host of a cluster does by [Cluster.Start].
func (h *Host) Kill() error {
	if err := h.Cut(); err != nil {
		return err
	}
	l := h.life.Load()
	if err := l.init.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", h.Name, err)
	}
	timeout := time.NewTimer(linkTime)
	defer timeout.Stop()
	select {
	case <-l.ended:
		return nil
	case <-timeout.C:
		return fmt.Errorf("kill %s: processes are still there after %v", h.Name, linkTime)
	}
}

// Scratch mounts an empty file system of size bytes on the host at an absolute
// path, until the test ends: for tests with a full disk, or with one that runs
// no programs. All users may write there. The mount point itself counts as no
// leftover; what is in it does.
func (h *Host) Scratch(t testing.TB, dir string, size int64, noexec bool) {
	t.Helper()
	dir = path.Clean(dir)
	made := false
	err := h.inside(func() error {
		switch err := os.Mkdir(dir, 0o755); {
		case err == nil:
			made = true
		case !errors.Is(err, os.ErrExist):
			return err
		}
		return mountScratch(dir, size, noexec)
	})
	if err != nil {
		t.Fatalf("scratch on %s: %v", h.Name, err)
	}
	if err := h.expect(dir); err != nil {
		t.Fatalf("scratch on %s: %v", h.Name, err)
	}
	t.Cleanup(func() {
		if !h.up() {
			return
		}
		err := h.inside(func() error {
			if err := unmountScratch(dir); err != nil {
				return err
			}
			if made {
				return os.Remove(dir)
			}
			return nil
		})
		if err != nil {
			t.Errorf("remove scratch %s on %s: %v", dir, h.Name, err)
		}
	})
}
