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
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	startTime = 60 * time.Second // to start a network, on a machine with much else to do
	closeTime = 20 * time.Second // to end one
)

// Net is what a [Farm] and a [WAN] have in common: hosts, and a client that has
// the keys to them. Its methods may be called by several goroutines at once.
type Net struct {
	// Key is the path of the user's private key: ed25519, not encrypted, 0600.
	// All users of all hosts accept it.
	Key string
	// KnownHosts is the path of a known_hosts file that has every host by
	// name, and by address where no other host has the same.
	KnownHosts string
	// SSHConfig is the path of a configuration for OpenSSH's -F, in which
	// every host goes by its name, those behind another through that one.
	SSHConfig string

	dir      string
	hosts    []*Host
	lifeline *os.File   // the network lives until this is closed
	reader   *os.File   // its other end, for starting hosts only
	client   *os.File   // network namespace
	routers  []*os.File // network namespaces with bridges
	keeper   *exec.Cmd
	close    func() error
}

// newNet names the files of a network that has yet to be built.
func newNet() *Net {
	n := &Net{dir: filepath.Join(os.TempDir(), "zorilla-testbed-"+rand.Text())}
	n.close = sync.OnceValue(n.shutdown)
	n.Key = filepath.Join(n.dir, "id_ed25519")
	n.KnownHosts = filepath.Join(n.dir, "known_hosts")
	n.SSHConfig = filepath.Join(n.dir, "ssh_config")
	return n
}

// Hosts returns all hosts, those that the client can reach without another's
// help first.
func (n *Net) Hosts() []*Host { return slices.Clone(n.hosts) }

// make makes the namespaces of the client, of the hosts and of so many routers,
// still unconnected, and starts the keeper: from then on nothing is left behind
// if this process dies.
func (n *Net) make(routers int) (err error) {
	if n.reader, n.lifeline, err = os.Pipe(); err != nil {
		return err
	}
	into := func(ns **os.File) func() error {
		return func() (err error) {
			*ns, err = newNetwork()
			return err
		}
	}
	n.routers = make([]*os.File, routers)
	var g errgroup.Group
	g.Go(into(&n.client))
	for i := range n.routers {
		g.Go(into(&n.routers[i]))
	}
	for _, h := range n.hosts {
		g.Go(into(&h.net))
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return n.startKeeper()
}

// boot starts all hosts.
func (n *Net) boot(ctx context.Context, m *machine) error {
	var g errgroup.Group
	for _, h := range n.hosts {
		g.Go(func() error {
			if err := h.boot(ctx, n.reader, m); err != nil {
				return fmt.Errorf("start host %s: %w", h.Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// during starts a network for one test and closes it when the test ends.
func during[N interface {
	io.Closer
	logSSHD(t testing.TB)
}](t testing.TB, start func(context.Context) (N, error)) N {
	t.Helper()
	Require(t)
	n, err := start(t.Context())
	if err != nil {
		t.Fatalf("start testbed: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			n.logSSHD(t)
		}
		if err := n.Close(); err != nil {
			t.Errorf("close testbed: %v", err)
		}
	})
	return n
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

func (n *Net) startKeeper() error {
	keeper := exec.Command("/bin/sh", "-c", keeperScript, "zorilla-testbed-keeper", n.dir)
	keeper.Dir = "/"
	keeper.Stdin = n.reader
	// Not in the group of the test process: what ends that must not end this.
	ownSession(keeper)
	if err := inNetwork(n.client, keeper.Start); err != nil {
		return fmt.Errorf("start the keeper: %w", err)
	}
	n.keeper = keeper
	return nil
}

// Close ends all hosts and all programs in the client's namespace, and removes
// the network's files. When it returns nil, nothing is left. Later calls return
// what the first did. Close is a courtesy: a network never outlives its process.
func (n *Net) Close() error { return n.close() }

func (n *Net) shutdown() error {
	var errs []error
	if n.lifeline != nil {
		n.lifeline.Close()
		n.reader.Close()
	}
	ended := make(chan error, 1)
	go func() {
		var errs []error
		for _, h := range n.hosts {
			if err := h.release(); err != nil {
				errs = append(errs, err)
			}
		}
		if n.keeper != nil {
			if err := n.keeper.Wait(); err != nil {
				errs = append(errs, fmt.Errorf("the keeper: %w", err))
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
	for _, ns := range append(n.routers, n.client) {
		if ns != nil {
			ns.Close()
		}
	}
	return errors.Join(errs...)
}

// Dial connects from the client to an address in the network. A host may go by
// its name in addr. The connection is an ordinary one and may be used anywhere.
func (n *Net) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	if i := slices.IndexFunc(n.hosts, func(h *Host) bool { return h.Name == host }); i >= 0 {
		host = n.hosts[i].Addr
	}
	if net.ParseIP(host) == nil {
		return nil, fmt.Errorf("dial %s: neither an address nor a host of this network", addr)
	}
	var conn net.Conn
	err = inNetwork(n.client, func() error {
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
// network ends is killed.
func (n *Net) Command(ctx context.Context, argv ...string) *exec.Cmd {
	// The keeper's path for its namespace: it knows who uses that.
	args := append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", n.keeper.Process.Pid), "--"}, argv...)
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
func (n *Net) NoLeftovers(t testing.TB) {
	t.Helper()
	for _, h := range n.hosts {
		if h.up() {
			h.NoLeftovers(t)
		}
	}
}

// logSSHD writes the ends of the hosts' sshd logs to the log of a failed test.
func (n *Net) logSSHD(t testing.TB) {
	const most = 4096
	for _, h := range n.hosts {
		log, err := h.readFile(sshdLog)
		if err != nil {
			t.Logf("sshd on %s: no log: %v", h.Name, err)
			continue
		}
		t.Logf("sshd on %s:\n%s", h.Name, log[max(0, len(log)-most):])
	}
}

var _ io.Closer = (*Net)(nil)
