package testbed

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	startTime = 60 * time.Second // to start a farm, on a machine with much else to do
	closeTime = 20 * time.Second // to end one
)

// Farm is a running network of hosts and a client. Its methods may be called
// by several goroutines at once.
type Farm struct {
	// Plain's .bashrc writes to stdout and stderr whenever a command is run.
	Plain *Host
	// Bastion is in the client's network and in that of Inner1 and Inner2.
	Bastion *Host
	// Inner1 and Inner2 can be reached from Bastion and from each other only.
	Inner1, Inner2 *Host
	// NoForward refuses to forward TCP connections and Unix sockets in either
	// direction. Inner3 is behind it as Inner1 is behind Bastion.
	NoForward *Host
	// Inner3 can be reached from NoForward only.
	Inner3 *Host

	// Key is the path of the user's private key: ed25519, not encrypted, 0600.
	// All users of all hosts accept it.
	Key string
	// KnownHosts is the path of a known_hosts file that has every host by
	// address and by name.
	KnownHosts string
	// SSHConfig is the path of a configuration for OpenSSH's -F, in which
	// every host goes by its name, Inner1 and Inner2 through Bastion.
	SSHConfig string

	dir        string
	lifeline   *os.File // the farm lives until this is closed
	reader     *os.File // its other end, for starting hosts only
	switches   *os.File // network namespace with the bridges
	client     *os.File // network namespace
	clientPort port
	keeper     *exec.Cmd
	close      func() error
}

// Hosts returns all hosts, those in the client's network first.
func (f *Farm) Hosts() []*Host {
	return []*Host{f.Plain, f.Bastion, f.NoForward, f.Inner1, f.Inner2, f.Inner3}
}

// SSH starts a farm for one test and closes it when the test ends. It skips
// or fails the test as [Require] does. Starting takes a fraction of a second; tests
// that neither kill nor cut hosts had better use [Shared].
func SSH(t testing.TB) *Farm {
	t.Helper()
	Require(t)
	f, err := start(t.Context())
	if err != nil {
		t.Fatalf("start testbed: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			f.logSSHD(t)
		}
		if err := f.Close(); err != nil {
			t.Errorf("close testbed: %v", err)
		}
	})
	return f
}

// start starts a farm. The caller closes it.
func start(ctx context.Context) (_ *Farm, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	f := &Farm{dir: filepath.Join(os.TempDir(), "zorilla-testbed-"+rand.Text())}
	f.close = sync.OnceValue(f.shutdown)
	f.Key = filepath.Join(f.dir, "id_ed25519")
	f.KnownHosts = filepath.Join(f.dir, "known_hosts")
	f.SSHConfig = filepath.Join(f.dir, "ssh_config")
	f.layOut(newSubnet())
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if f.reader, f.lifeline, err = os.Pipe(); err != nil {
		return nil, err
	}
	if err := f.makeNetworks(); err != nil {
		return nil, err
	}
	// From here on, nothing is left behind if this process dies.
	if err := f.startKeeper(); err != nil {
		return nil, err
	}
	machine, err := f.makeFiles()
	if err != nil {
		return nil, err
	}
	if err := f.connect(ctx); err != nil {
		return nil, err
	}
	var g errgroup.Group
	for _, h := range f.Hosts() {
		g.Go(func() error {
			if err := h.boot(ctx, f, machine); err != nil {
				return fmt.Errorf("start host %s: %w", h.Name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return f, nil
}

// keeperScript ends when the lifeline on its standard input does. It then ends
// the processes in its network namespace, which is the client's, and those that
// are about to enter it by its path, and removes the directory. It looks for
// the second kind first: they become the first kind and never the reverse.
const keeperScript = `cat >/dev/null
path=/proc/$$/ns/net
net=$(stat -Lc %i "$path")
ours() {
	[ "$1" != $$ ] && { grep -qsF -e "--net=$path" "/proc/$1/cmdline" ||
		[ "$(stat -Lc %i "/proc/$1/ns/net" 2>/dev/null)" = "$net" ]; }
}
for round in 1 2 3 4 5 6 7 8 9 10; do
	found=
	for pid in $(
		grep -lsF -e "--net=$path" /proc/[0-9]*/cmdline | sed 's:^/proc/\([0-9]*\)/.*:\1:'
		stat -Lc '%i %n' /proc/[0-9]*/ns/net 2>/dev/null | sed -n "s:^$net /proc/\([0-9]*\)/.*:\1:p"
	); do
		ours "$pid" && kill -KILL "$pid" && found=yes
	done
	[ "$found" ] || break
done
rm -rf -- "$1"`

func (f *Farm) startKeeper() error {
	keeper := exec.Command("/bin/sh", "-c", keeperScript, "zorilla-testbed-keeper", f.dir)
	keeper.Dir = "/"
	keeper.Stdin = f.reader
	// Not in the group of the test process: what ends that must not end this.
	keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := inNetwork(f.client, keeper.Start); err != nil {
		return fmt.Errorf("start the farm's keeper: %w", err)
	}
	f.keeper = keeper
	return nil
}

// Close ends all hosts and all programs in the client's namespace, and removes
// the farm's files. When it returns nil, nothing is left. Later calls return
// what the first did. Close is a courtesy: a farm never outlives its process.
func (f *Farm) Close() error { return f.close() }

func (f *Farm) shutdown() error {
	var errs []error
	if f.lifeline != nil {
		f.lifeline.Close()
		f.reader.Close()
	}
	ended := make(chan error, 1)
	go func() {
		var errs []error
		for _, h := range f.Hosts() {
			if err := h.release(); err != nil {
				errs = append(errs, err)
			}
		}
		if f.keeper != nil {
			if err := f.keeper.Wait(); err != nil {
				errs = append(errs, fmt.Errorf("the farm's keeper: %w", err))
			}
		}
		ended <- errors.Join(errs...)
	}()
	timeout := time.NewTimer(closeTime)
	defer timeout.Stop()
	select {
	case err := <-ended:
		errs = append(errs, err)
	case <-timeout.C:
		errs = append(errs, fmt.Errorf("hosts are still there after %v", closeTime))
	}
	for _, ns := range []*os.File{f.switches, f.client} {
		if ns != nil {
			ns.Close()
		}
	}
	return errors.Join(errs...)
}

// Dial connects from the client to an address in the farm. A host may go by
// its name in addr. The connection is an ordinary one and may be used anywhere.
func (f *Farm) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	if i := slices.IndexFunc(f.Hosts(), func(h *Host) bool { return h.Name == host }); i >= 0 {
		host = f.Hosts()[i].Addr
	}
	if net.ParseIP(host) == nil {
		return nil, fmt.Errorf("dial %s: neither an address nor a host of the farm", addr)
	}
	var conn net.Conn
	err = inNetwork(f.client, func() error {
		// An address needs no resolver, so the socket is made on this thread.
		var err error
		conn, err = (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(host, port))
		return err
	})
	return conn, err
}

// Command returns a command that runs argv in the client's network namespace
// with the files, users and processes of the machine. Its environment is the
// test's own until the caller sets cmd.Env. Names of hosts mean nothing to it,
// except to OpenSSH with -F and [Farm.SSHConfig]. What still runs when the
// farm ends is killed.
func (f *Farm) Command(ctx context.Context, argv ...string) *exec.Cmd {
	// The keeper's path for its namespace: it knows who uses that.
	args := append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", f.keeper.Process.Pid), "--"}, argv...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// descriptorPath names an open file of this process for other processes.
func descriptorPath(file *os.File) string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd())
}

// NoLeftovers fails the test if there are leftovers on any running host; see
// [Host.NoLeftovers].
func (f *Farm) NoLeftovers(t testing.TB) {
	t.Helper()
	for _, h := range f.Hosts() {
		if h.up() {
			h.NoLeftovers(t)
		}
	}
}

// logSSHD writes the ends of the hosts' sshd logs to the log of a failed test.
func (f *Farm) logSSHD(t testing.TB) {
	const most = 4096
	for _, h := range f.Hosts() {
		log, err := h.readFile(sshdLog)
		if err != nil {
			t.Logf("sshd on %s: no log: %v", h.Name, err)
			continue
		}
		t.Logf("sshd on %s:\n%s", h.Name, log[max(0, len(log)-most):])
	}
}

var _ io.Closer = (*Farm)(nil)
