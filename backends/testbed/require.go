package testbed

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Env is the environment variable that decides whether tests may use the
// testbed: "install", "use" or unset.
const Env = "ZORILLA_TESTBED"

const (
	// installTime bounds one installation, and also the wait for another test
	// process that is installing. It leaves room within go test's ten minutes.
	installTime = 8 * time.Minute
	// lockDir is locked with flock while installing. It is a directory that is
	// always there, so no lock file is left behind; dpkg itself locks files in
	// it and never the directory.
	lockDir = "/var/lib/dpkg"
)

// packages returns the Debian packages that all tests with real daemons may use.
func packages() []string {
	return []string{"openssh-server", "openssh-client", "openjdk-17-jdk-headless", "iproute2", "nftables", "procps", "iperf3"}
}

// Require makes sure that the testbed can be used, or ends the test: it skips
// the test when ZORILLA_TESTBED is unset, and fails it when the variable is
// set and the testbed cannot be had. With "install", missing Debian packages
// are installed; no daemon of theirs is started. Test processes that install
// at the same time wait for each other.
func Require(t testing.TB) {
	t.Helper()
	require(t)
}

// require is [Require] for a test that needs more packages.
func require(t testing.TB, more ...string) {
	t.Helper()
	wanted := append(packages(), more...)
	mode := os.Getenv(Env)
	switch mode {
	case "":
		t.Skipf("needs real daemons: set %s=install (installs Debian packages, as root) or %s=use", Env, Env)
	case "install", "use":
	default:
		t.Fatalf("%s=%q: want install, use or nothing", Env, mode)
	}
	if runtime.GOOS != "linux" {
		t.Fatalf("%s=%s: the testbed is made of Linux namespaces and cannot run on %s", Env, mode, runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		t.Fatalf("%s=%s: only root can make namespaces and mounts; run the tests as root or unset %s", Env, mode, Env)
	}
	ctx, cancel := context.WithTimeout(t.Context(), installTime)
	defer cancel()
	gone, err := missing(ctx, wanted)
	if err == nil && len(gone) > 0 && mode == "install" {
		err = install(ctx, wanted)
		if err == nil {
			gone, err = missing(ctx, wanted)
		}
	}
	if err != nil {
		t.Fatalf("%s=%s: %v", Env, mode, err)
	}
	if len(gone) > 0 {
		t.Fatalf("%s=%s: missing Debian packages: %s", Env, mode, strings.Join(gone, " "))
	}
}

// missing lists the packages that are not completely installed.
func missing(ctx context.Context, wanted []string) ([]string, error) {
	args := append([]string{"-W", "-f", "${Package} ${db:Status-Abbrev}\n"}, wanted...)
	out, err := exec.CommandContext(ctx, "dpkg-query", args...).Output()
	// Status 1 says that some package is unknown, which is an answer.
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != 1) {
		return nil, fmt.Errorf("ask dpkg-query for installed packages (the testbed needs Debian): %w", err)
	}
	installed := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 2 && f[1] == "ii" {
			installed[f[0]] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(wanted), func(p string) bool { return installed[p] }), nil
}

// installScript outlives a test process that dies: dpkg is never cut off in
// the middle, policy-rc.d is put back, and the lock is held until then.
//
//go:embed install.sh
var installScript string

// install installs what is missing, unless another process just did.
func install(ctx context.Context, wanted []string) error {
	lock, err := os.Open(lockDir)
	if err != nil {
		return fmt.Errorf("lock the installation: %w", err)
	}
	defer lock.Close()
	if err := lockFile(ctx, lock); err != nil {
		return fmt.Errorf("wait for another installation: %w", err)
	}
	gone, err := missing(ctx, wanted)
	if err != nil || len(gone) == 0 {
		return err
	}
	log, err := os.CreateTemp("", "zorilla-testbed-install-*")
	if err != nil {
		return fmt.Errorf("install %s: %w", strings.Join(gone, " "), err)
	}
	defer log.Close()
	os.Remove(log.Name()) // the open file is all that is needed

	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", installScript, "install"}, gone...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{lock} // the script holds the lock too
	ownSession(cmd)
	cmd.Cancel = func() error { return terminateGroup(cmd.Process.Pid) }
	cmd.WaitDelay = 30 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("install %s: %w\n%s", strings.Join(gone, " "), err, tail(log, 4096))
	}
	return nil
}

// tail returns the last n bytes of a file.
func tail(f *os.File, n int64) []byte {
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	b := make([]byte, min(n, info.Size()))
	read, _ := f.ReadAt(b, max(0, info.Size()-n))
	return b[:read]
}

// lockFile takes an exclusive lock that other processes respect.
func lockFile(ctx context.Context, f *os.File) error {
	return poll(ctx, 200*time.Millisecond, func() (bool, error) { return tryLock(f) })
}

// poll calls done every interval until it says true, fails, or ctx ends.
func poll(ctx context.Context, interval time.Duration, done func() (bool, error)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
